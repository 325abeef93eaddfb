"""The interface of a policy, and the one way from logits to log-probabilities.

A policy encodes a prompt and a response to token ids, and collates them into a batch: the model's
inputs, and `labels` (rows, length), where the token of each position of a response stands and -100
everywhere else. Losses see nothing but per-token log-probabilities, whatever the modality.
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
    """Why a row cannot be learned from, found when its batch is made. `row` is its id."""

    def __init__(self, row: str, message: str) -> None:
        super().__init__(message)
        self.row = row


class Encoded(NamedTuple):
    """A prompt and a response as tokens.

    Attributes:
        prompt: token ids up to where the response begins; empty where `collate` makes them, with the
            media of `messages`.
        response: its token ids, with the token that ends it.
        modalities: the index in MODALITIES of each token of the response.
        messages: the prompt itself, for policies whose prompts carry media.
        unmade: how many tokens `collate` makes of the prompt; 0 where they are not counted.
        row: the id of the row that it comes from, for messages.
    """

    prompt: list[int]
    response: list[int]
    modalities: list[int]
    messages: tuple[Message, ...] = ()
    deferred: int = 0
    row: str = ""

    @property
    def tokens(self) -> int:
        return len(self.prompt) + self.deferred + len(self.response)


class Policy(ABC):
    """A checkpoint as something that can be trained.

    Attributes:
        name: what messages call the family.
        outputs: the modalities that its responses may have.
        frozen: regular expression for the names of submodules that stay as they are; empty for none.
        reads_adapters: whether the evaluation takes a folder of adapters for a checkpoint.
        spec: the SPEC under which the evaluation finds the checkpoint it starts from.
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
        """The policy of a model of its architecture, with weights that will be loaded in `dtype`."""

    def answer_with(self, output: str) -> None:
        """Says what `respond` draws, where a checkpoint must be told (`--model-arg output`): called
        before `load`. UserError for what it does not know."""
        if output != "auto":
            raise UserError(
                f"output: {output!r}: a policy of kind {self.name} is not told what to answer with"
            )

    @abstractmethod
    def load(self) -> None:
        """Loads the weights in the type that they are trained in. UserError if they cannot be."""

    @property
    def head(self) -> Any:
        """The module that makes logits of hidden states, where `respond` draws."""
        return self.model.get_output_embeddings()

    @abstractmethod
    def encode(self, messages: Sequence[Message], response: Sequence[Part]) -> Encoded:
        """Tokens of a prompt and a response. ValueError says what the policy cannot read or write."""

    def prompt(self, messages: Sequence[Message]) -> Encoded:
        """A prompt that waits for its response; errors as in `encode`."""
        return self.encode(messages, (TextPart("."),))._replace(response=[], modalities=[])

    def with_token_count(self, row: Encoded, reads_media: bool) -> Encoded:
        """A row that knows its tokens, but for those of a prompt with media unless these may be read for
        it. RowError for a prompt that cannot be read."""
        return row

    def check(self, row: Encoded, new_tokens: int = 0) -> None:
        """RowError for a row that cannot be read, or is too long once it has so many tokens more."""
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
        """A response to each prompt from its own seed, in one batch, as the evaluation asks for them;
        `logprobs` may be left empty. ValueError for a prompt that cannot be read or is too long."""

    def out_of_reach(self, max_new_tokens: int) -> str:
        """What `respond` would draw and cannot within so many tokens, in words; empty for nothing."""
        return ""

    def with_response(self, prompt: Encoded, ids: Sequence[int]) -> Encoded:
        """A prompt with the response that these tokens are, for one that was sampled."""
        text = MODALITIES.index(Modality.TEXT)
        return prompt._replace(response=list(ids), modalities=[text] * len(ids))

    @abstractmethod
    def decode(self, ids: Sequence[int], store: MediaStore) -> tuple[Part, ...]:
        """The parts that a response's tokens stand for; media are put into the store. ValueError if they
        stand for none."""

    @abstractmethod
    def collate(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """A batch: {"inputs": what the model takes, "labels", "modalities"}, the latter two int64
        (rows, length) over the positions of input_ids. RowError as in `check`."""

    @abstractmethod
    def save_beside(self, folder: Path) -> None:
        """Writes what the evaluation needs beside weights and config: tokenizer, processor, codec."""

    def weights(self) -> str:
        """sha256 of the checkpoint that it starts from."""
        from eval_anything.models.spec import resolve

        return resolve(self.spec, {}).weights()

    def freeze(self, model: Any) -> None:
        """Keeps the submodules that `frozen` names as they are, in training too: batch norms in them
        would take the statistics of a batch."""
        for name, module in model.named_modules():
            if self.frozen and re.fullmatch(self.frozen, name):
                module.requires_grad_(False).eval()
                module.train = lambda mode=True, module=module: module

    def logprobs(self, batch: Mapping[str, Any], model: Any = None) -> TokenLogprobs:
        """Log-probabilities of a batch's responses under the policy, or under another `model` of the
        same architecture: its wrapped form in training, or a reference."""
        return logprobs(self.model if model is None else model, batch)


def max_sequence_length(model: Any) -> int | None:
    """The longest sequence that a model takes; None if that is not known."""
    config = model.config.get_text_config(decoder=True)
    return getattr(config, "max_position_embeddings", None)


def too_long(tokens: int, positions: int) -> str:
    """What is wrong with a row of so many tokens."""
    return f"has {tokens} tokens, the model takes {positions}: set max_tokens to leave it out"


def logprobs(model: Any, batch: Mapping[str, Any]) -> TokenLogprobs:
    """log p(token | all before it) for the targets of a causal model.

    The logits at a position are those of the next token, so targets are read one position on. Only the
    columns in which any row has a target are computed: prompts of a batch cost no logits.
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


def response_columns(batch: Mapping[str, Any]) -> torch.Tensor:
    """The positions whose logits are of a token that any row of a batch learns, int64 (columns,)."""
    columns: torch.Tensor = (batch["labels"][:, 1:] != IGNORED).any(dim=0).nonzero()[:, 0]
    return columns


def modalities_of(
    ids: Sequence[int], opens: Mapping[int, Modality], closes: Collection[int]
) -> list[int]:
    """The index in MODALITIES of each token: from a mark that opens a medium to one that closes it
    those of its modality, elsewhere of text."""
    modalities = []
    modality = Modality.TEXT
    for token in ids:
        modality = opens.get(token, modality)
        modalities.append(MODALITIES.index(modality))
        if token in closes:
            modality = Modality.TEXT
    return modalities


def padded_right(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
    """int64 (rows, longest)."""
    import torch

    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])


def labels_of(prompts: Sequence[int], rows: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """`labels` and `modalities` of a batch whose prompts are so many tokens long."""
    starts = list(zip(prompts, rows, strict=True))
    targets = padded_right([[IGNORED] * n + row.response for n, row in starts], IGNORED)
    return targets, padded_right([[0] * n + row.modalities for n, row in starts], 0)


def inputs_of(
    rows: Sequence[Sequence[int]], media: Sequence[Mapping[str, Any]], pad: int
) -> dict[str, torch.Tensor]:
    """What a model takes for rows of token ids with the tensors of their media, one mapping a row.

    Padding is on the right, where no real token looks: text alone needs no mask, and attention is faster
    without. UserError for media that cannot share a batch.
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
    """One tensor of a batch: kinds of tokens run along the rows, and 0 is text in all the families that
    have them; media stand one after another."""
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
            f"the media of this batch differ in size ({name}: {error}): set batch_size: 1 and use "
            "accumulation"
        ) from None
