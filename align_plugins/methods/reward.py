"""`reward`: a reward model from preference pairs (losses/reward.py), which is a judge at once.

It reads exactly the inputs that the judge reads (eval_anything/judges/kinds/reward/readers.py), so
`--judge NAME=<out>/final` uses it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from align_plugins.data.rows import Preference
from align_plugins.losses.reward import aspect_loss, reward_loss
from align_plugins.methods.dpo import without_ties
from align_plugins.methods.reward_views import Kind, View, Views, judges_reader
from align_plugins.policies import policy_of
from align_plugins.policies.base import inputs_of, padded_right
from align_plugins.policies.chat import ChatPolicy
from align_plugins.policies.micro import MicroPolicy
from align_plugins.settings import TrainSettings
from align_plugins.trainer import Trained, Trainer
from align_plugins.training.adapters import Trainable, trainable
from align_plugins.training.finetuning import Finetuning
from eval_anything.errors import UserError, near
from eval_anything.judges.kinds.reward.classes import OVERALL_HEAD, scored_class
from eval_anything.output.progress import Progress
from eval_anything.statistics.intervals import mean_interval

if TYPE_CHECKING:
    import torch

    from align_plugins.training.engine import BatchLoss, Totals


class RewardSettings(TrainSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of `reward`.

    Attributes:
        views: input that the model reads at once: the whole response, or (for a judge with metrics such
            as text_image) each pair of its modalities, whose mean is the reward of the response.
        margins: whether rewards must differ by a pair's `margin`.
        aspects: those of the rows' `aspects` that get a head of their own beside the overall one.
        aspect_weight: weight of their loss; that of the overall one is 1.
        regulariser: weight of the mean square of rewards.
        held_out: share of the prompts, 0 to 1, on which accuracy is measured and nothing is learned.
    """

    views: Kind = "whole"
    margins: bool = False
    aspects: list[str] = []
    aspect_weight: float = 1.0
    regulariser: float = 0.001
    held_out: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.held_out < 1:
            raise ValueError("held_out must be a share from 0 to below 1")
        if self.aspect_weight < 0:
            raise ValueError("aspect_weight must not be below 0")
        if len({*self.aspects, OVERALL_HEAD}) <= len(self.aspects):
            raise ValueError(f"aspects must differ from each other and from {OVERALL_HEAD!r}")
        if self.chat_template != "auto":
            raise ValueError(
                "chat_template: a reward model is read as its judge is, with the checkpoint's own"
            )
        if self.evaluate is not None:
            raise ValueError(
                "evaluate: a reward model answers no task; its accuracy on held-out prompts is measured"
            )


class RewardItem(NamedTuple):
    """Both sides of a pair as views. `aspects` are the differences of the ratings, chosen minus
    rejected, 0 where they were not rated. `row` is the pair's id, for messages."""

    chosen: list[View]
    rejected: list[View]
    margin: float
    aspects: tuple[float, ...]
    cluster: str
    row: str

    @property
    def tokens(self) -> int:
        """Number of tokens of the longest view."""
        return max(view.tokens for side in (self.chosen, self.rejected) for view in side)


