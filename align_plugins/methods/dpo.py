"""`dpo`: direct preference optimisation on pairs (losses/dpo.py), with reference log-probabilities that
are computed once, before training: one model in memory, not two."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from align_plugins.data.rows import Preference
from align_plugins.losses.dpo import Form, Sides, dpo_loss, log_ratios
from align_plugins.losses.sft import sft_loss
from align_plugins.losses.token_logprobs import TokenLogprobs
from align_plugins.policies.base import Encoded
from align_plugins.settings import TrainSettings
from align_plugins.training.batch_finetuning import BatchFinetuning
from align_plugins.training.policy_finetuning import PolicyFinetuning
from align_plugins.workdir import Workdir, is_main
from eval_anything.content import MODALITIES, Modality
from eval_anything.files.writing import write_atomically
from eval_anything.output.progress import Progress

if TYPE_CHECKING:
    import torch

    from align_plugins.training.engine import Step


def with_reference(
    trainer: DpoTrainer, items: Sequence[PairItem], work: Workdir, progress: Progress
) -> list[PairItem]:
    """The items with sums of log-probabilities by modality under the model as it is now.

    A training that goes on reads what it began with: train.json has made sure that weights, data and
    settings are the same.
    """
    path = work.reference
    if path.is_file():
        found = np.load(path)
    else:
        progress.say(f"reference: log-probabilities of {2 * len(items)} responses")
        found = _computed(trainer, items)
        if is_main():
            buffer = io.BytesIO()
            np.save(buffer, found)
            write_atomically(path, buffer.getvalue())
    return [
        item._replace(reference=tuple(tuple(side) for side in sums))
        for item, sums in zip(items, found.tolist(), strict=True)
    ]


def _computed(trainer: DpoTrainer, items: Sequence[PairItem]) -> Any:
    """float32 (items, 2, 4). Items of similar length share a batch."""
    import torch

    from align_plugins.training.engine import to_device

    out = np.zeros((len(items), 2, len(MODALITIES)), np.float32)
    order = sorted(range(len(items)), key=lambda i: trainer.length(items[i]))
    size = trainer.settings.batch_size
    model = trainer.model.eval()
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(trainer.settings.precision)
    with torch.no_grad(), torch.autocast(model.device.type, half, enabled=half is not None):
        for start in range(0, len(order), size):
            group = order[start : start + size]
            batch = to_device(trainer.collate([items[i] for i in group]), model.device)
            sums = trainer.policy.logprobs(batch).sums().cpu().numpy()
            out[group, 0], out[group, 1] = sums[: len(group)], sums[len(group) :]
    return out


class DpoSettings(TrainSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of `dpo`.

    Attributes:
        beta: how dear it is to leave the reference.
        loss: sigmoid or ipo.
        nll_weight: of the chosen responses' own likelihood.
        length_normalised: log-ratios per token; ipo always has them so.
        modality_weights: of the tokens of a modality, 1 where none is given.
    """

    beta: float = 0.1
    loss: Form = "sigmoid"
    nll_weight: float = 0.0
    length_normalised: bool = False
    modality_weights: dict[Modality, float] = {}
    learning_rate: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0:
            raise ValueError("beta must be above 0")
        if self.nll_weight < 0 or any(weight < 0 for weight in self.modality_weights.values()):
            raise ValueError("weights must not be below 0")


class PairItem(NamedTuple):
    """Both sides of a pair, and what the reference says of them: sums of log-probabilities by modality,
    two lists of four, empty before they are known."""

    chosen: Encoded
    rejected: Encoded
    reference: tuple[tuple[float, ...], ...] = ()


class DpoTrainer(
    PolicyFinetuning[DpoSettings, Preference, PairItem],
    BatchFinetuning[DpoSettings, Preference, PairItem],
):
    """Makes the chosen responses likelier than the rejected ones, as measured from the start's
    policy."""

    name: ClassVar[str] = "dpo"
    settings_type: ClassVar[type[TrainSettings]] = DpoSettings
    row_type = Preference

    def load(self) -> None:
        from align_plugins.training.engine import without_dropout

        super().load()
        without_dropout(self.model)

    def rows(self, rows: list[Preference], progress: Progress) -> list[Preference]:
        return without_ties(rows, progress)

    def encode(self, row: Preference) -> PairItem:
        chosen, rejected = (
            self.counted(row, self.policy.encode(row.messages, side))
            for side in (row.chosen, row.rejected)
        )
        return PairItem(chosen, rejected)

    def length(self, item: PairItem) -> int:
        return max(item.chosen.tokens, item.rejected.tokens)

    def prepare(self, items: list[PairItem], work: Workdir, progress: Progress) -> list[PairItem]:
        from align_plugins.methods.dpo import with_reference

        return with_reference(self, items, work, progress)

    def collate(self, items: Sequence[PairItem]) -> dict[str, Any]:
        """Chosen responses first, then the rejected ones."""
        import torch

        batch = self.policy.collate([i.chosen for i in items] + [i.rejected for i in items])
        if items[0].reference:
            batch["reference"] = torch.tensor([i.reference for i in items])
        return batch

    def step(self, model: Any, batch: Mapping[str, Any], count: torch.Tensor | None) -> Step:
        from align_plugins.training.engine import Step

        settings = self.settings
        tokens = self.policy.logprobs(batch, model)
        half = len(tokens.values) // 2
        sums, counts = tokens.sums(), tokens.counts()
        policy = Sides(sums[:half], sums[half:], counts[:half], counts[half:])
        given = batch["reference"].to(sums)
        reference = Sides(given[:, 0], given[:, 1], policy.chosen_count, policy.rejected_count)
        normalise = settings.length_normalised or settings.loss == "ipo"
        chosen, rejected = log_ratios(policy, reference, settings.modality_weights, normalise)
        loss = dpo_loss(chosen.sum(1), rejected.sum(1), settings.beta, settings.loss).mean()
        figures = {"dpo_loss": (loss, float(half))}
        if settings.nll_weight:
            nll = sft_loss(TokenLogprobs(*(tensor[:half] for tensor in tokens)))
            figures["nll"] = (nll, float(half))
            loss = loss + settings.nll_weight * nll
        figures |= _figures(chosen.detach(), rejected.detach(), policy, settings.beta)
        return Step(loss, figures, batch["inputs"]["input_ids"].numel())


def _figures(
    chosen: torch.Tensor, rejected: torch.Tensor, policy: Sides, beta: float
) -> dict[str, tuple[torch.Tensor, float]]:
    """Margins, whole and by modality, over the pairs in which the modality occurs; and the share of
    pairs whose chosen response is preferred."""
    margins = beta * (chosen - rejected)
    whole = margins.sum(1)
    n = float(len(whole))
    found = {
        "margin": (whole.mean(), n),
        "accuracy": ((whole > 0).float().mean(), n),
        "reward_chosen": (beta * chosen.sum(1).mean(), n),
        "reward_rejected": (beta * rejected.sum(1).mean(), n),
    }
    present = (policy.chosen_count + policy.rejected_count) > 0
    for index, modality in enumerate(MODALITIES):
        weight = float(present[:, index].sum())
        if weight:
            mean = margins[:, index].sum() / weight
            found[f"margin_{modality}"] = (mean, weight)
    return found


def without_ties(rows: Sequence[Preference], progress: Progress) -> list[Preference]:
    """Pairs that say something; ties are counted aloud."""
    found = [row for row in rows if not row.tie]
    if len(found) < len(rows):
        progress.say(f"left out: {len(rows) - len(found)} of {len(rows)} pairs are ties")
    return found
