"""Page of one run: its table of results, and some samples of each task with their media."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import UNSET

from eval_anything.content import FromTurn, Part, Record, TextPart
from eval_anything.files.templates import page_templates
from eval_anything.files.writing import write_atomically
from eval_anything.judges.calibration.effects import effect_text, quality_text
from eval_anything.judges.registry import judge_kind
from eval_anything.media import MediaStore, medium_bytes
from eval_anything.output.tables import table
from eval_anything.runs.directory import read_outlines, read_records
from eval_anything.runs.results_file import AggregateResult, MetricResult, Results, TaskResult
from eval_anything.tasks.task import Task

_SAMPLES_A_TASK = 12


_LONGEST_TEXT = 4000


def write_report(results: Results, run: Path, tasks: dict[str, Task]) -> Path:
    """Writes report.html into the run directory and returns its path.

    The page needs no server and no network: media are files beside it. All text of models is escaped,
    and the page allows no script.
    """
    store = MediaStore(run / "media")
    samples_by_task = {
        name: [
            _sample_view(tasks[name], record, store)
            for record in _spread_records(run, name, tasks[name])
        ]
        for name in results.tasks
    }
    html = _template().render(results=results, samples_by_task=samples_by_task)
    path = run / "report.html"
    write_atomically(path, html.encode())
    return path


@cache
def _template() -> Any:
    environment = page_templates()
    environment.filters |= {"effect": effect_text, "quality": quality_text}
    environment.tests["judged"] = lambda kind: judge_kind(kind).scorer_type.judged
    return environment.get_template("run.html")


def _spread_records(run: Path, name: str, task: Task) -> list[Record]:
    """A few records, evenly spread over the task, in its order."""
    position = {sample.id: i for i, sample in enumerate(task.samples)}
    ids = sorted(
        (r.sample_id for r in read_outlines(run, name) if r.repeat == 0 and r.sample_id in position),
        key=lambda sample_id: position[sample_id],
    )
    step = max(1, len(ids) // _SAMPLES_A_TASK)
    chosen = {(sample_id, 0) for sample_id in ids[::step][:_SAMPLES_A_TASK]}
    return sorted(read_records(run, name, chosen), key=lambda record: position[record.sample_id])


def _sample_view(task: Task, record: Record, store: MediaStore) -> dict[str, Any]:
    sample = task.by_id[record.sample_id]
    primary = record.scores.get(task.file.primary)
    questions = (*(m.parts for m in sample.messages), *(t.parts for t in sample.turns))
    # Placeholders for earlier answers are left out, since these answers are shown anyway.
    prompt = [_part(p, store) for parts in questions for p in parts if not isinstance(p, FromTurn)]
    answers = (*record.turns, record.parts)
    scores = [(name, score.value, score.explanation) for name, score in record.scores.items()]
    return {
        "id": sample.id,
        "prompt": prompt,
        "response": [_part(part, store) for parts in answers for part in parts],
        "primary": primary.value if primary is not None else None,
        "scores": scores,
        "error": record.error.message if record.error is not None else None,
    }


def _part(part: Part, store: MediaStore) -> dict[str, str]:
    if isinstance(part, TextPart):
        text = part.text
        return {
            "modality": "text",
            "text": text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " …",
        }
    if not part.path.is_relative_to(
        store.root
    ):  # a medium of the prompt: the page must not need the task
        part = store.put(medium_bytes(part.path), part.modality)
    source = quote(part.path.relative_to(store.root.parent).as_posix())
    return {"modality": str(part.modality), "source": source}


def results_table(results: Results) -> str:
    """Text table with the primary metric of each task, the metrics of judges that have a model, and the
    aggregates: value, 95 % interval, n, failed samples and, if there are any, skipped ones."""
    counts = ["n", "failed"]
    if any(task.main.skipped for task in results.tasks.values()):
        counts.append("skipped")
    rows = []
    for name, task in results.tasks.items():
        for metric_name in _shown_metrics(task):
            metric = task.metrics[metric_name]
            numbers = [str(getattr(metric, count)) for count in counts]
            rows.append([name, metric_name, *_value(metric), *numbers])
    for name, aggregate in results.aggregates.items():
        rows.append([name, "aggregate", *_value(aggregate), *("" for _ in counts)])
    return table(["task", "metric", "value", "95 % interval", *counts], rows, right=(2, 4, 5, 6))


def _shown_metrics(task: TaskResult) -> list[str]:
    """Names of the primary metric, and of those that a judge with a model gives."""
    judged = [name for name, metric in task.metrics.items() if metric.judge is not UNSET]
    return list(dict.fromkeys([task.primary, *judged]))


def _value(number: MetricResult | AggregateResult) -> tuple[str, str]:
    if isinstance(number, MetricResult) and number.invalid is not UNSET:
        return "INVALID", number.invalid
    if number.value is None or number.ci95 is None:
        return "unscored", ""
    low, high = number.ci95
    return f"{number.value:.3f}", f"{low:.3f} .. {high:.3f}"
