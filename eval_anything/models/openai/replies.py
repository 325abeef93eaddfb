"""Parsing of the replies of OpenAI-compatible servers, in all their shapes, into parts in order.

`servers/completions.py` reads their words, for judges too; here are the media.

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
from eval_anything.servers.client import ReplyError
from eval_anything.servers.completions import (
    LARGEST_TEXT,
    messages_of,
    nonempty_text,
    read_message,
    stop_reason_of,
)

# The text of vLLM-Omni in place of an image that was not made; the model did not write it.
_NO_IMAGES = "Image generation completed but no images"


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
        thoughts: texts of the thoughts before the answer.
    """

    lists: list[list[Piece]] = []
    problems: list[str] = []
    refusal: str | None = None
    stop_reason: str | None = None
    usage: Usage = Usage()
    transcripts: list[str] = []
    thoughts: list[str] = []

    @property
    def pieces(self) -> list[Piece]:
        """All pieces, list after list."""
        return [piece for pieces in self.lists for piece in pieces]

    @property
    def order_known(self) -> bool:
        """Whether the pieces are in one list, or all of one modality."""
        modalities = {p.modality for p in self.pieces}
        return len(modalities) < 2 or sum(bool(pieces) for pieces in self.lists) < 2

    def add_message(self, message: Mapping[str, Any]) -> None:
        """Adds what the `content` of a message says, with its thoughts and its refusal."""
        words = read_message(message)
        self._add([TextPart(item) if isinstance(item, str) else item for item in words.items])
        self.thoughts += [thought for thought in words.thoughts if thought not in self.thoughts]
        self.refusal = words.refusal if words.refusal is not None else self.refusal

    def add_media(self, items: Iterable[Any]) -> None:
        """Adds a list of media, such as `message.images` or `data`; a str is an address."""
        self._add(items)

    def _add(self, items: Iterable[Any]) -> None:
        pieces: list[Piece] = []
        self.lists.append(pieces)
        for item in items:
            if isinstance(item, TextPart):
                silent = not item.text.strip() or item.text.startswith(_NO_IMAGES)
                pieces += [] if silent else [item]
                continue
            try:
                pieces.append(_medium_in(item))
            except PayloadError as error:
                self.problems.append(str(error))

    def add_sound(self, pieces: list[bytes], headerless: bool) -> None:
        """Adds a list of one sound, which came in these pieces."""
        try:
            self.lists.append([sound(pieces, headerless)])
        except PayloadError as error:
            self.problems.append(str(error))


def _medium_in(item: Any) -> Medium | Link:
    """The medium that a content item has; a str is the address of an image."""
    if isinstance(item, str):
        return medium_at(item, Modality.IMAGE)
    if not isinstance(item, Mapping):
        raise PayloadError(f"a part that is {type(item).__name__}, not an object")
    kind = str(item.get("type") or "")
    if kind in ("text", "output_text"):
        raise PayloadError("a text part without text")
    return _medium_of(item, kind)


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
    if isinstance(raw, Mapping):
        content.stop_reason = stop_reason_of(raw)
        if isinstance(raw.get("data"), list) and not raw.get("choices") and "output" not in raw:
            content.add_media(raw["data"])
            return content
    for message in messages_of(raw):
        _read_message(message, content, headerless)
    check_length(content)
    return content


def check_length(content: Content) -> None:
    """Raises ReplyError if there is more text than a reply may have."""
    characters = sum(len(p.text) for p in content.pieces if isinstance(p, TextPart))
    characters += sum(map(len, content.thoughts))
    if characters > LARGEST_TEXT:
        raise ReplyError(f"a reply of {characters} characters")


def _read_message(message: Mapping[str, Any], content: Content, headerless: bool) -> None:
    content.add_message(message)
    if isinstance(message.get("images"), list):
        content.add_media(message["images"])
    audio = message.get("audio")
    if isinstance(audio, Mapping):
        if (transcript := nonempty_text(audio.get("transcript"))) is not None:
            content.transcripts.append(transcript)
        try:
            content.add_sound([decode_base64(audio.get("data"))], headerless)
        except PayloadError as error:
            content.problems.append(f"the audio of the reply: {error}")
