"""Settings of `ppo`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from align_plugins.losses.ppo import KlEstimator
from align_plugins.methods.ppo.rewards import RewardSource
from align_plugins.old_names import Names
from align_plugins.settings import TrainSettings
from eval_anything.sampling import PENALTIES, RESTRICTIONS

_REFUSED = (
    "ppo learns the policy that it samples from, the softmax at `temperature`. Draws with restrictions "
    "or penalties are from another one, for which its ratios of probabilities are wrong: leave it out"
)


class PpoSettings(TrainSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of `ppo`. `per_device_train_batch_size` and `gradient_accumulation_steps` divide a round
    into optimiser steps; `max_steps`, `save_steps`, `logging_steps` and `warmup_steps` count rounds, and
    so does the learning rate's schedule. Names are those of TRL's `PPOConfig` where the meaning is the
    same.

    Attributes:
        rewards: judges and checkpoints of reward models, with their weights.
        include: further folders of judges, as for `eval-anything run`.
        allow_code: whether judges in them may run code.
        rollout: prompts of a round, on each device.
        ppo_epochs: epochs of learning on the responses of a round.
        temperature: of sampling; the trained policy is the one at this temperature.
        max_new_tokens: limit of a response.
        output: modality that is sampled, where a model needs it, as in `--model-arg output`.
        cliprange: c, bound for the change of a token's probability in a round: factors 1 - c to 1 + c.
        cliprange_value: bound for the change of a value in a round.
        vf_coef: weight of the value loss.
        gamma: discount, 0 to 1.
        gae_lambda: decay of later TD errors in advantages, 0 to 1.
        kl_coef: weight of a nat of KL from the reference, on the scale of the rewards as used.
        kl_target: KL of a response (nats) that `kl_coef` is adapted to; None for a fixed one.
        kl_horizon: number of responses over which `kl_coef` may change much.
        kl_estimator: k1 or k3.
        whiten_rewards: whether the rewards of a round are scaled to mean 0 and standard deviation 1.
        reference: SPEC of another reference of the same architecture; None for the start.
        stop_on_alarm: whether to stop if the reward rose and the evaluated metric fell. Training then
            waits for each evaluation.
    """

    rewards: list[RewardSource]
    include: list[str] = []
    allow_code: bool = False
    rollout: int = 64
    ppo_epochs: int = 1
    temperature: float = 1.0
    max_new_tokens: int = 128
    output: str = "auto"
    cliprange: float = 0.2
    cliprange_value: float = 0.2
    vf_coef: float = 0.1
    gamma: float = 1.0
    gae_lambda: float = 0.95
    kl_coef: float = 0.02
    kl_target: float | None = None
    kl_horizon: float = 10_000.0
    kl_estimator: KlEstimator = "k1"
    whiten_rewards: bool = True
    reference: str | None = None
    stop_on_alarm: bool = False

    old_names: ClassVar[Names] = {
        **TrainSettings.old_names,
        "clip": "cliprange",
        "value_clip": "cliprange_value",
        "value_weight": "vf_coef",
        "kl_weight": "kl_coef",
    }
    refused: ClassVar[Mapping[str, str]] = dict.fromkeys((*RESTRICTIONS, *PENALTIES), _REFUSED)
    more_files: ClassVar[tuple[str, ...]] = ("include",)
    more_specs: ClassVar[tuple[str, ...]] = ("reference", "rewards.checkpoint", "rewards.model")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rewards:
            raise ValueError("rewards names none")
        for name in ("rollout", "ppo_epochs", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("temperature", "cliprange", "cliprange_value", "kl_horizon"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")
        for name in ("vf_coef", "kl_coef"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be below 0")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1")
        if self.kl_target is not None and not self.kl_target > 0:
            raise ValueError("kl_target must be above 0")
        if self.stop_on_alarm and self.evaluate is None:
            raise ValueError("stop_on_alarm needs `evaluate`: without it nothing is looked at")

    @property
    def waits(self) -> bool:
        """Whether results of evaluations can end the training."""
        return super().waits or self.stop_on_alarm
