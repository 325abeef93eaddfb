"""Our tasks for lm_eval's `--include_path`: a folder with YAML, documents, and a bridge to our scorer.

lm_eval has places for a text prompt, a text answer and a function that scores it, so what can be
exported are the samples that are asked in text and can be answered in text, and the metrics that code
computes. Controls, groups, repeats and clusters (and so our intervals) stay behind.
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
from eval_anything.files.writing import write_atomically
from eval_anything.judges.assemble import scorers_of
from eval_anything.judges.folder import find_judges
from eval_anything.judges.registry import JudgeMetrics
from eval_anything.judges.scorer import Scorer, score_response
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
    """What the functions of an exported task do; made when lm_eval loads it."""

    def __init__(self, name: str, folder: Path, include: Sequence[str] = ()) -> None:
        self._name = name
        self._folder = folder
        self._include = [Path(path) for path in include]

    def documents(self, **_: Any) -> dict[str, Any]:
        """The data set, as lm_eval wants one that is no file: {"test": documents}."""
        from datasets import Dataset

        lines = (self._folder / "documents.jsonl").read_bytes().splitlines()
        return {"test": Dataset.from_list([msgspec.json.decode(line) for line in lines])}

    def score(self, doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
        """lm_eval's process_results: the metrics that apply to the document."""
        task, scorers = self._loaded
        sample = task.by_id.get(doc["id"])
        if sample is None or task.item(sample) != doc["item"]:
            raise UserError(
                f"{self._name} is not the task that {self._folder} was exported from: export it again"
            )
        text = results[0].strip()
        response = Response(parts=(TextPart(text),) if text else ())
        scores = asyncio.run(score_response(scorers, sample, response))
        return {name: one.value for name, one in scores.items() if one.value is not None}

    @cached_property
    def _loaded(self) -> tuple[Task, list[Scorer]]:
        return _read(self._name, self._include)


def export(
    names: Sequence[str], out: Path, include: Sequence[Path] = (), max_tokens: int = 512
) -> dict[str, tuple[str, int]]:
    """Writes a folder a task into `out`; {our name: (lm_eval's name, documents)}. An answer has at most
    `max_tokens` tokens, which lm_eval reserves in the model's positions.

    UserError if a task has nothing that lm_eval could ask or score.
    """
    return {name: _export(name, out, include, max_tokens) for name in names}


def _export(name: str, out: Path, include: Sequence[Path], max_tokens: int) -> tuple[str, int]:
    import yaml

    task, scorers = _read(name, include)
    samples = [sample for sample in task.samples if _in_text(task, sample)]
    if not samples:
        raise UserError(f"{name}: no sample is asked in text alone and answered in text alone")
    theirs = f"eval_anything_{name.replace('/', '_')}"
    folder = out / theirs
    metrics = {metric: how for scorer in scorers for metric, how in scorer.metrics.items()}
    empty = [asyncio.run(score_response(scorers, sample, Response())) for sample in samples]
    applying = {metric for scores in empty for metric in scores}
    config = {
        "task": theirs,
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "",
        "generation_kwargs": {"until": [], "max_gen_toks": max_tokens, "do_sample": False},
        "metric_list": [
            {
                "metric": metric,
                "aggregation": "mean",
                "higher_is_better": how.better == "higher",
            }
            for metric, how in metrics.items()
            if metric in applying
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
    write_atomically(folder / f"{theirs}.yaml", settings.encode() + functions.encode())
    return theirs, len(documents)


def _read(name: str, include: Sequence[Path]) -> tuple[Task, list[Scorer]]:
    """A task and those of its scorers that are code alone."""
    registry = Registry(include)
    suite = registry.select([name], "")[0]
    judges = find_judges(include)
    task = load_task(registry.folders[suite.tasks[0]], JudgeMetrics(judges))
    scorers = [s for s in scorers_of(task, judges, allow_code=True).scorers if s.exact]
    if not scorers:
        raise UserError(f"{name} is scored by models, which lm_eval has no place for")
    return task, scorers


def _in_text(task: Task, sample: Sample) -> bool:
    """Whether a sample is asked in text alone, once, and may be answered so."""
    asked = all(isinstance(p, TextPart) for m in task.messages(sample) for p in m.parts)
    return asked and not sample.turns and set(sample.contract.required) <= {Modality.TEXT}


def _prompt(task: Task, sample: Sample) -> str:
    """All that is said, in order; lm_eval knows one user's turn."""
    parts = (part for message in task.messages(sample) for part in message.parts)
    return "\n\n".join(part.text for part in parts if isinstance(part, TextPart))
