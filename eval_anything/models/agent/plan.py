"""Plans of a chat model: for one request, an ordered list of texts and of prompts for media."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from msgspec import Struct

from eval_anything.content import Modality, TextPart

MOST_ITEMS = 16
"""A plan with more items comes from a model that repeats itself."""


FENCE = re.compile(r"^ {0,3}(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
"""A line that opens or closes a block of code, after CommonMark 0.31."""


# A refusal; only searched in answers that have no form at all.
_REFUSAL = re.compile(
    r"(?:i['’]?m |i am )?(?:very )?(?:sorry|afraid)\b|i apologi[sz]e|as an ai\b"
    r"|(?:很)?抱歉|对不起|我无法|我不能"
    r"|(?:i|we) (?:can ?not|can['’]?t|will not|won['’]?t|(?:am|are) (?:not able|unable)|must decline)\b",
    re.IGNORECASE,
)


_WRAPPING = " \t\n*_`\"'“”()[]<>{}（）「」.。!！…"


# "No." and "Nothing." are answers to a user, but no prompts.
_NONE = {"", "none", "n/a", "na", "null", "nil", "not applicable", "not needed", "none needed"}


_NONE |= {"无", "無", "不需要", "なし"}


_NO_PROMPT = _NONE | {"no", "nothing", "no need", "not required", "none required", "没有", "不用", "-"}


_NO_MEDIUM = re.compile(
    r"(?:none|n/a|not (?:needed|applicable|required)|无|不需要)\s*(?:$|[.。,，:：;；!！(\-—\n])"
    r"|no (?:text|image|audio|video|sound|picture|clip|medium)s?(?: prompt)?"
    r"(?: (?:is|are|was))?(?: (?:needed|required|wanted|necessary))?\W*$",
    re.IGNORECASE,
)


class PlanError(ValueError):
    """An answer that is no plan: it has none of the forms, or it is a refusal."""

    def __init__(self, message: str, kind: Literal["unparsable_plan", "refusal"] = "unparsable_plan"):
        super().__init__(message)
        self.kind = kind


class PlanItem(Struct, frozen=True, forbid_unknown_fields=True):
    """One part of a planned answer: the text itself, or the prompt for the generator of a medium.

    `normal_item` makes one with the content in normal form.
    """

    modality: Modality
    content: str


Plan = tuple[PlanItem, ...]


class ParsedPlan(NamedTuple):
    """The plan of an answer, the text outside of it (no user would see it), and whether the order of
    the plan is known to be the model's choice."""

    plan: Plan
    outside: str = ""
    order_known: bool = True


def normal_item(modality: Modality, content: str) -> PlanItem:
    """The item with its content in normal form.

    Line ends are newlines, blanks around are stripped, and a prompt has no code fence around it.

    Example:
        >>> normal_item(Modality.IMAGE, "```\\na red circle\\n```").content
        'a red circle'
    """
    content = TextPart(content.replace("\r\n", "\n").replace("\r", "\n")).text.strip()
    while modality is not Modality.TEXT and (inner := _unfenced(content)) is not None:
        content = inner
    return PlanItem(modality, content)


def plan_of(items: Iterable[PlanItem]) -> Plan:
    """The plan of all items that have content, in order. PlanError if there are too many."""
    plan = tuple(plan_item for plan_item in items if plan_item.content)
    if len(plan) > MOST_ITEMS:
        raise PlanError(f"the plan has {len(plan)} parts: more than {MOST_ITEMS} are no choice")
    return plan


def no_plan(answer: str, reason: str) -> PlanError:
    """The error for an answer that has none of the forms: of a refusal if it reads like one."""
    excerpt = " ".join(answer.split())[:200]
    if _REFUSAL.match(answer.lstrip(" \n\t*\"'")):
        return PlanError(f"the chat model refuses: {excerpt}", "refusal")
    return PlanError(f"{reason}: {excerpt!r}")


def unwanted(modality: Modality, content: str) -> bool:
    """Whether content says that its medium is not wanted: "None.", "N/A", "No image is needed" ...

    Example:
        >>> unwanted(Modality.IMAGE, "None.")
        True
    """
    if modality is Modality.TEXT:
        return bare(content) in _NONE
    return bare(content) in _NO_PROMPT or _NO_MEDIUM.match(content.lstrip(_WRAPPING)) is not None


def bare(content: str) -> str:
    """The content in lower case, without markup and extra blanks, for comparisons."""
    return " ".join(content.strip(_WRAPPING).lower().split())


def _unfenced(content: str) -> str | None:
    """The content inside a code fence around all of it; None if there is no such fence."""
    first, _, following = content.partition("\n")
    inside, _, last = following.rpartition("\n")
    opens, closes = FENCE.match(first), FENCE.match(last)
    if (
        not opens
        or not closes
        or closes["info"].strip()
        or not closes["fence"].startswith(opens["fence"])
    ):
        return None
    return inside.strip()
