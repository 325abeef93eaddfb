"""The text of new tokens as a server decodes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def streamed(tokenizer: Any, ids: Iterable[Any]) -> str:
    """The text by the stream that vLLM decodes with: a character is held back until it is whole."""
    from tokenizers.decoders import DecodeStream

    stream = DecodeStream(skip_special_tokens=True)
    return "".join(stream.step(tokenizer._tokenizer, int(token)) or "" for token in ids)
