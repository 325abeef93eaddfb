"""What judge models are shown of a conversation: the request, what was answered to it, and the fence.

All that the evaluated model gave is material to judge, its answers to earlier turns like the last one.
So each stands between lines that carry the fence: a random code, which no response can know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from eval_anything.content import Message, Part, Response
from eval_anything.judges.asking.present import Clips, Content, shown, text

Pieces = list[tuple[int, Content]]
"""A request in the order of its parts, each with the number of the earlier answer that it is of, from 1,
or 0 for what is asked."""


def fenced(content: Content, fence: str, title: str = "answer", side: str = "") -> Content:
    """The content between lines that carry the fence; `side` tells apart what is compared."""
    carried = f"{fence} ({side})" if side else fence
    begin, end = (text(f"--- {edge} {title} {carried} ---") for edge in ("begin", "end"))
    return [begin, *content, end]


def pieces_of(messages: Sequence[Message], turns: Sequence[Sequence[Part]], clips: Clips) -> Pieces:
    """The messages that the last answer was given to, where `turns` are the answers before it.

    MediaError for a broken medium.
    """
    found: Pieces = []
    for number, part in _numbered(messages, turns):
        label, content = shown(part, clips)
        found.append((number, [text(label), *content] if number else content))
    return found


def answer_of(parts: Sequence[Part], clips: Clips) -> tuple[Content, list[str]]:
    """A response with a label before each part, and labels of media that were scaled down or cut.

    MediaError for a broken medium.
    """
    found: Content = []
    changed = []
    for part in parts:
        label, content = shown(part, clips)
        found += [text(label), *content]
        if label != f"[{part.modality}]":
            changed.append(label.strip("[]"))
    return found, changed


def request_shown(pieces: Pieces, fence: str, side: str = "") -> Content:
    """The request, earlier answers fenced; with a `side`, the one that this side had."""
    title = f"The request to the {side}" if side else "The request"
    if not any(number for number, _ in pieces):
        return [text(f"{title}:"), *(c for _, content in pieces for c in content)]
    found = [text(f"{title}, and what was answered to it so far, between lines of its own:")]
    for number, same in groupby(pieces, key=lambda piece: piece[0]):
        inner = [c for _, content in same for c in content]
        found += fenced(inner, fence, f"earlier answer {number}", side) if number else inner
    return found


def _numbered(
    messages: Sequence[Message], turns: Sequence[Sequence[Part]]
) -> Iterator[tuple[int, Part]]:
    """The parts of the messages, each with the number of the earlier answer that it is of, or 0.

    Answers of the assistant are the model's own, but for those that the sample itself begins with. A
    later question may show one, part by part or all text of an answer together.
    """
    said: dict[str, int] = {}
    for number, parts in enumerate(turns, start=1):
        said |= dict.fromkeys([*(part.key for part in parts), Response(tuple(parts)).text], number)
    said.pop("", None)
    number = len(turns) - sum(message.role == "assistant" for message in messages)
    for message in messages:
        answered = message.role == "assistant"
        number += answered
        for part in message.parts:
            yield max(0, number) if answered else said.get(part.key, 0), part
