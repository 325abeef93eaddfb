"""Results of a run by modality: of the questions, and of the answers that they ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from eval_anything.content import MODALITIES, Modality, share_of_range
from eval_anything.evaluation.results import ScoredTask, Value
from eval_anything.output.tables import table
from eval_anything.runs.results_file import ModalityResult, Results
from eval_anything.tasks.task import Task
from eval_anything.tasks.where import inputs_of, outputs_of

_WORDS = {"inputs": "asked with", "outputs": "asked for"}


class _Outcome(NamedTuple):
    """A sample's value, from 0 to 1 with 1 the best (None: not scored), and whether the model failed."""

    value: float | None
    failed: bool


def by_modality(
    tasks: Mapping[str, Task], scored: Mapping[str, ScoredTask]
) -> dict[Literal["inputs", "outputs"], dict[Modality, ModalityResult]]:
    """Results by modality of question and answer; a sample with two modalities counts for both."""
    outcomes = [
        (task.by_id[sample_id], _outcome(scored[name], value))
        for name, task in tasks.items()
        for sample_id, value in scored[name].primary.items()
    ]
    return {
        "inputs": _grouped([(inputs_of(sample), outcome) for sample, outcome in outcomes]),
        "outputs": _grouped([(outputs_of(sample), outcome) for sample, outcome in outcomes]),
    }


def _outcome(task: ScoredTask, value: Value) -> _Outcome:
    metric = task.result.main
    if value.value is None:
        return _Outcome(None, value.failed)
    return _Outcome(share_of_range(value.value, metric.range, metric.better), value.failed)


def _grouped(
    outcomes: Sequence[tuple[Sequence[Modality], _Outcome]],
) -> dict[Modality, ModalityResult]:
    groups = {
        modality: [outcome for modalities, outcome in outcomes if modality in modalities]
        for modality in MODALITIES
    }
    return {modality: _result(members) for modality, members in groups.items() if members}


def _result(outcomes: Sequence[_Outcome]) -> ModalityResult:
    values = [outcome.value for outcome in outcomes if outcome.value is not None]
    return ModalityResult(
        samples=len(outcomes),
        failed=sum(outcome.failed for outcome in outcomes),
        value=sum(values) / len(values) if values else None,
    )


def modality_table(results: Results) -> list[str]:
    """Lines for people; none for a run with text alone."""
    rows = [
        [
            f"{_WORDS[side]} {modality}",
            "unscored" if result.value is None else f"{result.value:.3f}",
            str(result.samples),
            str(result.failed),
        ]
        for side, groups in results.modalities.items()
        for modality, result in groups.items()
    ]
    if all(row[0].endswith(" text") for row in rows):
        return []
    header = ["by modality", "mean", "n", "failed"]
    note = "mean: primary metrics of all tasks, as shares of their ranges; 1 is the best."
    return ["", table(header, rows, right=(1, 2, 3)), note]
