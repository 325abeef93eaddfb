"""`dpo`: direct preference optimisation on pairs (losses/dpo.py). Log-probabilities under the reference
are computed once, before training, so only one model is in memory."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from align_plugins.data.rows import Preference
from align_plugins.losses.dpo import LossType, Sides, dpo_loss, log_ratios
from align_plugins.losses.sft import sft_loss
from align_plugins.losses.token_logprobs import TokenLogprobs
from align_plugins.old_names import Names
from align_plugins.policies import policy_of
from align_plugins.policies.base import Encoded, label_count
from align_plugins.settings import TrainSettings
from align_plugins.trainer import Trained, Trainer
from align_plugins.training.adapters import trainable_policy
from align_plugins.training.finetuning import Finetuning
from align_plugins.workdir import Workdir, is_main
from eval_anything.content import MODALITIES, Modality
from eval_anything.files.writing import write_atomically
from eval_anything.output.progress import Progress

if TYPE_CHECKING:
    import torch

    from align_plugins.training.engine import BatchLoss, Totals


class DpoSettings(TrainSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of `dpo`.

    Attributes:
        beta: strength of the tie to the reference.
        loss_type: sigmoid or ipo.
        nll_weight: weight of the chosen responses' negative log-likelihood.
        length_normalised: whether log-ratios are means over tokens; with ipo they always are.
        modality_weights: factors for the tokens of a modality, 1 if missing.
    """

    beta: float = 0.1
    loss_type: LossType = "sigmoid"
    nll_weight: float = 0.0
    length_normalised: bool = False
    modality_weights: dict[Modality, float] = {}
    learning_rate: float = 1e-6

    old_names: ClassVar[Names] = {**TrainSettings.old_names, "loss": "loss_type"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0:
            raise ValueError("beta must be above 0")
        if self.nll_weight < 0 or any(weight < 0 for weight in self.modality_weights.values()):
            raise ValueError("weights must not be below 0")


class PairItem(NamedTuple):
    """Both sides of a pair as tokens. `reference` has the sums of their log-probabilities by modality
    under the reference, two tuples of four; empty until they are computed."""

    chosen: Encoded
    rejected: Encoded
    reference: tuple[tuple[float, ...], ...] = ()

    @property
    def tokens(self) -> int:
        """Number of tokens of the longer side."""
        return max(self.chosen.tokens, self.rejected.tokens)


class DpoTrainer(Trainer[DpoSettings]):
    """Raises the probability of chosen responses over that of rejected ones, relative to the start's
    policy."""

    name: ClassVar[str] = "dpo"
    settings_type: ClassVar[type[TrainSettings]] = DpoSettings

    def __init__(self, settings: DpoSettings) -> None:
        super().__init__(settings)
        self.policy = policy_of(settings.model, settings.loaded, settings.chat_template)

    def train(self, progress: Progress) -> Trained:
        settings, policy = self.settings, self.policy
        training = Finetuning(self.name, settings, progress, start=policy.spec)
        rows = training.read(Preference, without_ties)
        training.check_evaluation()
        with training.open(weights=policy.weights()) as work:
            if not training.is_done:
                from align_plugins.training.engine import Batches, Engine, without_dropout

                policy.load()
                training.say(policy.learned_example())
                without_dropout(policy.model)
                items = training.encoded(rows, self.encode, policy.model)
                items = self.with_reference(items, work, training.progress)
                trained = trainable_policy(policy, settings, training.progress)
                batches = Batches(items, self.collate, self.counts, self.step)
                training.fit(Engine(trained, batches, settings, work.checkpoints))
                training.finish()
        return training.report()

    def encode(self, row: Preference) -> PairItem:
        """Tokens of a prompt with each of its responses. ValueError if they cannot be learned from."""
        chosen, rejected = (
            self.policy.with_token_count(
                self.policy.encode(row.messages, side)._replace(row=row.id), self.settings.reads_media
            )
            for side in (row.chosen, row.rejected)
        )
        return PairItem(chosen, rejected)

    def with_reference(
        self, items: Sequence[PairItem], work: Workdir, progress: Progress
    ) -> list[PairItem]:
        """The items with sums of log-probabilities under the model as it is now: the start.

        A resumed training reads them from its folder; train.json ensures that weights, data and settings
        are the same.
        """
        if work.reference.is_file():
            sums = np.load(work.reference)
        else:
            progress.say(f"reference: log-probabilities of {2 * len(items)} responses")
            sums = self._reference_sums(items)
            if is_main():
                buffer = io.BytesIO()
                np.save(buffer, sums)
                write_atomically(work.reference, buffer.getvalue())
        return [
            pair._replace(reference=tuple(tuple(side_sums) for side_sums in pair_sums))
            for pair, pair_sums in zip(items, sums.tolist(), strict=True)
        ]

    def _reference_sums(self, items: Sequence[PairItem]) -> Any:
        """Sums of log-probabilities by modality, float32 (items, 2, 4). Items of similar length share a
        batch."""
        import torch

        from align_plugins.training.engine import to_device

        out = np.zeros((len(items), 2, len(MODALITIES)), np.float32)
        order = sorted(range(len(items)), key=lambda i: items[i].tokens)
        size = self.settings.per_device_train_batch_size
        model = self.policy.model.eval()
        half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(self.settings.precision)
        with torch.no_grad(), torch.autocast(model.device.type, half, enabled=half is not None):
            for start in range(0, len(order), size):
                group = order[start : start + size]
                batch = to_device(self.collate([items[i] for i in group]), model.device)
                sums = self.policy.logprobs(batch).sums().cpu().numpy()
                out[group, 0], out[group, 1] = sums[: len(group)], sums[len(group) :]
        return out

    def collate(self, items: Sequence[PairItem]) -> dict[str, Any]:
        """Batch of the chosen responses, then the rejected ones."""
        import torch

        batch = self.policy.collate([i.chosen for i in items] + [i.rejected for i in items])
        if items[0].reference:
            batch["reference"] = torch.tensor([i.reference for i in items])
        return batch

    def counts(self, batch: Mapping[str, Any]) -> Totals:
        """Numbers of pairs, and of tokens of their chosen responses."""
        import torch

        pairs = len(batch["labels"]) // 2
        return {
            "pairs": torch.tensor(pairs),
            "chosen_tokens": label_count(batch["labels"][:pairs]),
        }

    def step(self, model: Any, batch: Mapping[str, Any], totals: Totals) -> BatchLoss:
        """A batch's share of the mean loss of the pairs of an optimiser step, and metrics of its
        margins."""
        from align_plugins.training.engine import BatchLoss

        settings = self.settings
        tokens = self.policy.logprobs(batch, model)
        half = len(tokens.values) // 2
        sums, counts = tokens.sums(), tokens.counts()
        policy = Sides(sums[:half], sums[half:], counts[:half], counts[half:])
        start = batch["reference"].to(sums)
        reference = Sides(start[:, 0], start[:, 1], policy.chosen_count, policy.rejected_count)
        normalise = settings.length_normalised or settings.loss_type == "ipo"
        chosen, rejected = log_ratios(policy, reference, settings.modality_weights, normalise)
        losses = dpo_loss(chosen.sum(1), rejected.sum(1), settings.beta, settings.loss_type)
        loss = losses.sum() / totals["pairs"]
        metrics = {"dpo_loss": (losses.mean(), float(half))}
        if settings.nll_weight:
            chosen_tokens = TokenLogprobs(*(tensor[:half] for tensor in tokens))
            loss = loss + settings.nll_weight * sft_loss(chosen_tokens, totals["chosen_tokens"])
            metrics["nll"] = (sft_loss(chosen_tokens), float(chosen_tokens.mask.sum()))
        metrics |= _metrics(chosen.detach(), rejected.detach(), policy, settings.beta)
        return BatchLoss(loss, metrics, batch["inputs"]["input_ids"].numel())


def _metrics(
    chosen: torch.Tensor, rejected: torch.Tensor, policy: Sides, beta: float
) -> dict[str, tuple[torch.Tensor, float]]:
    """Margins, overall and by modality (over the pairs in which it occurs), and the share of pairs whose
    chosen response is preferred."""
    margins = beta * (chosen - rejected)
    total = margins.sum(1)
    n = float(len(total))
    metrics = {
        "margin": (total.mean(), n),
        "accuracy": ((total > 0).float().mean(), n),
        "reward_chosen": (beta * chosen.sum(1).mean(), n),
        "reward_rejected": (beta * rejected.sum(1).mean(), n),
    }
    present = (policy.chosen_count + policy.rejected_count) > 0
    for index, modality in enumerate(MODALITIES):
        weight = float(present[:, index].sum())
        if weight:
            mean = margins[:, index].sum() / weight
            metrics[f"margin_{modality}"] = (mean, weight)
    return metrics


def without_ties(rows: Sequence[Preference], progress: Progress) -> list[Preference]:
    """Pairs of which one response is preferred; reports the number of ties."""
    pairs = [row for row in rows if not row.tie]
    if len(pairs) < len(rows):
        progress.say(f"left out: {len(rows) - len(pairs)} of {len(rows)} pairs are ties")
    return pairs
