"""Answers held to a JSON schema: at each step only those tokens are left with which the answer can
still become one that fits. llguidance computes them (extra `constrained`).

Thoughts are free: a prompt may leave the model in them, and a model that has a token for their mark may
begin with it. The schema holds from the end of the thoughts on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from eval_anything.errors import UserError, install
from eval_anything.models.local.thoughts import decoded
from eval_anything.thoughts import closing_mark, split_thoughts

if TYPE_CHECKING:
    import torch

Schema = Mapping[str, Any]
"""A JSON schema, decoded."""


def library_problem() -> str | None:
    """The sentence that says how to get the library, None if it is installed."""
    if find_spec("llguidance") is not None:
        return None
    return f"holding answers to a JSON schema needs the package llguidance: {install('constrained')}"


class Grammars:
    """Grammars of JSON schemas in the tokens of one tokenizer.

    Args:
        tokenizer: of transformers.
        stop: token ids that end an answer, by default that of the tokenizer.
        where: the checkpoint, for errors.

    Raises:
        UserError: the library is missing, or cannot read this tokenizer.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[int] | None, where: str) -> None:
        if (problem := library_problem()) is not None:
            raise UserError(problem)
        from llguidance.hf import from_tokenizer

        try:
            self._tokens: Any = from_tokenizer(tokenizer, eos_token=list(stop) if stop else None)
        except Exception as error:
            raise UserError(
                f"{where}: llguidance cannot read its tokenizer ({error}), so that no schema can hold"
            ) from None
        self._tokenizer = tokenizer
        self._where = where
        added = tokenizer.added_tokens_decoder.items()
        self._opening = [i for i, token in added if closing_mark(str(token.content)) is not None]

    def matcher(self, schema: Schema) -> Any:
        """The state of one answer, at its start. UserError if the library refuses the schema."""
        from llguidance import LLMatcher

        # Space between values would be free, and some models fill their answers with it.
        grammar = LLMatcher.grammar_from_json_schema(dict(schema), {"whitespace_flexible": False})
        matcher = LLMatcher(self._tokens, grammar, log_level=0)
        if matcher.is_error():
            reason = " ".join(matcher.get_error().split())
            raise UserError(f"{self._where}: llguidance refuses the JSON schema: {reason}")
        return matcher

    def processor(self, schemas: Sequence[Schema | None], opened: Sequence[bool | None]) -> Any:
        """The processor of scores for one batch.

        Args:
            schemas: that of each row; None leaves a row free.
            opened: for each row whether its prompt opened thoughts; None if that is not known.
        """
        rows = [
            None if schema is None else _Row(self, self.matcher(schema), bool(thinks))
            for schema, thinks in zip(schemas, opened, strict=True)
        ]
        start: list[int] = []

        def restrict(input_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            if not start:
                start.append(input_ids.shape[1])
            for index, row in enumerate(rows):
                allowed = None if row is None else row.allowed(input_ids[index, start[0] :].tolist())
                if allowed is not None:
                    logits[index] = _only(logits[index], allowed)
            return logits

        return restrict

    def thinks(self, ids: Sequence[int], opened: bool) -> bool:
        """Whether an answer so far is inside of thoughts."""
        return split_thoughts(decoded(self._tokenizer, ids), opened or None).unfinished

    def mask(self, matcher: Any, first: bool) -> Any:
        """Whether each token may come next, bool (vocabulary,); `first` allows the start of thoughts."""
        import numpy as np
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        bits = allocate_token_bitmask(1, self._tokens.vocab_size)
        fill_next_token_bitmask(matcher, bits)
        allowed = np.unpackbits(bits.view(np.uint8), bitorder="little")[: self._tokens.vocab_size]
        if first:
            allowed[self._opening] = 1
        return allowed.astype(bool)

    def opens(self, token: int) -> bool:
        """Whether a token is the mark that opens thoughts."""
        return token in self._opening

    def ends(self, token: int) -> bool:
        """Whether a token ends an answer."""
        return token in self._tokens.eos_tokens


class _Row:
    """The state of one answer: inside of thoughts, held to the schema, or ended (no matcher)."""

    def __init__(self, grammars: Grammars, matcher: Any, opened: bool) -> None:
        self._grammars = grammars
        self._matcher = matcher
        self._opened = self._thinking = opened

    def allowed(self, ids: Sequence[int]) -> Any:
        """Whether each token may follow the answer so far, bool (vocabulary,); None if all may."""
        if self._matcher is None:
            return None
        if len(ids) == 1 and self._grammars.opens(ids[0]):
            self._thinking = True
        if self._thinking:
            self._thinking = not ids or self._grammars.thinks(ids, self._opened)
            if self._thinking:
                return None
        elif ids and self._grammars.ends(ids[-1]):
            self._matcher = None
            return None
        elif ids and not self._matcher.consume_token(ids[-1]):
            raise RuntimeError(f"llguidance: {self._matcher.get_error()}")
        return self._grammars.mask(self._matcher, first=not ids)


def _only(scores: torch.Tensor, allowed: Any) -> torch.Tensor:
    """Scores (vocabulary,) with minus infinity for all other tokens."""
    import torch

    permitted = torch.zeros_like(scores, dtype=torch.bool)
    permitted[: len(allowed)] = torch.from_numpy(allowed[: len(scores)]).to(scores.device)
    return scores.masked_fill(~permitted, float("-inf"))
