"""The interface of a policy, and the function that makes log-probabilities of logits.

A policy encodes a prompt and a response to token ids, and collates them into a batch: the model's
inputs, and `labels` (rows, length), which hold the token of each position of a response and -100
everywhere else. Losses get only per-token log-probabilities, whatever the modality.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from align_plugins.losses.token_logprobs import TokenLogprobs
from eval_anything.content import MODALITIES, Message, Modality, Part, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Model

if TYPE_CHECKING:
    import torch

    from eval_anything.models.local.decoding import Continuation


IGNORED = -100
"""The target of a position that is not learned."""


class RowError(ValueError):
    """A row that cannot be learned from, noticed when its batch is made. `row` is its id."""

    def __init__(self, row: str, message: str) -> None:
        super().__init__(message)
        self.row = row


class Encoded(NamedTuple):
    """A prompt and a response as tokens.

    Attributes:
        prompt: token ids up to where the response begins; empty where `collate` makes them from
            `messages`, whose media are read then.
        response: its token ids, including the token that ends it.
        modalities: index in MODALITIES of each token of the response.
        messages: the prompt itself, for policies whose prompts carry media.
        deferred: number of prompt tokens that `collate` will make; 0 where they are not counted.
        row: id of the row, for messages.
    """

    prompt: list[int]
    response: list[int]
    modalities: list[int]
    messages: tuple[Message, ...] = ()
    deferred: int = 0
    row: str = ""

    @property
    def tokens(self) -> int:
        """Number of tokens of prompt and response."""
        return len(self.prompt) + self.deferred + len(self.response)


class Policy(ABC):
    """A checkpoint that can be trained.

    Attributes:
        name: name of the family, for messages.
        outputs: modalities that its responses may have.
        frozen: regular expression for the names of submodules that are not trained; empty for none.
        reads_adapters: whether the evaluation accepts a folder of adapters as a checkpoint.
        spec: SPEC of the checkpoint that training starts from.
        model: the model of transformers, after `load`.
    """

    name: ClassVar[str]
    outputs: frozenset[Modality]
    frozen: ClassVar[str] = ""
    reads_adapters: ClassVar[bool] = True
    spec: str
    model: Any = None

    @classmethod
    @abstractmethod
    def of(cls, model: Model, dtype: str) -> Policy:
        """The policy of a model of its architecture. Weights will be loaded in `dtype`."""

    def answer_with(self, output: str) -> None:
        """Sets the modality that `respond` samples, where a checkpoint needs it (`--model-arg output`).
        Call it before `load`. UserError for an unknown one."""
        if output != "auto":
            raise UserError(
                f"output: {output!r}: a policy of kind {self.name} is not told what to answer with"
            )

    @abstractmethod
    def load(self) -> None:
        """Loads the weights in the dtype that they are trained in. UserError if they cannot be
        loaded."""

    @property
    def head(self) -> Any:
        """Module that computes logits from hidden states when `respond` samples."""
        return self.model.get_output_embeddings()

    @abstractmethod
    def encode(self, messages: Sequence[Message], response: Sequence[Part]) -> Encoded:
        """Tokens of a prompt and a response.

        Args:
            messages: the prompt, the last message of the user.
            response: parts in their order.

        Raises:
            ValueError: the policy cannot read the prompt or write the response; says which part.
        """

    def prompt(self, messages: Sequence[Message]) -> Encoded:
        """Tokens of a prompt, with an empty response; errors as in `encode`."""
        return self.encode(messages, (TextPart("."),))._replace(response=[], modalities=[])

    def learned_example(self) -> str:
        """Message about the tokens that are learned of a short answer; empty if they are its own.
        UserError if the model's chat template has no place for answers."""
        return ""

    def with_token_count(self, row: Encoded, reads_media: bool) -> Encoded:
        """The row with its number of tokens. Prompts with media are counted only if `reads_media`
        permits reading the media now. RowError for a prompt that cannot be read."""
        return row

    def check(self, row: Encoded, new_tokens: int = 0) -> None:
        """RowError for a row that cannot be read, or that is too long with `new_tokens`
        further tokens."""
        positions = max_sequence_length(self.model)
        tokens = self.with_token_count(row, reads_media=True).tokens + new_tokens
        if positions is not None and tokens > positions:
            raise RowError(row.row, too_long(tokens, positions))

    @abstractmethod
    def respond(
        self,
        prompts: Sequence[Sequence[Message]],
        seeds: Sequence[int],
        temperature: float,
        max_new_tokens: int,
    ) -> list[Continuation]:
        """Samples a response to each prompt from its own seed, in one batch, as the evaluation does.

        Args:
            prompts: conversations.
            seeds: of the responses.
            temperature: of sampling, from 0.
            max_new_tokens: limit of a response.

        Returns:
            A continuation for each prompt; its `logprobs` may be empty.

        Raises:
            ValueError: a prompt cannot be read or is too long.
        """

    def out_of_reach(self, max_new_tokens: int) -> str:
        """Message about outputs that `respond` cannot sample within `max_new_tokens` tokens; empty if
        there are none."""
        return ""

    def with_response(self, prompt: Encoded, ids: Sequence[int]) -> Encoded:
        """The prompt with the response that these sampled tokens are."""
        text = MODALITIES.index(Modality.TEXT)
        return prompt._replace(response=list(ids), modalities=[text] * len(ids))

    @abstractmethod
    def decode(self, ids: Sequence[int], store: MediaStore) -> tuple[Part, ...]:
        """Parts that a response's tokens stand for; media are put into the store. ValueError if the
        tokens are no valid response."""

    @abstractmethod
    def collate(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """Batch of rows: {"inputs": arguments of the model, "labels", "modalities"}, the latter two
        int64 (rows, length) over the positions of input_ids. RowError as in `check`."""

    @abstractmethod
    def save_beside(self, folder: Path) -> None:
        """Writes the files that the evaluation needs beside weights and config: tokenizer, processor,
        codec."""

    def weights(self) -> str:
        """sha256 (hex) of the checkpoint that training starts from."""
        from eval_anything.models.spec import resolve

        return resolve(self.spec, {}).weights()

    def freeze(self, model: Any) -> None:
        """Freezes the submodules that `frozen` names, also in training mode: their batch norms would use
        statistics of the batch."""
        for name, module in model.named_modules():
            if self.frozen and re.fullmatch(self.frozen, name):
                module.requires_grad_(False).eval()
                module.train = lambda mode=True, module=module: module

    def logprobs(self, batch: Mapping[str, Any], model: Any = None) -> TokenLogprobs:
        """Log-probabilities of a batch's responses.

        Args:
            batch: as `collate` returns it, on the model's device.
            model: another model of the same architecture in place of the policy's: the wrapped one in
                training, or a reference.
        """
        return logprobs(self.model if model is None else model, batch)


def max_sequence_length(model: Any) -> int | None:
    """Number of tokens of the longest sequence that a model takes; None if it is unknown."""
    config = model.config.get_text_config(decoder=True)
    return getattr(config, "max_position_embeddings", None)


def too_long(tokens: int, positions: int) -> str:
    """Message on a row of too many tokens."""
    return f"has {tokens} tokens, the model takes {positions}: set max_tokens to leave it out"


def logprobs(model: Any, batch: Mapping[str, Any]) -> TokenLogprobs:
    """log p(token | all tokens before it) for the labels of a batch under a causal model.

    The logits at a position are those of the next token, so targets are one position ahead. Logits are
    computed only for columns in which any row has a label, so prompts cost none.
    """
    from align_plugins.policies.logprobs import chosen_logprobs

    targets, modalities = batch["labels"][:, 1:], batch["modalities"][:, 1:]
    mask = targets != IGNORED
    columns = response_columns(batch)
    targets, modalities, mask = targets[:, columns], modalities[:, columns], mask[:, columns]
    logits = model(**batch["inputs"], use_cache=False, logits_to_keep=columns).logits
    if logits.shape[1] != len(columns):  # an architecture that gives them all
        logits = logits[:, columns]
    values = chosen_logprobs(logits.float(), targets.clamp(min=0))
    return TokenLogprobs(values.masked_fill(~mask, 0.0), mask, modalities)


def label_count(labels: torch.Tensor) -> torch.Tensor:
    """Number of the labels (rows, length) that `logprobs` has log-probabilities of, a scalar."""
    count: torch.Tensor = (labels[:, 1:] != IGNORED).sum()
    return count


def response_columns(batch: Mapping[str, Any]) -> torch.Tensor:
    """Positions whose logits predict a label of any row of a batch, int64 (columns,)."""
    columns: torch.Tensor = (batch["labels"][:, 1:] != IGNORED).any(dim=0).nonzero()[:, 0]
    return columns


def modalities_of(
    ids: Sequence[int], opens: Mapping[int, Modality], closes: Collection[int]
) -> list[int]:
    """Index in MODALITIES of each token: from a token that opens a medium to one that closes it that of
    the medium, elsewhere that of text."""
    modalities = []
    modality = Modality.TEXT
    for token in ids:
        modality = opens.get(token, modality)
        modalities.append(MODALITIES.index(modality))
        if token in closes:
            modality = Modality.TEXT
    return modalities


def padded_right(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
    """Tensor of rows padded on the right, int64 (rows, longest)."""
    import torch

    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])


