"""Settings of `ppo`."""

from __future__ import annotations

from typing import ClassVar

from align_plugins.losses.ppo import KlEstimator
from align_plugins.methods.ppo.rewards import RewardSource
from align_plugins.settings import TrainSettings


class PpoSettings(TrainSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of `ppo`. `batch_size` and `accumulation` cut a round into steps of the optimiser;
    `max_steps`, `save_every` and `log_every` count rounds, and so does the learning rate's schedule.

    Attributes:
        rewards: judges and checkpoints of reward models, with their weights.
        include, allow_code: further folders of judges, as for `eval-anything run`.
        rollout: prompts of a round, on each device.
        ppo_epochs: how often a round's responses are learned from.
        temperature: of sampling; the policy that is trained is the one at this temperature.
        max_new_tokens: of a response.
        output: what a model answers with that must be told, as in `--model-arg output`.
        clip: how far the probability of a token may move in a round: 1 - clip to 1 + clip.
        value_clip, value_weight: the same bound for values, and the weight of their loss.
        gamma, gae_lambda: discount, and how far advantages look ahead, both 0 to 1.
        kl_weight: price of a nat of KL from the reference, on the scale of the rewards as they are used.
        kl_target: nats of KL of a response that the weight is adapted to; without it it is fixed.
        kl_horizon: responses in which the weight may change much.
        kl_estimator: k1 or k3.
        whiten_rewards: whether the rewards of a round get mean 0 and deviation 1.
        reference: SPEC of another reference of the same architecture; without it the start.
        stop_on_alarm: whether to stop where the reward rose and the evaluated metric fell. Training
            then waits for each evaluation.
    """

    rewards: list[RewardSource]
    include: list[str] = []
    allow_code: bool = False
    rollout: int = 64
    ppo_epochs: int = 1
    temperature: float = 1.0
    max_new_tokens: int = 128
    output: str = "auto"
    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.1
    gamma: float = 1.0
    gae_lambda: float = 0.95
    kl_weight: float = 0.02
    kl_target: float | None = None
    kl_horizon: float = 10_000.0
    kl_estimator: KlEstimator = "k1"
    whiten_rewards: bool = True
    reference: str | None = None
    stop_on_alarm: bool = False

    more_files: ClassVar[tuple[str, ...]] = ("include",)
    more_specs: ClassVar[tuple[str, ...]] = ("reference", "rewards.checkpoint", "rewards.model")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rewards:
            raise ValueError("rewards names none")
        for name in ("rollout", "ppo_epochs", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("temperature", "clip", "value_clip", "kl_horizon"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")
        for name in ("value_weight", "kl_weight"):
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
        return super().waits or self.stop_on_alarm
