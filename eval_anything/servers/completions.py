"""The words of a server's reply, in all shapes: for models, judges and the chat models of agents.

| place of the text | servers |
|---|---|
| `choices[].message.content`, a text or a list of blocks | chat completions |
| `output[]` of messages with a list of blocks | Responses API |

| place of thoughts | servers |
|---|---|
| `reasoning_content`, `reasoning` of the message | DeepSeek, vLLM, SGLang, OpenRouter, Ollama |
| blocks of type `thinking`, items of type `reasoning` | Mistral, Anthropic by proxy; Responses API |
| the text itself, between marks (`eval_anything/thoughts.py`) | servers without a parser for the model |

Adjacent blocks of text are pieces of one text and are joined as they are. Blocks of media stay as the
server sent them. What is missing, null or of another type than expected counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from eval_anything.content import TextPart
from eval_anything.servers.replies import ReplyError
from eval_anything.thoughts import split_thoughts

LARGEST_TEXT = 2_000_000
"""The most characters of text that a reply may have; a longer one is an error."""


_TEXTS = ("text", "output_text")


_THOUGHTS = ("thinking", "reasoning", "reasoning_content", "reasoning_text", "thought")


# Types of blocks that are no part of the answer: encrypted thoughts, the use of tools, citations.
_IGNORED = ("redacted_thinking", "tool_use", "tool_call", "tool_reference", "reference")


# Fields of a message with its thoughts; servers that send several of them repeat the same.
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "thinking_blocks", "reasoning_details")


_DEEPEST = 8  # levels of lists and objects in which words are searched


class ReplyMessage(Struct):
    """The words of one message of a reply.

    Attributes:
        items: texts as str, and blocks of media as the server sent them, in order; adjacent texts are
            joined, and thoughts are left out.
        thoughts: the texts of the thoughts.
        refusal: the model's words of refusal; None if it did not refuse.
    """

    items: list[Any] = []
    thoughts: list[str] = []
    refusal: str | None = None

    @property
    def text(self) -> str:
        """All texts, joined as they are."""
        return "".join(item for item in self.items if isinstance(item, str))


def read_message(message: Mapping[str, Any]) -> ReplyMessage:
    """The words of a message.

    Example:
        >>> read_message({"content": [{"type": "text", "text": "Pa"}, {"type": "text", "text": "ris"}]})
        ReplyMessage(items=['Paris'], thoughts=[], refusal=None)
        >>> read_message({"content": "<think>hm</think>Paris"})
        ReplyMessage(items=['Paris'], thoughts=['hm'], refusal=None)
    """
    words = ReplyMessage(refusal=_refusal_in(message.get("refusal")))
    thoughts = (_words(message.get(name)).strip() for name in _THOUGHT_FIELDS)
    words.thoughts += [next(filter(None, thoughts), "")]
    content = message.get("content")
    pieces: list[list[str] | Any] = []  # a list of str is a text that may go on
    for block in blocks_in(content):
        text = text_in(block)
        if text is not None:
            if not (pieces and isinstance(pieces[-1], list)):
                pieces.append([])
            pieces[-1].append(text)
        elif (thought := thought_in(block)) is not None:
            words.thoughts.append(thought.strip())
        elif isinstance(block, Mapping) and block.get("type") == "refusal":
            words.refusal = _refusal_in(block.get("refusal")) or ""
        elif not (isinstance(block, Mapping) and block.get("type") in _IGNORED):
            pieces.append(block)
    words.items = ["".join(piece) if isinstance(piece, list) else piece for piece in pieces]
    words.thoughts = list(dict.fromkeys(filter(None, words.thoughts)))
    _split_first(words)
    return words


def messages_of(raw: Any) -> list[Mapping[str, Any]]:
    """The messages in a chat completion, one for each choice; a response of the Responses API is one.

    Raises:
        ReplyError: the reply is neither.
    """
    if not isinstance(raw, Mapping):
        raise ReplyError("a reply that is no object")
    output, choices = raw.get("output"), raw.get("choices")
    if isinstance(output, list):
        return [{"content": list(_blocks_of(output))}]
    if not isinstance(choices, list) or not choices:
        raise ReplyError("a reply without choices")
    messages = (choice.get("message") for choice in choices if isinstance(choice, Mapping))
    return [message for message in messages if isinstance(message, Mapping)]


def stop_reason_of(raw: Mapping[str, Any]) -> str | None:
    """The reason why a reply ended, in the words of chat completions: stop, length ..."""
    details, choices = raw.get("incomplete_details"), raw.get("choices")
    if isinstance(choices, list):
        reasons = (choice.get("finish_reason") for choice in choices if isinstance(choice, Mapping))
        return next(filter(None, map(nonempty_text, reasons)), None)
    reason = details.get("reason") if isinstance(details, Mapping) else None
    if reason is not None:
        return "length" if reason == "max_output_tokens" else str(reason)
    status = nonempty_text(raw.get("status"))
    return "stop" if status == "completed" else status


def nonempty_text(field: Any) -> str | None:
    """The field of a reply if it is a text and not empty, else None."""
    return field if isinstance(field, str) and field else None


def text_in(block: Any) -> str | None:
    """The text of a block of content; None if it is no text."""
    if isinstance(block, str):
        return block
    if not isinstance(block, Mapping) or _is_thought(block):
        return None
    text = block.get("text")
    if isinstance(text, Mapping):
        text = text.get("value")
    return text if isinstance(text, str) and (block.get("type") or "text") in _TEXTS else None


def blocks_in(content: Any) -> Iterable[Any]:
    """The blocks of a message's content; a text, and a block without a list, is the only one."""
    if isinstance(content, str | Mapping):
        return [content]
    return map(_block, content) if isinstance(content, list) else []


