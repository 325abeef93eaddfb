"""Judges that come to a run after its answers: they score what is on record, and no model is asked.

run.json names them (`to_judge`) from the moment at which they come until they have scored every answer,
so that the work can be stopped at any time, and a finished run costs nothing when it is read again.
"""

from __future__ import annotations

from collections.abc import Mapping

from eval_anything.content import Response
from eval_anything.evaluation.in_place import RecordedModel
from eval_anything.evaluation.pipeline import Answered, missing_judges
from eval_anything.evaluation.plan import RunPlan
from eval_anything.judges.assemble import NO_FINGERPRINT
from eval_anything.models.base import Request, Sampling
from eval_anything.runs.comparable import JUDGE
from eval_anything.runs.directory import Run, RunFile, read_run

Fingerprints = Mapping[str, Mapping[str, str]]
"""The sha256 of each part of a task that decides its numbers, by task."""


def joins(key: str, before: str | None, now: str | None) -> bool:
    """Whether a part of a task's fingerprints says that a judge comes to the run, which had none of that
    name or no model for it.

    Example:
        >>> joins("judge tone", "no model", "4f2a"), joins("judge tone", "9c1b", "4f2a")
        (True, False)
    """
    is_judge = key.startswith(JUDGE) and now not in (None, NO_FINGERPRINT)
    return is_judge and before in (None, NO_FINGERPRINT)


def judges_to_come(old: RunFile, fingerprints: Fingerprints) -> list[str]:
    """Names of judges that have not scored all answers of a run that goes on with these fingerprints."""
    names = list(old.to_judge or ())
    for task, parts in fingerprints.items():
        before = old.fingerprints.get(task)
        if before is not None:
            joining = (key for key, now in parts.items() if joins(key, before.get(key), now))
            names += [key.removeprefix(JUDGE) for key in joining]
    return list(dict.fromkeys(names))


async def unjudged_answers(plan: RunPlan, run: Run) -> list[Answered]:
    """The answers on record that lack scores of judges that have come to the run. If it is judged in
    place, also those to which a judge's model gave no verdict."""
    answers = []
    names, retry = run.file.to_judge or (), isinstance(plan.model, RecordedModel)
    for name, task in plan.own_tasks.items() if names or retry else ():
        scorers = [scorer for scorer in plan.scorers[name].scorers if scorer.available]
        judges = [s for s in scorers if s.name in names or (retry and s.judged)]
        for record in read_run(run.path, name) if judges else ():
            sample = task.by_id.get(record.sample_id)
            if sample is None or (record.error is not None and not record.error.of_model):
                continue
            missing = await missing_judges(judges, sample, record, retry)
            if missing:
                request = Request(name, sample.id, record.repeat, task.messages(sample), Sampling())
                response = Response(
                    record.parts,
                    record.order_known,
                    record.stop_reason,
                    error=record.error,
                    details=record.details,
                    turns=record.turns,
                )
                answers.append(Answered(request, response, record, missing))
    return answers
