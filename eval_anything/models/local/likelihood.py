"""Log-likelihoods of continuations, as multiple choice needs them, without reading anything twice.

Questions that begin alike (the same examples, the same document) read their common prefix once; the
options of a question read its context once. Three forward passes do it for a batch: the common prefix,
as one row; what is left of each context, on top of the prefix's keys and values; the options, on top
of their contexts'. Rows are padded on the right, and padding is masked where later passes look back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from eval_anything.models.local.batches import Batcher, OutOfMemoryError
from eval_anything.models.local.generation import padded

if TYPE_CHECKING:
    import torch


# A common prefix shorter than this is read with each context: a pass of its own costs more.
_LEAST_PREFIX = 32


# Logits of one pass over options: at most this many numbers (512 MiB in float32).
_MOST_LOGITS = 2**27


_PAD = 0  # it is masked: any token will do


Ids = tuple[int, ...]


class LogLikelihood(NamedTuple):
    """The sum of the tokens' natural log-probabilities, and whether each is the likeliest one."""

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
    """log p(continuation | context) for each pair of token ids, in order; none may be empty.

    Nothing is cut: a pair must fit into the model's positions. MemoryError if one question alone does
    not fit into memory.
    """
    options: dict[Ids, dict[Ids, list[int]]] = {}
    for i, (context, continuation) in enumerate(zip(contexts, continuations, strict=True)):
        if not context or not continuation:
            raise ValueError(f"pair {i}: a context and a continuation have at least one token")
        options.setdefault(tuple(context), {}).setdefault(tuple(continuation), []).append(i)
    if _shares(model):
        questions = list(_questions(options))
        found = batcher.answer(questions, _Passes(model).answer)
    else:
        questions = [_Question(c, (o,), ()) for c, own in options.items() for o in own]
        found = batcher.answer(questions, lambda group: _whole(model, group))
    answers: dict[int, LogLikelihood] = {}
    for question, values in zip(questions, found, strict=True):
        if isinstance(values, OutOfMemoryError):
            raise MemoryError(f"a question of {question.tokens} tokens does not fit into memory")
        if isinstance(values, Exception):
            raise values
        for option, value in zip(question.options, values, strict=True):
            answers |= dict.fromkeys(options[question.context][option], value)
    return [answers[i] for i in range(len(contexts))]


def _shares(model: Any) -> bool:
    """Whether keys and values of a context can be looked back at with gaps: layers that see all
    positions, no state that runs on."""
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
        # Going on is worth it if it saves more than what the shorter prefix costs.
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
    """The longest common start, which leaves at least the last token of the context."""
    pairs = zip(prefix, context[:-1], strict=False)
    return prefix[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))]


class _Passes:
    """The three passes. The keys and values of the last prefix are kept for the next batch."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._prefix: Ids | None = None
        self._cache: Any = None

    def answer(self, questions: Sequence[_Question]) -> list[list[LogLikelihood]]:
        """The values of each question's options, in order."""
        import torch

        with torch.inference_mode():
            return self._answer(questions)

    def _answer(self, questions: Sequence[_Question]) -> list[list[LogLikelihood]]:
        import torch

        prefix = questions[0].prefix
        cache, mask = self._of_prefix(prefix, len(questions))
        rests = [question.context[len(prefix) : -1] for question in questions]
        if any(rests):
            inputs = padded(rests, _PAD, self._model.device, left=False)
            starts = torch.full((len(rests),), len(prefix), device=mask.device)
            mask = torch.cat([mask, inputs["attention_mask"]], dim=1)
            self._forward(self._model.base_model, inputs["input_ids"], mask, starts, cache)
        values: list[list[LogLikelihood]] = [[] for _ in questions]
        rows = [(i, option) for i, question in enumerate(questions) for option in question.options]
        longest = max(len(option) for _, option in rows)
        vocabulary = self._model.get_input_embeddings().weight.shape[0]
        count = max(1, _MOST_LOGITS // vocabulary // longest)
        for start in range(0, len(rows), count):
            chunk = rows[start : start + count]
            found = self._options(chunk, questions, cache, mask)
            for (i, _), value in zip(chunk, found, strict=True):
                values[i].append(value)
        return values

    def _of_prefix(self, prefix: Ids, rows: int) -> tuple[Any, torch.Tensor]:
        """The prefix's keys and values for so many rows, and their mask, int64 (rows, length)."""
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
        """The last token of a context begins the row of an option: its logits are the first wanted."""
        import torch

        which = [i for i, _ in rows]
        begun = [(questions[i].context[-1], *option[:-1]) for i, option in rows]
        inputs = padded(begun, _PAD, self._model.device, left=False)
        lengths = [len(questions[i].context) - 1 for i in which]
        starts = torch.tensor(lengths, device=self._model.device)
        whole = torch.cat([mask[which], inputs["attention_mask"]], dim=1)
        logits = self._forward(
            self._model, inputs["input_ids"], whole, starts, _rows_of(cache, which)
        ).logits
        return _values(logits, [option for _, option in rows], [0] * len(rows))

    def _forward(
        self, module: Any, ids: torch.Tensor, mask: torch.Tensor, starts: torch.Tensor, cache: Any
    ) -> Any:
        """One pass; each row's positions count on from its start."""
        import inspect

        import torch

        positions = starts[:, None] + torch.arange(ids.shape[1], device=ids.device)
        more = {}
        if "position_ids" in inspect.signature(module.forward).parameters:
            more["position_ids"] = positions
        return module(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **more)


def _rows_of(cache: Any, rows: Sequence[int]) -> Any:
    """A copy with these rows; what is written to it leaves the other as it was."""
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


def _whole(model: Any, questions: Sequence[_Question]) -> list[list[LogLikelihood]]:
    """Each pair read from its start to its end, for models that keep no keys and values of all."""
    import torch

    rows = [(*q.context, *q.options[0][:-1]) for q in questions]
    inputs = padded(rows, _PAD, model.device, left=False)
    with torch.inference_mode():
        logits = model(**inputs).logits
    first = [len(q.context) - 1 for q in questions]
    return [[one] for one in _values(logits, [q.options[0] for q in questions], first)]


def _values(logits: torch.Tensor, options: Sequence[Ids], first: Sequence[int]) -> list[LogLikelihood]:
    """`logits` (rows, length, vocabulary); each option's begin at `first` of its row."""
    import torch

    wanted = padded(options, _PAD, logits.device, left=False)
    ids, mask = wanted["input_ids"], wanted["attention_mask"]
    if any(first):
        at = torch.tensor(first, device=ids.device)[:, None] + torch.arange(ids.shape[1]).to(ids)
        rows = torch.arange(len(options), device=ids.device)[:, None]
        logits = logits[rows, at.clamp(max=logits.shape[1] - 1)]
    each = logits.float().log_softmax(dim=-1).gather(2, ids[..., None])[..., 0]
    values = (each * mask).sum(dim=1).tolist()
    greedy = ((logits.argmax(dim=-1) == ids) | (mask == 0)).all(dim=1).tolist()
    return [LogLikelihood(*one) for one in zip(values, greedy, strict=True)]
