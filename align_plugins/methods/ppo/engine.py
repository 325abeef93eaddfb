"""The engine of ppo: rounds of sampling, judging and learning, run by accelerate.

All randomness comes from the settings' seed and the number of the round, so a resumed training does the
same as an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import copy
import math
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    ProjectConfiguration,
    fsdp2_prepare_model,
    gather_object,
)
from torch.nn.utils.rnn import pad_sequence

from align_plugins.losses.ppo import (
    adapted_kl_coef,
    gae,
    kl_estimate,
    moments,
    policy_loss,
    token_rewards,
    value_loss,
    whiten,
)
from align_plugins.methods.ppo.actor_critic import ActorCritic, actor_critic_output
from align_plugins.methods.ppo.loop_state import LoopState, keep_trained_weights
from align_plugins.methods.ppo.rewards import Rewards
from align_plugins.methods.ppo.rollout import (
    Advantages,
    Rollout,
    RolloutPrompt,
    make_rollout,
    prompt_order,
    token_metrics,
)
from align_plugins.methods.ppo.sharding import copy_weights, is_sharded
from align_plugins.policies.base import Encoded, Policy
from align_plugins.training.adapters import Trainable
from align_plugins.training.engine import NotFiniteError, arguments_of, check_weights, saving, to_device
from align_plugins.training.environment import TRACKED, on_cpu
from align_plugins.training.epochs import rows_in
from align_plugins.training.metrics import Tally
from align_plugins.training.sampling import Tempered
from align_plugins.workdir import RESUMING
from eval_anything.files.hashing import seed_of

if TYPE_CHECKING:
    from align_plugins.methods.ppo.settings import PpoSettings


_PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


class PpoModels(NamedTuple):
    """The models of ppo.

    Attributes:
        policy: samples and decodes; it is loaded.
        trained: the policy's model, prepared for training.
        reference: frozen model that the KL is measured from; None for `trained` without its adapters.
    """

    policy: Policy
    trained: Trainable
    reference: Any


class PpoRounds(NamedTuple):
    """Inputs of the rounds of sampling, judging and learning.

    Attributes:
        prompts: sampled from in an order that comes from the seed, each once in an epoch.
        rewards: of responses.
        settings: of the method.
        folder: of checkpoints.
        say: prints a line for people.
    """

    prompts: Sequence[RolloutPrompt]
    rewards: Rewards
    settings: PpoSettings
    folder: Path
    say: Callable[[str], None]


class PpoEngine:
    """Trains a policy in rounds.

    Attributes:
        rows: number of prompts.
        steps: number of rounds.
        tokens: sampled, and read in learning, by all processes.
    """

    def __init__(self, models: PpoModels, rounds: PpoRounds) -> None:
        settings, folder = rounds.settings, rounds.folder
        # transformers reads the machine for both engines; its steps are of batches, not of rounds.
        processes = arguments_of(settings, folder, len(rounds.prompts)).world_size
        self.rows = len(rounds.prompts)
        self.steps = steps = _rounds_of(settings, self.rows, processes)
        self.tokens = 0
        self._local_tokens = 0  # those of this round and this process
        self._policy = models.policy
        self._trained = models.trained
        self._reference = reference = models.reference
        self._prompts = rounds.prompts
        self._order = prompt_order(self.rows, settings.seed)
        self._rewards = rounds.rewards
        self._settings = settings
        self._folder = folder
        self._say = rounds.say
        self._callbacks: list[transformers.TrainerCallback] = []
        model = models.trained.model
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        # Modules for media beside the language model have no gradient in some batches.
        parts = model.config.get_text_config(decoder=True) is not model.config
        self._accelerator = Accelerator(
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=parts)],
            mixed_precision=_PRECISIONS[settings.precision],
            cpu=on_cpu(settings.device),
            log_with=settings.report_to or None,
            project_config=ProjectConfiguration(str(folder.parent), str(folder.parent / TRACKED)),
        )
        self._sharded = is_sharded(self._accelerator)
        self._model = model.to(self._accelerator.device)
        actor = ActorCritic(models.policy, model, settings.temperature)
        self._actor = copy.deepcopy(actor) if self._sharded else actor
        optimiser = self._actor.optimiser(settings.learning_rate, settings.weight_decay)
        self._module, self._optimiser = self._accelerator.prepare(self._actor, optimiser)
        if reference is not None and self._sharded:
            self._reference = fsdp2_prepare_model(self._accelerator, reference)
        elif reference is not None:
            reference.to(self._accelerator.device)
        warmup = settings.warmup_steps
        self._schedule = transformers.get_scheduler(
            settings.lr_scheduler_type,
            self._optimiser.optimizer,
            num_warmup_steps=int(warmup if warmup >= 1 else warmup * steps),
            num_training_steps=steps,
        )
        self._loop_state = LoopState(settings.kl_coef)
        if not self._sharded:  # accelerate keeps shards in a way of its own
            keep_trained_weights(self._accelerator, self._actor)
        self._accelerator.register_for_checkpointing(self._schedule, self._loop_state)
        self._tally = Tally()
        self.state = transformers.TrainerState(
            max_steps=steps, is_world_process_zero=self._accelerator.is_main_process
        )

    def add_callback(self, callback: transformers.TrainerCallback) -> None:
        """Registers a callback: its `on_step_end`, `on_log` and `on_save` are called."""
        self._callbacks.append(callback)

    def _call(self, event: str, control: transformers.TrainerControl, **kwargs: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, event)(None, self.state, control, **kwargs)

    # --- rounds --------------------------------------------------------------------------------

    def train(self, resume_from_checkpoint: str | None = None) -> None:
        """Trains to the last step, or until a callback stops it. NotFiniteError if the loss or weights
        are not finite."""
        settings, state = self._settings, self.state
        control = transformers.TrainerControl()
        if resume_from_checkpoint is not None:
            self._accelerator.load_state(str(Path(resume_from_checkpoint) / RESUMING))
            self._sync_weights()
            state.global_step = self._loop_state.step
        if settings.report_to:
            self._accelerator.init_trackers("ppo")
        try:
            self._rounds(control)
        finally:
            for tracker in self._accelerator.trackers:  # they write in threads of their own
                tracker.finish()

    def _rounds(self, control: transformers.TrainerControl) -> None:
        settings, state = self._settings, self.state
        while state.global_step < state.max_steps and not control.should_training_stop:
            self._local_tokens = 0
            self._round()
            self.tokens += int(self._summed(torch.tensor(self._local_tokens)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # in rounds without an optimiser step
                self._schedule.step()
            state.global_step += 1
            self._loop_state.step = state.global_step
            places = state.global_step * settings.rollout * self._accelerator.num_processes
            state.epoch = places / self.rows
            last = state.global_step == state.max_steps
            self._call("on_step_end", control)
            if last or state.global_step % settings.logging_steps == 0:
                self._log(control)
            if last or (settings.save_steps and state.global_step % settings.save_steps == 0):
                self._save()
                self._call("on_save", control)
                self._loop_state.since_save = [0.0, 0.0]

    def _round(self) -> None:
        settings, accelerator = self._settings, self._accelerator
        round_size = settings.rollout * accelerator.num_processes
        first = self.state.global_step * round_size + settings.rollout * accelerator.process_index
        positions = range(first, first + settings.rollout)
        rollout = make_rollout(
            self._policy,
            [self._prompts[self._order(position)] for position in positions],
            self._rewards,
            seeds=[seed_of(settings.seed, position) for position in positions],
            temperature=settings.temperature,
            max_new_tokens=settings.max_new_tokens,
            precision=accelerator.autocast(),
        )
        self._local_tokens += rollout.tokens
        self._tally.add(rollout.metrics)
        if not self._rewards_differ(rollout):
            return
        rows = [sampled.row for sampled in rollout.sampled]
        advantages = self._advantages(rollout)
        self._module.train()
        step_size = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
        for epoch in range(settings.ppo_epochs):
            name = f"rows-{settings.seed}-{self.state.global_step}-{epoch}-{accelerator.process_index}"
            order = random.Random(name).sample(range(len(rows)), len(rows))
            for start in range(0, len(order), step_size):
                self._update(rows, advantages, order[start : start + step_size])
        self._sync_weights()

    def _sync_weights(self) -> None:
        """Copies the trained weights into the model that samples and is saved, if they are sharded."""
        if self._sharded:
            copy_weights(self._model, self._actor.model)

    def _rewards_differ(self, rollout: Rollout) -> bool:
        """Whether the rewards of all processes differ, so that there is something to learn;
        logs them."""
        rewards: list[float] = gather_object([r.value for r in rollout.rewards if r.value is not None])
        reason = next((r.reason for r in rollout.rewards if r.value is None), "")
        if rewards:
            mean = sum(rewards) / len(rewards)
            self._loop_state.note(mean)
            self._tally.add({"reward": (mean, 1.0), "reward_std": (_deviation(rewards, mean), 1.0)})
        differ = bool(rewards) and max(rewards) - min(rewards) > 1e-9
        self._tally.add({"nothing_learned": (float(not differ), 1.0)})
        if not differ and self._loop_state.learned:
            outcome = f"have the reward {rewards[0]:.4g}" if rewards else f"have no reward ({reason})"
            self._say(
                f"step {self.state.global_step + 1}: all {len(rollout.rewards)} responses {outcome}: "
                "nothing is learned from such a batch"
            )
        self._loop_state.learned = differ
        self._loop_state.idle += not differ
        return differ

    def _advantages(self, rollout: Rollout) -> Advantages:
        """Advantages and returns of the responses of a rollout, with log-probabilities and values from
        before learning."""
        settings, device = self._settings, self._accelerator.device
        rows = [sampled.row for sampled in rollout.sampled]
        old_logprobs, values, kl = self._logprobs_values_kl(rows)
        self._tally.add(token_metrics(rollout, old_logprobs, kl))
        scored = [reward.value is not None for reward in rollout.rewards]
        scores = torch.tensor([reward.value or 0.0 for reward in rollout.rewards], device=device)
        is_scored = torch.tensor(scored, device=device)
        if settings.whiten_rewards:
            scores = whiten(scores, self._summed(moments(scores[is_scored])))
        lengths = torch.tensor([len(row.response) for row in rows], device=device)
        mask = torch.arange(int(lengths.max()), device=device) < lengths[:, None]
        rewards = token_rewards(
            scores, pad_sequence(kl, batch_first=True), mask, self._loop_state.kl_coef
        )
        padded_values = pad_sequence(values, batch_first=True)
        advantages, returns = gae(rewards, padded_values, mask, settings.gamma, settings.gae_lambda)
        scored_mask = mask & is_scored[:, None]
        advantages = whiten(advantages, self._summed(moments(advantages[scored_mask])))
        if settings.kl_target is not None:
            total, count = self._summed(torch.tensor([float(sum(k.sum() for k in kl)), float(len(kl))]))
            self._loop_state.kl_coef = adapted_kl_coef(
                self._loop_state.kl_coef,
                float(total / count),
                settings.kl_target,
                int(count),
                settings.kl_horizon,
            )
        by_row = [[row[m] for row, m in zip(t, mask, strict=True)] for t in (advantages, returns)]
        return Advantages(old_logprobs, values, by_row[0], by_row[1], scored)

    def _logprobs_values_kl(
        self, rows: Sequence[Encoded]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
        """Log-probabilities, values and the KL from the reference, a vector (tokens,) for each row."""
        empty = torch.zeros(0)
        logprobs, values, kl = ([empty] * len(rows) for _ in range(3))
        order = sorted(range(len(rows)), key=lambda i: rows[i].tokens)
        self._module.eval()
        with torch.no_grad():
            size = self._settings.per_device_train_batch_size
            for start in range(0, len(order), size):
                indices = order[start : start + size]
                batch = self._batch([rows[i] for i in indices])
                output = actor_critic_output(self._policy, self._module, batch)
                reference = self._reference_logprobs(batch)
                counts = [len(rows[i].response) for i in indices]
                kl_tokens = kl_estimate(output.logprobs, reference, self._settings.kl_estimator)
                by_row = zip(
                    indices,
                    output.logprobs.split(counts),
                    output.values.split(counts),
                    kl_tokens.split(counts),
                    strict=True,
                )
                for index, row_logprobs, row_values, row_kl in by_row:
                    logprobs[index], values[index], kl[index] = row_logprobs, row_values, row_kl
        return logprobs, values, kl

    def _reference_logprobs(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """The reference's log-probabilities of the response tokens of a batch, (tokens,)."""
        model = self._reference
        adapters_off: Any = contextlib.nullcontext()
        if model is None:
            model = self._model
            adapters_off = model.disable_adapter()
        with self._accelerator.autocast(), adapters_off:
            tokens = self._policy.logprobs(batch, Tempered(model, self._settings.temperature))
        return tokens.values[tokens.mask]

    def _update(self, rows: Sequence[Encoded], advantages: Advantages, indices: Sequence[int]) -> None:
        """One optimiser step on these rows of each process."""
        accelerator, settings = self._accelerator, self._settings
        local_tokens = sum(len(rows[i].response) for i in indices if advantages.scored[i])
        count = float(self._summed(torch.tensor([float(local_tokens)])))
        if not count:
            return
        starts = range(0, len(indices), settings.per_device_train_batch_size)
        for start in starts:
            last = start == starts[-1]
            maybe_no_sync = contextlib.nullcontext() if last else accelerator.no_sync(self._module)
            with maybe_no_sync:
                micro_batch = indices[start : start + settings.per_device_train_batch_size]
                loss = self._loss(rows, advantages, micro_batch, count)
                if not torch.isfinite(loss):
                    step = self.state.global_step + 1
                    raise NotFiniteError(f"the loss is {loss.item()} at step {step}")
                # The gradients of processes are averaged, and each has its share of the sum.
                accelerator.backward(loss * accelerator.num_processes)
        if settings.max_grad_norm:
            norm = accelerator.clip_grad_norm_(self._actor.parameters(), settings.max_grad_norm)
            self._tally.add({"grad_norm": (float(norm), 1.0)})
        self._optimiser.step()
        self._optimiser.zero_grad()

    def _loss(
        self, rows: Sequence[Encoded], advantages: Advantages, indices: Sequence[int], count: float
    ) -> torch.Tensor:
        """Loss of one micro-batch, a scalar; logs its parts. `count` is the number of scored tokens of
        the optimiser step in all processes."""
        settings = self._settings
        batch = self._batch([rows[i] for i in indices])
        self._local_tokens += batch["inputs"]["input_ids"].numel()
        output = actor_critic_output(self._policy, self._module, batch)
        scored = [torch.full_like(advantages.values[i], advantages.scored[i]) for i in indices]
        is_scored = torch.cat(scored) > 0

        def of(vectors: Sequence[torch.Tensor]) -> torch.Tensor:
            return torch.cat([vectors[i] for i in indices])[is_scored]

        logprobs, old_logprobs = output.logprobs[is_scored], of(advantages.old_logprobs)
        policy_term, clipped_tokens = policy_loss(
            logprobs, old_logprobs, of(advantages.advantages), settings.cliprange, count
        )
        old_values, returns = of(advantages.values), of(advantages.returns)
        value_term = value_loss(
            output.values[is_scored], old_values, returns, settings.cliprange_value, count
        )
        # Every weight has a part in the loss, even if no token is scored: processes wait for each other.
        loss = policy_term + settings.vf_coef * value_term + 0 * output.values.sum()
        if len(logprobs):
            n = float(len(logprobs))
            scale = count / n
            approx_kl = float((old_logprobs - logprobs.detach()).mean())
            self._tally.add(
                {
                    "loss": (float(loss.detach()) * scale, n),
                    "policy_loss": (float(policy_term.detach()) * scale, n),
                    "value_loss": (float(value_term.detach()) * scale, n),
                    "clipped": (float(clipped_tokens) / n, n),
                    "moved": (approx_kl, n),
                }
            )
        return loss

    def _batch(self, rows: Sequence[Encoded]) -> Any:
        return to_device(self._policy.collate(rows), self._accelerator.device)

    def _summed(self, numbers: torch.Tensor) -> torch.Tensor:
        """Sums of the numbers over all processes."""
        total: torch.Tensor = self._accelerator.reduce(numbers.to(self._accelerator.device), "sum")
        return total

    # --- log and checkpoints -------------------------------------------------------------------

    def _log(self, control: transformers.TrainerControl) -> None:
        """Logs the means over rounds and processes since the last line."""
        logs = self._tally.means() | {
            "learning_rate": self._schedule.get_last_lr()[0],
            "kl_weight": self._loop_state.kl_coef,
            "epoch": round(self.state.epoch or 0.0, 6),
            "tokens": self.tokens,
        }
        if self._settings.report_to:
            self._accelerator.log(logs, step=self.state.global_step)
        self._call("on_log", control, logs=logs)

    def _save(self) -> None:
        """Saves a checkpoint that can be evaluated, and beside it the state that resuming needs."""
        path = self._folder / f"checkpoint-{self.state.global_step}"
        check_weights(self._model, self.state.global_step)
        check_weights(self._actor.value_head, self.state.global_step)
        with saving(path):
            if self._accelerator.is_main_process:
                self._model.save_pretrained(path)
                self._trained.save_beside(path)
            self._accelerator.wait_for_everyone()
            self._accelerator.save_state(str(path / RESUMING))

    def reward_notes(self) -> dict[str, float | None]:
        """Entries for the note of a checkpoint: the mean reward of the first round (that of the start)
        and of the rounds since the last checkpoint, and the number of rounds so far in which nothing was
        learned."""
        total, rounds = self._loop_state.since_save
        return {
            "first_reward": self._loop_state.first,
            "reward": total / rounds if rounds else None,
            "idle_rounds": self._loop_state.idle,
        }


def _rounds_of(settings: PpoSettings, prompts: int, processes: int) -> int:
    """Number of rounds that a training has."""
    if settings.max_steps is not None:
        return settings.max_steps
    prompts_to_answer = rows_in(settings.num_train_epochs, prompts)
    return max(1, math.ceil(prompts_to_answer / (settings.rollout * processes)))


def _deviation(rewards: Sequence[float], mean: float) -> float:
    return math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / len(rewards))
