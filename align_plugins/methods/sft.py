"""`sft`: supervised fine-tuning on demonstrations (losses/sft.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from align_plugins.data.rows import Demonstration
from align_plugins.losses.sft import sft_loss
from align_plugins.policies import policy_of
from align_plugins.policies.base import Encoded, label_count
from align_plugins.settings import TrainSettings
from align_plugins.trainer import Trained, Trainer
from align_plugins.training.adapters import trainable_policy
from align_plugins.training.finetuning import Finetuning
from eval_anything.output.progress import Progress

if TYPE_CHECKING:
    from align_plugins.training.engine import BatchLoss, Totals


class SftTrainer(Trainer[TrainSettings]):
    """Raises the likelihood of the responses of demonstrations."""

    name: ClassVar[str] = "sft"
    settings_type: ClassVar[type[TrainSettings]] = TrainSettings

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__(settings)
        self.policy = policy_of(settings.model, settings.loaded, settings.chat_template)

    def train(self, progress: Progress) -> Trained:
        settings, policy = self.settings, self.policy
        training = Finetuning(self.name, settings, progress, start=policy.spec)
        rows = training.read(Demonstration)
        training.check_evaluation()
        with training.open(weights=policy.weights()) as work:
            if not training.is_done:
                from align_plugins.training.engine import Batches, Engine

                policy.load()
                training.say(policy.learned_example())
                items = training.encoded(rows, self.encode, policy.model)
                trained = trainable_policy(policy, settings, training.progress)
                batches = Batches(items, policy.collate, self.counts, self.step)
                training.fit(Engine(trained, batches, settings, work.checkpoints))
                training.finish()
        return training.report()

    def encode(self, row: Demonstration) -> Encoded:
        """Tokens of a prompt and its response. ValueError if they cannot be learned from."""
        encoded = self.policy.encode(row.messages, row.response)
        return self.policy.with_token_count(encoded._replace(row=row.id), self.settings.reads_media)

    def counts(self, batch: Mapping[str, Any]) -> Totals:
        """Number of tokens of the responses."""
        return {"tokens": label_count(batch["labels"])}

    def step(self, model: Any, batch: Mapping[str, Any], totals: Totals) -> BatchLoss:
        """A batch's share of the mean loss of the tokens of an optimiser step."""
        from align_plugins.training.engine import BatchLoss

        loss = sft_loss(self.policy.logprobs(batch, model), totals["tokens"])
        return BatchLoss(loss, {}, batch["inputs"]["input_ids"].numel())
