"""A fold of a streamed chat completion into content, with the time at which each modality began."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from eval_anything.content import MODALITIES, Modality, without_surrogates
from eval_anything.models.openai.replies import Content, check_length
from eval_anything.servers.completions import blocks_in, nonempty_text, text_in, thought_in

_Key = tuple[Any, str]  # the index of a choice, and the name of one of its fields


class ChatFold:
    """The deltas of one reply, gathered by choice and field.

    Text is in `delta.content`, images in `delta.images` or in a list there. Sound is in `delta.audio`
    (OpenAI; Qwen-Omni, without a header), or in `delta.content` where the chunk's `modality` says so
    (vLLM-Omni, a header in each). The text of a choice is one part, and so is its sound, in the order in
    which they began: the streams run in parallel, so no finer order is known.

    `first` has the seconds after which each modality began; `headerless` is as in `read_reply`.
    """

    def __init__(self, headerless: bool) -> None:
        self.finished = False
        self.first: dict[str, float] = {}
        self._headerless = headerless
        self._stop_reason: str | None = None
        self._gathered: dict[_Key, _Items | _Base64] = {}
        self._transcript: list[str] = []
        self._refusal: list[str] = []
        self._thoughts: list[str] = []

    def add(self, event: Mapping[str, Any], seconds: float) -> None:
        """Adds a chunk."""
        modality = nonempty_text(event.get("modality")) or Modality.TEXT
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, Mapping):
                continue
            if choice.get("finish_reason"):
                self.finished = True
                self._stop_reason = self._stop_reason or nonempty_text(choice["finish_reason"])
            delta = choice.get("delta")
            if isinstance(delta, Mapping):
                for began in self._add_delta(str(choice.get("index")), delta, modality):
                    if began in MODALITIES:
                        self.first.setdefault(began, seconds)

    def content(self) -> Content:
        """The content of the whole stream. ReplyError if it has too much text."""
        content = Content(stop_reason=self._stop_reason and without_surrogates(self._stop_reason))
        thoughts = without_surrogates("".join(self._thoughts))
        content.thoughts += [thoughts.strip()] if thoughts.strip() else []
        for (_, name), gathered in self._gathered.items():
            if isinstance(gathered, _Items) and name == "images":
                content.add_media(gathered.end())
                continue
            if isinstance(gathered, _Items):
                content.add_message({"content": gathered.end(), "reasoning_content": thoughts})
                continue
            try:
                pieces = gathered.end()
            except binascii.Error as error:
                content.problems.append(f"the audio of the reply: no base64 ({error})")
            else:
                content.add_sound(pieces, self._headerless)
        content.refusal = "".join(self._refusal) or content.refusal
        if transcript := without_surrogates("".join(self._transcript)):
            content.transcripts.append(transcript)
        check_length(content)
        return content

    def _add_delta(self, index: str, delta: Mapping[str, Any], modality: str) -> list[str]:
        """Adds a delta and returns the modalities of its parts."""
        modalities: list[str] = []
        text_or_items, images, audio = delta.get("content"), delta.get("images"), delta.get("audio")
        if isinstance(text_or_items, str) and text_or_items:
            modalities.append(modality)
            if modality == Modality.AUDIO:
                self._sound((index, "audio of content")).add(text_or_items)
            elif modality == Modality.TEXT:
                self._items((index, "content")).add_text(text_or_items)
            else:
                self._items((index, "content")).add({f"{modality}_url": text_or_items, "type": modality})
        blocks = blocks_in(text_or_items) if isinstance(text_or_items, list) else ()
        named_blocks = [("content", block) for block in blocks]
        named_blocks += [("images", image) for image in images] if isinstance(images, list) else []
        for name, block in named_blocks:
            text = text_in(block) if name == "content" else None
            if (thought := thought_in(block)) is not None:
                self._thoughts.append(thought)
            elif text is not None:
                modalities.append(Modality.TEXT)
                self._items((index, name)).add_text(text)
            else:
                modalities.append(Modality.IMAGE)
                self._items((index, name)).add(block)
        if isinstance(audio, Mapping):
            if isinstance(audio.get("transcript"), str):
                self._transcript.append(audio["transcript"])
            if isinstance(audio.get("data"), str) and audio["data"]:
                modalities.append(Modality.AUDIO)
                self._sound((index, "audio")).add(audio["data"])
        thoughts = (delta.get("reasoning_content"), delta.get("reasoning"))
        self._thoughts += [thought for thought in thoughts if isinstance(thought, str) and thought][:1]
        if isinstance(delta.get("refusal"), str):
            self._refusal.append(delta["refusal"])
        return modalities

    def _items(self, key: _Key) -> _Items:
        gathered = self._gathered.setdefault(key, _Items())
        assert isinstance(gathered, _Items)
        return gathered

    def _sound(self, key: _Key) -> _Base64:
        gathered = self._gathered.setdefault(key, _Base64())
        assert isinstance(gathered, _Base64)
        return gathered


class _Items:
    """A list of content items, in which consecutive texts are joined."""

    def __init__(self) -> None:
        self._items: list[Any] = []  # a list of strings stands for a text that goes on

    def add_text(self, text: str) -> None:
        if not (self._items and isinstance(self._items[-1], list)):
            self._items.append([])
        self._items[-1].append(text)

    def add(self, content_item: Any) -> None:
        self._items.append(content_item if isinstance(content_item, Mapping) else str(content_item))

    def end(self) -> list[Any]:
        return [
            {"type": "text", "text": "".join(text_or_item)}
            if isinstance(text_or_item, list)
            else text_or_item
            for text_or_item in self._items
        ]


class _Base64:
    """Base64 text that comes in pieces, each whole or cut anywhere."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._unfinished = ""

    def add(self, text: str) -> None:
        text = self._unfinished + text
        complete = len(text) // 4 * 4
        self._unfinished = text[complete:]
        if complete:
            self._pieces.append(text[:complete])

    def end(self) -> list[bytes]:
        """The bytes of each piece. binascii.Error if one is no base64."""
        pieces = self._pieces
        if self._unfinished:
            pieces = [*pieces, self._unfinished + "=" * (4 - len(self._unfinished))]
        return [base64.b64decode(piece, validate=True) for piece in pieces]
