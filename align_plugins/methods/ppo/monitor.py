"""What happens beside the rounds of ppo: as for every method, and the alarm."""

from __future__ import annotations

from typing import Any

from align_plugins.methods.ppo.alarm import alarms
from align_plugins.settings import TrainSettings
from align_plugins.training.monitor import Watch
from align_plugins.workdir import Checkpoint, Workdir, as_main_says, is_main
from eval_anything.output.progress import Progress


class PpoWatch(Watch):
    """Adds the reward to what is noted of a checkpoint, and looks at each evaluation for an alarm; with
    `stops` training waits for it, and ends at the first."""

    def __init__(
        self,
        method: str,
        settings: TrainSettings,
        work: Workdir,
        progress: Progress,
        start: str | None,
        stops: bool,
    ) -> None:
        super().__init__(method, settings, work, progress, start)
        self._stops = stops
        self._looked: list[str] = []
        self._told: set[str] = set()

    def is_over(self, last: Checkpoint, steps: int) -> bool:
        if super().is_over(last, steps):
            return True
        found = self._evaluations
        if found is None or not self._stops:
            return False
        self._submit(last)
        found.wait()
        return self._alarmed()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        super().on_step_end(args, state, control)
        self._alarmed()

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        super().on_save(args, state, control)
        if self._stops:
            if self._evaluations is not None:
                self._evaluations.wait()
            alarmed = as_main_says(is_main() and self._alarmed())
            control.should_training_stop = control.should_training_stop or alarmed

    def settle(self) -> None:
        super().settle()
        self._alarmed()

    def _alarmed(self) -> bool:
        """Says what is new; whether there has been any alarm."""
        found = self._evaluations
        if found is None:
            return False
        if found.done() != self._looked:
            self._looked = found.done()
            for alarm in alarms(found):
                if alarm.name not in self._told:
                    self._say(alarm.line)
                    self._told.add(alarm.name)
        return bool(self._told)

    def _note(self, facts: dict[str, Any]) -> dict[str, Any]:
        rewards = self.engine.reward_notes() if facts["step"] else {}
        return super()._note({**facts, **rewards})
