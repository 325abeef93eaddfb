"""A streamed chat completion folded into content, with the time at which each modality began."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from eval_anything.content import MODALITIES, Modality
from eval_anything.models.openai.replies import Content, check_length, tokens_of, word

_Key = tuple[Any, str]  # the index of a choice, and which of its fields


class ChatFold:
    """Deltas of one reply, gathered by what they belong to.

    Text is in `delta.content`, images in `delta.images` or in a list there. Sound is in `delta.audio`
    (OpenAI; Qwen-Omni, without a header), or in `delta.content` where the chunk's `modality` says so
    (vLLM-Omni, a header in each). Texts and sounds of one choice are one part each, in the order in
    which they began: streams run side by side, and tell no more.

    `first` has the seconds after which each modality began; `headerless` is as in `read_reply`.
    """

    def __init__(self, headerless: bool) -> None:
        self.finished = False
        self.first: dict[str, float] = {}
        self._headerless = headerless
        self._stop_reason: str | None = None
        self._usage: Any = None
        self._gathered: dict[_Key, _Items | _Base64] = {}
        self._transcript: list[str] = []
        self._refusal: list[str] = []

    def add(self, event: Mapping[str, Any], seconds: float) -> None:
        """Takes a chunk."""
        self._usage = event.get("usage") or self._usage
        modality = word(event.get("modality")) or Modality.TEXT
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, Mapping):
                continue
            if choice.get("finish_reason"):
                self.finished = True
                self._stop_reason = self._stop_reason or word(choice["finish_reason"])
            delta = choice.get("delta")
            if isinstance(delta, Mapping):
                for began in self._add_delta(str(choice.get("index")), delta, modality):
                    if began in MODALITIES:
                        self.first.setdefault(began, seconds)

    def content(self) -> Content:
        """All that was streamed. ReplyError if it is too much text."""
        content = Content(stop_reason=self._stop_reason, usage=tokens_of(self._usage))
        for gathered in self._gathered.values():
            if isinstance(gathered, _Items):
                content.add_items(gathered.end())
                continue
            try:
                pieces = gathered.end()
            except binascii.Error as error:
                content.problems.append(f"the audio of the reply: no base64 ({error})")
            else:
                content.add_sound(pieces, self._headerless)
        content.refusal = "".join(self._refusal) or content.refusal
        if transcript := "".join(self._transcript):
            content.transcripts.append(transcript)
        check_length(content)
        return content

    def _add_delta(self, index: str, delta: Mapping[str, Any], modality: str) -> list[str]:
        """Takes a delta and returns the modalities of which it holds something."""
        found: list[str] = []
        said, images, audio = delta.get("content"), delta.get("images"), delta.get("audio")
        if isinstance(said, str) and said:
            found.append(modality)
            if modality == Modality.AUDIO:
                self._sound((index, "audio of content")).add(said)
            elif modality == Modality.TEXT:
                self._items((index, "content")).add_text(said)
            else:
                self._items((index, "content")).add({f"{modality}_url": said, "type": modality})
        for name, items in (("content", said), ("images", images)):
            for item in items if isinstance(items, list) else ():
                if isinstance(item, Mapping) and isinstance(item.get("text"), str):
                    found.append(Modality.TEXT)
                    self._items((index, name)).add_text(item["text"])
                else:
                    found.append(Modality.IMAGE)
                    self._items((index, name)).add(item)
        if isinstance(audio, Mapping):
            if isinstance(audio.get("transcript"), str):
                self._transcript.append(audio["transcript"])
            if isinstance(audio.get("data"), str) and audio["data"]:
                found.append(Modality.AUDIO)
                self._sound((index, "audio")).add(audio["data"])
        if isinstance(delta.get("refusal"), str):
            self._refusal.append(delta["refusal"])
        return found

    def _items(self, key: _Key) -> _Items:
        gathered = self._gathered.setdefault(key, _Items())
        assert isinstance(gathered, _Items)
        return gathered

    def _sound(self, key: _Key) -> _Base64:
        gathered = self._gathered.setdefault(key, _Base64())
        assert isinstance(gathered, _Base64)
        return gathered


class _Items:
    """Content items in order; texts that follow one another are one."""

    def __init__(self) -> None:
        self._items: list[Any] = []  # a list of strings stands for a text that goes on

    def add_text(self, text: str) -> None:
        if not (self._items and isinstance(self._items[-1], list)):
            self._items.append([])
        self._items[-1].append(text)

    def add(self, item: Any) -> None:
        self._items.append(item if isinstance(item, Mapping) else str(item))

    def end(self) -> list[Any]:
        return [
            {"type": "text", "text": "".join(item)} if isinstance(item, list) else item
            for item in self._items
        ]


class _Base64:
    """Base64 that comes in pieces: each may be whole, or cut anywhere."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._rest = ""

    def add(self, text: str) -> None:
        text = self._rest + text
        whole = len(text) // 4 * 4
        self._rest = text[whole:]
        if whole:
            self._pieces.append(text[:whole])

    def end(self) -> list[bytes]:
        """The bytes of each piece. binascii.Error if one is no base64."""
        rest = [self._rest + "=" * (4 - len(self._rest))] if self._rest else []
        return [base64.b64decode(piece, validate=True) for piece in (*self._pieces, *rest)]
