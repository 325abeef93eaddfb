"""Generates the micro benchmarks' samples: python -m eval_anything.micro.making.tasks [--out FOLDER]

Rewrites samples.jsonl and media/ of each task folder and nothing else. The same code gives the same
samples.jsonl byte for byte; media files are named by what they show, because encoders of another
version give other bytes.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_anything.content import MODALITIES
from eval_anything.micro.making import scripts
from eval_anything.micro.making.families import ablation, cycle, interleaved, multi_turn
from eval_anything.micro.making.scripts import (
    HELD_OUT_SHARE,
    SEED,
    Drawn,
    Script,
    ScriptStep,
    draw_scripts,
    script_json,
    write_samples,
)
from eval_anything.micro.prompts.exchange import Exchange, PromptFamily, draw_exchange
from eval_anything.micro.prompts.families import FAMILIES
from eval_anything.micro.world.things import Item

SCRIPTED = {
    "interleaved": scripts.ScriptPlan("int", interleaved.FAMILIES, 350),
    "cycle": scripts.ScriptPlan("cyc", cycle.FAMILIES, 352),
    "multi_turn": scripts.ScriptPlan("mul", multi_turn.FAMILIES, 300),
    "ablation": scripts.ScriptPlan("abl", ablation.FAMILIES, 350),
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
    several = tuple(f for f in families if _example(f).asked and len(_example(f).outputs) > 1)
    shown = tuple(f for f in families if _example(f).asked and f.dimension != "safety")
    dimensions = ("perception", "reasoning", "instruction_following", "safety")
    by_dimension = tuple(tuple(f for f in families if f.dimension == d) for d in dimensions)
    return {
        "selection": ContentPlan("sel", (families,), 560),
        "synergy": ContentPlan("syn", (several,), 520),
        "synergy_judged": ContentPlan("syj", (several,), 150),
        "instruction_following": ContentPlan("ins", (shown,), 540),
        "understanding": ContentPlan("und", by_dimension, 135),
    }


def _example(family: PromptFamily) -> Exchange:
    return draw_exchange(family, random.Random(0), held_out=False)


def draw_samples(task: str) -> list[Drawn]:
    """All samples of a task, in their order."""
    if task in SCRIPTED:
        return draw_scripts(task, SCRIPTED[task])
    return [(one.family, one.template, script_of(one)) for one in exchanges(task)]


def exchanges(task: str) -> list[Exchange]:
    """The exchanges of a task: families in turn, each with its paraphrases in turn, no prompt twice."""
    plan = plans()[task]
    out: list[Exchange] = []
    for number, families in enumerate(plan.groups):
        rng = random.Random(f"{SEED}-{task}-{number}")
        # Families share the set of prompts: two of them can ask for the same in the same words.
        seen: set[tuple[Item, ...]] = set()
        streams = [_stream(family, rng, seen) for family in families]
        group: list[Exchange] = []
        while len(group) < plan.group_size:
            # A family that has no new prompts left drops out.
            drawn = [(stream, next(stream, None)) for stream in streams]
            streams = [stream for stream, exchange in drawn if exchange is not None]
            group += [exchange for _, exchange in drawn if exchange is not None]
        out += group[: plan.group_size]
    # Mixed, so that the first samples are a fair selection.
    random.Random(f"{SEED}-{task}-order").shuffle(out)
    return out


def _stream(family: PromptFamily, rng: random.Random, seen: set[tuple[Item, ...]]) -> Iterator[Exchange]:
    """Exchanges of a family with prompts not yet `seen`, as long as they are easily found."""
    turn = misses = 0
    while misses < 40:
        template = turn % len(family.templates)
        held_out = rng.random() < HELD_OUT_SHARE
        try:
            exchange = draw_exchange(family, rng, held_out, template)
        except ValueError:  # this paraphrase knows no such combination
            exchange = draw_exchange(family, rng, not held_out, template)
        turn += 1
        if exchange.prompt in seen:
            misses += 1
            continue
        misses = 0
        seen.add(exchange.prompt)
        yield exchange


def script_of(exchange: Exchange) -> Script:
    """The exchange as a script of one step."""
    targets: dict[str, Any] = {
        str(m): dict(exchange.asked[m]) for m in MODALITIES if m in exchange.asked
    }
    if exchange.accepted:
        targets["answers"] = list(exchange.accepted)
    if exchange.choices:
        targets["choices"] = list(exchange.choices)
    metadata = {"dimension": exchange.dimension} if exchange.dimension else {}
    return Script((ScriptStep(exchange.prompt, exchange.answer),), (), targets, metadata)


def sample_json(exchange: Exchange, identity: str) -> dict[str, Any]:
    """The line of samples.jsonl of an exchange."""
    return script_json(identity, exchange.family, exchange.template, script_of(exchange))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Rewrite the samples of the micro benchmarks.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/micro"), help="folder of the suite")
    suite = parser.parse_args().out
    every: dict[str, ContentPlan | scripts.ScriptPlan] = {**plans(), **SCRIPTED}
    for task, plan in every.items():
        drawn = draw_samples(task)
        write_samples(suite / task, plan.prefix, drawn)
        print(f"{suite / task}: {len(drawn)} samples")


if __name__ == "__main__":
    main()
