"""Token ids of reasoning models as text, with the marks of their thoughts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from eval_anything.thoughts import marks_among, opens_thoughts

_TAIL = 16  # tokens at the end of a prompt that may open thoughts
_HELD_BACK = 64  # tokens at the end of an answer that may be no characters


def decoded(tokenizer: Any, ids: Sequence[int], drop_cut: bool = True) -> str:
    """The text of token ids without special tokens, except those that mark thoughts; `drop_cut`
    leaves out a character that is unfinished at its end, as `whole_text` does."""
    special = {i: str(t.content) for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    names = marks_among(special.values())
    marks = {token_id: name for token_id, name in special.items() if name in names}

    def text_of(run: Sequence[int]) -> str:
        return whole_text(tokenizer, run) if drop_cut else _text(tokenizer, run)

    if not any(token_id in marks for token_id in ids):
        return text_of(ids)
    return "".join(
        marks[run[0]] * len(run) if mark is not None else text_of(run)
        for mark, run in ((mark, list(group)) for mark, group in groupby(ids, key=marks.get))
    )


def whole_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids without special tokens, and without the tokens at its end that leave a
    character unfinished: vLLM and llama.cpp hold back whole tokens, too."""
    text = _text(tokenizer, ids)
    shortest = max(0, len(ids) - _HELD_BACK)
    for end in range(len(ids) - 1, shortest - 1, -1):
        if not text.endswith("\ufffd"):
            break
        text = _text(tokenizer, ids[:end])
    return text


def _text(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True))


def begins_in_thoughts(tokenizer: Any, prompt: Sequence[int]) -> bool | None:
    """True if a prompt leaves the model in its thoughts, else None: its answer may tell."""
    return opens_thoughts(tokenizer.decode(prompt[-_TAIL:])) or None