def _block(block: Any) -> Any:
    """A block of a list, in which a bare data URI is an image."""
    is_uri = isinstance(block, str) and re.match(r"data:\w+/", block)
    return {"type": "image_url", "image_url": block} if is_uri else block


def thought_in(block: Any) -> str | None:
    """The words of a block of thoughts; None if it is something else."""
    return _words(block) if isinstance(block, Mapping) and _is_thought(block) else None


def _is_thought(block: Mapping[str, Any]) -> bool:
    return block.get("type") in _THOUGHTS or block.get("thought") is True


def _split_first(words: ReplyMessage) -> None:
    """Moves the thoughts at the start of the first text, if it is in front of all else, away from it."""
    if not words.items or not isinstance(words.items[0], str):
        return
    # A server that has told thoughts apart leaves no closing mark alone.
    split = split_thoughts(words.items[0], opened=False if words.thoughts else None)
    words.items = [split.answer, *words.items[1:]] if split.answer else words.items[1:]
    if split.thoughts and split.thoughts not in words.thoughts:
        words.thoughts.append(split.thoughts)


def _blocks_of(output: Iterable[Any]) -> Iterable[Any]:
    """The blocks of all messages in a response, and its thoughts and images, in order."""
    for output_item in output:
        kind = output_item.get("type") if isinstance(output_item, Mapping) else None
        if kind == "message":
            content = output_item.get("content")
            yield from content if isinstance(content, list) else [content]
        elif kind in ("reasoning", "image_generation_call"):
            yield output_item


def _refusal_in(refusal: Any) -> str | None:
    """The words of a refusal; None for what says that there is none: null, false, an empty text."""
    return (refusal if isinstance(refusal, str) else _words(refusal)) if refusal else None


def _words(thoughts: Any, depth: int = _DEEPEST) -> str:
    """The text of thoughts, which may be a text, a list of blocks, or in one of several fields."""
    if isinstance(thoughts, str):
        return TextPart(thoughts).text
    if isinstance(thoughts, list) and depth:
        return "".join(_words(block, depth - 1) for block in thoughts)
    if isinstance(thoughts, Mapping) and depth:
        for name in ("thinking", "reasoning", "reasoning_content", "text", "content"):
            if words := _words(thoughts.get(name), depth - 1):
                return words
        summary = thoughts.get("summary")
        parts = summary if isinstance(summary, list) else [summary]
        return "\n\n".join(filter(None, (_words(part, depth - 1) for part in parts)))
    return ""
