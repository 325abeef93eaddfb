"""The plan of an experiment: arms, seeds, budgets, claims."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from align_plugins.experiment.micro_data import FEEDBACK, PAIRS, PROMPTS
from eval_anything.files.yaml_files import load_yaml

PLAN = Path(__file__).with_name("experiment.yaml")


BASE = "base"
"""The arm that is not trained."""


class Arm(Struct, frozen=True, forbid_unknown_fields=True):
    """One way to train, with a `share` (0..1) of the labels and pairs. Prompts without labels
    are free."""

    name: str
    title: str
    settings: dict[str, Any]
    share: float = 1.0


class Claim(Struct, frozen=True, forbid_unknown_fields=True):
    """A claim that a candidate is better than a base; with a `margin` (share of a metric's range), that
    it is not worse by more than that."""

    candidate: str
    base: str
    says: str
    margin: float | None = None


class ExperimentPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """An experiment. `settings` are those of `feedback` that all arms share; `critic` holds settings
    that arms of the file repeat by reference, and is not read itself."""

    model: str
    seeds: list[int]
    labels: int
    prompts: int
    noise: float
    tasks: list[str]
    settings: dict[str, Any]
    arms: list[Arm]
    claims: list[Claim] = []
    critic: dict[str, Any] = {}

    def settings_of(self, arm: Arm, seed: int) -> dict[str, Any]:
        """Settings file of an arm for `eval-anything train feedback`, in a folder beside `data` and
        `stages`."""
        merged = _merged(self.settings, arm.settings)
        paths = {name: f"../data/{name_of(name, arm.share)}" for name in (PAIRS, FEEDBACK)}
        paths[PROMPTS] = f"../data/{PROMPTS}"
        return {
            "model": self.model,
            "out": ".",
            "seed": seed,
            "stages": "../stages",
            "most": self.pairs_of(arm),
            "evaluate": {"tasks": self.tasks, "start": False},
            **_renamed(merged, paths),
        }

    def pairs_of(self, arm: Arm) -> int:
        """Number of pairs, and of labels, that the arm gets."""
        return round(arm.share * self.labels)


def name_of(file: str, share: float) -> str:
    """Name of the file with that share of the rows."""
    return file if share == 1 else f"{Path(file).stem}-{round(100 * share)}.jsonl"


def read_plan(path: Path) -> ExperimentPlan:
    """The plan in a file. FileProblemsError lists its mistakes."""
    plan, mistakes = load_yaml(path, ExperimentPlan)
    names = [arm.name for arm in plan.arms]
    for i, name in enumerate(names):
        if name in names[:i]:
            mistakes.add(f"arm {name!r} is there twice: rename one", "arms", i)
        if name == BASE:
            mistakes.add(f"arm {BASE!r} is the start itself: rename it", "arms", i)
    for i, claim in enumerate(plan.claims):
        for name in (claim.candidate, claim.base):
            if name not in (BASE, *names):
                mistakes.add(f"claims: there is no arm {name!r}", "claims", i)
    mistakes.check()
    return plan


def _merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `base` with `overrides`, merged group by group."""
    merged = dict(base)
    for key, override in overrides.items():
        before = merged.get(key)
        are_groups = isinstance(before, dict) and isinstance(override, dict)
        merged[key] = _merged(before or {}, override) if are_groups else override
    return merged


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """Copy of nested settings in which file names are replaced."""
    if isinstance(node, dict):
        return {key: _renamed(inner, names) for key, inner in node.items()}
    return names.get(node, node) if isinstance(node, str) else node
