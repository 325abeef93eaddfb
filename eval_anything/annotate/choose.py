"""Samples to label next, so that labels correct a judged metric of runs as well as they can.

Strata are made of what the judge says about the runs' answers; in each, samples come in one random
order, of which the labelled ones are the first. So every round goes on where the last one ended, and the
probability of a label is the labelled share of its stratum.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval_anything.annotate.log import Annotation, Chosen
from eval_anything.content import share_of_range
from eval_anything.errors import UserError, near
from eval_anything.runs.directory import is_run, read_outlines
from eval_anything.statistics.intervals import Floats
from eval_anything.statistics.strata import allocate, spreads, strata_of

_OVERLAP = 10
"""One of so many samples is one that another annotator has labelled, which shows their agreement."""


class SampleChoice(NamedTuple):
    """Samples to label, in the order in which they are asked about, and the stratum of each."""

    sample_ids: list[str]
    chosen: dict[str, Chosen]


def choose(
    task: str,
    runs: Sequence[Path],
    metric: str,
    count: int,
    annotator: str,
    before: Sequence[Annotation],
    seed: int = 0,
) -> SampleChoice:
    """Chooses the samples whose labels shrink the interval of a metric most, or of its change.

    Args:
        task: full name of the task.
        runs: directories of the runs, all of whose answers will be labelled.
        metric: the judged metric.
        count: number of samples.
        annotator: who will label them.
        before: the latest answers in the file of annotations.
        seed: seed of the random order in each stratum.

    Raises:
        UserError: the runs have no such metric, or the file has labels that were chosen otherwise.
    """
    sample_ids, shares = _judged(task, runs, metric)
    strata = strata_of(shares)
    sizes = np.bincount(strata)
    places = {sample_id: index for index, sample_id in enumerate(sample_ids)}
    grades = [a for a in before if a.kind == "grade" and a.task == task]
    for annotation in grades:
        _check(annotation, metric, places, strata.tolist(), sizes.tolist())
    truth = _truth(grades, [run.resolve().stem for run in runs])
    labelled = {a.sample_id for a in grades}
    measured = [sample_id for sample_id in places if sample_id in truth]
    spread = spreads(
        shares,
        strata,
        [places[sample_id] for sample_id in measured],
        np.array([truth[sample_id] for sample_id in measured]),
    )
    labelled_counts = np.bincount([strata[places[i]] for i in sorted(labelled)], minlength=len(sizes))
    again = [
        i for i in places if i in labelled - {a.sample_id for a in grades if a.annotator == annotator}
    ]
    generator = random.Random(f"{seed}\0{task}\0{metric}\0{annotator}")
    repeated = generator.sample(again, min(len(again), count // _OVERLAP))
    new = allocate(sizes, spread, labelled_counts, count - len(repeated))
    order = sorted(
        (i for i in sample_ids if i not in labelled),
        key=lambda i: random.Random(f"{seed}\0{task}\0{metric}\0{i}").random(),
    )
    to_draw = new.tolist()
    proposed = list(repeated)
    for sample_id in order:
        stratum = strata[places[sample_id]]
        if to_draw[stratum] > 0:
            to_draw[stratum] -= 1
            proposed.append(sample_id)
    generator.shuffle(proposed)
    return SampleChoice(
        proposed,
        {i: Chosen(metric, int(strata[places[i]]), int(sizes[strata[places[i]]])) for i in proposed},
    )


def _judged(task: str, runs: Sequence[Path], metric: str) -> tuple[list[str], Floats]:
    """Samples with an answer to label in a run, and what the judge says of each run's answer (n, runs),
    as shares of the range; 0 where a run failed."""
    columns: list[dict[str, float]] = []
    answered: dict[str, None] = {}
    for run in runs:
        if not is_run(run):
            raise UserError(f"--outputs {run}: --next needs the judge's scores, so it takes runs alone")
        outlines = [o for o in read_outlines(run, task) if o.repeat == 0]
        names = {name for outline in outlines for name in outline.scores}
        if metric not in names:
            raise UserError(f"--for {metric}: {run} has no such metric of {task}.{near(metric, names)}")
        column = {}
        for outline in outlines:
            score = outline.scores.get(metric)
            if score is not None and score.value is not None:
                share = share_of_range(score.value, score.range, score.better)
                column[outline.sample_id] = 0.0 if outline.failed else share
                if not outline.failed:
                    answered[outline.sample_id] = None
        columns.append(column)
    sample_ids = [i for i in answered if all(i in column for column in columns)]
    if not sample_ids:
        raise UserError(f"--for {metric}: no sample of {task} has a score by its judge in each run")
    return sample_ids, np.array([[column[i] for column in columns] for i in sample_ids])


def _check(
    annotation: Annotation,
    metric: str,
    places: dict[str, int],
    strata: Sequence[int],
    sizes: Sequence[int],
) -> None:
    """Raises UserError for a label that was not chosen from these runs for this metric."""
    chosen, sample_id = annotation.chosen, annotation.sample_id
    other = "choose another file with --out"
    if chosen is None:
        raise UserError(
            f"the file has grades that --next did not choose, such as {sample_id!r}: {other}"
        )
    if chosen.metric != metric:
        raise UserError(f"the file has labels of {chosen.metric}, not of {metric}: {other}")
    stratum = strata[places[sample_id]] if sample_id in places else None
    if stratum is None or (chosen.stratum, chosen.of) != (stratum, sizes[stratum]):
        raise UserError(
            f"the file has labels that were chosen for other runs, such as {sample_id!r}: name the same "
            f"runs in the same order, or {other}"
        )


def _truth(grades: Sequence[Annotation], names: Sequence[str]) -> dict[str, float]:
    """Labels by sample, as shares of the scale: of one run, or of the change from the first run to the
    last one where both answers are labelled."""
    by_answer: dict[tuple[str, str], list[float]] = {}
    for a in grades:
        if a.grade is not None and a.scale is not None:
            share = (a.grade - 1) / (a.scale - 1)
            by_answer.setdefault((a.responses[0].name, a.sample_id), []).append(share)
    means = {key: sum(values) / len(values) for key, values in by_answer.items()}
    first, last = names[0], names[-1]
    if first == last:
        return {sample_id: mean for (_, sample_id), mean in means.items()}
    return {
        i: means[last, i] - mean
        for (name, i), mean in means.items()
        if name == first and (last, i) in means
    }
