"""`sft`: supervised fine-tuning on demonstrations (losses/sft.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from align_plugins.data.rows import Demonstration, row_like
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


class SftSettings(TrainSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of `sft`.

    Attributes:
        learn: of a conversation with several answers, the last one (the response), or all of them, each
            as an answer to all that is before it.
    """

    learn: Literal["last", "all"] = "last"

    added: ClassVar[tuple[str, ...]] = (*TrainSettings.added, "learn")


class SftTrainer(Trainer[SftSettings]):
    """Raises the likelihood of the responses of demonstrations."""

    name: ClassVar[str] = "sft"
    settings_type: ClassVar[type[SftSettings]] = SftSettings

    def __init__(self, settings: SftSettings) -> None:
        super().__init__(settings)
        self.policy = policy_of(settings.model, settings.loaded, settings.chat_template)

    def train(self, progress: Progress) -> Trained:
        settings, policy = self.settings, self.policy
        training = Finetuning(self.name, settings, progress, start=policy.spec)
        rows = training.read(Demonstration, self.select)
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

    def select(self, rows: list[Demonstration], progress: Progress) -> list[Demonstration]:
        """The rows to learn: with `learn: all` one for each answer of a conversation. Reports how many
        there are if any row has several."""
        answers = [answer for row in rows for answer in answers_of(row)]
        if len(answers) == len(rows):
            return rows
        several = sum(any(m.role == "assistant" for m in row.messages) for row in rows)
        counts = f"{several} of {len(rows)} rows have several answers, {len(answers)} in all"
        if self.settings.learn == "all":
            progress.say(f"learn: all: {counts}; each is learned")
            return answers
        progress.say(f"learn: last: {counts}; the last of each row is learned (learn: all learns each)")
        return rows

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


def answers_of(row: Demonstration) -> Iterator[Demonstration]:
    """A demonstration of each answer in a row's conversation, in their order; its prompt is what
    generation is shown at this turn. A turn of the assistant that follows none of the user is left
    out."""
    messages = row.messages
    for index, message in enumerate(messages):
        if index and message.role == "assistant" and messages[index - 1].role == "user":
            yield row_like(row, Demonstration, messages=messages[:index], response=message.parts)
    yield row