class RewardTrainer(Trainer[RewardSettings]):
    """Trains scalar heads on a checkpoint to give chosen responses higher rewards than rejected ones."""

    name: ClassVar[str] = "reward"
    settings_type: ClassVar[type[TrainSettings]] = RewardSettings
    model: Any
    views: Views

    def __init__(self, settings: RewardSettings) -> None:
        super().__init__(settings)
        policy = policy_of(settings.model, settings.loaded)
        assert isinstance(policy, MicroPolicy | ChatPolicy)
        self.policy = policy

    def train(self, progress: Progress) -> Trained:
        training = Finetuning(self.name, self.settings, progress)
        rows = training.read(Preference, self.select)
        with training.open(weights=self.policy.weights()) as work:
            if not training.is_done:
                from align_plugins.training.engine import Batches, Engine

                self.load()
                items = training.encoded(rows, self.encode, self.model)
                items, held_out = self.split(items)
                if not items:
                    raise UserError("held_out: no pairs are left to learn from: take a smaller share")
                trained = self.trainable(training.progress)
                batches = Batches(items, self.collate, self.counts, self.step)
                training.fit(Engine(trained, batches, self.settings, work.checkpoints))
                training.finish(lambda: self.accuracy(held_out, work.final))
        return training.report()

    def select(self, rows: list[Preference], progress: Progress) -> list[Preference]:
        """The pairs that are no ties. UserError for an aspect in which no ratings differ."""
        rated = {name for row in rows for name, difference in row.aspects.items() if difference}
        for name in self.settings.aspects:
            if name not in rated:
                hint = near(name, rated) or f" Rated are: {', '.join(sorted(rated)) or 'none'}."
                raise UserError(f"aspects: no pair has ratings of {name!r} that differ.{hint}")
        return without_ties(rows, progress)

    def load(self) -> None:
        """Loads the checkpoint with new scalar heads, and the reader of its inputs."""
        from transformers import AutoConfig
        from transformers.utils import logging

        settings, policy = self.settings, self.policy
        heads = [OVERALL_HEAD, *settings.aspects]
        labels = {"id2label": dict(enumerate(heads))} if len(heads) > 1 else {"num_labels": 1}
        path = policy.path if isinstance(policy, MicroPolicy) else policy.source.location
        config = AutoConfig.from_pretrained(path, **labels)
        reader = None
        if isinstance(policy, ChatPolicy):
            reader = judges_reader(policy)
            text = config.get_text_config(decoder=True)
            if text.pad_token_id is None:
                pad = reader.tokenizer.pad_token_id
                text.pad_token_id = pad if pad is not None else reader.tokenizer.eos_token_id
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # it warns that the head is new, which is what is wanted
        try:
            self.model = scored_class(config).from_pretrained(
                path, config=config, dtype=settings.loaded, use_safetensors=True
            )
        except ValueError as error:
            raise UserError(f"model: {path} cannot have a scalar head: {error}") from None
        finally:
            logging.set_verbosity(level)
        policy.freeze(self.model)
        self.views = Views(policy, self.model, reader, settings.views, settings.reads_media)

    def trainable(self, progress: Progress) -> Trainable:
        """The loaded model, prepared for training. Its checkpoints have full weights, since a judge
        reads no adapters."""
        return trainable(
            self.model,
            self.views.save_beside,
            self.settings,
            progress,
            task_type="SEQ_CLS",
            frozen=self.policy.frozen,
            merges=True,
        )

    def encode(self, row: Preference) -> RewardItem:
        """Views of both responses. ValueError if they cannot be learned from."""
        margin = row.margin if self.settings.margins and row.margin is not None else 0.0
        chosen, rejected = (self.views.of(row.messages, side) for side in (row.chosen, row.rejected))
        aspects = tuple(row.aspects.get(name, 0.0) for name in self.settings.aspects)
        return RewardItem(chosen, rejected, margin, aspects, row.source_id, row.id)

    def split(self, items: Sequence[RewardItem]) -> tuple[list[RewardItem], list[RewardItem]]:
        """Items to learn from, and held-out ones: whole clusters, so that no prompt is in both."""
        clusters = sorted({pair.cluster for pair in items})
        random.Random(f"held-out-{self.settings.seed}").shuffle(clusters)
        held_out = set(clusters[: round(self.settings.held_out * len(clusters))])
        return (
            [pair for pair in items if pair.cluster not in held_out],
            [pair for pair in items if pair.cluster in held_out],
        )

    def collate(self, items: Sequence[RewardItem]) -> dict[str, Any]:
        """Batch whose rows are views, those of the chosen sides first; `views` has the number of views
        of each side."""
        import torch

        sides = [(i.row, i.chosen) for i in items] + [(i.row, i.rejected) for i in items]
        readings = [self.views.reading(row, view) for row, side in sides for view in side]
        pad = self.model.config.get_text_config(decoder=True).pad_token_id
        rows = [reading.ids for reading in readings]
        mask = padded_right([[1] * len(row) for row in rows], 0)
        inputs = inputs_of(rows, [reading.media for reading in readings], pad)
        return {
            "inputs": inputs | {"attention_mask": mask},
            "views": torch.tensor([len(side) for _, side in sides]),
            "margin": torch.tensor([pair.margin for pair in items]),
            "aspects": torch.tensor([pair.aspects for pair in items]),
        }

    def _rewards(self, model: Any, batch: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rewards of the chosen and of the rejected responses, float32 (pairs, heads)."""
        import torch

        scalars = model(**batch["inputs"], use_cache=False).logits.float()
        sides = torch.stack([side.mean(dim=0) for side in scalars.split(batch["views"].tolist())])
        return sides[: len(sides) // 2], sides[len(sides) // 2 :]

    def counts(self, batch: Mapping[str, Any]) -> Totals:
        """Numbers of pairs, and of ratings that differ."""
        import torch

        aspects = batch["aspects"]
        return {"pairs": torch.tensor(len(aspects)), "ratings": (aspects != 0).sum()}

    def step(self, model: Any, batch: Mapping[str, Any], totals: Totals) -> BatchLoss:
        """A batch's share of the mean loss of the pairs of an optimiser step, and metrics of its
        rewards."""
        from align_plugins.training.engine import BatchLoss

        settings = self.settings
        chosen, rejected = self._rewards(model, batch)
        loss = reward_loss(
            chosen[:, 0], rejected[:, 0], batch["margin"], settings.regulariser, totals["pairs"]
        )
        if settings.aspects:
            aspect_term = aspect_loss(
                chosen[:, 1:],
                rejected[:, 1:],
                batch["aspects"],
                settings.regulariser,
                totals["ratings"],
            )
            loss = loss + settings.aspect_weight * aspect_term
        n = float(len(chosen))
        metrics = {
            "margin": ((chosen - rejected)[:, 0].mean(), n),
            "reward": ((chosen + rejected)[:, 0].mean() / 2, n),
        }
        head_credits = _credits(chosen.detach(), rejected.detach(), batch["aspects"])
        for name, credits in zip(
            ("accuracy", *(f"accuracy_{a}" for a in settings.aspects)), head_credits, strict=True
        ):
            if len(credits):
                metrics[name] = (credits.mean(), float(len(credits)))
        return BatchLoss(loss, metrics, batch["inputs"]["input_ids"].numel())

    def accuracy(self, held_out: Sequence[RewardItem], final: Path) -> dict[str, Any]:
        """Accuracy of a saved checkpoint on held-out pairs, for each head on the pairs that were rated
        on it, with lines for people. Equal rewards count as half right."""
        if not held_out:
            return {}
        metrics: dict[str, Any] = {}
        lines = []
        for index, (name, credits) in enumerate(self._credits_of(held_out, final).items()):
            clusters = [pair.cluster for pair in held_out if not index or pair.aspects[index - 1]]
            if not credits:
                lines.append(f"{name}: no held-out pair was rated on it")
                continue
            estimate = mean_interval(credits, clusters, (0.0, 1.0))
            ci95 = [estimate.low, estimate.high]
            metric = {"value": estimate.value, "ci95": ci95, "n": estimate.n}
            words = f"{estimate.value:.3f} ({estimate.low:.3f} .. {estimate.high:.3f})"
            if index:
                metrics.setdefault("aspects", {})[name] = metric
                lines.append(f"{name}: {words} on the {estimate.n} of them that were rated on it")
            else:
                metrics["accuracy"] = metric
                lines.append(f"accuracy on {estimate.n} held-out pairs: {words}")
        return {**metrics, "lines": [*lines, f"as a judge: --judge NAME={final}"]}

    def _credits_of(self, items: Sequence[RewardItem], final: Path) -> dict[str, list[float]]:
        """Credits of pairs (as in `_credits`) under a saved checkpoint, by head, `accuracy` first."""
        import torch
        from transformers import AutoConfig

        from align_plugins.training.engine import to_device

        config = AutoConfig.from_pretrained(final)
        model = scored_class(config).from_pretrained(final, config=config, dtype="float32").eval()
        model.to(self.model.device)
        credits: dict[str, list[float]] = {n: [] for n in ("accuracy", *self.settings.aspects)}
        with torch.no_grad():
            size = self.settings.per_device_train_batch_size
            for start in range(0, len(items), size):
                batch = to_device(self.collate(items[start : start + size]), model.device)
                of_batch = _credits(*self._rewards(model, batch), batch["aspects"])
                for head, values in zip(credits.values(), of_batch, strict=True):
                    head += values.tolist()
        return credits


def _credits(chosen: torch.Tensor, rejected: torch.Tensor, aspects: torch.Tensor) -> list[torch.Tensor]:
    """Credits of each head, the overall one first: 1 for each pair in which the better response gets the
    higher reward, a half for equal rewards. Aspects have credits only for pairs whose ratings differ, so
    lengths differ."""
    import torch

    truth = torch.cat([torch.ones_like(chosen[:, :1]), aspects], dim=1).sign()
    right = ((chosen - rejected).sign() * truth + 1) / 2
    return [values[rated != 0] for values, rated in zip(right.T, truth.T, strict=True)]
