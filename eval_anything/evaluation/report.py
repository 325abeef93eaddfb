"""Page of one run: how it was made, its numbers and what they mean, its samples with their media."""

from __future__ import annotations

import shlex
import statistics
from array import array
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from msgspec import UNSET

from eval_anything.content import FromTurn, Part, Record, Score, TextPart, share_of_range
from eval_anything.files.templates import page_templates
from eval_anything.files.writing import write_atomically
from eval_anything.judges.calibration.effects import effect_text, quality_text
from eval_anything.judges.registry import judge_kind
from eval_anything.media import MediaStore, medium_bytes
from eval_anything.media.tiny import is_tiny
from eval_anything.output.tables import table
from eval_anything.runs.directory import Outline, RunFile, read_records, read_run_file
from eval_anything.runs.ordered import OrderedRecords
from eval_anything.runs.results_file import (
    AggregateResult,
    CorrectedResult,
    MetricResult,
    Results,
    TaskResult,
)
from eval_anything.runs.resume import shown
from eval_anything.tasks.task import Task

_SAMPLES = 3000
"""Samples of a page, in equal shares of its tasks."""


_LONGEST_TEXT = 4000


_COPIED = 200_000_000  # bytes


_OUTCOMES = ("failed", "skipped", "unscored", "worse half", "better half")
"""Outcomes of samples, in the order in which a page shows them, but for the last two: the halves of the
primary metric's range, which stay in the task's order."""


