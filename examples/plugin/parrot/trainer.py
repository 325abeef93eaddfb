"""`eval-anything train nudge`: random changes of all weights, a control for any other method."""

from __future__ import annotations

from pathlib import Path

import torch

import eval_anything as ea
from align_plugins.policies import policy_of
from align_plugins.settings import MethodSettings
from align_plugins.trainer import Trained, Trainer


class NudgeSettings(MethodSettings, frozen=True, kw_only=True):
    """Settings of the file beside those of every method.

    Attributes:
        size: standard deviation of the changes, as a share of that of each weight matrix.
    """

    size: float = 0.01


class NudgeTrainer(Trainer[NudgeSettings]):
    """Adds Gaussian noise to a checkpoint and saves it in `out/final`."""

    name = "nudge"
    settings_type = NudgeSettings

    def train(self, progress: ea.Progress) -> Trained:
        policy = policy_of(self.settings.model)
        policy.load()
        generator = torch.Generator().manual_seed(self.settings.seed)
        with torch.no_grad():
            for weight in policy.model.parameters():
                noise = torch.randn(weight.shape, generator=generator)
                weight += self.settings.size * weight.std(correction=0) * noise
        final = Path(self.settings.out, "final")
        policy.model.save_pretrained(final)
        policy.save_beside(final)
        return Trained({"checkpoint": str(final)}, [f"checkpoint: {final}"])
