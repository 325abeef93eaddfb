"""Results of a run by modality: of the questions, and of the answers that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from eval_anything.content import MODALITIES, Modality, share_of_range
from eval_anything.evaluation.results import ScoredTask, Value
from eval_anything.output.tables import table
from eval_anything.runs.results_file import MetricResult, ModalityResult, Results
from eval_anything.tasks.task import Task

_WORDS = {"inputs": "asked with", "outputs": "asked for"}


def by_modality(
    tasks: Mapping[str, Task], scored: Mapping[str, ScoredTask]
) -> dict[Literal["inputs", "outputs"], dict[Modality, ModalityResult]]:
    """Results by modality of question and answer; a sample with two modalities counts for both."""
    sums: dict[Literal["inputs", "outputs"], dict[Modality, _Sum]] = {
        "inputs": {modality: _Sum() for modality in MODALITIES},
        "outputs": {modality: _Sum() for modality in MODALITIES},
    }
    for name, task in tasks.items():
        result = scored[name].result
        values = scored[name].values[result.primary]
        for number, value in zip(scored[name].primary, values, strict=True):
            for modality in task.samples.inputs(number):
                sums["inputs"][modality].add(value, result.main)
            for modality in task.samples.outputs(number):
                sums["outputs"][modality].add(value, result.main)
    return {
        side: {modality: total.result() for modality, total in totals.items() if total.samples}
        for side, totals in sums.items()
    }


class _Sum:
    """The sum of values, from 0 to 1 with 1 the best, and counts of their samples."""

    def __init__(self) -> None:
        self.samples = self._failed = self._scored = 0
        self._total = 0.0

    def add(self, value: Value, metric: MetricResult) -> None:
        """Adds a sample with its value of a metric."""
        self.samples += 1
        self._failed += value.failed
        if value.value is not None:
            self._scored += 1
            self._total += share_of_range(value.value, metric.range, metric.better)

    def result(self) -> ModalityResult:
        """The mean and the counts."""
        mean = self._total / self._scored if self._scored else None
        return ModalityResult(samples=self.samples, failed=self._failed, value=mean)


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
