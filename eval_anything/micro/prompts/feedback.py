"""Language feedback on an answer: what is missing, what is too much, what should be otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval_anything.content import Modality
from eval_anything.micro.prompts.exchange import Asked, Exchange
from eval_anything.micro.world.grading import is_one_of
from eval_anything.micro.world.things import Item, attributes_of, modality_of
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


Shown = Mapping[Modality, Mapping[str, str | None] | None]
"""What an answer shows: attributes for each modality present, None for an unreadable medium."""


def shown_by(items: Sequence[Item]) -> dict[Modality, Mapping[str, str | None]]:
    """What unrendered items show: all text together, and the first thing of each modality."""
    text = " ".join(item for item in items if isinstance(item, str))
    shown: dict[Modality, Mapping[str, str | None]] = {Modality.TEXT: read(text)} if text else {}
    for item in items:
        if not isinstance(item, str):
            shown.setdefault(modality_of(item), attributes_of(item))
    return shown


def critique(
    required: Sequence[Modality], asked: Asked, accepted: Sequence[str], shown: Shown, text: str = ""
) -> str:
    """Up to four sentences on an answer, the gravest first; "all is well." if nothing is wrong.

    `required` and `asked` say what is wanted, `accepted` lists right short answers (empty if text is
    judged by its attributes), `shown` and `text` are the answer.
    """
    remarks = [EXTRA.format(NOUNS[m]) for m in Modality if m in shown and m not in required]
    remarks += [MISSING.format(NOUNS[m]) for m in required if m not in shown]
    for modality in required:
        attributes = shown.get(modality, {})
        if attributes is None:
            remarks.append(BROKEN.format(NOUNS[modality]))
            continue
        if modality in shown:
            for name, value in asked.get(modality, {}).items():
                if attributes.get(name) != value:
                    remarks.append(WRONG.format(name, NOUNS[modality], value))
    if accepted and not is_one_of(text, accepted):
        remarks.append(ANSWER.format(accepted[0].rstrip(".") + "."))
    return " ".join(remarks[:MAX_SENTENCES]) or FINE


def critique_items(exchange: Exchange, answer: Sequence[Item]) -> str:
    """`critique` of an unrendered answer to an exchange."""
    text = " ".join(item for item in answer if isinstance(item, str))
    return critique(exchange.outputs, exchange.asked, exchange.accepted, shown_by(answer), text)
