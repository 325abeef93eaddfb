"""Types of the functions that task.yaml and judge.yaml name as `scorer:` and `controls:`.

A `factory:` of judge.yaml is a function from the path of a model to a `ScoreFunction`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from eval_anything.content import Response, Sample, Score

ScoreFunction = Callable[[Sample, Response], Mapping[str, Score | float | None]]
"""From a sample and a response to the scores by metric. A metric that does not apply to the sample is
left out; None is a score that could not be computed."""

ControlFunction = Callable[[Sequence[tuple[Sample, dict[str, Score]]]], list[dict[str, Score]]]
"""From all samples of a task with their scores to further scores of each sample, in the same order."""
