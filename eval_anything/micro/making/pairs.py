"""Preference pairs on synergy, from the exact truth: two answers to a prompt whose parts agree with each
other to different degrees. They train the learned judge, and measure any judge without people.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from eval_anything.content import Response, Sample, TextPart
from eval_anything.jsonl import sample_from_json
from eval_anything.media import MediaStore
from eval_anything.micro.making.demonstrator import demonstrate
from eval_anything.micro.making.scripts import media_name
from eval_anything.micro.making.tasks import plans, sample_json
from eval_anything.micro.prompts.exchange import Exchange, draw_exchange
from eval_anything.micro.prompts.feedback import Shown, shown_by
from eval_anything.micro.world.render import render
from eval_anything.micro.world.synergy import agreement, name_of, pairs_of, shared_names
from eval_anything.micro.world.things import Item, modality_of
from eval_anything.micro.world.words import read

Side = Literal["a", "b"]


Answer = tuple[Item, ...]


@dataclass(frozen=True)
class Pair:
    """Two answers with all modalities that the exchange's prompt asks for, not rendered.

    The agreements (0..1) are exact, by pair of modalities such as text_image. `preferred` is the side
    with the higher mean, or the other one where noise flipped the label.
    """

    exchange: Exchange
    a: Answer
    b: Answer
    agreements_a: Mapping[str, float]
    agreements_b: Mapping[str, float]
    preferred: Side

    @property
    def source_id(self) -> str:
        """What pairs that are not independent of each other share."""
        return str(sample_json(self.exchange, "")["source_id"])


class RenderedPair(NamedTuple):
    """A pair as any judge gets it: its media are files."""

    sample: Sample
    a: Response
    b: Response
    preferred: Side


def synergy_pairs(n: int, seed: int, noise: float = 0.0, held_out: bool = False) -> list[Pair]:
    """`n` different pairs, none of them a tie. Each label is wrong with probability `noise` (0..1).

    The noise does not change which pairs are drawn. With `held_out`, every pair has a held-out
    combination in its prompt or right answer; without, none has one anywhere.
    """
    rng = random.Random(f"micro-pairs-{seed}-{held_out}")
    flips = random.Random(f"micro-pairs-noise-{seed}-{held_out}")
    (families,) = plans()["synergy"].groups
    drawn: dict[tuple[Answer, Answer, Answer], Pair] = {}
    while len(drawn) < n:
        family = rng.choice(families)
        exchange, other = (draw_exchange(family, rng, held_out) for _ in range(2))
        a, b = (_variant(exchange, other, rng) for _ in range(2))
        agreements_a, agreements_b = agreements(exchange, a), agreements(exchange, b)
        key = (exchange.prompt, a, b)
        if _mean(agreements_a) == _mean(agreements_b) or key in drawn:
            continue
        right: tuple[Side, Side] = ("a", "b")
        if _mean(agreements_a) < _mean(agreements_b):
            right = ("b", "a")
        label = right[flips.random() < noise]
        drawn[key] = Pair(exchange, a, b, agreements_a, agreements_b, label)
    return list(drawn.values())


def synergy_calibration(n: int = 500, seed: int = 1) -> list[Pair]:
    """Pairs with right labels, for measuring judges. None can be among training pairs: each has a
    held-out combination, which these never have."""
    return synergy_pairs(n, seed, held_out=True)


def agreements(exchange: Exchange, answer: Sequence[Item]) -> dict[str, float]:
    """How far (0..1) the parts of an answer agree, for each pair of modalities that is asked for; the
    same as the task micro/synergy finds in the answer's files."""
    return agreements_shown(exchange, shown_by(answer))


def agreements_shown(exchange: Exchange, shown: Shown) -> dict[str, float]:
    """As `agreements`, of what an answer shows."""
    gold_text = next((read(item) for item in exchange.answer if isinstance(item, str)), None)
    return {
        name_of(pair): agreement(
            shown.get(pair[0]) or {}, shown.get(pair[1]) or {}, shared_names(pair, gold_text)
        )
        for pair in pairs_of(exchange.outputs)
    }


def render_pair(pair: Pair, folder: Path, identity: str) -> RenderedPair:
    """The pair with its media as files in the folder; a medium that is there already is kept."""
    row = sample_json(pair.exchange, identity)
    for item in pair.exchange.prompt:
        if not isinstance(item, str):
            path = folder / "media" / media_name(item)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(render(item).data)
    sample = sample_from_json(json.dumps(row).encode(), folder, None)
    store = MediaStore(folder / "answers")
    return RenderedPair(sample, _response(pair.a, store), _response(pair.b, store), pair.preferred)


def _response(answer: Answer, store: MediaStore) -> Response:
    parts = (
        TextPart(item) if isinstance(item, str) else store.put(render(item).data, item.modality)
        for item in answer
    )
    return Response(tuple(parts))


def _variant(exchange: Exchange, other: Exchange, rng: random.Random) -> Answer:
    """An answer with all the parts: as the demonstrator gives it, with slips in single attributes, or
    each part about the one scene or the other, so that parts may be about different things."""
    if rng.random() < 0.5:
        sources = (rng.choice((exchange, other)) for _ in exchange.answer)
        return tuple(source.answer[place] for place, source in enumerate(sources))
    while True:
        answer = demonstrate(exchange, rng)
        if {modality_of(item) for item in answer} == set(exchange.outputs):
            return answer


def _mean(values: Mapping[str, float]) -> float:
    """Rounded: the order of a sum must not tell two equal means apart."""
    return round(sum(values.values()) / len(values), 9)
