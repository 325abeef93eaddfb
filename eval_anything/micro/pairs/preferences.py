"""Preference pairs on synergy with exact labels: two answers whose parts agree to different degrees.

They train the learned judge, and measure any judge without people.
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
from eval_anything.micro.pairs.demonstrator import demonstrate
from eval_anything.micro.prompts.exchange import Exchange, PromptFamily, draw_exchange
from eval_anything.micro.prompts.families import FAMILIES
from eval_anything.micro.prompts.feedback import AnswerAttributes, answer_attributes
from eval_anything.micro.prompts.script import media_name, sample_json
from eval_anything.micro.world.render import render
from eval_anything.micro.world.scenes import SymbolicPart, modality_of
from eval_anything.micro.world.synergy import agreement, name_of, pairs_of, shared_names
from eval_anything.micro.world.words import read

Side = Literal["a", "b"]


Answer = tuple[SymbolicPart, ...]


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
        """The group of pairs that are not independent of each other."""
        return str(sample_json(self.exchange, "")["source_id"])


class RenderedPair(NamedTuple):
    """A pair as judges get it: its media are files."""

    sample: Sample
    a: Response
    b: Response
    preferred: Side


def synergy_families() -> tuple[PromptFamily, ...]:
    """Families whose prompts fix attributes in several modalities of the answer."""
    return tuple(f for f in FAMILIES.values() if example(f).targets and len(example(f).outputs) > 1)


def example(family: PromptFamily) -> Exchange:
    """An exchange of the family, always the same."""
    return draw_exchange(family, random.Random(0), held_out=False)


def synergy_pairs(n: int, seed: int, noise: float = 0.0, held_out: bool = False) -> list[Pair]:
    """`n` different pairs, none of them a tie. Each label is wrong with probability `noise` (0..1).

    The noise does not change which pairs are drawn. With `held_out`, every pair has a held-out
    combination in its prompt or right answer; without, none has one anywhere.
    """
    rng = random.Random(f"micro-pairs-{seed}-{held_out}")
    flips = random.Random(f"micro-pairs-noise-{seed}-{held_out}")
    families = synergy_families()
    pairs: dict[tuple[Answer, Answer, Answer], Pair] = {}
    while len(pairs) < n:
        family = rng.choice(families)
        exchange, other = (draw_exchange(family, rng, held_out) for _ in range(2))
        a, b = (_variant(exchange, other, rng) for _ in range(2))
        agreements_a, agreements_b = agreements(exchange, a), agreements(exchange, b)
        key = (exchange.prompt, a, b)
        if _mean(agreements_a) == _mean(agreements_b) or key in pairs:
            continue
        right: tuple[Side, Side] = ("a", "b")
        if _mean(agreements_a) < _mean(agreements_b):
            right = ("b", "a")
        label = right[flips.random() < noise]
        pairs[key] = Pair(exchange, a, b, agreements_a, agreements_b, label)
    return list(pairs.values())


def synergy_calibration(n: int = 500, seed: int = 1) -> list[Pair]:
    """`n` pairs with right labels, for measuring judges.

    None can be among training pairs: each has a held-out combination, which these never have.
    """
    return synergy_pairs(n, seed, held_out=True)


def agreements(exchange: Exchange, answer: Sequence[SymbolicPart]) -> dict[str, float]:
    """Agreement (0..1) of the parts of an answer, for each pair of modalities of the right answer.

    The same as the task micro/synergy measures in the answer's files.
    """
    return attribute_agreements(exchange, answer_attributes(answer))


def attribute_agreements(exchange: Exchange, answer: AnswerAttributes) -> dict[str, float]:
    """`agreements` of an answer that is known by its attributes."""
    gold_text = next((read(part) for part in exchange.answer if isinstance(part, str)), None)
    return {
        name_of(pair): agreement(
            answer.get(pair[0]) or {}, answer.get(pair[1]) or {}, shared_names(pair, gold_text)
        )
        for pair in pairs_of(exchange.outputs)
    }


def render_pair(pair: Pair, folder: Path, identity: str) -> RenderedPair:
    """The pair with its media as files in the folder; files that are there already stay."""
    row = sample_json(pair.exchange, identity)
    for part in pair.exchange.prompt:
        if not isinstance(part, str):
            path = folder / "media" / media_name(part)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(render(part).data)
    sample = sample_from_json(json.dumps(row).encode(), folder, None)
    store = MediaStore(folder / "answers")
    return RenderedPair(sample, _response(pair.a, store), _response(pair.b, store), pair.preferred)


def _response(answer: Answer, store: MediaStore) -> Response:
    parts = (
        TextPart(part) if isinstance(part, str) else store.put(render(part).data, part.modality)
        for part in answer
    )
    return Response(tuple(parts))


def _variant(exchange: Exchange, other: Exchange, rng: random.Random) -> Answer:
    """An answer with all parts that the prompt asks for.

    Half of them are the demonstrator's, with faults in single attributes; in the others each part comes
    from the right answer to one exchange or the other, so that parts may not belong together.
    """
    if rng.random() < 0.5:
        sources = (rng.choice((exchange, other)) for _ in exchange.answer)
        return tuple(source.answer[position] for position, source in enumerate(sources))
    while True:
        answer = demonstrate(exchange, rng)
        if {modality_of(part) for part in answer} == set(exchange.outputs):
            return answer


def _mean(values: Mapping[str, float]) -> float:
    """The mean, rounded so that the order of the sum does not make equal means differ."""
    return round(sum(values.values()) / len(values), 9)