def write_report(results: Results, run: Path, tasks: dict[str, Task]) -> Path:
    """Writes report.html into the run directory and returns its path.

    The page needs no server and no network: media are files beside it. All text of models is escaped,
    and the page allows no script.
    """
    media = _PageMedia(run)
    seconds = array("d")
    views = {
        name: _samples_view(run, tasks[name], seconds, media, _SAMPLES // len(results.tasks))
        for name in results.tasks
    }
    facts = _facts(results, read_run_file(run), seconds)
    html = _template().render(results=results, views=views, facts=facts, outcomes=_OUTCOMES)
    path = run / "report.html"
    write_atomically(path, html.encode())
    return path


@cache
def _template() -> Any:
    environment = page_templates()
    environment.filters |= {"effect": effect_text, "quality": quality_text, "corrected": corrected_text}
    environment.tests["judged"] = lambda kind: judge_kind(kind).scorer_type.judged
    return environment.get_template("run.html")


def _facts(results: Results, file: RunFile, seconds: Sequence[float]) -> dict[str, str]:
    """The head of the page: label and text."""
    counts = {
        "failed": sum(task.failed for task in results.tasks.values()),
        "skipped": sum(task.skipped for task in results.tasks.values()),
        "pending": results.pending,
    }
    samples = [f"{sum(task.samples for task in results.tasks.values()):,}"]
    samples += [f"{count:,} {word}" for word, count in counts.items() if count or word == "failed"]
    if file.repeats > 1:
        samples.append(f"{file.repeats} answers each")
    sampling = [f"{name} {shown(setting)}" for name, setting in file.sampling.items()]
    facts = {
        "Model": file.spec,
        "Date": file.created[:16].replace("T", " "),
        "Samples": ", ".join(samples),
        "Cost": _cost_text(results),
        "Time": _time_text(seconds),
        "Sampling": ", ".join([*sampling, f"seed {file.seed}"]),
        "Command": shlex.join(file.command),
    }
    return {label: text for label, text in facts.items() if text}


def _cost_text(results: Results) -> str:
    """Money of a run and the model's tokens; "" if nothing is known of either."""
    cost = results.cost
    if cost is None:
        return ""
    words = [] if cost.money is None else [f"{cost.money:.2g} {cost.currency}" if cost.money else "none"]
    tokens = cost.tokens
    if tokens.input or tokens.output:
        words.append(f"{tokens.input or 0:,} tokens in, {tokens.output or 0:,} out")
    return "; ".join(words)


def _time_text(seconds: Sequence[float]) -> str:
    """Median seconds of an answer; "" if none are known, as for saved outputs."""
    return f"{statistics.median(seconds):.2g} s an answer (median)" if seconds else ""


class _SamplesView(NamedTuple):
    """Samples of a task on the page, how many it has of each outcome, and how many there are."""

    samples: list[dict[str, Any]]
    counts: dict[str, int]
    total: int


def _samples_view(
    run: Path, task: Task, seconds: array[float], media: _PageMedia, most: int
) -> _SamplesView:
    """At most so many samples: what failed first, then the others in the task's order; if there are too
    many, evenly spread. The seconds of all answers are added to `seconds`."""
    records = OrderedRecords(run, task.name, task.samples.numbers)
    outcomes = bytearray()
    for outline in records:
        outcomes.append(_OUTCOMES.index(_outcome(outline, outline.scores.get(task.file.primary))))
        if outline.latency.total:
            seconds.append(outline.latency.total)
    ordered = sorted(range(len(outcomes)), key=lambda index: min(outcomes[index], 3))
    first = [index for index in ordered if outcomes[index] < 3][: max(1, most // 2)]
    well = ordered[len(first) :]
    step = max(1, -(-len(well) // max(1, most - len(first))))
    indices = [*first, *well[::step]]
    places = {}
    for position, index in enumerate(indices):
        number, repeat = records.place(index)
        places[task.samples.ids[number], repeat] = position
    chosen = read_records(run, task.name, places)
    chosen.sort(key=lambda record: places[record.sample_id, record.repeat])
    samples = []
    for index, record in zip(indices, chosen, strict=True):
        samples.append({**_sample_view(task, record, media), "outcome": _OUTCOMES[outcomes[index]]})
    counts = {word: sum(view["outcome"] == word for view in samples) for word in _OUTCOMES}
    return _SamplesView(samples, {word: n for word, n in counts.items() if n}, len(records))


def _outcome(outline: Outline, score: Score | None) -> str:
    if outline.failed:
        return "failed"
    if outline.skipped:
        return "skipped"
    if score is None or score.value is None:
        return "unscored"
    share = share_of_range(score.value, score.range, score.better)
    return "better half" if share >= 0.5 else "worse half"


def _sample_view(task: Task, record: Record, media: _PageMedia) -> dict[str, Any]:
    sample = task.by_id[record.sample_id]
    primary = record.scores.get(task.file.primary)
    questions = (*(m.parts for m in sample.messages), *(t.parts for t in sample.turns))
    # Placeholders for earlier answers are left out, since these answers are shown anyway.
    prompt = [media.view(p) for parts in questions for p in parts if not isinstance(p, FromTurn)]
    answers = (*record.turns, record.parts)
    scores = [(name, score.value, score.explanation) for name, score in record.scores.items()]
    return {
        "id": sample.id if record.repeat == 0 else f"{sample.id}, answer {record.repeat + 1}",
        "prompt": prompt,
        "response": [media.view(part) for parts in answers for part in parts],
        "primary": primary.value if primary is not None else None,
        "scores": scores,
        "error": record.error.message if record.error is not None else None,
    }


class _PageMedia:
    """The media of a page: those of the run, and copies of those of prompts, so that the page does not
    need the tasks; no more than 200 MB of them are copied."""

    def __init__(self, run: Path) -> None:
        self._store = MediaStore(run / "media")
        self._bytes_left = _COPIED

    def view(self, part: Part) -> dict[str, Any]:
        """The part as the template gets it: a text, or a modality with its file."""
        if isinstance(part, TextPart):
            text = part.text
            if len(text) > _LONGEST_TEXT:
                text = text[:_LONGEST_TEXT] + " …"
            return {"modality": "text", "text": text}
        if not part.path.is_relative_to(self._store.root):
            self._bytes_left -= part.path.stat().st_size
            if self._bytes_left < 0:
                return {"modality": "text", "text": f"({part.modality} of the prompt: {part.path.name})"}
            part = self._store.put(medium_bytes(part.path), part.modality)
        source = quote(part.path.relative_to(self._store.root.parent).as_posix())
        tiny = part.modality == "image" and is_tiny(part.path)
        return {"modality": str(part.modality), "source": source, "tiny": tiny}


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
            if metric.corrected is not UNSET:
                rows.append([name, "  corrected", *_corrected(metric.corrected), *("" for _ in counts)])
    for name, aggregate in results.aggregates.items():
        rows.append([name, "aggregate", *_value(aggregate), *("" for _ in counts)])
    return table(["task", "metric", "value", "95 % interval", *counts], rows, right=(2, 4, 5, 6))


def repeats_table(results: Results) -> list[str]:
    """A table of how much several answers to a sample vary, for the metrics of the first table; none
    where samples have one answer."""
    rows = []
    for name, task in results.tasks.items():
        for metric_name in _shown_metrics(task):
            repeats = task.metrics[metric_name].repeats
            if repeats is UNSET:
                continue
            passed = repeats.passes and repeats.passes[str(repeats.answers)]
            figures = [passed or None, repeats.consistency, repeats.within, repeats.between]
            cells = [
                "" if f is None else f"{f.value:.3f} ({f.ci95[0]:.3f} .. {f.ci95[1]:.3f})"
                for f in figures
            ]
            rows.append([name, metric_name, str(repeats.answers), *cells])
    if not rows:
        return []
    header = ["task", "metric", "k", "pass@k", "consistency", "variance within", "between samples"]
    return ["", table(header, rows, right=(2,))]


def _shown_metrics(task: TaskResult) -> list[str]:
    """Names of the primary metric, and of those that a judge with a model gives."""
    judged = [name for name, metric in task.metrics.items() if metric.judge is not UNSET]
    return list(dict.fromkeys([task.primary, *judged]))


def _corrected(corrected: CorrectedResult) -> tuple[str, str]:
    if corrected.value is None or corrected.ci95 is None:
        return "", f"not corrected: {corrected.reason}"
    low, high = corrected.ci95
    return f"{corrected.value:.3f}", f"{low:.3f} .. {high:.3f}, {corrected.labels} labels"


def corrected_text(metric: MetricResult) -> str:
    """Description of a corrected number for tables and pages; "" where there are no labels."""
    corrected = metric.corrected
    if corrected is UNSET:
        return ""
    if corrected.value is None or corrected.ci95 is None:
        return f"not corrected: {corrected.reason}"
    low, high = corrected.ci95
    alpha = (
        "whose agreement is unknown, as no sample has two labels"
        if corrected.agreement is None
        else f"whose agreement is {corrected.agreement:.2f} (Krippendorff's alpha)"
    )
    return (
        f"corrected by {corrected.labels} labels: {corrected.value:.3f} ({low:.3f} .. {high:.3f}); "
        f"labelled by {', '.join(corrected.annotators)}, {alpha}"
    )


def _value(number: MetricResult | AggregateResult) -> tuple[str, str]:
    if isinstance(number, MetricResult) and number.invalid is not UNSET:
        return "INVALID", number.invalid
    if number.value is None or number.ci95 is None:
        return "unscored", ""
    low, high = number.ci95
    return f"{number.value:.3f}", f"{low:.3f} .. {high:.3f}"
