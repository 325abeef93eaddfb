"""A callback for `transformers.Trainer` that evaluates checkpoints while a training runs.

It takes two lines in any training script:

    from align_plugins.evaluation.callback import EvalAnythingCallback
    trainer.add_callback(EvalAnythingCallback(tasks=["micro/selection"], limit=50, trainer=trainer))

Every checkpoint that the trainer saves is evaluated in another process. The runs are in
`<output_dir>/runs`, each with a training.json (step, tokens, seconds). The checkpoints need a tokenizer:
give the trainer its `processing_class`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import transformers

from align_plugins.evaluation.checkpoints import START, Evaluations
from align_plugins.settings import EvaluationSettings
from align_plugins.workdir import NOTE, Checkpoint, broadcast_decision
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.runs.results_file import read_results


class EvalAnythingCallback(transformers.TrainerCallback):  # type: ignore[misc]  # its types are not read
    """Evaluates checkpoints as they are saved, stops early if `patience` is exhausted, and waits for the
    last evaluation at the end.

    Args:
        tasks: tasks or suites.
        start: SPEC of the model before training; evaluated first unless it is None.
        runs: folder of the runs; `<output_dir>/runs` if it is None.
        report: prints a line for people.
        trainer: the trainer whose log gets the numbers, as `eval_suite/task:metric` with the step of the
            checkpoint, and with it every tracker of `report_to`; None leaves them to the runs.
        **settings: further fields of `EvaluationSettings`.

    Attributes:
        evaluations: the evaluations once training has begun: `.best()`, `.finished()`.
    """

    def __init__(
        self,
        tasks: list[str],
        start: str | None = None,
        runs: Path | None = None,
        report: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
        trainer: transformers.Trainer | None = None,
        **settings: Any,
    ) -> None:
        self.settings = EvaluationSettings(tasks=tasks, **settings)
        self.evaluations: Evaluations | None = None
        self._start = start
        self._runs = runs
        self._say = report
        self._trainer = trainer
        self._logged: set[str] = set()
        self._begun = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Submits the evaluation of the start."""
        if not state.is_world_process_zero:
            return
        self._begun = time.monotonic()
        runs = self._runs if self._runs is not None else Path(args.output_dir) / "runs"
        self.evaluations = Evaluations(self.settings, runs.resolve(), self._say)
        if self._start is not None:
            self.evaluations.submit(START, self._start, checkpoint_note(state, 0.0, 0))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Starts the next evaluation if the running one has ended, and logs the numbers of that one."""
        if self.evaluations is not None:
            self.evaluations.poll()
            self._log(self.evaluations)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Submits the checkpoint; stops the training if `patience` is exhausted."""
        if self.evaluations is not None:
            path = Path(args.output_dir).resolve() / f"checkpoint-{state.global_step}"
            note = checkpoint_note(state, time.monotonic() - self._begun, state.num_input_tokens_seen)
            write_atomically(path / NOTE, pretty_json(note))
            checkpoint = Checkpoint(state.global_step, path, dict(note))
            if self.evaluations.submit_and_decide(checkpoint):
                control.should_training_stop = True
        if self.settings.patience is not None:
            control.should_training_stop = broadcast_decision(control.should_training_stop)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Waits for all evaluations."""
        if self.evaluations is not None:
            self.evaluations.wait()
            self._log(self.evaluations)

    def _log(self, evaluations: Evaluations) -> None:
        """Gives the trainer's log the numbers of evaluations that it has not had yet."""
        if self._trainer is None:
            return
        for name in evaluations.finished():
            if name not in self._logged:
                self._logged.add(name)
                results = read_results(evaluations.run_of(name)).tasks.items()
                numbers = {f"eval_{task}:{r.primary}": r.main.value for task, r in results}
                scored = {key: value for key, value in numbers.items() if value is not None}
                self._trainer.log({**scored, "eval_step": float(evaluations.note(name)["step"])})


def checkpoint_note(state: Any, seconds: float, tokens: int) -> Mapping[str, Any]:
    """State of a training when it saves a checkpoint: step, steps, epoch, tokens, seconds."""
    return {
        "step": state.global_step,
        "steps": state.max_steps,
        "epoch": round(state.epoch or 0.0, 6),
        "tokens": int(tokens),
        "seconds": round(seconds, 3),
    }
