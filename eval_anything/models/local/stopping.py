"""Texts that end an answer, in tokens that are sampled one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval_anything.thoughts import split_thoughts


def stops_at(tokenizer: Any, texts: Sequence[str], start: int, opened: Sequence[bool | None]) -> Any:
    """The stopping criteria of `generate` that end a row once its answer has one of the texts; thoughts
    may have them.

    Args:
        tokenizer: of transformers.
        texts: the texts; empty ones do not count.
        start: the position of the first new token.
        opened: for each row whether its prompt opened thoughts; None if that is not known.
    """
    import torch
    from transformers import StoppingCriteriaList

    ends = [text for text in texts if text]
    # A text may end inside of a token and begin inside of another one.
    tail = 2 + max((len(tokenizer.encode(e, add_special_tokens=False)) for e in ends), default=0)

    def ended(row: int, ids: torch.Tensor, text: str) -> bool:
        if not any(e in text for e in ends):
            return False
        written = ids[row, start:].tolist()
        answer = split_thoughts(tokenizer.decode(written), opened[row]).answer
        return any(e in answer for e in ends)

    def stop(ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        tails = tokenizer.batch_decode(ids[:, start:][:, -tail:])
        rows = [ended(row, ids, text) for row, text in enumerate(tails)]
        return torch.tensor(rows, device=ids.device)

    return StoppingCriteriaList([stop])


def before_stop(text: str, texts: Sequence[str], opened: bool | None) -> str | None:
    """The text before the first of the texts that end its answer; None if it has none of them.

    Args:
        text: all that a model wrote, thoughts included.
        texts: the texts.
        opened: whether its prompt opened thoughts; None if that is not known.

    Example:
        >>> before_stop("<think>a; b</think>yes; no", [";"], None)
        '<think>a; b</think>yes'
    """
    answer = split_thoughts(text, opened).answer
    places = [answer.find(end) for end in texts if end and end in answer]
    return text[: text.rfind(answer) + min(places)] if places else None
