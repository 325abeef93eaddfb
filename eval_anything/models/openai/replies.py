"""Parsing of the replies of OpenAI-compatible servers, in all their shapes, into parts in order.

| place of media | servers |
|---|---|
| `output[]` items, images between messages | OpenAI's Responses API |
| `choices[0].message.audio` | OpenAI, sglang-omni, `transformers serve` |
| a second choice, of the same index | vLLM-Omni |
| `message.content` as a list | vLLM-Omni |
| `message.images` | OpenRouter, LiteLLM, Vercel, sglang-omni |
| `data[]` with `b64_json`, `url` or `file_path` | images endpoints of OpenAI, SGLang |

Within one list the order of parts is known. The order of a text in `content` and an image in `images`
is not, nor that of two choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from eval_anything.content import Modality, TextPart, Usage
from eval_anything.models.openai.payload import (
    Link,
    Medium,
    PayloadError,
    decode_base64,
    medium,
    medium_at,
    sound,
)
from eval_anything.servers.chat import LARGEST_TEXT
from eval_anything.servers.client import ReplyError

# The text of vLLM-Omni in place of an image that was not made; the model did not write it.
_NO_IMAGES = "Image generation completed but no images"


# Types of content items that are no part of the answer: thoughts and the use of tools.
_IGNORED = ("thinking", "reasoning", "reasoning_content", "tool_use", "tool_call")


Piece = TextPart | Medium | Link


class Content(Struct):
    """The content of a reply, parsed but not fetched or stored yet.

    Attributes:
        lists: lists of pieces; the order is known within a list, not between lists.
        problems: reasons why pieces could not be used.
        refusal: the model's words of refusal; None if it did not refuse.
        stop_reason: as in chat completions: stop, length, content_filter ...
        usage: tokens in and out, from the client.
        transcripts: texts of sounds, as the server reports them.
    """

    lists: list[list[Piece]] = []
    problems: list[str] = []
    refusal: str | None = None
    stop_reason: str | None = None
    usage: Usage = Usage()
    transcripts: list[str] = []

    @property
    def pieces(self) -> list[Piece]:
        """All pieces, list after list."""
        return [piece for pieces in self.lists for piece in pieces]

    @property
    def order_known(self) -> bool:
        """Whether the pieces are in one list, or all of one modality."""
        modalities = {p.modality for p in self.pieces}
        return len(modalities) < 2 or sum(bool(pieces) for pieces in self.lists) < 2

    def add_items(self, items: Iterable[Any]) -> None:
        """Adds a list of content items, or of the items of `message.images` or `data`."""
        pieces: list[Piece] = []
        self.lists.append(pieces)
        for content_item in items:
            try:
                piece = self._piece(content_item)
            except PayloadError as error:
                self.problems.append(str(error))
            else:
                if piece is not None:
                    pieces.append(piece)

    def add_sound(self, pieces: list[bytes], headerless: bool) -> None:
        """Adds a list of one sound, which came in these pieces."""
        try:
            self.lists.append([sound(pieces, headerless)])
        except PayloadError as error:
            self.problems.append(str(error))

    def _piece(self, content_item: Any) -> Piece | None:
        if isinstance(content_item, str):
            return medium_at(content_item, Modality.IMAGE)
        if not isinstance(content_item, Mapping):
            raise PayloadError(f"a part that is {type(content_item).__name__}, not an object")
        kind = str(content_item.get("type") or "")
        if kind in ("text", "output_text"):
            text = content_item.get("text")
            if not isinstance(text, str):
                raise PayloadError("a text part without text")
            silent = not text.strip() or text.startswith(_NO_IMAGES)
            return None if silent else TextPart(text)
        if kind == "refusal":
            self.refusal = str(content_item.get("refusal") or "")
            return None
        if kind in _IGNORED:
            return None
        return _medium_of(content_item, kind)


def _medium_of(content_item: Mapping[str, Any], kind: str) -> Medium | Link:
    """The medium of a content item, from whichever field has it."""
    for modality in (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO):
        if modality in kind or f"{modality}_url" in content_item:
            break
    else:
        if kind:
            raise PayloadError(f"a part of the unknown type {kind!r}")
        modality = Modality.IMAGE
    address = content_item.get(f"{modality}_url")
    if address is not None:
        return medium_at(address.get("url") if isinstance(address, Mapping) else address, modality)
    inner = content_item.get(kind)
    if isinstance(inner, str):
        return medium_at(inner, modality)
    fields = inner if isinstance(inner, Mapping) else content_item
    for name in ("b64_json", "data", "result"):
        if fields.get(name) is not None:
            return medium(decode_base64(fields[name]), modality)
    for name in ("url", "file_path"):
        if fields.get(name) is not None:
            return medium_at(fields[name], modality)
    raise PayloadError(f"a part of type {kind or modality!r} without data")


def read_reply(raw: Any, headerless: bool) -> Content:
    """The content of a reply in any of these shapes.

    Args:
        raw: the decoded JSON of the reply.
        headerless: whether sound was requested as samples without a header.

    Raises:
        ReplyError: the reply has none of the shapes, or too much text.

    Example:
        >>> message = {"content": "Hi", "role": "assistant"}
        >>> read_reply({"choices": [{"message": message}]}, headerless=False).pieces[0].text
        'Hi'
    """
    content = Content()
    if not isinstance(raw, Mapping):
        raise ReplyError("a reply that is no object")
    output, choices, media_items = raw.get("output"), raw.get("choices"), raw.get("data")
    if isinstance(output, list):
        _read_output(output, content)
        content.stop_reason = _stop_reason(raw)
    elif isinstance(choices, list) and choices:
        for choice in choices:
            _read_choice(choice, content, headerless)
    elif isinstance(media_items, list):
        content.add_items(media_items)
    else:
        raise ReplyError("a reply without choices")
    check_length(content)
    return content


def check_length(content: Content) -> None:
    """Raises ReplyError if there is more text than a reply may have."""
    characters = sum(len(p.text) for p in content.pieces if isinstance(p, TextPart))
    if characters > LARGEST_TEXT:
        raise ReplyError(f"a reply of {characters} characters")


def nonempty_text(field: Any) -> str | None:
    """The field of a reply if it is a text and not empty, else None."""
    return field if isinstance(field, str) and field else None


def _read_choice(choice: Any, content: Content, headerless: bool) -> None:
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping):
        return
    content.stop_reason = content.stop_reason or nonempty_text(choice.get("finish_reason"))
    text_or_items = message.get("content")
    if isinstance(text_or_items, str):
        content.add_items([{"type": "text", "text": text_or_items}])
    elif isinstance(text_or_items, list):
        content.add_items(text_or_items)
    if isinstance(message.get("images"), list):
        content.add_items(message["images"])
    audio = message.get("audio")
    if isinstance(audio, Mapping):
        if (transcript := nonempty_text(audio.get("transcript"))) is not None:
            content.transcripts.append(transcript)
        try:
            content.add_sound([decode_base64(audio.get("data"))], headerless)
        except PayloadError as error:
            content.problems.append(f"the audio of the reply: {error}")
    if message.get("refusal"):
        content.refusal = str(message["refusal"])


def _read_output(output: list[Any], content: Content) -> None:
    """Adds the items of a response: messages with texts, and the images that its tool made."""
    content_items: list[Any] = []
    for output_item in output:
        kind = output_item.get("type") if isinstance(output_item, Mapping) else None
        if kind == "message":
            message_content = output_item.get("content")
            content_items += message_content if isinstance(message_content, list) else [message_content]
        elif kind == "image_generation_call":
            content_items.append(output_item)
    content.add_items(content_items)


def _stop_reason(response: Mapping[str, Any]) -> str | None:
    """The reason why a response ended, in the words of chat completions."""
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    if reason is not None:
        return "length" if reason == "max_output_tokens" else str(reason)
    status = nonempty_text(response.get("status"))
    return "stop" if status == "completed" else status
