"""State of the rounds that a checkpoint keeps for resuming, beside optimiser and random states."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from align_plugins.old_names import rename_keys

_TRAINED = "trained.safetensors"


class LoopState:
    """State that is carried from round to round, beside weights and optimiser; it is saved in
    checkpoints.

    Attributes:
        step: number of finished rounds.
        kl_coef: KL coefficient, which may be adaptive.
        first: mean reward of the first round that had rewards.
        since_save: sum and number of mean rewards since the last checkpoint.
        learned: whether the last round had an optimiser step.
        idle: number of rounds without one.
    """

    def __init__(self, kl_coef: float) -> None:
        self.step = 0
        self.kl_coef = kl_coef
        self.first: float | None = None
        self.since_save = [0.0, 0.0]
        self.learned = True
        self.idle = 0

    def note(self, reward: float) -> None:
        """Records the mean reward of a round."""
        self.first = reward if self.first is None else self.first
        self.since_save = [self.since_save[0] + reward, self.since_save[1] + 1]

    def state_dict(self) -> dict[str, Any]:
        """State for accelerate to save. Rewards up to a checkpoint are reported with it, so `since_save`
        begins anew."""
        return {**vars(self), "since_save": [0.0, 0.0]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the state that `state_dict` returned, also in a version that said `kl_weight`."""
        vars(self).update(rename_keys(state, {"kl_weight": "kl_coef"}))


def keep_trained_weights(accelerator: Any, actor: Any) -> None:
    """Makes accelerate save only the trained weights, once, whatever wraps the model."""

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
