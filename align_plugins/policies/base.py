"""The interface of a policy, and the one way from logits to log-probabilities.

A policy encodes a prompt and a response to token ids, and collates them into a batch: the model's
inputs, and `labels` (rows, length), where the token of each position of a response stands and -100
everywhere else. Losses see nothing but per-token log-probabilities, whatever the modality.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from eval_anything.content import MODALITIES, Message, Modality, Part
from eval_anything.media import MediaStore

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""The target of a position that is not learned."""


class Encoded(NamedTuple):
    """A prompt and a response as tokens.

    Attributes:
        prompt: token ids up to where the response begins; empty where `collate` makes them, with the
            media of `messages`.
        response: its token ids, with the token that ends it.
        modalities: the index in MODALITIES of each token of the response.
        messages: the prompt itself, for policies whose prompts carry media.
    """

    prompt: list[int]
    response: list[int]
    modalities: list[int]
    messages: tuple[Message, ...] = ()

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.response)


class TokenLogprobs(NamedTuple):
    """What a model says of the responses in a batch.

    Attributes:
        values: natural log-probability of each token, float32 (rows, columns), 0 where none is.
        mask: where a token of a response is, bool (rows, columns).
        modalities: index in MODALITIES, int64 (rows, columns); meaningless outside of the mask.
    """

    values: torch.Tensor
    mask: torch.Tensor
    modalities: torch.Tensor

    def sums(self) -> torch.Tensor:
        """Sum over each modality's tokens, float32 (rows, 4)."""
        return _by_modality(self.values, self)

    def counts(self) -> torch.Tensor:
        """Number of each modality's tokens, float32 (rows, 4)."""
        return _by_modality(self.mask.to(self.values.dtype), self)


def _by_modality(values: torch.Tensor, tokens: TokenLogprobs) -> torch.Tensor:
    import torch

    out = torch.zeros(len(values), len(MODALITIES), dtype=values.dtype, device=values.device)
    return out.scatter_add(1, tokens.modalities, values * tokens.mask)


class Policy(ABC):
    """A checkpoint as something that can be trained.

    Attributes:
        name: what messages call the family.
        outputs: the modalities that its responses may have.
        spec: the SPEC under which the evaluation finds the checkpoint it starts from.
        model: the model of transformers, after `load`.
    """

    name: ClassVar[str]
    outputs: frozenset[Modality]
    spec: str
    model: Any = None

    @abstractmethod
    def load(self) -> None:
        """Loads the weights as they are trained, in float32. UserError if they cannot be."""

    @abstractmethod
    def encode(self, messages: Sequence[Message], response: Sequence[Part]) -> Encoded:
        """Tokens of a prompt and a response. ValueError says what the policy cannot read or write."""

    @abstractmethod
    def decode(self, ids: Sequence[int], store: MediaStore) -> tuple[Part, ...]:
        """The parts that a response's tokens stand for; media are put into the store. ValueError if they
        stand for none."""

    @abstractmethod
    def collate(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """A batch: {"inputs": what the model takes, "labels", "modalities"}, the latter two int64
        (rows, length) over the positions of input_ids."""

    @abstractmethod
    def save_beside(self, folder: Path) -> None:
        """Writes what the evaluation needs beside weights and config: tokenizer, processor, codec."""

    def weights(self) -> str:
        """sha256 of the checkpoint that it starts from."""
        from eval_anything.models.spec import resolve

        return resolve(self.spec, {}).weights()

    def logprobs(self, batch: Mapping[str, Any], model: Any = None) -> TokenLogprobs:
        """Log-probabilities of a batch's responses under the policy, or under another `model` of the
        same architecture: its wrapped form in training, or a reference."""
        return logprobs(self.model if model is None else model, batch)


def logprobs(model: Any, batch: Mapping[str, Any]) -> TokenLogprobs:
    """log p(token | all before it) for the targets of a causal model.

    The logits at a position are those of the next token, so targets are read one position on. Only the
    columns in which any row has a target are computed: prompts of a batch cost no logits.
    """
    import torch

    targets, modalities = batch["labels"][:, 1:], batch["modalities"][:, 1:]
    wanted = targets != IGNORED
    columns = wanted.any(dim=0).nonzero()[:, 0]
    targets, modalities, wanted = targets[:, columns], modalities[:, columns], wanted[:, columns]
    logits = model(**batch["inputs"], use_cache=False, logits_to_keep=columns).logits
    if logits.shape[1] != len(columns):  # an architecture that gives them all
        logits = logits[:, columns]
    logits = logits.float()
    chosen = logits.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    values = chosen - torch.logsumexp(logits, dim=-1)
    return TokenLogprobs(values.masked_fill(~wanted, 0.0), wanted, modalities)


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
