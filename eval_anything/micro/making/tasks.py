"""Generates the micro benchmarks' samples: python -m eval_anything.micro.making.tasks [--out FOLDER]

Rewrites samples.jsonl and media/ of each task folder and nothing else. The same code gives the same
samples.jsonl byte for byte; media files are named by what they show, because encoders of another
version give other bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_anything.content import MODALITIES, Modality
from eval_anything.micro.prompts.exchange import Exchange, Family, draw_exchange
from eval_anything.micro.prompts.families import FAMILIES
from eval_anything.micro.world.gold import item_to_json
from eval_anything.micro.world.render import render
from eval_anything.micro.world.things import WORLD_VERSION, Item, Thing

SEED = "micro-test-1"  # not a seed of training, which are called micro-train-N


HELD_OUT_SHARE = 0.22


_EXTENSIONS = {"image": "png", "audio": "wav", "video": "mp4"}


@dataclass(frozen=True)
class Plan:
    """A task: prefix of its ids, and groups of families that get the same number of samples each."""

    prefix: str
    groups: tuple[tuple[Family, ...], ...]
    group_size: int


def plans() -> dict[str, Plan]:
    """The plan of each task by its name."""
    families = tuple(FAMILIES.values())
    several = tuple(f for f in families if _example(f).asked and len(_example(f).outputs) > 1)
    shown = tuple(f for f in families if _example(f).asked and f.dimension != "safety")
    dimensions = ("perception", "reasoning", "instruction_following", "safety")
    by_dimension = tuple(tuple(f for f in families if f.dimension == d) for d in dimensions)
    return {
        "selection": Plan("sel", (families,), 560),
        "synergy": Plan("syn", (several,), 520),
        "synergy_judged": Plan("syj", (several,), 150),
        "instruction_following": Plan("ins", (shown,), 540),
        "understanding": Plan("und", by_dimension, 135),
    }


def _example(family: Family) -> Exchange:
    return draw_exchange(family, random.Random(0), held_out=False)


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


def _stream(family: Family, rng: random.Random, seen: set[tuple[Item, ...]]) -> Iterator[Exchange]:
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


def sample_json(exchange: Exchange, identity: str) -> dict[str, Any]:
    """The line of samples.jsonl of an exchange."""
    targets: dict[str, Any] = {
        str(m): dict(exchange.asked[m]) for m in MODALITIES if m in exchange.asked
    }
    if exchange.accepted:
        targets["answers"] = list(exchange.accepted)
    if exchange.choices:
        targets["choices"] = list(exchange.choices)
    targets["gold"] = [item_to_json(item) for item in exchange.answer]
    metadata = {"family": exchange.family, "template": exchange.template}
    if exchange.dimension:
        metadata["dimension"] = exchange.dimension
    metadata["split"] = "held_out" if exchange.held_out else "seen"
    return {
        "id": identity,
        "source_id": _source(exchange),
        "messages": [{"role": "user", "parts": [part_json(item) for item in exchange.prompt]}],
        "contract": contract_json(exchange.outputs),
        "targets": targets,
        "metadata": metadata,
    }


def _source(exchange: Exchange) -> str:
    """What makes samples dependent: the family and its scene, or the paraphrase where there is none."""
    scene = "+".join(dict.fromkeys("-".join(vars(thing).values()) for thing in exchange.things))
    return f"{exchange.family}/{scene or exchange.template}"


def contract_json(outputs: Collection[Modality]) -> dict[str, list[str]]:
    """The contract that asks for exactly these modalities."""
    return {
        "required": [str(m) for m in MODALITIES if m in outputs],
        "allowed": [],
        "forbidden": [str(m) for m in MODALITIES if m not in outputs],
    }


def part_json(item: Item) -> dict[str, str]:
    """A part of a message; media lie in media/."""
    if isinstance(item, str):
        return {"modality": "text", "text": item}
    return {"modality": str(item.modality), "path": f"media/{media_name(item)}"}


def media_name(thing: Thing) -> str:
    """The file name of a thing: from its attributes, so that it does not depend on the encoder."""
    digest = hashlib.sha256(f"{WORLD_VERSION} {thing!r}".encode()).hexdigest()
    return f"{digest[:16]}.{_EXTENSIONS[thing.modality]}"


def samples_jsonl(task: str, drawn: Sequence[Exchange]) -> str:
    """The content of samples.jsonl."""
    prefix = plans()[task].prefix
    rows = (sample_json(exchange, f"{prefix}-{number:04d}") for number, exchange in enumerate(drawn, 1))
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_task(folder: Path, task: str) -> int:
    """Rewrites samples.jsonl and media/ in the folder; returns the number of samples."""
    drawn = exchanges(task)
    things = {item for exchange in drawn for item in exchange.prompt if not isinstance(item, str)}
    write_samples(folder, things, samples_jsonl(task, drawn))
    return len(drawn)


def write_samples(folder: Path, things: Iterable[Thing], lines: str) -> None:
    """Writes samples.jsonl, and the things that it shows in place of what is in media/."""
    media = folder / "media"
    media.mkdir(parents=True, exist_ok=True)
    for old in media.iterdir():
        old.unlink()
    for thing in things:
        (media / media_name(thing)).write_bytes(render(thing).data)
    (folder / "samples.jsonl").write_text(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Rewrite the samples of the micro benchmarks.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/micro"), help="folder of the suite")
    suite = parser.parse_args().out
    for task in plans():
        print(f"{suite / task}: {write_task(suite / task, task)} samples")


if __name__ == "__main__":
    main()
