"""Filters of pairs: by how much a refined response is better than the first one, by a critic
or a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align_plugins.data.rows import Demonstration, Feedback, row_like
from align_plugins.evaluation.collect import SavedResponses, ask, task_of
from align_plugins.methods.feedback.roles import CritiqueSource, judge_responses
from align_plugins.methods.feedback.settings import Critic
from align_plugins.methods.feedback.stages import Stages
from align_plugins.methods.feedback.steps import critique_stage, is_fine
from eval_anything.content import Part
from eval_anything.judges.scorer import ComparingScorer, Scorer
from eval_anything.models.base import Sampling
from eval_anything.output.progress import Progress


class NoFilter:
    """Accepts every pair whose responses differ."""

    least = 0.0
    inputs: dict[str, Any] = {}

    def gains(self, rows: Sequence[Feedback], folder: Path) -> dict[str, float]:
        """1 for every row, by id."""
        return {row.id: 1.0 for row in rows}


class CriticFilter:
    """Asks the critic, who criticised the first response: it must find nothing wrong with the refined
    one."""

    least = 0.0

    def __init__(self, stages: Stages, critique: CritiqueSource, critic: Critic, after: str) -> None:
        self._stages = stages
        self._critique = critique
        self._critic = critic
        self._after = after

    @property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides the gains, for the hash of a stage."""
        return {**self._critique.inputs, "fine": self._critic.fine}

    def gains(self, rows: Sequence[Feedback], folder: Path) -> dict[str, float]:
        """1 for a row whose refined response the critic accepts, otherwise 0, by id."""
        again = [row_like(row, Demonstration, response=row.refined) for row in rows]
        critiqued = critique_stage(self._stages, again, self._after, self._critique, "critiques_again")
        return {row.id: float(is_fine(row.critique, self._critic)) for row in critiqued}


class JudgeFilter:
    """Asks a judge: a pairwise one, or one whose values for both responses are compared."""

    def __init__(self, scorer: Scorer, metric: str | None, least: float, progress: Progress) -> None:
        self._scorer = scorer
        self._metric = metric or next(iter(scorer.metrics))
        self._progress = progress
        self.least = least

    @property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides the gains, for the hash of a stage."""
        return {"judge": self._scorer.calibrated_as, "metric": self._metric}

    def gains(self, rows: Sequence[Feedback], folder: Path) -> dict[str, float]:
        """Win rate minus 0.5 for a pairwise judge, otherwise the difference of the metric, by id."""
        first = {row.id: row.response for row in rows}
        refined = {row.id: row.refined or () for row in rows}
        if isinstance(self._scorer, ComparingScorer):
            task = task_of("filter", rows)
            saved = SavedResponses(first)
            first_records = ask(task, saved, folder / "first", Sampling(), self._progress)
            self._scorer.against(task, first_records, "the first responses")
            won = self._values("filter", rows, refined, folder / "refined")
            return {identity: win_rate - 0.5 for identity, win_rate in won.items()}
        before = self._values("filter", rows, first, folder / "first")
        after = self._values("filter", rows, refined, folder / "refined")
        sign = 1.0 if self._scorer.metrics[self._metric].better == "higher" else -1.0
        return {i: sign * (after[i] - before[i]) for i in after if i in before}

    def _values(
        self,
        name: str,
        rows: Sequence[Feedback],
        answered: Mapping[str, Sequence[Part]],
        folder: Path,
    ) -> dict[str, float]:
        records = judge_responses(name, rows, answered, self._scorer, folder, self._progress)
        scores = {i: record.scores.get(self._metric) for i, record in records.items()}
        return {i: s.value for i, s in scores.items() if s is not None and s.value is not None}
