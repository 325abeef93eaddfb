"""Local checkpoints as models that continue plain text, for benchmarks of language models.

Such benchmarks write their prompts down to the last space, so nothing is added to them here: no roles,
and no chat template unless one is requested. Checkpoints also compute likelihoods of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from eval_anything.content import Failure, Response, TextPart, Usage
from eval_anything.errors import EvalError, UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Ending, Request, TextModel
from eval_anything.models.local.batches import Batcher
from eval_anything.models.local.plain_text import encoded, marked
from eval_anything.models.local.thoughts import begins_in_thoughts, decoded
from eval_anything.thoughts import nothing_but, split_thoughts

if TYPE_CHECKING:
    from eval_anything.models.local.likelihood import LogLikelihood


Turns = Sequence[Mapping[str, str]]
"""A conversation: {"role", "content"} of each message."""


_DEFAULT_POSITIONS = 2048


def prompt_of(request: Request) -> str:
    """The text to continue: that of the last message."""
    return "".join(part.text for part in request.messages[-1].parts if isinstance(part, TextPart))


class LoadedCheckpoint(NamedTuple):
    """A loaded causal language model with its tokenizer and batcher.

    Attributes:
        model: a model of transformers.
        tokenizer: a tokenizer of transformers.
        batcher: cuts requests into batches.
        stop: token ids that end an answer.
        chat: formats a conversation as a prompt, open for the next answer, or (False) for more of the
            last message.
    """

    model: Any
    tokenizer: Any
    batcher: Batcher
    stop: Sequence[int]
    chat: Callable[[Turns, bool], str]


class LocalText(TextModel):
    """A local checkpoint that continues text.

    Tokenization and truncation of long texts follow HFLM of lm-evaluation-harness
    (models/huggingface.py), so that both compute the same numbers.
    """

    def __init__(self, loaded: Callable[[], LoadedCheckpoint], decoder: bool = True) -> None:
        self._loaded = loaded
        self.scores = decoder

    @property
    def checkpoint(self) -> LoadedCheckpoint:
        """The model, which must be loaded by now."""
        return self._loaded()

    @property
    def first_token(self) -> int:
        """The token id before a text without a context."""
        tokenizer = self.checkpoint.tokenizer
        first = tokenizer.bos_token_id
        return int(tokenizer.eos_token_id if first is None else first)

    @property
    def positions(self) -> int:
        """The number of tokens that the model can read."""
        config = self.checkpoint.model.config
        config = getattr(config, "text_config", None) or config
        for name in ("n_positions", "max_position_embeddings", "n_ctx"):
            if getattr(config, name, None) is not None:
                return int(getattr(config, name))
        longest = int(self.checkpoint.tokenizer.model_max_length)
        return longest if longest < 10**9 else _DEFAULT_POSITIONS

    def encode(self, text: str, special: bool | None = None) -> list[int]:
        """Token ids of a text; `special` adds the tokenizer's special ones, to a decoder not behind it.

        Control tokens in it stay tokens, as in a prompt that a template made, unless `as_words` marked
        them. By default the tokenizer decides, but adds none if the text itself begins with the first
        token.
        """
        tokenizer = self.checkpoint.tokenizer
        if special is None and text.startswith(tokenizer.decode([self.first_token])):
            special = False
        return encoded(tokenizer, text, special is not False, goes_on=self.scores)

    def as_words(self, text: str) -> str:
        """The text for `encode`, with its control tokens marked as words."""
        return marked(self.checkpoint.tokenizer, text)

    def loglikelihoods(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]]
    ) -> list[LogLikelihood]:
        """log p(continuation | context) for each pair; contexts that are too long lose their beginning.

        Raises:
            ValueError: a continuation alone is too long.
        """
        from eval_anything.models.local.likelihood import loglikelihoods

        limit = self.positions + 1
        longest = max(map(len, continuations), default=0)
        if longest >= limit:
            raise ValueError(f"{longest} tokens to go on with do not fit into {limit - 1} positions")
        shortened = [
            context[-(limit - len(continuation)) :]
            for context, continuation in zip(contexts, continuations, strict=True)
        ]
        return loglikelihoods(self.checkpoint.model, shortened, continuations, self.checkpoint.batcher)

    async def go_on(
        self, requests: Sequence[Request], ending: Ending, store: MediaStore
    ) -> list[Response | EvalError]:
        limit = self.positions - ending.max_tokens
        if limit < 1:
            raise UserError(
                f"{ending.max_tokens} new tokens do not fit into the {self.positions} positions of the "
                "model: ask for fewer"
            )
        end = self.checkpoint.tokenizer.decode(list(self.checkpoint.stop)[:1])
        ending = Ending((*ending.until, end), ending.max_tokens)
        encoded_prompts = (self.encode(prompt_of(r))[-limit:] for r in requests)
        tokenizer = self.checkpoint.tokenizer
        prompts = [
            _Prompt(r, ids, begins_in_thoughts(tokenizer, ids))
            for r, ids in zip(requests, encoded_prompts, strict=True)
        ]
        batcher = self.checkpoint.batcher
        outcomes = Batcher(batcher.rows, batcher.tokens, ending.max_tokens).answer(
            prompts, lambda group: self._answer(group, ending)
        )
        return [
            Response(error=Failure("model_error", f"{type(outcome).__name__}: {outcome}"))
            if isinstance(outcome, Exception)
            else outcome
            for outcome in outcomes
        ]

    def _answer(self, prompts: Sequence[_Prompt], ending: Ending) -> list[Response]:
        from eval_anything.models.local.generation import generate_ids, padded
        from eval_anything.models.local.stopping import stops_at

        model, tokenizer, _, stop, _ = self.checkpoint
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stop[0]
        decoder_only = not model.config.is_encoder_decoder
        inputs = padded(
            [p.ids for p in prompts],
            pad,
            model.device,
            padding_side="left" if decoder_only else "right",
        )
        start = inputs["input_ids"].shape[1] if decoder_only else 1
        answers = generate_ids(
            model,
            inputs,
            seeds=[p.request.seed for p in prompts],
            sampling=prompts[0].request.sampling,
            max_new_tokens=ending.max_tokens,
            pad=pad,
            stop=stop,
            stopping_criteria=stops_at(tokenizer, ending.until, start, [p.opened for p in prompts]),
        )
        return [self._response(p, ids, ending) for p, ids in zip(prompts, answers, strict=True)]

    def _response(self, prompt: _Prompt, ids: Sequence[int], ending: Ending) -> Response:
        uncut, thoughts, unfinished = split_thoughts(
            decoded(self.checkpoint.tokenizer, ids, drop_cut=False), prompt.opened
        )
        text = ending.cut(uncut)
        stopped = text != uncut or (ids and ids[-1] in self.checkpoint.stop)
        reason = "stop" if stopped else "length"
        error = Failure("empty_output", nothing_but(True, reason, len(ids))) if unfinished else None
        return Response(
            parts=(TextPart(text),),
            stop_reason=reason,
            usage=Usage(len(prompt.ids), len(ids)),
            error=error,
            details={"thoughts": thoughts} if thoughts else {},
        )


class _Prompt(NamedTuple):
    request: Request
    ids: list[int]
    opened: bool | None

    @property
    def tokens(self) -> int:
        return len(self.ids)

    @property
    def kind(self) -> str:
        return self.request.sampling.kind
