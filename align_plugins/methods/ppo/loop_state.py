"""What a training by rounds keeps in a checkpoint to go on from, beside optimiser and random states."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

_TRAINED = "trained.safetensors"


class LoopState:
    """What rounds hand on, beside weights and optimiser. It is kept in checkpoints.

    Attributes:
        step: rounds done.
        first: mean reward of the first round that had any.
        since_save: sum and number of mean rewards since the last checkpoint.
        learned: whether the last round taught anything.
        idle: rounds that did not.
    """

    def __init__(self, kl_weight: float) -> None:
        self.step = 0
        self.kl_weight = kl_weight
        self.first: float | None = None
        self.since_save = [0.0, 0.0]
        self.learned = True
        self.idle = 0

    def note(self, reward: float) -> None:
        """The mean reward of a round."""
        self.first = reward if self.first is None else self.first
        self.since_save = [self.since_save[0] + reward, self.since_save[1] + 1]

    def state_dict(self) -> dict[str, Any]:
        """As accelerate keeps it: at a checkpoint, so what was noted since the last one is told."""
        return {**vars(self), "since_save": [0.0, 0.0]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        vars(self).update(state)


def keep_trained_weights(accelerator: Any, actor: Any) -> None:
    """Has accelerate keep those weights alone that are trained, once, whatever wraps them."""

    def save(models: list[Any], weights: list[Any], folder: str) -> None:
        trained = {n: p.detach() for n, p in actor.named_parameters() if p.requires_grad}
        if accelerator.is_main_process:
            save_file({n: p.contiguous() for n, p in trained.items()}, Path(folder) / _TRAINED)
        weights.clear()

    def load(models: list[Any], folder: str) -> None:
        actor.load_state_dict(load_file(Path(folder) / _TRAINED), strict=False)
        models.clear()

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)
