"""What methods share that train a policy itself: what is loaded, saved and evaluated is the policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from align_plugins.policies import policy_of
from align_plugins.policies.base import Encoded
from align_plugins.policies.micro import MicroPolicy
from align_plugins.training.finetuning import Finetuning, Item, RowT, S


class PolicyFinetuning(Finetuning[S, RowT, Item]):
    """A method whose checkpoints answer as the start does. A subclass adds rows and an engine."""

    def __init__(self, settings: S) -> None:
        super().__init__(settings)
        self.policy = policy_of(settings.model, settings.loaded)

    def weights(self) -> str:
        return self.policy.weights()

    def load(self) -> None:
        self.policy.load()
        self.model = self.policy.model

    def counted(self, row: RowT, item: Encoded) -> Encoded:
        """What a row was encoded to, with its name and length. Media of prompts are read for that under
        `max_tokens` alone. RowError as in `Policy.counted`."""
        reads_media = self.settings.max_tokens is not None
        return self.policy.counted(item._replace(row=row.id), reads_media)

    def save_beside(self, folder: Path) -> None:
        self.policy.save_beside(folder)

    def lora_task(self) -> dict[str, Any]:
        frozen = self.policy.frozen
        return super().lora_task() | ({"exclude_modules": frozen} if frozen else {})

    def _start_spec(self) -> str | None:
        return self.policy.spec

    @property
    def saves_merged(self) -> bool:
        return isinstance(self.policy, MicroPolicy) or super().saves_merged
