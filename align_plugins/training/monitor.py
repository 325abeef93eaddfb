"""The monitor of a training: its log, its checkpoints and their rotation, and their evaluations."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import transformers

from align_plugins.evaluation.callback import checkpoint_note
from align_plugins.evaluation.checkpoints import START, Evaluations
from align_plugins.evaluation.page import write_page
from align_plugins.settings import TrainSettings
from align_plugins.workdir import NOTE, Checkpoint, Workdir, broadcast_decision, is_main
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.output.progress import Progress

_PRINTED = ("loss", "accuracy", "margin", "reward", "kl", "grad_norm", "learning_rate")


class TrainingMonitor(transformers.TrainerCallback):  # type: ignore[misc]  # its types are not read
    """Follows one training. `engine` counts `steps` and `tokens`; `start` is the SPEC of the model
    before training, None if it is not evaluated."""

    def __init__(
        self,
        engine: Any,
        method: str,
        settings: TrainSettings,
        work: Workdir,
        progress: Progress,
        start: str | None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._work = work
        self._say = progress.say
        self._method = method
        self._earlier = 0.0  # seconds before this process
        self._begun = time.monotonic()
        self._start = start
        self._evaluations: Evaluations | None = None  # in the process that evaluates
        if settings.evaluate is not None and is_main():
            self._evaluations = Evaluations(settings.evaluate, work.runs, self._say)

    def is_over(self, last: Checkpoint) -> bool:
        """Whether nothing is left to train after this checkpoint."""
        if last.step >= self._engine.steps:
            return True
        evaluations = self._evaluations
        if evaluations is None or evaluations.settings.patience is None:
            return False
        self._submit(last)
        evaluations.wait()
        return evaluations.exhausted()

    def begin(self, last: Checkpoint | None) -> None:
        """Begins to follow a training, before its first step. `last` is the checkpoint that it is
        resumed from."""
        self._begun = time.monotonic()
        if last is not None:
            self._earlier = last.note["seconds"]
            self._engine.tokens = last.note["tokens"]
        evaluations = self._evaluations
        if evaluations is None:
            return
        if self._start is not None and evaluations.settings.start:
            start = self._note({"step": 0, "tokens": 0, "seconds": 0.0})
            evaluations.submit(START, self._start, start)
        for checkpoint in self._work.complete_checkpoints():
            self._submit(checkpoint)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Writes a line of the log and prints its main metrics."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        self._work.add_to_log({"step": state.global_step, **logs, "seconds": self._seconds()})
        numbers = ", ".join(f"{name} {logs[name]:.4g}" for name in _PRINTED if name in logs)
        self._say(f"step {state.global_step}/{state.max_steps}: {numbers}")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Starts the next evaluation if the running one has ended."""
        if self._evaluations is not None:
            self._evaluations.poll()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Marks the checkpoint as complete, submits its evaluation, deletes old checkpoints."""
        if is_main():
            path = self._work.checkpoints / f"checkpoint-{state.global_step}"
            note = self._note(dict(checkpoint_note(state, self._seconds(), self._engine.tokens)))
            write_atomically(path / NOTE, pretty_json(note), durable=True)
            if self._evaluations is not None:
                stops = self._evaluate(self._evaluations, Checkpoint(state.global_step, path, note))
                control.should_training_stop = control.should_training_stop or stops
            self._rotate()
            write_page(self._work, self._settings.evaluate, self._engine.steps)
        if self._settings.waits:
            control.should_training_stop = broadcast_decision(control.should_training_stop)

    def _evaluate(self, evaluations: Evaluations, checkpoint: Checkpoint) -> bool:
        """Submits the evaluation of a checkpoint; returns whether training should stop."""
        return evaluations.submit_and_decide(checkpoint)

    def settle(self) -> None:
        """Waits for all evaluations, also those that were interrupted by a kill."""
        if self._evaluations is not None:
            for checkpoint in self._work.complete_checkpoints():
                self._submit(checkpoint)
            self._evaluations.wait()
        if is_main():
            self._rotate()

    def stop(self) -> None:
        """Ends the running evaluation."""
        if self._evaluations is not None:
            self._evaluations.stop()

    def _submit(self, checkpoint: Checkpoint) -> None:
        evaluations = self._evaluations
        if evaluations is not None and str(checkpoint.model) not in evaluations.pending():
            evaluations.submit(checkpoint.name, str(checkpoint.model), checkpoint.note)

    def _note(self, facts: dict[str, Any]) -> dict[str, Any]:
        return {"training": self._work.path.name, "method": self._method, **facts}

    def _seconds(self) -> float:
        return round(self._earlier + time.monotonic() - self._begun, 3)

    def _rotate(self) -> None:
        """Deletes old checkpoints, except the last ones, the best, and those whose evaluation is
        pending."""
        checkpoints = self._work.complete_checkpoints()
        retained = {checkpoint.path for checkpoint in checkpoints[-self._settings.keep :]}
        needed: set[str] = set()
        if self._evaluations is not None:
            needed = self._evaluations.pending()
            best = self._evaluations.best()
            retained |= {c.path for c in checkpoints if best is not None and c.name == best.name}
        for checkpoint in checkpoints:
            if checkpoint.path not in retained and str(checkpoint.model) not in needed:
                (checkpoint.path / NOTE).unlink()  # from now on it is half a checkpoint
                shutil.rmtree(Path(checkpoint.path), ignore_errors=True)
