"""The policy of a gate: metrics that count, margins of allowed loss, limits that must be met.

`POLICY` is the commented file that `gate init` writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct

from eval_anything.errors import UserError
from eval_anything.files.places import content_folder
from eval_anything.files.yaml_files import load_yaml

Tier = Literal["critical", "supporting", "advisory"]


Proven = Literal["tasks", "modalities"]


PROOF_MARGINS: dict[Proven, float] = {"tasks": 0.10, "modalities": 0.05}
"""The losses that must be shown not to be there, where the policy has no others. A modality's is
smaller, since one of its tasks may lose much while the others do not."""


POLICY = """\
# A candidate run is compared with the baseline, sample by sample. Margins are shares of a metric's
# range: 0.02 is 0.2 points of a 0..10 score. Every task that both runs have is gated by its primary
# metric with these defaults; `tasks` changes that for some.
version: 1
baseline:
  pin: runs/release          # the release that must not get worse, a run directory
  # also: runs/last-green    # a second one, against slow decline
alpha: 0.05                  # how often a candidate that has not changed may be blocked, at most
suite:
  margin: 0.02               # the loss over all tasks that is still a pass
# prove: {of: [tasks], margin: 0.10}   # besides, it must be shown that no task has lost so much (or
                             # of modalities, over all tasks); `gate plan` says how many samples it takes
defaults:
  tier: supporting           # critical: a floor that is missed blocks, too. advisory: only warns
  margin: 0.02               # the loss of one task that is not worth a block
tasks: {}
  # micro/selection: {tier: critical, floor: 0.7}
  # micro/instruction_following:if_audio: {margin: 0.05}
metrics:                     # over all samples of the run
  valid_output: {tier: critical, floor: 0.95}
  latency.p95: {tier: advisory, max_relative: 0.2}
allow_uncalibrated: false    # may judges count that nobody has compared with people?
corrected: false             # true: changes count as labels of both runs correct them
"""


class Baseline(Struct, frozen=True, forbid_unknown_fields=True):
    """Run directories to compare with, relative to the policy file."""

    pin: str | None = None
    also: str | None = None


class SuiteRule(Struct, frozen=True, forbid_unknown_fields=True):
    """The mean loss over all gated tasks that is still a pass."""

    margin: float = 0.02


class ProofRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Proofs that are required besides the suite's: that no task, or no modality, lost its margin. One
    margin for all, or one for each kind; `PROOF_MARGINS` where there is none."""

    of: tuple[Proven, ...] = ("tasks",)
    margin: float | dict[Proven, float] = {}

    def margin_of(self, kind: Proven) -> float:
        """The margin of all tasks, or of all modalities."""
        if isinstance(self.margin, dict):
            return self.margin.get(kind, PROOF_MARGINS[kind])
        return self.margin


class Defaults(Struct, frozen=True, forbid_unknown_fields=True):
    """Tier and margin of tasks that have none of their own."""

    tier: Tier = "supporting"
    margin: float = 0.02


class TaskRule(Struct, frozen=True, forbid_unknown_fields=True):
    """One `task` or `task:metric`. `prove` is the loss that it must be shown not to have. `floor` is in
    the metric's units, and a ceiling where lower is better. `min_judge` maps statistics of the judge's
    calibration to their least values."""

    tier: Tier | None = None
    margin: float | None = None
    prove: float | None = None
    weight: float = 1.0
    floor: float | None = None
    min_judge: dict[str, float] = {}


class RunRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits for a number of the whole run: floor, ceiling, largest increase over the baseline's."""

    tier: Tier = "advisory"
    floor: float | None = None
    ceiling: float | None = None
    max_relative: float | None = None


RunMetric = Literal["valid_output", "latency.mean", "latency.p50", "latency.p95", "cost.money"]


class GatePolicy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A gate's policy. `alpha` is the share of unchanged candidates that may be blocked; with
    `corrected`,
    metrics of which a run has labels are gated by their corrected changes."""

    version: Literal[1]
    baseline: Baseline = Baseline()
    alpha: float = 0.05
    suite: SuiteRule = SuiteRule()
    prove: ProofRule | None = None
    defaults: Defaults = Defaults()
    tasks: dict[str, TaskRule] = {}
    metrics: dict[RunMetric, RunRule] = {}
    max_unpaired: float = 0.02
    allow_uncalibrated: bool = False
    corrected: bool = False


def find_policy(name: str | Path) -> Path:
    """Path of a policy file, or of the bundled one of a suite such as `micro`. UserError if neither."""
    path = Path(name)
    if path.is_file():
        return path
    bundled = content_folder("benchmarks") / path / "policy.yaml"
    if len(path.parts) == 1 and bundled.is_file():
        return bundled
    raise UserError(f"{name}: there is no such policy; `eval-anything gate init` writes one")


def _margins(policy: GatePolicy) -> list[tuple[tuple[str, ...], float | None]]:
    """All margins, each with its place in the file."""
    margins: list[tuple[tuple[str, ...], float | None]] = [
        (("suite", "margin"), policy.suite.margin),
        (("defaults", "margin"), policy.defaults.margin),
    ]
    for name, rule in policy.tasks.items():
        margins += [(("tasks", name, "margin"), rule.margin), (("tasks", name, "prove"), rule.prove)]
    proof_margin = policy.prove.margin if policy.prove is not None else {}
    if isinstance(proof_margin, dict):
        margins += [(("prove", "margin", kind), margin) for kind, margin in proof_margin.items()]
    else:
        margins.append((("prove", "margin"), proof_margin))
    return margins


def read_policy(path: Path) -> GatePolicy:
    """Reads and checks a policy file. FileProblemsError names each mistake with its line."""
    policy, mistakes = load_yaml(path, GatePolicy)

    def check(good: bool, message: str, *steps: str) -> None:
        if not good:
            mistakes.add(message, *steps)

    check(0 < policy.alpha < 0.5, "alpha must lie between 0 and 0.5", "alpha")
    check(0 <= policy.max_unpaired < 1, "must be a share from 0 to 1", "max_unpaired")
    for steps, margin in _margins(policy):
        check(margin is None or 0 <= margin < 1, "a margin is a share of the range, 0 to 1", *steps)
    if policy.prove is not None:
        check(bool(policy.prove.of), "name tasks, modalities or both", "prove", "of")
        margins = policy.prove.margin if isinstance(policy.prove.margin, dict) else {}
        for kind in margins:
            check(kind in policy.prove.of, f"{kind} are not in `of`", "prove", "margin", kind)
    for name, rule in policy.tasks.items():
        advisory = (rule.tier or policy.defaults.tier) == "advisory"
        check(rule.prove is None or not advisory, "advisory: nothing to prove", "tasks", name, "prove")
    for name, rule in policy.tasks.items():
        check(rule.weight > 0, "a weight must be above 0", "tasks", name, "weight")
    for run_metric, run_rule in policy.metrics.items():
        limits = (run_rule.floor, run_rule.ceiling, run_rule.max_relative)
        check(
            any(limit is not None for limit in limits),
            "needs a floor, a ceiling or max_relative",
            "metrics",
            run_metric,
        )
    mistakes.check()
    return policy
