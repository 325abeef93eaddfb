"""Language feedback on an answer: missing, unwanted and wrong parts, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval_anything.content import Modality
from eval_anything.micro.prompts.exchange import Exchange, Targets
from eval_anything.micro.world.grading import is_one_of
from eval_anything.micro.world.scenes import SymbolicPart, attributes_of, modality_of
from eval_anything.micro.world.words import read

NOUNS = {
    Modality.TEXT: "text",
    Modality.IMAGE: "picture",
    Modality.AUDIO: "sound",
    Modality.VIDEO: "clip",
}


MISSING, EXTRA, BROKEN = "the {} is missing.", "the {} is not wanted.", "the {} is broken."


WRONG, ANSWER, FINE = "the {} of the {} should be {}.", "the answer should be: {}", "all is well."


SENTENCES = (MISSING, EXTRA, BROKEN, WRONG, ANSWER, FINE)


MAX_SENTENCES = 4


AnswerAttributes = Mapping[Modality, Mapping[str, str | None] | None]
"""The attributes of each modality that an answer has; None for an unreadable medium."""


def answer_attributes(answer: Sequence[SymbolicPart]) -> dict[Modality, Mapping[str, str | None]]:
    """Attributes by modality: of all text together, and of the first scene of each modality."""
    text = " ".join(part for part in answer if isinstance(part, str))
    by_modality: dict[Modality, Mapping[str, str | None]] = {Modality.TEXT: read(text)} if text else {}
    for part in answer:
        if not isinstance(part, str):
            by_modality.setdefault(modality_of(part), attributes_of(part))
    return by_modality


def critique(
    required: Sequence[Modality],
    targets: Targets,
    accepted: Sequence[str],
    answer: AnswerAttributes,
    text: str = "",
) -> str:
    """Up to four sentences on an answer, the gravest first; "all is well." if nothing is wrong.

    Args:
        required: modalities of the right answer.
        targets: attributes that the answer must have.
        accepted: right short answers; empty if text is judged by its attributes.
        answer: attributes that the answer has.
        text: all text of the answer.
    """
    remarks = [EXTRA.format(NOUNS[m]) for m in Modality if m in answer and m not in required]
    remarks += [MISSING.format(NOUNS[m]) for m in required if m not in answer]
    for modality in required:
        attributes = answer.get(modality, {})
        if attributes is None:
            remarks.append(BROKEN.format(NOUNS[modality]))
            continue
        if modality in answer:
            for name, target in targets.get(modality, {}).items():
                if attributes.get(name) != target:
                    remarks.append(WRONG.format(name, NOUNS[modality], target))
    if accepted and not is_one_of(text, accepted):
        remarks.append(ANSWER.format(accepted[0].rstrip(".") + "."))
    return " ".join(remarks[:MAX_SENTENCES]) or FINE


def critique_answer(exchange: Exchange, answer: Sequence[SymbolicPart]) -> str:
    """`critique` of an answer to an exchange that is not rendered."""
    text = " ".join(part for part in answer if isinstance(part, str))
    return critique(
        exchange.outputs, exchange.targets, exchange.accepted, answer_attributes(answer), text
    )
