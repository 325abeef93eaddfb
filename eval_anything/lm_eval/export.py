"""Exports our tasks for lm_eval's `--include_path`: a folder with YAML, documents and a bridge to our
scorers.

A task of lm_eval has a text prompt, a text answer and a function that scores it. So only samples with
prompts in text and possible answers in text are exported, and metrics that are computed by code.
Controls, groups, repeats and clusters (and so our intervals) are not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from eval_anything.content import Modality, Response, Sample, TextPart
from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import file_lines
from eval_anything.files.writing import write_atomically
from eval_anything.judges.assemble import scorers_of
from eval_anything.judges.folder import find_judges
from eval_anything.judges.registry import JudgeMetrics
from eval_anything.judges.scorer import Scorer, score_response
from eval_anything.sampling import PENALTIES, RESTRICTIONS
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry
from eval_anything.tasks.task import Task

_CODE = '''\
"""The documents of {name}, and its scores: both are eval-anything's."""

from pathlib import Path

from eval_anything.lm_eval.export import Exported

_task = Exported({name!r}, Path(__file__).parent, {include!r})
documents = _task.documents
score = _task.score
'''


class Exported:
    """An exported task, loaded by lm_eval: its documents and its scores."""

    def __init__(self, name: str, folder: Path, include: Sequence[str] = ()) -> None:
        self._name = name
        self._folder = folder
        self._include = [Path(path) for path in include]

    def documents(self, **_: Any) -> dict[str, Any]:
        """The data set, in the form of lm_eval's `custom_dataset`: {"test": documents}."""
        from datasets import Dataset

        lines = file_lines(self._folder / "documents.jsonl")
        return {"test": Dataset.from_list([decode_strict(line, dict[str, Any]) for line in lines])}

    def score(self, doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
        """Scores of an answer, for lm_eval's `process_results`: the metrics that apply to the document.

        UserError if the task has changed since it was exported.
        """
        task, scorers = self._loaded
        sample = task.by_id.get(doc["id"])
        if sample is None or task.item(sample) != doc["item"]:
            raise UserError(
                f"{self._name} is not the task that {self._folder} was exported from: export it again"
            )
        text = results[0].strip()
        response = Response(parts=(TextPart(text),) if text else ())
        scores = asyncio.run(score_response(scorers, sample, response))
        return {name: score.value for name, score in scores.items() if score.value is not None}

    @cached_property
    def _loaded(self) -> tuple[Task, list[Scorer]]:
        return _read(self._name, self._include)


def export(
    names: Sequence[str], out: Path, include: Sequence[Path] = (), max_tokens: int = 512
) -> dict[str, tuple[str, int]]:
    """Writes one folder for each task.

    Args:
        names: tasks to export.
        out: the folder for `lm_eval --include_path`.
        include: folders with further tasks and judges.
        max_tokens: largest number of tokens in an answer, which lm_eval reserves in the context.

    Returns:
        lm_eval's name and the number of documents, by our name of the task.

    Raises:
        UserError: a task has no sample in text, or no metric that is computed by code.
    """
    return {name: _export(name, out, include, max_tokens) for name in names}


def _export(name: str, out: Path, include: Sequence[Path], max_tokens: int) -> tuple[str, int]:
    import yaml

    task, scorers = _read(name, include)
    samples = [sample for sample in task.samples if _in_text(task, sample)]
    if not samples:
        raise UserError(f"{name}: no sample has a prompt and an answer in text alone")
    lm_eval_name = f"eval_anything_{name.replace('/', '_')}"
    folder = out / lm_eval_name
    metrics = {key: metric for scorer in scorers for key, metric in scorer.metrics.items()}
    empty = [asyncio.run(score_response(scorers, sample, Response())) for sample in samples]
    applying = {key for scores in empty for key in scores}
    config = {
        "task": lm_eval_name,
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "",
        "generation_kwargs": _generation_kwargs(task, max_tokens),
        "metric_list": [
            {
                "metric": key,
                "aggregation": "mean",
                "higher_is_better": metric.better == "higher",
            }
            for key, metric in metrics.items()
            if key in applying
        ],
        "metadata": {"version": task.file.version},
    }
    functions = "custom_dataset: !function scoring.documents\nprocess_results: !function scoring.score\n"
    documents = [{"id": s.id, "item": task.item(s), "prompt": _prompt(task, s)} for s in samples]
    lines = b"".join(msgspec.json.encode(document) + b"\n" for document in documents)
    write_atomically(folder / "documents.jsonl", lines)
    code = _CODE.format(name=name, include=[str(path.resolve()) for path in include])
    write_atomically(folder / "scoring.py", code.encode())
    settings = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    write_atomically(folder / f"{lm_eval_name}.yaml", settings.encode() + functions.encode())
    return lm_eval_name, len(documents)


def _generation_kwargs(task: Task, max_tokens: int) -> dict[str, Any]:
    """The settings of generation of a task as lm_eval has them. UserError for those that it lacks."""
    settings = {} if task.file.generation is None else task.file.generation.values()
    temperature = settings.pop("temperature", 0)
    kwargs: dict[str, Any] = {
        "until": list(settings.pop("stop", [])),
        "max_gen_toks": settings.pop("max_new_tokens", max_tokens),
        "do_sample": temperature > 0,
    }
    if temperature > 0:
        kwargs["temperature"] = temperature
    kwargs |= {name: settings.pop(name) for name in (*RESTRICTIONS, *PENALTIES) if name in settings}
    if settings:
        raise UserError(f"{task.name}: its generation has {', '.join(settings)}, which lm_eval lacks")
    return kwargs


def _read(name: str, include: Sequence[Path]) -> tuple[Task, list[Scorer]]:
    """A task, and those of its scorers that are code without a model."""
    registry = Registry(include)
    suite = registry.select([name], "")[0]
    judges = find_judges(include)
    task = load_task(registry.folders[suite.tasks[0]], JudgeMetrics(judges))
    scorers = [s for s in scorers_of(task, judges, allow_code=True).scorers if s.exact]
    if not scorers:
        raise UserError(f"{name} is scored by models alone, which cannot be exported to lm_eval")
    return task, scorers


def _in_text(task: Task, sample: Sample) -> bool:
    """True if a sample has one turn, a prompt in text alone, and may be answered in text alone."""
    text_only = all(isinstance(p, TextPart) for m in task.messages(sample) for p in m.parts)
    return text_only and not sample.turns and set(sample.contract.required) <= {Modality.TEXT}


def _prompt(task: Task, sample: Sample) -> str:
    """Texts of all messages in order, joined: lm_eval has a single prompt."""
    parts = (part for message in task.messages(sample) for part in message.parts)
    return "\n\n".join(part.text for part in parts if isinstance(part, TextPart))
