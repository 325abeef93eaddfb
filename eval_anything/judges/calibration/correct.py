"""Labels for the correction of judged numbers: rows of a file of labels that are about a run's answers.

The rows are those that calibrate a judge (`labels.py`): a response and its grade. Their metadata
say which sample of which task it is, and with what probability it was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from eval_anything.content import Record
from eval_anything.errors import UserError, near
from eval_anything.judges.calibration.labels import Labelled, Labels
from eval_anything.runs.corrected import with_corrections
from eval_anything.runs.directory import read_records, read_run_file
from eval_anything.runs.labels_file import RunLabel, write_labels
from eval_anything.runs.results_file import MetricResult, Results, read_results, write_results

_NAMED = 3  # samples that a message names


class Corrected(NamedTuple):
    """Outcome for one run: its results, the numbers of its labels by task, and remarks about them."""

    run: Path
    results: Results
    labels: dict[str, int]
    remarks: list[str]


def correct(
    labels: Labels, runs: Sequence[Path], metric: str | None = None, uniform: bool = False
) -> list[Corrected]:
    """Stores labels in the runs whose answers they are about, and corrects the runs' results.

    Args:
        labels: responses with grades.
        runs: directories of finished runs.
        metric: the judged metric that the grades are about; default: that which the labels name.
        uniform: whether every sample was equally likely to be labelled; else each label has its
            probability.

    Raises:
        UserError: the labels are about other samples or answers, about several metrics, have no
            probabilities, are twice from one annotator, or are too few.
    """
    metric = _metric(labels, metric)
    matched: set[int] = set()
    outcomes = []
    for run in runs:
        matches = _matching(labels, run, metric)
        if not matches.rows:
            raise UserError(f"{labels.name} has no label of an answer in {run}. {matches.reason}")
        matched |= matches.rows.keys()
        outcomes.append(_store(labels, run, metric, matches.rows, uniform))
    if len(matched) < len(labels.rows):
        unmatched = len(labels.rows) - len(matched)
        outcomes = [
            o._replace(remarks=[*o.remarks, f"{unmatched} labels are of answers of other runs"])
            for o in outcomes
        ]
    return outcomes


def _note(row: Labelled) -> Mapping[str, Any]:
    note = row.sample.metadata.get("annotation")
    return note if isinstance(note, dict) else {}


def _metric(labels: Labels, metric: str | None) -> str:
    pair = next((row for row in labels.rows if row.is_pair), None)
    if pair is not None:
        raise UserError(
            f"{labels.name}: {pair.sample.id!r} compares two responses. Grades of single responses "
            "correct a mean; preferences calibrate a judge"
        )
    metric_names = sorted({str(name) for row in labels.rows if (name := _note(row).get("metric"))})
    if len(metric_names) > 1:
        raise UserError(
            f"{labels.name} has labels of {', '.join(metric_names)}: a correction needs those of one "
            "metric alone"
        )
    if metric is None and not metric_names:
        raise UserError(f"{labels.name} does not say which metric was labelled: add --metric")
    if metric is not None and metric_names and metric_names != [metric]:
        raise UserError(f"{labels.name} has labels of {metric_names[0]}, not of {metric}")
    return metric or metric_names[0]


class _Matches(NamedTuple):
    """Labels by the index of their row; the reason why another row is not about this run."""

    rows: dict[int, tuple[str, Record]]
    reason: str


def _matching(labels: Labels, run: Path, metric: str) -> _Matches:
    """The rows about answers of this run, each with its task and record: sample and content agree."""
    file, results = read_run_file(run), read_results(run)
    with_metric = [name for name, task in results.tasks.items() if metric in task.metrics]
    if not with_metric:
        names = {name for task in results.tasks.values() for name in task.metrics}
        raise UserError(f"{run} has no metric {metric!r}.{near(metric, names)}")
    rows_by_sample: dict[str, dict[str, list[int]]] = {}
    for index, row in enumerate(labels.rows):
        task = _note(row).get("task", with_metric[0] if len(with_metric) == 1 else None)
        if task is None:
            raise UserError(
                f"{labels.name}: {row.sample.id!r} does not name its task, and {metric} is in several: "
                f"{', '.join(with_metric)}"
            )
        sample_id = str(_note(row).get("sample_id", row.sample.id))
        rows_by_sample.setdefault(str(task), {}).setdefault(sample_id, []).append(index)
    rows: dict[int, tuple[str, Record]] = {}
    reason = f"It has those of {', '.join(rows_by_sample)}; the run has {', '.join(file.tasks)}."
    for task in set(rows_by_sample) & set(with_metric):
        keys = {(sample_id, 0) for sample_id in rows_by_sample[task]}
        records = {record.sample_id: record for record in read_records(run, task, keys)}
        for sample_id, indices in rows_by_sample[task].items():
            record = records.get(sample_id)
            if record is None:
                reason = f"The run has no sample {sample_id!r} of {task}."
                continue
            for index in indices:
                if _is_of(labels.rows[index], record):
                    rows[index] = (task, record)
                else:
                    reason = f"The label of {sample_id!r} is of another answer, or another item."
    return _Matches(rows, reason)


def _is_of(row: Labelled, record: Record) -> bool:
    item = _note(row).get("item", record.item)
    parts = [part.key for part in row.responses[0].parts]
    return bool(item == record.item and parts == [part.key for part in record.parts])


def _store(
    labels: Labels, run: Path, metric: str, rows: Mapping[int, tuple[str, Record]], uniform: bool
) -> Corrected:
    results = read_results(run)
    by_task: dict[str, list[RunLabel]] = {}
    for index, (task, record) in rows.items():
        row, declared = labels.rows[index], results.tasks[task].metrics[metric]
        by_task.setdefault(task, []).append(
            RunLabel(
                sample_id=record.sample_id,
                item=record.item,
                metric=metric,
                value=_value(labels, row, declared),
                probability=1.0,
                annotator=str(_note(row).get("annotator", "")),
            )
        )
    probabilities = {} if uniform else _probabilities(labels, rows)
    tasks, remarks = dict(results.tasks), []
    for task, task_labels in by_task.items():
        _check_twice(labels, task_labels)
        count = results.tasks[task].metrics[metric].n - results.tasks[task].metrics[metric].failed
        labelled = {label.sample_id for label in task_labels}
        share = min(1.0, len(labelled) / max(count, 1))
        chosen = [
            replace(label, probability=probabilities.get((task, label.sample_id), share))
            for label in task_labels
        ]
        write_labels(run, task, chosen)
        tasks[task] = with_corrections(run, task, replace(results.tasks[task]))
        remarks += _remarks(task, chosen)
        corrected = tasks[task].metrics[metric].corrected
        if corrected and corrected.reason:
            remarks.append(f"{task}:{metric} is not corrected: {corrected.reason}")
    corrected_results = replace(results, tasks=tasks)
    write_results(run, corrected_results)
    return Corrected(run, corrected_results, {t: len(rows) for t, rows in by_task.items()}, remarks)


def _value(labels: Labels, row: Labelled, metric: MetricResult) -> float:
    """A grade in the metric's units: 1 to its scale is mapped to the range, the best grade to the best
    end; without a scale it is in these units already."""
    low, high = metric.range
    scale = _note(row).get("scale")
    if scale is None:
        if not low <= row.label <= high:
            raise UserError(
                f"{labels.name}: the label {row.label:g} of {row.sample.id!r} is outside of the "
                f"metric's range, {low:g} to {high:g}"
            )
        return row.label
    if not (isinstance(scale, int) and scale > 1 and 1 <= row.label <= scale):
        raise UserError(
            f"{labels.name}: the grade {row.label:g} of {row.sample.id!r} does not fit scale {scale!r}"
        )
    share = (row.label - 1) / (scale - 1)
    return low + (share if metric.better == "higher" else 1 - share) * (high - low)


def _probabilities(
    labels: Labels, rows: Mapping[int, tuple[str, Record]]
) -> dict[tuple[str, str], float]:
    """Probability by task and sample id. UserError if one is missing, wrong, or there are two."""
    chosen: dict[tuple[str, str], float] = {}
    missing = []
    for index, (task, record) in rows.items():
        probability = _note(labels.rows[index]).get("probability")
        if probability is None:
            missing.append(record.sample_id)
            continue
        if not isinstance(probability, int | float) or not 0 < probability <= 1:
            raise UserError(
                f"{labels.name}: the probability of {record.sample_id!r} is {probability!r}: it must be "
                "above 0 and at most 1"
            )
        if chosen.setdefault((task, record.sample_id), float(probability)) != probability:
            raise UserError(f"{labels.name}: {record.sample_id!r} of {task} has two probabilities")
    if missing:
        raise UserError(
            f"{labels.name}: {len(missing)} labels have no probability, such as that of "
            f"{', '.join(map(repr, missing[:_NAMED]))}. Whoever draws samples must note it; if every "
            "sample was equally likely, drawn at random, say so with --uniform"
        )
    return chosen


def _check_twice(labels: Labels, task_labels: Sequence[RunLabel]) -> None:
    labelled_by = set()
    for label in task_labels:
        if (label.sample_id, label.annotator) in labelled_by:
            by = f" by {label.annotator}" if label.annotator else ""
            raise UserError(f"{labels.name}: {label.sample_id!r} is labelled twice{by}: keep one label")
        labelled_by.add((label.sample_id, label.annotator))


def _remarks(task: str, labels: Sequence[RunLabel]) -> list[str]:
    remarks = []
    if len({label.annotator for label in labels}) == 1:
        remarks.append(f"{task}: all labels are by one annotator, so that their agreement is unknown")
    if len({label.value for label in labels}) == 1:
        remarks.append(f"{task}: all labels are alike, so that others may have gone unseen")
    return remarks
