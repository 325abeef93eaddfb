"""How far two parts of a response agree with each other, whatever was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval_anything.content import MODALITIES, Modality
from eval_anything.micro.world.perceive import Percept
from eval_anything.micro.world.things import ATTRIBUTES, LAWS

_TEXT, _IMAGE, _AUDIO, _VIDEO = Modality


Pair = tuple[Modality, Modality]


Attributes = Mapping[str, str | None]


SHARED: Mapping[Pair, tuple[str, ...]] = {
    (_TEXT, _IMAGE): tuple(ATTRIBUTES[_IMAGE]),
    (_TEXT, _AUDIO): tuple(ATTRIBUTES[_AUDIO]),
    (_TEXT, _VIDEO): tuple(ATTRIBUTES[_VIDEO]),
    (_IMAGE, _AUDIO): ("pitch", "count"),
    (_IMAGE, _VIDEO): ("shape", "colour"),
    (_VIDEO, _AUDIO): ("count", "contour"),
}
"""The attributes that both parts of a pair show, directly or by the laws."""


PAIRS = tuple(SHARED)


def name_of(pair: Pair) -> str:
    """The metric of a pair, such as text_image."""
    return f"{pair[0]}_{pair[1]}"


def view(attributes: Attributes, names: Sequence[str]) -> dict[str, str | None]:
    """These attributes of a part, by the laws where it does not show them itself; else None."""
    known: dict[str, str | None] = {
        effect: law.get(attributes.get(cause) or "") for cause, effect, law in LAWS
    }
    known |= attributes
    return {name: known.get(name) for name in names}


def agreement(first: Attributes, second: Attributes, names: Sequence[str]) -> float:
    """Share (0..1) of the named attributes that both show and that are equal; 0 if none is named."""
    one, other = view(first, names), view(second, names)
    same = sum(one[name] is not None and one[name] == other[name] for name in names)
    return same / len(names) if names else 0.0


def shared_names(pair: Pair, gold_text: Attributes | None) -> tuple[str, ...]:
    """The attributes to compare in a pair; with text only those that the right text would tell."""
    names = SHARED[pair]
    if pair[0] is not _TEXT or gold_text is None:
        return names
    told = view(gold_text, names)
    return tuple(name for name in names if told[name] is not None)


def pairs_of(modalities: Sequence[Modality]) -> tuple[Pair, ...]:
    """All pairs of these modalities."""
    return tuple(pair for pair in PAIRS if set(pair) <= set(modalities))


def attributes_seen(percepts: Mapping[Modality, Percept]) -> dict[Modality, Attributes]:
    """The attributes of each modality; none for one that is absent or has a problem."""
    return {m: percepts[m].attributes if m in percepts else {} for m in MODALITIES}
