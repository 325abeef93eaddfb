"""Is one run as good as another within a margin, as the same model on another engine should be?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from eval_anything.comparison.answers import SameAnswers, same_answers
from eval_anything.comparison.pairs import pair
from eval_anything.comparison.sides import Side
from eval_anything.errors import UserError
from eval_anything.statistics.equivalence import Equivalence, equivalence
from eval_anything.statistics.intervals import Floats, Ints, cluster_codes
from eval_anything.statistics.paired import mean_of_means


class EquivalenceReport(Struct, frozen=True):
    """Verdicts on two runs. All differences are shares of the range of a metric, up is good.

    Attributes:
        margin: the difference that does not matter, a share of the range.
        tasks: the verdict on the primary metric of each task, by `task:metric`.
        overall: the verdict on the mean of the tasks.
        answers: how many answers are the same, for each task.
    """

    margin: float
    tasks: dict[str, Equivalence]
    overall: Equivalence
    answers: list[SameAnswers]


def check_margin(margin: float) -> None:
    """UserError for a margin that is no share of a range."""
    if not (math.isfinite(margin) and 0 < margin < 1):
        raise UserError(
            f"--equivalence {margin:g}: must be a share of the range above 0 and below 1, such as 0.02"
        )


def equivalence_of(
    base: Side, candidate: Side, margin: float, metrics: Sequence[tuple[str, str]]
) -> EquivalenceReport:
    """The report on two runs, from these (task, metric) of theirs, one for each task.

    UserError if there is none of them, as where all are refused, or both runs share no sample.
    """
    changes: dict[str, tuple[Floats, Ints]] = {}
    for task, name in metrics:
        rows, _ = pair(base.outlines[task], candidate.outlines[task], name)
        if rows:
            score = next(o.scores[name] for o in candidate.outlines[task] if name in o.scores)
            up = (1.0 if score.better == "higher" else -1.0) / (score.range[1] - score.range[0])
            values = np.array([up * (row.candidate - row.base) for row in rows])
            changes[f"{task}:{name}"] = values, cluster_codes([row.cluster for row in rows])
    if not changes:
        raise UserError(
            f"--equivalence: {base.path} and {candidate.path} have no sample with a value of a primary "
            "metric in both: run both with the same tasks and samples"
        )
    pooled = mean_of_means(list(changes.values()), [1.0] * len(changes))
    tasks = {name: equivalence(values, codes, margin) for name, (values, codes) in changes.items()}
    answers = (same_answers(base, candidate, task) for task, _ in metrics)
    return EquivalenceReport(
        margin,
        tasks,
        equivalence(pooled.differences, pooled.clusters, margin, pooled.largest, pooled.strata),
        [same for same in answers if same is not None],
    )
