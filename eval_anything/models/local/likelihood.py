"""Log-likelihoods of continuations, as multiple choice needs them, without reading tokens twice.

The common prefix of several questions (the same examples, the same document) is read once, and so is
the context of all options of a question. A batch takes three forward passes: the common prefix, as one
row; the rest of each context, on top of the prefix's keys and values; the options, on top of those of
their contexts. Rows are padded on the right, and later passes do not attend to the padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from eval_anything.models.local.batches import Batcher, OutOfMemoryError
from eval_anything.models.local.generation import padded

if TYPE_CHECKING:
    import torch


# A common prefix shorter than this is read with each context: a separate pass would cost more.
_LEAST_PREFIX = 32


# Logits of one pass over options: at most this many numbers (512 MiB in float32).
_MOST_LOGITS = 2**27


_PAD = 0  # any token: it is masked


Ids = tuple[int, ...]


class LogLikelihood(NamedTuple):
    """The sum of the tokens' natural log-probabilities, and whether each token is the likeliest one."""

    value: float
    greedy: bool


class _Question(NamedTuple):
    context: Ids
    options: tuple[Ids, ...]
    prefix: Ids

    @property
    def kind(self) -> str:
        return str(hash(self.prefix))

    @property
    def tokens(self) -> int:
        return len(self.options) * (len(self.context) + max(map(len, self.options)))


def loglikelihoods(
    model: Any,
    contexts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    batcher: Batcher,
) -> list[LogLikelihood]:
    """log p(continuation | context) for each pair of token ids, in order.

    Args:
        model: a language model of transformers.
        contexts: token ids, at least one each; with its continuation a context must fit into the
            model's positions.
        continuations: token ids, at least one each.
        batcher: cuts the questions into batches.

    Raises:
        MemoryError: one question alone does not fit into memory.
    """
    options: dict[Ids, dict[Ids, list[int]]] = {}
    for i, (context, continuation) in enumerate(zip(contexts, continuations, strict=True)):
        if not context or not continuation:
            raise ValueError(f"pair {i}: a context and a continuation have at least one token")
        options.setdefault(tuple(context), {}).setdefault(tuple(continuation), []).append(i)
    if _shares(model):
        questions = list(_questions(options))
        answered = batcher.answer(questions, _Passes(model).answer)
    else:
        questions = [_Question(c, (option,), ()) for c in options for option in options[c]]
        answered = batcher.answer(questions, lambda group: _one_pass(model, group))
    answers: dict[int, LogLikelihood] = {}
    for question, likelihoods in zip(questions, answered, strict=True):
        if isinstance(likelihoods, OutOfMemoryError):
            raise MemoryError(f"a question of {question.tokens} tokens does not fit into memory")
        if isinstance(likelihoods, Exception):
            raise likelihoods
        for option, likelihood in zip(question.options, likelihoods, strict=True):
            answers |= dict.fromkeys(options[question.context][option], likelihood)
    return [answers[i] for i in range(len(contexts))]


def _shares(model: Any) -> bool:
    """Whether the model can share keys and values of a context between rows.

    All layers must have full attention, and there must be no recurrent state.
    """
    config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    sliding = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    stateful = getattr(model, "_is_stateful", False) or model.config.is_encoder_decoder
    return kinds == {"full_attention"} and not sliding and not stateful


def _questions(options: Mapping[Ids, Mapping[Ids, Any]]) -> Iterator[_Question]:
    """Each context with its options and the prefix that it shares with the contexts next to it."""
    group: list[Ids] = []
    prefix: Ids = ()
    for context in sorted(options):
        common = _common(prefix, context) if group else context[:-1]
        # A larger group is worth it if it saves more than the shorter prefix costs.
        worth = len(common) >= _LEAST_PREFIX and len(common) * len(group) >= len(prefix) * (
            len(group) - 1
        )
        if group and not worth:
            yield from _group(group, prefix, options)
            group, common = [], context[:-1]
        group.append(context)
        prefix = common
    yield from _group(group, prefix, options)


def _group(
    group: Sequence[Ids], prefix: Ids, options: Mapping[Ids, Mapping[Ids, Any]]
) -> Iterator[_Question]:
    shared = prefix if len(group) > 1 else ()
    for context in group:
        yield _Question(context, tuple(options[context]), shared)


def _common(prefix: Ids, context: Ids) -> Ids:
    """The longest common prefix that leaves at least the last token of the context."""
    pairs = zip(prefix, context[:-1], strict=False)
    return prefix[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))]


