"""`ppo`: proximal policy optimisation on a policy's own responses to prompts (losses/ppo.py).

Each step is a round: a response to each of `rollout` prompts, its reward, and one or several epochs of
learning. The KL is measured from the reference, which is the start: the model without adapters, or a
frozen copy.
"""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from align_plugins.data.rows import Prompt
from align_plugins.evaluation.checkpoints import Evaluations, evaluation_plan
from align_plugins.methods.ppo.rewards import Rewards, sample_of
from align_plugins.methods.ppo.rollout import RolloutPrompt
from align_plugins.methods.ppo.settings import PpoSettings
from align_plugins.policies import policy_of
from align_plugins.settings import MethodSettings
from align_plugins.trainer import Trained, Trainer
from align_plugins.training.adapters import trainable_policy
from align_plugins.training.finetuning import Finetuning
from align_plugins.workdir import Workdir
from eval_anything.errors import UserError
from eval_anything.output.progress import Progress


class PpoTrainer(Trainer[PpoSettings]):
    """Raises the probability of responses whose reward is above the critic's estimate, near the
    reference."""

    name: ClassVar[str] = "ppo"
    settings_type: ClassVar[type[MethodSettings]] = PpoSettings

    def __init__(self, settings: PpoSettings) -> None:
        super().__init__(settings)
        self.policy = policy_of(settings.model, settings.loaded, settings.chat_template)
        self.policy.answer_with(settings.output)

    def train(self, progress: Progress) -> Trained:
        settings, policy = self.settings, self.policy
        training = Finetuning(self.name, settings, progress, start=policy.spec)
        progress = training.progress
        rows = training.read(Prompt)
        rewards = Rewards(settings.rewards, settings.include, settings.allow_code)
        with contextlib.closing(rewards):
            training.check_evaluation()
            self._refuse_reward_as_metric(rewards)
            with training.open(weights=policy.weights()) as work:
                if not training.is_done:
                    from align_plugins.methods.ppo.engine import PpoEngine, PpoModels, PpoRounds
                    from align_plugins.methods.ppo.monitor import PpoMonitor
                    from align_plugins.training.engine import without_dropout

                    policy.load()
                    without_dropout(policy.model)
                    prompts = training.encoded(rows, self.encode, policy.model)
                    missing = policy.out_of_reach(settings.max_new_tokens)
                    if missing:
                        progress.say(missing)
                    reference = self.reference()
                    trained = trainable_policy(policy, settings, progress)
                    models = PpoModels(policy, trained, reference)
                    rounds = PpoRounds(prompts, rewards, settings, work.checkpoints, progress.say)
                    training.fit(PpoEngine(models, rounds), PpoMonitor)
                    training.finish(lambda: self.results(work, progress))
        return training.report()

    def encode(self, row: Prompt) -> RolloutPrompt:
        """A prompt as tokens and as a sample for judges. ValueError if it cannot be answered."""
        prompt = self.policy.prompt(row.messages)._replace(row=row.id)
        prompt = self.policy.with_token_count(prompt, self.settings.reads_media)
        return RolloutPrompt(prompt, sample_of(row), self.settings.max_new_tokens)

    def reference(self) -> Any:
        """Frozen model that the KL is measured from; None where it is the model without adapters. Call
        it before the start's weights change."""
        if self.settings.reference is not None:
            return self._other_reference(self.settings.reference)
        if self.settings.lora is not None:
            return None
        return copy.deepcopy(self.policy.model).eval().requires_grad_(False)

    def _other_reference(self, spec: str) -> Any:
        from align_plugins.training.engine import without_dropout

        other = policy_of(spec, chat_template=self.settings.chat_template)
        other.load()
        config, other_config = self.policy.model.config, other.model.config
        differences = [
            f"{name} ({getattr(config, name, None)} and {getattr(other_config, name, None)})"
            for name in ("model_type", "architectures", "vocab_size")
            if getattr(config, name, None) != getattr(other_config, name, None)
        ]
        if differences:
            raise UserError(
                f"reference: {spec} is not of the architecture of {self.settings.model}: they differ in "
                f"{', '.join(differences)}, so its log-probabilities are of other tokens"
            )
        without_dropout(other.model)
        return other.model.eval().requires_grad_(False)

    def _refuse_reward_as_metric(self, rewards: Rewards) -> None:
        """Raises UserError if checkpoints are chosen by a metric of a judge that also gives a reward."""
        evaluate = self.settings.evaluate
        if evaluate is None:
            return
        plan = evaluation_plan(evaluate, self.policy.spec, Path(self.settings.out) / "runs")
        task, _, metric = (evaluate.metric or "").rpartition(":")
        if not task:
            task = next(iter(plan.tasks))
            metric = plan.tasks[task].file.primary
        for scorer in plan.scorers[task].scorers:
            if metric in scorer.metrics and rewards.gives(scorer):
                raise UserError(
                    f"evaluate: {task}:{metric} is given by {scorer.name}, which is a reward of this "
                    "training: it rises whatever becomes of the answers. Choose checkpoints by another "
                    "judge: `metric: TASK:METRIC`"
                )

    def results(self, work: Workdir, progress: Progress) -> dict[str, Any]:
        """Entries for result.json: rewards at the start and at the end, rounds in which nothing was
        learned, and alarms."""
        from align_plugins.methods.ppo.alarm import alarms

        note = work.complete_checkpoints()[-1].note
        lines = []
        if note["first_reward"] is not None and note["reward"] is not None:
            lines.append(
                f"reward: {note['first_reward']:.4f} in the first round, {note['reward']:.4f} in those "
                "before the last checkpoint"
            )
        idle = note["idle_rounds"]
        if idle:
            lines.append(f"nothing was learned in {idle} rounds, for want of rewards that differ")
        raised = []
        if self.settings.evaluate is not None:
            raised = alarms(Evaluations(self.settings.evaluate, work.runs, progress.say))
        lines += [alarm.line for alarm in raised]
        return {
            "reward": {"first": note["first_reward"], "last": note["reward"]},
            "idle_rounds": idle,
            "alarms": [msgspec.structs.asdict(alarm) for alarm in raised],
            "lines": lines,
        }