def labels_of(prompts: Sequence[int], rows: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """`labels` and `modalities` of a batch whose prompts have these numbers of tokens, int64 (rows,
    longest)."""
    starts = list(zip(prompts, rows, strict=True))
    targets = padded_right([[IGNORED] * n + row.response for n, row in starts], IGNORED)
    return targets, padded_right([[0] * n + row.modalities for n, row in starts], 0)


def inputs_of(
    rows: Sequence[Sequence[int]], media: Sequence[Mapping[str, Any]], pad: int
) -> dict[str, torch.Tensor]:
    """Arguments of a model for rows of token ids and the tensors of their media, one mapping for each
    row.

    Padding is on the right, where no real token attends: text alone needs no mask, and attention is
    faster without one. UserError for media that cannot share a batch.
    """
    inputs = {"input_ids": padded_right(rows, pad)}
    names = sorted({name for tensors in media for name in tensors})
    if names:
        inputs["attention_mask"] = padded_right([[1] * len(row) for row in rows], 0)
    for name in names:
        inputs[name] = _joined(name, media, rows)
    return inputs


def _joined(
    name: str, media: Sequence[Mapping[str, Any]], rows: Sequence[Sequence[int]]
) -> torch.Tensor:
    """One tensor of a batch: token types are padded with 0, which means text in all families that have
    them; media are concatenated."""
    import torch

    if name.endswith("token_type_ids"):
        kinds = [tensors[name][0].tolist() if name in tensors else [] for tensors in media]
        return padded_right(
            [[*k, *[0] * (len(row) - len(k))] for k, row in zip(kinds, rows, strict=True)], 0
        )
    try:
        return torch.cat([tensors[name] for tensors in media if name in tensors])
    except RuntimeError as error:
        raise UserError(
            f"the media of this batch differ in size ({name}: {error}): set "
            "per_device_train_batch_size: 1 and use gradient_accumulation_steps"
        ) from None