class _Passes:
    """The three forward passes; keys and values of the last prefix are cached for the next batch."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._prefix: Ids | None = None
        self._cache: Any = None

    def answer(self, questions: Sequence[_Question]) -> list[list[LogLikelihood]]:
        """The likelihoods of each question's options, in order."""
        import torch

        with torch.inference_mode():
            return self._answer(questions)

    def _answer(self, questions: Sequence[_Question]) -> list[list[LogLikelihood]]:
        import torch

        prefix = questions[0].prefix
        cache, mask = self._of_prefix(prefix, len(questions))
        rests = [question.context[len(prefix) : -1] for question in questions]
        if any(rests):
            inputs = padded(rests, _PAD, self._model.device, padding_side="right")
            starts = torch.full((len(rests),), len(prefix), device=mask.device)
            mask = torch.cat([mask, inputs["attention_mask"]], dim=1)
            self._forward(self._model.base_model, inputs["input_ids"], mask, starts, cache)
        likelihoods: list[list[LogLikelihood]] = [[] for _ in questions]
        rows = [(i, option) for i, question in enumerate(questions) for option in question.options]
        longest = max(len(option) for _, option in rows)
        vocabulary = self._model.get_input_embeddings().weight.shape[0]
        count = max(1, _MOST_LOGITS // vocabulary // longest)
        for start in range(0, len(rows), count):
            chunk = rows[start : start + count]
            chunk_likelihoods = self._options(chunk, questions, cache, mask)
            for (i, _), likelihood in zip(chunk, chunk_likelihoods, strict=True):
                likelihoods[i].append(likelihood)
        return likelihoods

    def _of_prefix(self, prefix: Ids, rows: int) -> tuple[Any, torch.Tensor]:
        """Keys and values of the prefix for so many rows, and their mask, int64 (rows, length)."""
        import torch
        from transformers import DynamicCache

        if prefix != self._prefix:
            cache = DynamicCache()
            inputs = padded([prefix], _PAD, self._model.device)
            start = torch.zeros(1, dtype=torch.long, device=self._model.device)
            mask = inputs["attention_mask"]
            if prefix:
                self._forward(self._model.base_model, inputs["input_ids"], mask, start, cache)
            self._prefix, self._cache = prefix, cache
        mask = torch.ones((rows, len(prefix)), dtype=torch.long, device=self._model.device)
        return _rows_of(self._cache, [0] * rows), mask

    def _options(
        self,
        rows: Sequence[tuple[int, Ids]],
        questions: Sequence[_Question],
        cache: Any,
        mask: torch.Tensor,
    ) -> list[LogLikelihood]:
        """The likelihoods of options; the last token of the context begins the row of an option."""
        import torch

        question_indices = [i for i, _ in rows]
        rows_read = [(questions[i].context[-1], *option[:-1]) for i, option in rows]
        inputs = padded(rows_read, _PAD, self._model.device, padding_side="right")
        lengths = [len(questions[i].context) - 1 for i in question_indices]
        starts = torch.tensor(lengths, device=self._model.device)
        full_mask = torch.cat([mask[question_indices], inputs["attention_mask"]], dim=1)
        logits = self._forward(
            self._model, inputs["input_ids"], full_mask, starts, _rows_of(cache, question_indices)
        ).logits
        return _likelihoods_of(logits, [option for _, option in rows], [0] * len(rows))

    def _forward(
        self, module: Any, ids: torch.Tensor, mask: torch.Tensor, starts: torch.Tensor, cache: Any
    ) -> Any:
        """The output of one pass; the positions of each row count on from its start."""
        import inspect

        import torch

        positions = starts[:, None] + torch.arange(ids.shape[1], device=ids.device)
        inputs = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache, "use_cache": True}
        if "position_ids" in inspect.signature(module.forward).parameters:
            inputs["position_ids"] = positions
        return module(**inputs)


def _rows_of(cache: Any, rows: Sequence[int]) -> Any:
    """A copy of the cache with these rows; changes of the copy leave the original as it was."""
    import torch
    from transformers import DynamicCache

    copy = DynamicCache()
    for number, layer in enumerate(cache.layers):
        if layer.keys.shape[0] == 1:  # no need to write out the same row again and again
            size = (len(rows), -1, -1, -1)
            copy.update(layer.keys.expand(size), layer.values.expand(size), number)
        else:
            index = torch.tensor(rows, device=layer.keys.device)
            copy.update(layer.keys[index], layer.values[index], number)
    return copy


def _one_pass(model: Any, questions: Sequence[_Question]) -> list[list[LogLikelihood]]:
    """The likelihood of each question's only option, for models that cannot share keys and values."""
    import torch

    rows = [(*q.context, *q.options[0][:-1]) for q in questions]
    inputs = padded(rows, _PAD, model.device, padding_side="right")
    with torch.inference_mode():
        logits = model(**inputs).logits
    first = [len(q.context) - 1 for q in questions]
    likelihoods = _likelihoods_of(logits, [q.options[0] for q in questions], first)
    return [[likelihood] for likelihood in likelihoods]


def _likelihoods_of(
    logits: torch.Tensor, options: Sequence[Ids], first: Sequence[int]
) -> list[LogLikelihood]:
    """The likelihoods of options from logits (rows, length, vocabulary); they begin at `first`."""
    import torch

    targets = padded(options, _PAD, logits.device, padding_side="right")
    ids, mask = targets["input_ids"], targets["attention_mask"]
    if any(first):
        positions = torch.tensor(first, device=ids.device)[:, None] + torch.arange(ids.shape[1]).to(ids)
        rows = torch.arange(len(options), device=ids.device)[:, None]
        logits = logits[rows, positions.clamp(max=logits.shape[1] - 1)]
    logprobs = logits.float().log_softmax(dim=-1).gather(2, ids[..., None])[..., 0]
    sums = (logprobs * mask).sum(dim=1).tolist()
    greedy = ((logits.argmax(dim=-1) == ids) | (mask == 0)).all(dim=1).tolist()
    return [LogLikelihood(*sum_and_greedy) for sum_and_greedy in zip(sums, greedy, strict=True)]
