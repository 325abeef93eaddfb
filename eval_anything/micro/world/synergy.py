"""Agreement of two parts of a response with each other, whatever the prompt asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval_anything.content import MODALITIES, Modality
from eval_anything.micro.world.perceive import Percept
from eval_anything.micro.world.scenes import ATTRIBUTES, LAWS

_TEXT, _IMAGE, _AUDIO, _VIDEO = Modality


ModalityPair = tuple[Modality, Modality]


Attributes = Mapping[str, str | None]


SHARED: Mapping[ModalityPair, tuple[str, ...]] = {
    (_TEXT, _IMAGE): tuple(ATTRIBUTES[_IMAGE]),
    (_TEXT, _AUDIO): tuple(ATTRIBUTES[_AUDIO]),
    (_TEXT, _VIDEO): tuple(ATTRIBUTES[_VIDEO]),
    (_IMAGE, _AUDIO): ("pitch", "count"),
    (_IMAGE, _VIDEO): ("shape", "colour"),
    (_VIDEO, _AUDIO): ("count", "contour"),
}
"""The attributes that both parts of a pair show, directly or by the laws."""


PAIRS = tuple(SHARED)


def name_of(pair: ModalityPair) -> str:
    """The name of a pair in metrics, such as text_image."""
    return f"{pair[0]}_{pair[1]}"


def view(attributes: Attributes, names: Sequence[str]) -> dict[str, str | None]:
    """The named attributes of a part, by the laws where it does not show them itself, else None."""
    extended: dict[str, str | None] = {
        effect: law.get(attributes.get(cause) or "") for cause, effect, law in LAWS
    }
    extended |= attributes
    return {name: extended.get(name) for name in names}


def agreement(first: Attributes, second: Attributes, names: Sequence[str]) -> float:
    """Share (0..1) of the named attributes that both show and that are equal; 0 if none is named."""
    a, b = view(first, names), view(second, names)
    same = sum(a[name] is not None and a[name] == b[name] for name in names)
    return same / len(names) if names else 0.0


def shared_names(pair: ModalityPair, gold_text: Attributes | None) -> tuple[str, ...]:
    """The attributes to compare in a pair; with text only those that the right text names."""
    names = SHARED[pair]
    if pair[0] is not _TEXT or gold_text is None:
        return names
    gold = view(gold_text, names)
    return tuple(name for name in names if gold[name] is not None)


def pairs_of(modalities: Sequence[Modality]) -> tuple[ModalityPair, ...]:
    """All pairs of two of these modalities that share attributes, in the order of `PAIRS`."""
    return tuple(pair for pair in PAIRS if set(pair) <= set(modalities))


def attributes_seen(percepts: Mapping[Modality, Percept]) -> dict[Modality, Attributes]:
    """The attributes of each modality; none for one that is absent or has a problem."""
    return {m: percepts[m].attributes if m in percepts else {} for m in MODALITIES}
