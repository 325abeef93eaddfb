"""`eval-anything run --until decided`: a run that goes on until a gate of it can decide.

Samples come in rounds, each with an equal part of every task, sources of samples as a whole. After each
round a sequential gate looks at all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from eval_anything.comparison.sides import Side, read_side
from eval_anything.errors import Exit, UserError
from eval_anything.evaluation.evaluate import evaluate
from eval_anything.evaluation.options import Options
from eval_anything.evaluation.outcome import Outcome
from eval_anything.evaluation.plan import RunPlan, make_plan
from eval_anything.gating.gate import gate
from eval_anything.gating.policy import find_policy, read_policy
from eval_anything.gating.report import text, write_gate
from eval_anything.gating.sequence import SEQUENCE
from eval_anything.gating.sequential import in_order
from eval_anything.output.progress import Progress

_ROUNDS = 40
"""At most so many rounds, since a look at a round takes some time."""


_SMALLEST = 20
"""Samples of a round, at least."""


def evaluate_until_decided(
    evaluation: Options,
    baseline: Path,
    policy: Path,
    progress: Progress,
    on_plan: Callable[[RunPlan], None],
) -> tuple[Outcome, str]:
    """Evaluates in rounds until the gate decides, all samples of the baseline are answered, or a sample
    is pending. The gate's sequence and reports are in the run's directory; its verdict comes as text.

    Raises:
        UserError: options that choose samples themselves, a baseline without a task of the run, a wrong
            policy.
    """
    for name in ("limit", "first", "shard"):
        if getattr(evaluation, name) is not None:
            raise UserError(f"--until decided chooses the samples itself: leave out --{name}")
    read_policy(find_policy(policy))
    base = read_side(baseline)
    plan = make_plan(evaluation)
    missing = sorted(set(plan.tasks) - set(base.file.tasks))
    if missing or plan.external:
        words = ", ".join(missing) if missing else "tasks of other tools"
        raise UserError(f"--until decided: {baseline} has no samples to compare for {words}")
    loaded_once = plan.model if plan.model.replicable and evaluation.replicas == 1 else None
    if loaded_once is not None:  # its arguments are part of it
        evaluation = replace(evaluation, model_args={}, concurrency=None)
    for only in _rounds(base, list(plan.tasks)):
        outcome = evaluate(evaluation, progress, on_plan, loaded_once, only)
        verdict = gate(outcome.run, policy, baseline, outcome.run / SEQUENCE)
        note = verdict.sequence
        if note is not None:
            progress.say(f"{verdict.verdict} after {note.available:,} samples")
        if outcome.exit_code == Exit.INFRASTRUCTURE or note is None or note.decided:
            break
        on_plan = _nothing
    write_gate(verdict, outcome.run)
    return outcome, text(verdict)


def _nothing(plan: RunPlan) -> None:
    """Says nothing about the plan of a further round."""


def _rounds(base: Side, tasks: Sequence[str]) -> Iterator[dict[str, list[str]]]:
    """Ids of the samples of each task up to the end of each round, of those that the baseline has."""
    members: dict[str, dict[str, list[str]]] = {}
    for task in tasks:
        for outline in base.outlines[task]:
            members.setdefault(task, {}).setdefault(outline.source_id, []).append(outline.sample_id)
    samples = sum(len(ids) for clusters in members.values() for ids in clusters.values())
    fewest = min(map(len, members.values()))
    count = max(1, min(_ROUNDS, fewest, samples // _SMALLEST))
    ordered = {task: in_order(task, clusters) for task, clusters in members.items()}
    for number in range(1, count + 1):
        yield {
            task: [
                id_
                for cluster in names[: math.ceil(len(names) * number / count)]
                for id_ in members[task][cluster]
            ]
            for task, names in ordered.items()
        }
