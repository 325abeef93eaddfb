"""The alarm of learning from rewards: the training reward rises while the evaluated metric falls.

A checkpoint raises it when its training reward is above that of the best checkpoint before it (the start
counts), and the evaluated metric is below that one's, paired by sample, with a 95 % interval that
excludes zero. The best one was chosen on the same samples, so it looks a little better than it is: a
single alarm is a reason to look, not a proof.
"""

from __future__ import annotations

from msgspec import Struct

from align_plugins.evaluation.checkpoints import START, CheckpointMetric, Evaluations
from eval_anything.comparison.compare import compare


class Alarm(Struct, frozen=True, kw_only=True):
    """A checkpoint whose training reward rose while the metric fell.

    Attributes:
        name: evaluation of the checkpoint.
        since: evaluation of the best checkpoint before it.
        reward_since: mean training reward at `since`.
        reward: mean training reward at the checkpoint.
        metric: task:metric.
        difference: of the metric, paired; below 0 is worse.
        ci95: 95 % interval of the difference.
    """

    name: str
    since: str
    reward_since: float
    reward: float
    metric: str
    difference: float
    ci95: tuple[float, float]

    @property
    def line(self) -> str:
        """The alarm as a line for people."""
        low, high = self.ci95
        return (
            f"ALARM at {self.name}: the training reward rose from {self.reward_since:.3f} to "
            f"{self.reward:.3f} while {self.metric} fell by {-self.difference:.3f} "
            f"({low:+.3f} .. {high:+.3f}) since {self.since}"
        )


def alarms(evaluations: Evaluations) -> list[Alarm]:
    """The alarms of all finished evaluations, by step."""
    raised = []
    best: CheckpointMetric | None = None
    for name in evaluations.finished():
        now = evaluations.checkpoint_metric(name)
        if now is None:
            continue
        if best is not None and now.goodness < best.goodness:
            alarm = _between(evaluations, best.name, name)
            raised += [alarm] if alarm is not None else []
        if best is None or now.goodness > best.goodness:
            best = now
    return raised


def _between(evaluations: Evaluations, since: str, name: str) -> Alarm | None:
    note = evaluations.note(name)
    before = note["first_reward"] if since == START else evaluations.note(since)["reward"]
    if before is None or note["reward"] is None or note["reward"] <= before:
        return None
    stated = evaluations.metric_of(evaluations.run_of(name))
    comparison = compare(evaluations.run_of(since), evaluations.run_of(name))
    change = next((metric for metric in comparison.metrics if metric.name == stated), None)
    if change is None or change.change.ci95 is None or change.change.ci95[1] >= 0:
        return None
    return Alarm(
        name=name,
        since=since,
        reward_since=before,
        reward=note["reward"],
        metric=change.name,
        difference=change.change.difference,
        ci95=change.change.ci95,
    )
