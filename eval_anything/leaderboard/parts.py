"""Parts and texts in the form that pages read. A long text is split into an excerpt and chunks."""

from __future__ import annotations

import hashlib
from typing import Any

from eval_anything.content import Part, TextPart, without_surrogates
from eval_anything.leaderboard.chunks import Chunks
from eval_anything.leaderboard.media import Media

_INLINE = 8_000  # characters; longer texts are loaded on demand


_PIECE = 80_000  # characters of a chunk: six bytes each at worst


class Texts:
    """Texts of a site; `keys` are the keys of the chunks that were written for long ones."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self.keys: set[str] = set()

    def for_page(self, text: str) -> str | dict[str, Any]:
        """The text, or for a long one {"t": its beginning, "n": its length, "k": keys of its chunks}."""
        if len(text) <= _INLINE:
            return text
        text = without_surrogates(text)
        name = hashlib.sha256(text.encode()).hexdigest()[:24]
        pieces = [text[i : i + _PIECE] for i in range(0, len(text), _PIECE)]
        keys = [f"text/{name}-{k}" for k in range(len(pieces))]
        for key, piece in zip(keys, pieces, strict=True):
            self._chunks.write(key, piece)
        self.keys.update(keys)
        return {"t": text[:_INLINE], "n": len(text), "k": keys}


def part_for_page(part: Part, media: Media, texts: Texts) -> dict[str, Any]:
    """{"m": "text", "t": text}, or the description of a medium that was added to `media`."""
    if isinstance(part, TextPart):
        return {"m": "text", "t": texts.for_page(part.text)}
    return media.for_page(part)
