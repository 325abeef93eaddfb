"""`sft`: supervised fine-tuning on demonstrations (losses/sft.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from align_plugins.data.rows import Demonstration
from align_plugins.losses.sft import sft_loss
from align_plugins.policies.base import Encoded
from align_plugins.settings import TrainSettings
from align_plugins.training.batch_finetuning import BatchFinetuning
from align_plugins.training.policy_finetuning import PolicyFinetuning

if TYPE_CHECKING:
    import torch

    from align_plugins.training.engine import Step


class SftTrainer(
    PolicyFinetuning[TrainSettings, Demonstration, Encoded],
    BatchFinetuning[TrainSettings, Demonstration, Encoded],
):
    """Learns the responses of demonstrations."""

    name: ClassVar[str] = "sft"
    settings_type: ClassVar[type[TrainSettings]] = TrainSettings
    row_type = Demonstration
    counts_tokens = True

    def encode(self, row: Demonstration) -> Encoded:
        return self.counted(row, self.policy.encode(row.messages, row.response))

    def length(self, item: Encoded) -> int:
        return item.tokens

    def collate(self, items: Sequence[Encoded]) -> dict[str, Any]:
        return self.policy.collate(items)

    def step(self, model: Any, batch: Mapping[str, Any], count: torch.Tensor | None) -> Step:
        from align_plugins.training.engine import Step

        tokens = self.policy.logprobs(batch, model)
        return Step(sft_loss(tokens, count), {}, batch["inputs"]["input_ids"].numel())
