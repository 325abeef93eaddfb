"""What happens beside the steps of a training: log, marks of whole checkpoints, evaluations,
rotation."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import transformers

from align_plugins.evaluation.callback import EvalAnythingCallback, note_of
from align_plugins.evaluation.checkpoints import START, Evaluations
from align_plugins.settings import TrainSettings
from align_plugins.workdir import NOTE, Checkpoint, Workdir, is_main
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.output.progress import Progress

_SHOWN = ("loss", "accuracy", "margin", "reward", "kl", "grad_norm", "learning_rate")


class Watch(transformers.TrainerCallback):  # type: ignore[misc]  # its types are not read
    """Follows one training. `engine` must be set before it begins."""

    engine: Any = None

    def __init__(
        self, method: str, settings: TrainSettings, work: Workdir, progress: Progress, start: str | None
    ) -> None:
        self._settings = settings
        self._work = work
        self._say = progress.say
        self._method = method
        self._earlier = 0.0  # seconds before this process
        self._begun = time.monotonic()
        self._start = start
        self._evaluating: EvalAnythingCallback | None = None
        if settings.evaluate is not None:
            self._evaluating = EvalAnythingCallback(settings.evaluate.tasks, say=self._say)
            self._evaluating.settings = settings.evaluate
            if is_main():
                self._evaluating.evaluations = Evaluations(settings.evaluate, work.runs, self._say)

    @property
    def callbacks(self) -> list[Any]:
        """What the engine is given."""
        return [self]

    @property
    def _evaluations(self) -> Evaluations | None:
        """The evaluations, in the process that evaluates."""
        return self._evaluating.evaluations if self._evaluating is not None else None

    def is_over(self, last: Checkpoint, steps: int) -> bool:
        """Whether nothing is left to train after this checkpoint."""
        if last.step >= steps:
            return True
        found = self._evaluations
        if found is None or found.settings.patience is None:
            return False
        self._submit(last)
        found.wait()
        return found.exhausted()

    def begin(self, last: Checkpoint | None) -> None:
        """Called before the first step, with the checkpoint that the training goes on from."""
        self._begun = time.monotonic()
        if last is not None:
            self._earlier = last.note["seconds"]
            self.engine.tokens = last.note["tokens"]
        found = self._evaluations
        if found is None:
            return
        if self._start is not None and found.settings.start:
            found.submit(START, self._start, self._note({"step": 0, "tokens": 0, "seconds": 0.0}))
        for checkpoint in self._work.whole_checkpoints():
            self._submit(checkpoint)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        self._work.add_to_log({"step": state.global_step, **logs, "seconds": self._seconds()})
        shown = ", ".join(f"{name} {logs[name]:.4g}" for name in _SHOWN if name in logs)
        self._say(f"step {state.global_step}/{state.max_steps}: {shown}")

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self._evaluating is not None:
            self._evaluating.on_step_end(args, state, control)

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if is_main():
            path = self._work.checkpoints / f"checkpoint-{state.global_step}"
            note = self._note(dict(note_of(state, self._seconds(), self.engine.tokens)))
            write_atomically(path / NOTE, pretty_json(note), durable=True)
            if self._evaluating is not None:
                self._evaluating.submit(Checkpoint(state.global_step, path, note), control)
            self._rotate()
        if self._evaluating is not None:
            self._evaluating.agree(control)

    def settle(self) -> None:
        """Waits for the evaluations; those that a kill cut off are done now."""
        if self._evaluations is not None:
            for checkpoint in self._work.whole_checkpoints():
                self._submit(checkpoint)
            self._evaluations.wait()
        if is_main():
            self._rotate()

    def stop(self) -> None:
        """Ends what still runs."""
        if self._evaluations is not None:
            self._evaluations.stop()

    def _submit(self, checkpoint: Checkpoint) -> None:
        found = self._evaluations
        if found is not None and str(checkpoint.model) not in found.pending():
            found.submit(checkpoint.name, str(checkpoint.model), checkpoint.note)

    def _note(self, facts: dict[str, Any]) -> dict[str, Any]:
        return {"training": self._work.path.name, "method": self._method, **facts}

    def _seconds(self) -> float:
        return round(self._earlier + time.monotonic() - self._begun, 3)

    def _rotate(self) -> None:
        """Deletes old checkpoints: not the last ones, not the best, none that waits to be evaluated."""
        whole = self._work.whole_checkpoints()
        kept = {checkpoint.path for checkpoint in whole[-self._settings.keep :]}
        needed: set[str] = set()
        if self._evaluations is not None:
            needed = self._evaluations.pending()
            best = self._evaluations.best()
            kept |= {c.path for c in whole if best is not None and c.name == best.name}
        for checkpoint in whole:
            if checkpoint.path not in kept and str(checkpoint.model) not in needed:
                (checkpoint.path / NOTE).unlink()  # from now on it is half a checkpoint
                shutil.rmtree(Path(checkpoint.path), ignore_errors=True)
