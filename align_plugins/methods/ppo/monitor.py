"""The monitor of ppo: that of all methods, with rewards and the alarm."""

from __future__ import annotations

from typing import Any

from align_plugins.evaluation.checkpoints import Evaluations
from align_plugins.methods.ppo.alarm import alarms
from align_plugins.methods.ppo.settings import PpoSettings
from align_plugins.training.monitor import TrainingMonitor
from align_plugins.workdir import Checkpoint


class PpoMonitor(TrainingMonitor):
    """Adds the reward to the note of a checkpoint, and checks each evaluation for an alarm. With
    `stop_on_alarm` training waits for evaluations and ends at the first alarm."""

    _settings: PpoSettings

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen: list[str] = []
        self._reported: set[str] = set()

    def is_over(self, last: Checkpoint) -> bool:
        """Whether nothing is left to train after this checkpoint, or an alarm stops the training."""
        if super().is_over(last):
            return True
        if self._evaluations is None or not self._settings.stop_on_alarm:
            return False
        self._submit(last)
        self._evaluations.wait()
        return self._alarmed()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Starts the next evaluation if the running one has ended, and reports new alarms."""
        super().on_step_end(args, state, control)
        self._alarmed()

    def _evaluate(self, evaluations: Evaluations, checkpoint: Checkpoint) -> bool:
        stops = super()._evaluate(evaluations, checkpoint)
        if not self._settings.stop_on_alarm:
            return stops
        evaluations.wait()
        return self._alarmed() or stops

    def settle(self) -> None:
        """Waits for all evaluations and reports new alarms."""
        super().settle()
        self._alarmed()

    def _alarmed(self) -> bool:
        """Reports new alarms; returns whether there has been any."""
        evaluations = self._evaluations
        if evaluations is not None and evaluations.finished() != self._seen:
            self._seen = evaluations.finished()
            for alarm in alarms(evaluations):
                if alarm.name not in self._reported:
                    self._say(alarm.line)
                    self._reported.add(alarm.name)
        return bool(self._reported)

    def _note(self, facts: dict[str, Any]) -> dict[str, Any]:
        rewards = self._engine.reward_notes() if facts["step"] else {}
        return super()._note({**facts, **rewards})
