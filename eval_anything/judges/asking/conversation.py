"""Content of a conversation for judge models: the request, the answers, and the fences around these.

Everything from the evaluated model is material to judge, including its answers to earlier turns. So each
answer is between lines with a fence: a random code, which no response can know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from eval_anything.content import Message, Part, Response
from eval_anything.judges.asking.present import Clips, Content, part_content, text

Pieces = list[tuple[int, Content]]
"""Parts of a request in order, each with the number (from 1) of the earlier answer that it belongs to, 0
for the question itself."""


def fenced(content: Content, fence: str, title: str = "answer", side: str = "") -> Content:
    """Content between two lines with the fence; `side` distinguishes two responses in a comparison."""
    carried = f"{fence} ({side})" if side else fence
    begin, end = (text(f"--- {edge} {title} {carried} ---") for edge in ("begin", "end"))
    return [begin, *content, end]


def pieces_of(messages: Sequence[Message], turns: Sequence[Sequence[Part]], clips: Clips) -> Pieces:
    """Content of the messages before the last answer, with earlier answers (`turns`) told apart.

    MediaError for a broken medium.
    """
    pieces: Pieces = []
    for number, part in _numbered(messages, turns):
        label, content = part_content(part, clips)
        pieces.append((number, [text(label), *content] if number else content))
    return pieces


def answer_of(parts: Sequence[Part], clips: Clips) -> tuple[Content, list[str]]:
    """Content of a response with a label before each part, and the labels of media that were scaled down
    or cut.

    MediaError for a broken medium.
    """
    answer: Content = []
    changed = []
    for part in parts:
        label, content = part_content(part, clips)
        answer += [text(label), *content]
        if label != f"[{part.modality}]":
            changed.append(label.strip("[]"))
    return answer, changed


def request_content(pieces: Pieces, fence: str, side: str = "") -> Content:
    """Content of a request, with fences around earlier answers; `side` names the response whose request
    it is, where two responses had different ones."""
    title = f"The request to the {side}" if side else "The request"
    if not any(number for number, _ in pieces):
        return [text(f"{title}:"), *(c for _, content in pieces for c in content)]
    request = [text(f"{title}, and what was answered to it so far, between lines of its own:")]
    for number, same_number in groupby(pieces, key=lambda piece: piece[0]):
        content = [c for _, content in same_number for c in content]
        request += fenced(content, fence, f"earlier answer {number}", side) if number else content
    return request


def _numbered(
    messages: Sequence[Message], turns: Sequence[Sequence[Part]]
) -> Iterator[tuple[int, Part]]:
    """Parts of the messages, each with the number of the earlier answer that it belongs to, or 0.

    Messages of the assistant are answers of the model, except for those in the sample itself. A later
    question may repeat an answer, part by part or all of its text together.
    """
    numbers: dict[str, int] = {}
    for number, parts in enumerate(turns, start=1):
        numbers |= dict.fromkeys([*(part.key for part in parts), Response(tuple(parts)).text], number)
    numbers.pop("", None)
    number = len(turns) - sum(message.role == "assistant" for message in messages)
    for message in messages:
        is_answer = message.role == "assistant"
        number += is_answer
        for part in message.parts:
            yield max(0, number) if is_answer else numbers.get(part.key, 0), part
