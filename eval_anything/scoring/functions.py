"""Types of scoring functions: `scorer:`, `controls:` and `factory:` of task.yaml and judge.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from eval_anything.content import Response, Sample, Score

ScoreFunction = Callable[[Sample, Response], Mapping[str, Score | float | None]]
"""The scores by metric of one response; a metric that does not apply to the sample is left out."""

ControlFunction = Callable[[Sequence[tuple[Sample, dict[str, Score]]]], list[dict[str, Score]]]
"""Further scores for each sample, in order, computed from the scores of all."""
