"""A run read from its directory: results, records, and a table of both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_anything.content import Record
from eval_anything.errors import UserError, near
from eval_anything.runs.directory import Outline, RunFile, read_outlines, read_run, read_run_file
from eval_anything.runs.results_file import Results, read_results

if TYPE_CHECKING:
    import pandas as pd


class LoadedRun:
    """A run with its settings and results.

    Attributes:
        path: its directory.
        file: run.json: model, settings, fingerprints, versions, how it ended.
        results: results.json: every metric with its interval and n.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: RunFile = read_run_file(path)
        self.results: Results = read_results(path)

    def __repr__(self) -> str:
        return f"<run of {self.file.model} on {', '.join(self.file.tasks)} in {self.path}>"

    def records(self, task: str | None = None) -> list[Record]:
        """Records of one task, or of all tasks, one for each (sample, repeat).

        UserError for a task that the run does not have.
        """
        return [record for name in self._names(task) for record in read_run(self.path, name)]

    def to_pandas(self, task: str | None = None) -> pd.DataFrame:
        """A table with a row for each sample and a column for each metric.

        A value is the mean over the sample's repeats, NaN where the metric does not apply or its judge
        gave none. Further columns: task, sample_id, source_id (the cluster), repeats (their number),
        failed (the repeats that the model failed), input and output (tokens over all repeats), and the
        groups of the sample.

        Example:
            >>> load_run("runs/new").to_pandas().groupby("task")["selection"].mean()  # doctest: +SKIP
        """
        import pandas as pd

        rows = []
        for name in self._names(task):
            by_sample: dict[str, list[Outline]] = {}
            for outline in read_outlines(self.path, name):
                by_sample.setdefault(outline.sample_id, []).append(outline)
            rows += [_row(name, repeats) for repeats in by_sample.values()]
        return pd.DataFrame(rows)

    def _names(self, task: str | None) -> list[str]:
        names = self.file.tasks
        if task is not None and task not in names:
            hint = f"{near(task, names)} It has: {', '.join(names)}."
            raise UserError(f"the run in {self.path} has no task {task!r}.{hint}")
        return names if task is None else [task]


def load_run(path: str | Path) -> LoadedRun:
    """The run in a directory. UserError if it is none, or has no results yet.

    Example:
        >>> from eval_anything import evaluate
        >>> line = '{"sample_id": "open-sel-01", "parts": [{"modality": "text", "text": "Yes."}]}'
        >>> _ = Path("answers.jsonl").write_text(line)
        >>> _ = evaluate(
        ...     "replay/answers.jsonl", tasks="open/selection", first=1, out="runs/new", progress=False
        ... )
        >>> load_run("runs/new").results.tasks["open/selection"].main.value
        1.0
    """
    return LoadedRun(Path(path))


def _row(task: str, repeats: list[Outline]) -> dict[str, Any]:
    first = repeats[0]
    row: dict[str, Any] = {
        "task": task,
        "sample_id": first.sample_id,
        "source_id": first.source_id,
        "repeats": len(repeats),
        "failed": sum(outline.failed for outline in repeats),
        "input": sum(outline.usage.input or 0 for outline in repeats),
        "output": sum(outline.usage.output or 0 for outline in repeats),
        **first.groups,
    }
    for metric in dict.fromkeys(name for outline in repeats for name in outline.scores):
        scores = [outline.scores[metric].value for outline in repeats if metric in outline.scores]
        values = [score for score in scores if score is not None]
        row[metric] = sum(values) / len(values) if values else None
    return row
