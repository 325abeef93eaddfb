"""Warnings before a run begins: metrics that have no judge, samples that the model cannot read."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from eval_anything.content import MODALITIES, Modality
from eval_anything.evaluation.options import JUDGE_VARIABLE
from eval_anything.evaluation.plan import RunPlan


class Unscored(Struct, frozen=True):
    """A primary metric that will have no value, and its judge, which has no model."""

    task: str
    metric: str
    judge: str


class Foresight(Struct, frozen=True):
    """Warnings about a run.

    Attributes:
        unscored: primary metrics that will have no value.
        unreadable: number of samples with a medium that the model does not read, by task.
        reads: the modalities that the model reads; empty if that is not known before it is loaded.
        samples: number of samples of the run.
        tasks: number of tasks of the run.
    """

    unscored: list[Unscored]
    unreadable: dict[str, int]
    reads: list[Modality]
    samples: int
    tasks: int

    @property
    def lines(self) -> list[str]:
        """The warnings for people."""
        lines = []
        if self.unscored:
            judges = sorted({entry.judge for entry in self.unscored})
            names = ", ".join(f"{entry.task}:{entry.metric}" for entry in self.unscored)
            verb = "has" if len(judges) == 1 else "have"
            lines.append(
                f"{len(self.unscored)} of {self.tasks} primary metrics will be unscored: {names}, since "
                f"{', '.join(judges)} {verb} no model. --judge SPEC, or {JUDGE_VARIABLE}, names one "
                "for all judges that ask a chat model"
            )
        if self.unreadable:
            by_task = ", ".join(f"{count} of {task}" for task, count in self.unreadable.items())
            lines.append(
                f"{sum(self.unreadable.values())} of {self.samples} samples cannot be read by this "
                f"model, which takes {' and '.join(self.reads)}: they will fail ({by_task})"
            )
        return lines


def foresee(plan: RunPlan) -> Foresight:
    """The warnings about a run. A checkpoint's config is read only if a sample has a medium."""
    unscored = []
    for name, task in plan.own_tasks.items():
        primary = task.file.primary
        for scorer in plan.scorers[name].scorers:
            if primary in scorer.metrics and not scorer.available:
                unscored.append(Unscored(name, primary, scorer.name))
    samples = {name: plan.samples[name] for name in plan.own_tasks}
    inputs = {name: Counter(map(group.inputs, range(len(group)))) for name, group in samples.items()}
    has_media = any({*kinds} - {Modality.TEXT} for counts in inputs.values() for kinds in counts)
    reads = plan.model.inputs if has_media else None
    unreadable = {}
    if reads is not None:
        unread = {
            name: sum(count for kinds, count in counts.items() if not {*kinds} <= {*reads})
            for name, counts in inputs.items()
        }
        unreadable = {name: count for name, count in unread.items() if count}
    return Foresight(
        unscored,
        unreadable,
        [m for m in MODALITIES if reads is not None and m in reads],
        sum(map(len, samples.values())),
        len(plan.tasks),
    )
