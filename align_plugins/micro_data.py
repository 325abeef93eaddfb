"""Training data of the micro world: python -m align_plugins.micro_data --out DIR [--pairs N] [--seed S]

Preference pairs between two answers of the demonstrator, labelled by the exact truth with noise, and
demonstrations. Everything comes from the seed. No prompt is one of a benchmark, and none has a held-out
combination.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from align_plugins.data.contamination import known_prompts
from align_plugins.data.rows import Demonstration, Preference, prompt_key, write_rows
from eval_anything.content import MediaPart, Message, Part, TextPart
from eval_anything.media import MediaStore
from eval_anything.micro.answers import is_one_of
from eval_anything.micro.demonstrator import demonstrate
from eval_anything.micro.exchange import Exchange, draw_exchange
from eval_anything.micro.families import FAMILIES
from eval_anything.micro.feedback import shown_by
from eval_anything.micro.pairs import agreements
from eval_anything.micro.render import render
from eval_anything.micro.tasks import sample_json
from eval_anything.micro.world import Item, Thing

NOISE = 0.27
"""Share of wrong labels, about what people disagree by."""
EXTRA, TOGETHER = 0.25, 0.25
"""What a modality that nobody wanted costs, and what parts that agree with each other add."""

PAIRS, DEMONSTRATIONS = "pairs.jsonl", "demonstrations.jsonl"
Answer = tuple[Item, ...]


class Compared(NamedTuple):
    """Two different answers to a prompt and their exact utilities; the first one is labelled better."""

    exchange: Exchange
    chosen: Answer
    rejected: Answer
    utilities: tuple[float, float]


def utility(exchange: Exchange, answer: Sequence[Item]) -> float:
    """How good an answer is: the mean over the wanted modalities of the share of right attributes (0 for
    one that is missing), less `EXTRA` for each other modality, plus `TOGETHER` times the synergy."""
    shown = shown_by(answer)
    text = " ".join(item for item in answer if isinstance(item, str))
    values = []
    for modality in exchange.outputs:
        asked = exchange.asked.get(modality, {})
        attributes = shown.get(modality)
        if attributes is None:
            values.append(0.0)
        elif modality == "text" and exchange.accepted:
            values.append(float(is_one_of(text, exchange.accepted)))
        elif asked:
            values.append(sum(attributes.get(n) == v for n, v in asked.items()) / len(asked))
        else:
            values.append(1.0)
    extra = sum(modality not in exchange.outputs for modality in shown)
    together = agreements(exchange, answer)
    synergy = sum(together.values()) / len(together) if together else 0.0
    return round(sum(values) / len(values) - EXTRA * extra + TOGETHER * synergy, 9)


def pairs(n: int, seed: int, noise: float = NOISE) -> list[Compared]:
    """`n` pairs without ties; each label is wrong with probability `noise` (0..1), which does not change
    which pairs are drawn."""
    rng = random.Random(f"micro-preferences-{seed}")
    flips = random.Random(f"micro-preferences-noise-{seed}")
    found: list[Compared] = []
    for exchange in _prompts(rng):
        one, other = demonstrate(exchange, rng), demonstrate(exchange, rng)
        better, worse = utility(exchange, one), utility(exchange, other)
        if better == worse:
            continue
        if better < worse:
            one, other, better, worse = other, one, worse, better
        if flips.random() < noise:
            one, other, better, worse = other, one, worse, better
        found.append(Compared(exchange, one, other, (better, worse)))
        if len(found) == n:
            break
    return found


def demonstrations(n: int, seed: int) -> list[Exchange]:
    """`n` prompts with their right answers."""
    stream = _prompts(random.Random(f"micro-demonstrations-{seed}"))
    return [next(stream) for _ in range(n)]


def _prompts(rng: random.Random) -> Iterator[Exchange]:
    """Prompts that are in no bundled benchmark, some of them more than once."""
    families = list(FAMILIES.values())
    known = _benchmark_prompts()
    while True:
        exchange = draw_exchange(rng.choice(families), rng, held_out=False)
        parts = tuple(TextPart(i) if isinstance(i, str) else _unwritten(i) for i in exchange.prompt)
        if prompt_key((Message("user", parts),)) not in known:
            yield exchange


@cache
def _benchmark_prompts() -> frozenset[str]:
    return frozenset(known_prompts().prompts)


@cache
def _unwritten(thing: Thing) -> MediaPart:
    """The part of a thing whose file is not written yet."""
    rendered = render(thing)
    return MediaPart(thing.modality, hashlib.sha256(rendered.data).hexdigest(), "", Path())


def write_pairs(path: Path, compared: Sequence[Compared]) -> None:
    """Pairs as a file of rows, with their media beside it."""
    files = _Files(path.parent)
    write_rows(
        path,
        [
            Preference(
                id=f"pair-{number:05d}",
                messages=files.messages(one.exchange),
                source_id=str(sample_json(one.exchange, "")["source_id"]),
                metadata={"family": one.exchange.family, "utilities": list(one.utilities)},
                chosen=files.parts(one.chosen),
                rejected=files.parts(one.rejected),
            )
            for number, one in enumerate(compared, start=1)
        ],
    )


def write_demonstrations(path: Path, drawn: Sequence[Exchange]) -> None:
    """Prompts with their right answers as a file of rows, with their media beside it."""
    files = _Files(path.parent)
    write_rows(
        path,
        [
            Demonstration(
                id=f"demonstration-{number:05d}",
                messages=files.messages(exchange),
                source_id=str(sample_json(exchange, "")["source_id"]),
                metadata={"family": exchange.family},
                response=files.parts(exchange.answer),
            )
            for number, exchange in enumerate(drawn, start=1)
        ],
    )


class _Files:
    """Things as parts; each is rendered once."""

    def __init__(self, folder: Path) -> None:
        self._store = MediaStore(folder / "media")
        self._made: dict[Thing, Part] = {}

    def messages(self, exchange: Exchange) -> tuple[Message, ...]:
        return (Message("user", self.parts(exchange.prompt)),)

    def parts(self, items: Sequence[Item]) -> tuple[Part, ...]:
        return tuple(TextPart(i) if isinstance(i, str) else self._part(i) for i in items)

    def _part(self, thing: Thing) -> Part:
        if thing not in self._made:
            self._made[thing] = self._store.put(render(thing).data, thing.modality)
        return self._made[thing]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write training data of the micro world.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help=f"pairs, into {PAIRS}")
    parser.add_argument(
        "--demonstrations",
        type=int,
        default=0,
        metavar="N",
        help=f"right answers, into {DEMONSTRATIONS}",
    )
    parser.add_argument("--noise", type=float, default=NOISE, help=f"share of wrong labels ({NOISE})")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.pairs:
        write_pairs(options.out / PAIRS, pairs(options.pairs, options.seed, options.noise))
        print(f"{options.out / PAIRS}: {options.pairs} preference pairs")
    if options.demonstrations:
        path = options.out / DEMONSTRATIONS
        write_demonstrations(path, demonstrations(options.demonstrations, options.seed))
        print(f"{path}: {options.demonstrations} demonstrations")


if __name__ == "__main__":
    main()
