"""`ppo`: proximal policy optimisation of a policy's own answers to prompts (losses/ppo.py).

Each step is a round: a response to each of `rollout` prompts, its reward, and one or several passes of
learning over them. The reference, which the KL is measured from, is the start: below the adapters, or a
frozen copy.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from align_plugins.data.rows import Prompt
from align_plugins.evaluation.checkpoints import Evaluations, evaluation_plan
from align_plugins.methods.ppo.rewards import Rewards, sample_of
from align_plugins.methods.ppo.rollout import Asked
from align_plugins.methods.ppo.settings import PpoSettings
from align_plugins.policies import policy_of
from align_plugins.settings import MethodSettings
from align_plugins.trainer import Trained
from align_plugins.training.policy_finetuning import PolicyFinetuning
from align_plugins.workdir import Workdir
from eval_anything.errors import UserError
from eval_anything.output.progress import Progress

if TYPE_CHECKING:
    from align_plugins.training.monitor import Watch


class PpoTrainer(PolicyFinetuning[PpoSettings, Prompt, Asked]):
    """Makes responses likelier that are rewarded above expectation, near the reference."""

    name: ClassVar[str] = "ppo"
    settings_type: ClassVar[type[MethodSettings]] = PpoSettings
    row_type = Prompt

    def __init__(self, settings: PpoSettings) -> None:
        super().__init__(settings)
        self.policy.answer_with(settings.output)
        self._rewards: Rewards | None = None
        self._reference: Any = None

    def train(self, progress: Progress) -> Trained:
        try:
            return super().train(progress)
        finally:
            if self._rewards is not None:
                self._rewards.close()

    def _check_evaluation(self, progress: Progress) -> None:
        settings = self.settings
        self._rewards = Rewards(settings.rewards, settings.include, settings.allow_code)
        super()._check_evaluation(progress)
        if settings.evaluate is not None:
            self._refuse_reward_as_metric(self._rewards)

    def _refuse_reward_as_metric(self, rewards: Rewards) -> None:
        """The metric that checkpoints are chosen by must come of a judge that gives no reward."""
        evaluate = self.settings.evaluate
        assert evaluate is not None
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

    def load(self) -> None:
        from align_plugins.training.engine import without_dropout

        super().load()
        without_dropout(self.model)

    def encode(self, row: Prompt) -> Asked:
        return Asked(self.counted(row, self.policy.prompt(row.messages)), sample_of(row))

    def length(self, item: Asked) -> int:
        return item.prompt.tokens + self.settings.max_new_tokens

    def prepare(self, items: list[Asked], work: Workdir, progress: Progress) -> list[Asked]:
        """Makes the reference, while the start's weights are in place."""
        settings = self.settings
        missing = self.policy.out_of_reach(settings.max_new_tokens)
        if missing:
            progress.say(missing)
        if settings.reference is not None:
            self._reference = self._other_reference(settings.reference)
        elif settings.lora is None:
            import copy

            self._reference = copy.deepcopy(self.model).eval().requires_grad_(False)
        return items

    def _other_reference(self, spec: str) -> Any:
        from align_plugins.training.engine import without_dropout

        other = policy_of(spec)
        other.load()
        own, its = self.model.config, other.model.config
        differences = [
            f"{name} ({getattr(own, name, None)} and {getattr(its, name, None)})"
            for name in ("model_type", "architectures", "vocab_size")
            if getattr(own, name, None) != getattr(its, name, None)
        ]
        if differences:
            raise UserError(
                f"reference: {spec} is not of the architecture of {self.settings.model}: they differ in "
                f"{', '.join(differences)}, so its log-probabilities are of other tokens"
            )
        without_dropout(other.model)
        return other.model.eval().requires_grad_(False)

    def steps(self, items: int, processes: int) -> int:
        """How many rounds a training has."""
        settings = self.settings
        if settings.max_steps is not None:
            return settings.max_steps
        return max(1, math.ceil(items * settings.epochs / (settings.rollout * processes)))

    def make_watch(self, work: Workdir, progress: Progress) -> Watch:
        from align_plugins.methods.ppo.monitor import PpoWatch

        settings = self.settings
        return PpoWatch(self.name, settings, work, progress, self._start_spec(), settings.stop_on_alarm)

    def make_engine(
        self,
        model: Any,
        items: list[Asked],
        steps: int,
        work: Workdir,
        watch: Watch,
        progress: Progress,
    ) -> Any:
        from align_plugins.methods.ppo.engine import PpoEngine

        if self.settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        assert self._rewards is not None
        return PpoEngine(
            self.policy,
            model,
            self._reference,
            items,
            self._rewards,
            self.settings,
            steps,
            work.checkpoints,
            watch,
            self._save_beside,
            progress.say,
        )

    def finish(self, work: Workdir, progress: Progress) -> dict[str, Any]:
        from align_plugins.methods.ppo.alarm import alarms

        note = work.whole_checkpoints()[-1].note
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
