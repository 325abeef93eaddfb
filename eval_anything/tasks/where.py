"""Conditions on samples (`--where KEY=VALUE`): on their metadata, and on the modalities of both sides.

language=de           metadata: this value; of a list, one that has it
language=de,fr        either value
inputs=image          the question has an image, maybe other things, too
outputs=text+image    the answer must have text and an image, and maybe more
inputs==text          exactly these modalities
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from eval_anything.content import MODALITIES, Message, Modality, Sample, Turn
from eval_anything.errors import UserError, near

_SIDES = ("inputs", "outputs")


def inputs_of(sample: Sample) -> list[Modality]:
    """Modalities of the sample's messages and turns, in the usual order."""
    questions: tuple[Message | Turn, ...] = (*sample.messages, *sample.turns)
    modalities = {part.modality for question in questions for part in question.parts}
    return [m for m in MODALITIES if m in modalities]


def outputs_of(sample: Sample) -> list[Modality]:
    """Modalities that the answer must have, in the usual order."""
    return [m for m in MODALITIES if m in sample.contract.required]


def matching(samples: Iterable[Sample], where: Mapping[str, str]) -> list[int]:
    """The places, from 0, of the samples that meet all conditions."""
    return [
        number
        for number, sample in enumerate(samples)
        if all(_meets(sample, key, text) for key, text in where.items())
    ]


def check_where(where: Mapping[str, str], samples: Collection[Sample]) -> None:
    """Raises UserError for a condition that none of the samples meets, with what there is instead."""
    for key, text in where.items():
        if any(_meets(sample, key, text) for sample in samples):
            continue
        if key in _SIDES:
            raise UserError(f"--where {key}={text}: no sample has that. {_sides(key, samples)}")
        keys = {name for sample in samples for name in sample.metadata}
        if key not in keys:
            choices = [*_SIDES, *sorted(keys)]
            raise UserError(
                f"--where {key}={text}: no sample has {key!r} in its metadata.{near(key, choices)} "
                f"Keys: {', '.join(choices)}."
            )
        values = sorted({text for sample in samples for text in _texts(sample.metadata.get(key))})
        examples = ", ".join(values[:20]) + (", ..." if len(values) > 20 else "")
        raise UserError(
            f"--where {key}={text}: no sample has that value.{near(text, values)} Values: {examples}."
        )
    if where and not matching(samples, where):
        conditions = " and ".join(f"{key}={text}" for key, text in where.items())
        raise UserError(f"--where: no sample meets {conditions} at once")


def _meets(sample: Sample, key: str, text: str) -> bool:
    exactly = text.startswith("=")
    text = text.removeprefix("=")
    if key in _SIDES:
        modalities = set(_modalities(key, sample))
        return any(
            modalities == required if exactly else modalities >= required
            for required in (set(names.split("+")) for names in text.split(","))
        )
    values = _texts(sample.metadata.get(key))
    return text in values or any(choice in values for choice in text.split(","))


def _modalities(side: str, sample: Sample) -> list[Modality]:
    return inputs_of(sample) if side == "inputs" else outputs_of(sample)


def _sides(side: str, samples: Iterable[Sample]) -> str:
    """A sentence with the combinations of modalities that samples have."""
    combinations = sorted({"+".join(_modalities(side, sample)) for sample in samples})
    return f"Samples have {', '.join(filter(None, combinations)) or 'none'}."


def _texts(value: Any) -> list[str]:
    """The values of a key as they stand on a command line: those of a list, none for a missing one."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [str(v).lower() if isinstance(v, bool) else str(v) for v in values]
