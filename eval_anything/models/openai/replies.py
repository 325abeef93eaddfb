"""From the replies of OpenAI-compatible servers, in all their shapes, to parts in order.

| where media are | who |
|---|---|
| `output[]` items, images between messages | OpenAI's Responses API |
| `choices[0].message.audio` | OpenAI, sglang-omni, `transformers serve` |
| a second choice, of the same index | vLLM-Omni |
| `message.content` as a list | vLLM-Omni |
| `message.images` | OpenRouter, LiteLLM, Vercel, sglang-omni |
| `data[]` with `b64_json`, `url` or `file_path` | images endpoints of OpenAI, SGLang |

Within one list the order of parts is known. Which of a text in `content` and an image in `images`
came first is not, nor which of two choices.
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

# What vLLM-Omni says in place of an image that was not made; it is none of the model's words.
_NO_IMAGES = "Image generation completed but no images"


# Thoughts and the use of tools are no part of the answer.
_NOT_SAID = ("thinking", "reasoning", "reasoning_content", "tool_use", "tool_call")


Piece = TextPart | Medium | Link


class Content(Struct):
    """What a reply holds: lists of pieces, each in order; what could not be used, and why.

    `transcripts` are what servers say that a sound says.
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
        """One more list: of content items, or of what `message.images` and `data` hold."""
        found: list[Piece] = []
        self.lists.append(found)
        for item in items:
            try:
                piece = self._piece(item)
            except PayloadError as error:
                self.problems.append(str(error))
            else:
                if piece is not None:
                    found.append(piece)

    def add_sound(self, pieces: list[bytes], headerless: bool) -> None:
        """One more list, of a sound alone."""
        try:
            self.lists.append([sound(pieces, headerless)])
        except PayloadError as error:
            self.problems.append(str(error))

    def _piece(self, item: Any) -> Piece | None:
        if isinstance(item, str):
            return medium_at(item, Modality.IMAGE)
        if not isinstance(item, Mapping):
            raise PayloadError(f"a part that is {type(item).__name__}, not an object")
        kind = str(item.get("type") or "")
        if kind in ("text", "output_text"):
            text = item.get("text")
            if not isinstance(text, str):
                raise PayloadError("a text part without text")
            silent = not text.strip() or text.startswith(_NO_IMAGES)
            return None if silent else TextPart(text)
        if kind == "refusal":
            self.refusal = str(item.get("refusal") or "")
            return None
        if kind in _NOT_SAID:
            return None
        return _medium_of(item, kind)


def _medium_of(item: Mapping[str, Any], kind: str) -> Medium | Link:
    """The medium of an item, in whichever field it is."""
    for modality in (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO):
        if modality in kind or f"{modality}_url" in item:
            break
    else:
        if kind:
            raise PayloadError(f"a part of the unknown type {kind!r}")
        modality = Modality.IMAGE
    address = item.get(f"{modality}_url")
    if address is not None:
        return medium_at(address.get("url") if isinstance(address, Mapping) else address, modality)
    inner = item.get(kind)
    if isinstance(inner, str):
        return medium_at(inner, modality)
    fields = inner if isinstance(inner, Mapping) else item
    for name in ("b64_json", "data", "result"):
        if fields.get(name) is not None:
            return medium(decode_base64(fields[name]), modality)
    for name in ("url", "file_path"):
        if fields.get(name) is not None:
            return medium_at(fields[name], modality)
    raise PayloadError(f"a part of type {kind or modality!r} without data")


def read_reply(raw: Any, headerless: bool) -> Content:
    """The content of a reply of any of these shapes; `headerless` if sound was asked for as samples.

    ReplyError if it has none of the shapes, or too much text.
    """
    content = Content()
    if not isinstance(raw, Mapping):
        raise ReplyError("a reply that is no object")
    content.usage = tokens_of(raw.get("usage"))
    output, choices, data = raw.get("output"), raw.get("choices"), raw.get("data")
    if isinstance(output, list):
        _read_output(output, content)
        content.stop_reason = _stop_reason(raw)
    elif isinstance(choices, list) and choices:
        for choice in choices:
            _read_choice(choice, content, headerless)
    elif isinstance(data, list):
        content.add_items(data)
    else:
        raise ReplyError("a reply without choices")
    check_length(content)
    return content


def check_length(content: Content) -> None:
    """ReplyError if there is more text than a reply may have."""
    characters = sum(len(p.text) for p in content.pieces if isinstance(p, TextPart))
    if characters > LARGEST_TEXT:
        raise ReplyError(f"a reply of {characters} characters")


def tokens_of(usage: Any) -> Usage:
    """The tokens in and out, under the names of either API; 0 for what is not said."""
    fields = usage if isinstance(usage, Mapping) else {}

    def first(*names: str) -> int:
        found = (fields.get(name) for name in names)
        return next((n for n in found if isinstance(n, int) and n > 0), 0)

    return Usage(first("prompt_tokens", "input_tokens"), first("completion_tokens", "output_tokens"))


def word(value: Any) -> str | None:
    """What a field says, if it is text and says something."""
    return value if isinstance(value, str) and value else None


def _read_choice(choice: Any, content: Content, headerless: bool) -> None:
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(message, Mapping):
        return
    content.stop_reason = content.stop_reason or word(choice.get("finish_reason"))
    said = message.get("content")
    if isinstance(said, str):
        content.add_items([{"type": "text", "text": said}])
    elif isinstance(said, list):
        content.add_items(said)
    if isinstance(message.get("images"), list):
        content.add_items(message["images"])
    audio = message.get("audio")
    if isinstance(audio, Mapping):
        if (transcript := word(audio.get("transcript"))) is not None:
            content.transcripts.append(transcript)
        try:
            content.add_sound([decode_base64(audio.get("data"))], headerless)
        except PayloadError as error:
            content.problems.append(f"the audio of the reply: {error}")
    if message.get("refusal"):
        content.refusal = str(message["refusal"])


def _read_output(output: list[Any], content: Content) -> None:
    """The items of a response: messages with texts, and the images that its tool made."""
    items: list[Any] = []
    for item in output:
        kind = item.get("type") if isinstance(item, Mapping) else None
        if kind == "message":
            said = item.get("content")
            items += said if isinstance(said, list) else [said]
        elif kind == "image_generation_call":
            items.append(item)
    content.add_items(items)


def _stop_reason(response: Mapping[str, Any]) -> str | None:
    """In the words of chat completions."""
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    if reason is not None:
        return "length" if reason == "max_output_tokens" else str(reason)
    status = word(response.get("status"))
    return "stop" if status == "completed" else status
