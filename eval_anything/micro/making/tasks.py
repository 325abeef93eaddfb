"""Generates the micro benchmarks' samples: python -m eval_anything.micro.making.tasks [--out FOLDER]

Needs a checkout of the repository. Rewrites samples.jsonl and media/ of each task folder and no other
file. The same code gives the same samples.jsonl byte for byte; media files are named by their scenes,
because encoders of another version give other bytes.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eval_anything.micro.making.families import ablation, cycle, interleaved, multi_turn
from eval_anything.micro.making.scripts import (
    HELD_OUT_SHARE,
    SEED,
    FamilyScript,
    ScriptPlan,
    draw_scripts,
    write_samples,
)
from eval_anything.micro.pairs.preferences import example, synergy_families
from eval_anything.micro.prompts.exchange import Exchange, PromptFamily, draw_exchange
from eval_anything.micro.prompts.families import FAMILIES
from eval_anything.micro.prompts.script import script_of
from eval_anything.micro.world.scenes import SymbolicPart

SCRIPTED = {
    "interleaved": ScriptPlan("int", interleaved.FAMILIES, 350),
    "cycle": ScriptPlan("cyc", cycle.FAMILIES, 352),
    "multi_turn": ScriptPlan("mul", multi_turn.FAMILIES, 300),
    "ablation": ScriptPlan("abl", ablation.FAMILIES, 350),
}
"""The plans of the tasks of `micro_more`, made of scripts."""


@dataclass(frozen=True)
class ContentPlan:
    """A task: prefix of its ids, and groups of families that get the same number of samples each."""

    prefix: str
    groups: tuple[tuple[PromptFamily, ...], ...]
    group_size: int


def plans() -> dict[str, ContentPlan]:
    """The plan of each task that is made of exchanges, by its name."""
    families = tuple(FAMILIES.values())
    synergy = synergy_families()
    targeted = tuple(f for f in families if example(f).targets and f.dimension != "safety")
    dimensions = ("perception", "reasoning", "instruction_following", "safety")
    by_dimension = tuple(tuple(f for f in families if f.dimension == d) for d in dimensions)
    return {
        "selection": ContentPlan("sel", (families,), 560),
        "synergy": ContentPlan("syn", (synergy,), 520),
        "synergy_judged": ContentPlan("syj", (synergy,), 150),
        "instruction_following": ContentPlan("ins", (targeted,), 540),
        "understanding": ContentPlan("und", by_dimension, 135),
    }


def draw_samples(task: str) -> list[FamilyScript]:
    """All samples of a task, in their order."""
    if task in SCRIPTED:
        return draw_scripts(task, SCRIPTED[task])
    return [(exchange.family, exchange.template, script_of(exchange)) for exchange in exchanges(task)]


def exchanges(task: str) -> list[Exchange]:
    """The exchanges of a task: families in turn, each with its paraphrases in turn, no prompt twice."""
    plan = plans()[task]
    selection: list[Exchange] = []
    for number, families in enumerate(plan.groups):
        rng = random.Random(f"{SEED}-{task}-{number}")
        # Families share the set of prompts: two of them can ask for the same in the same words.
        used: set[tuple[SymbolicPart, ...]] = set()
        streams = [_stream(family, rng, used) for family in families]
        group: list[Exchange] = []
        while len(group) < plan.group_size:
            # A family that has no new prompts left drops out.
            turns = [(stream, next(stream, None)) for stream in streams]
            streams = [stream for stream, exchange in turns if exchange is not None]
            group += [exchange for _, exchange in turns if exchange is not None]
        selection += group[: plan.group_size]
    # Mixed, so that the first samples are a fair selection.
    random.Random(f"{SEED}-{task}-order").shuffle(selection)
    return selection


def _stream(
    family: PromptFamily, rng: random.Random, used: set[tuple[SymbolicPart, ...]]
) -> Iterator[Exchange]:
    """Exchanges of a family with prompts that are not yet used, until 40 tries in a row find none."""
    turn = misses = 0
    while misses < 40:
        template = turn % len(family.templates)
        held_out = rng.random() < HELD_OUT_SHARE
        try:
            exchange = draw_exchange(family, rng, held_out, template)
        except ValueError:  # this paraphrase knows no such combination
            exchange = draw_exchange(family, rng, not held_out, template)
        turn += 1
        if exchange.prompt in used:
            misses += 1
            continue
        misses = 0
        used.add(exchange.prompt)
        yield exchange


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Rewrite the samples of the micro benchmarks.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/micro"), help="folder of the suite")
    suite = parser.parse_args().out
    every: dict[str, ContentPlan | ScriptPlan] = {**plans(), **SCRIPTED}
    for task, plan in every.items():
        samples = draw_samples(task)
        write_samples(suite / task, plan.prefix, samples)
        print(f"{suite / task}: {len(samples)} samples")


if __name__ == "__main__":
    main()
