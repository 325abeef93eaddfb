"""One training on rows, from its data to its report: the parts that methods share.

A method calls them from top to bottom (methods/sft.py is the shortest):

    training = Finetuning("mine", settings, progress, start=policy.spec)
    rows = training.read(Demonstration)
    training.check_evaluation()
    with training.open(weights=policy.weights()) as work:
        if not training.is_done:
            ...                                             # load the model
            items = training.encoded(rows, encode, model)
            training.fit(engine)                            # an engine over model and items
            training.finish()
    return training.report()
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from align_plugins.data.contamination import benchmark_prompts, read_clean_rows
from align_plugins.data.files import file_hash
from align_plugins.data.rows import Prompt
from align_plugins.evaluation.checkpoints import START, check_evaluation
from align_plugins.evaluation.page import write_page
from align_plugins.evaluation.report import report_evaluations, training_report
from align_plugins.policies.base import RowError, max_sequence_length, too_long
from align_plugins.settings import (
    TrainSettings,
    bound_to_length,
    renamed_settings,
    resume_settings,
)
from align_plugins.trainer import Trained
from align_plugins.training.environment import check_environment, prepared
from align_plugins.workdir import (
    RESUMING,
    Checkpoint,
    Workdir,
    broadcast_decision,
    is_main,
    open_workdir,
)
from eval_anything.errors import InfrastructureError, UserError
from eval_anything.files.mistakes import FileProblemsError, mistake
from eval_anything.files.writing import cannot_write, pretty_json, write_atomically
from eval_anything.output.progress import Progress

if TYPE_CHECKING:
    from align_plugins.training.monitor import TrainingMonitor


RowT = TypeVar("RowT", bound=Prompt)


class HasTokens(Protocol):
    """An encoded row."""

    @property
    def tokens(self) -> int:
        """Number of tokens of the longest sequence that the model reads at once."""


ItemT = TypeVar("ItemT", bound=HasTokens)


class TrainingLoop(Protocol):
    """Interface of an engine. It saves checkpoints into the folder that it was created with.

    Attributes:
        rows: number of rows of the training.
        steps: number of steps of the training.
        tokens: read (and generated) so far by all processes; `fit` sets it when a training is resumed.
    """

    rows: int
    steps: int
    tokens: int

    def add_callback(self, callback: Any) -> None:
        """Registers a transformers.TrainerCallback: its `on_step_end`, `on_log` and `on_save` are
        called."""

    def train(self, resume_from_checkpoint: str | None = None) -> Any:
        """Trains from the start, or from a checkpoint's folder, to the last step."""


# Files of a checkpoint that only resuming needs.
_FOR_RESUMING = ("optimizer.*", "scheduler.pt", "rng_state*", "scaler.pt", "trainer_state.json",
                 "training_args.bin", "training.json", "pytorch_model_fsdp*", "optimizer_*",
                 RESUMING)  # fmt: skip


class Finetuning:
    """One training of a method. Creating it checks that machine and packages support the settings.

    Attributes:
        progress: silent in all processes but the main one.
    """

    def __init__(
        self, method: str, settings: TrainSettings, progress: Progress, start: str | None = None
    ) -> None:
        """Checks machine and packages. `start` is the SPEC under which the model is evaluated before it
        is trained; None for a model that answers no task."""
        check_environment(settings)
        self.progress = progress if is_main() else Progress("silent")
        self._method = method
        self._settings = settings
        self._start = start
        self._work = Workdir(Path(settings.out))

    # --- before anything is loaded -------------------------------------------------------------

    def read(
        self,
        row_type: type[RowT],
        select: Callable[[list[RowT], Progress], list[RowT]] = lambda rows, progress: rows,
    ) -> list[RowT]:
        """Rows of the settings' files.

        Args:
            row_type: type that every row must have.
            select: chooses among the rows.

        Raises:
            UserError: no rows are left, or one has a prompt of a benchmark.
            FileProblemsError: a file has mistakes or rows of another type.
        """
        files = self._settings.files
        benchmarks = None if self._settings.allow_contamination else benchmark_prompts()
        read = [
            row for path in files for row in read_clean_rows(path, row_type, self._method, benchmarks)
        ]
        rows = select(read, self.progress)
        if not rows:
            raise UserError(f"data: no rows are left in {', '.join(map(str, files))}")
        return rows

    def check_evaluation(self) -> None:
        """Reports the size of an evaluation, if there are any. UserError for anything that would stop it
        later."""
        evaluate = self._settings.evaluate
        if evaluate is not None and self._start is not None:
            answers = check_evaluation(evaluate, self._start, self._work.runs)
            self.progress.say(
                f"each evaluation takes {answers} answers, on {evaluate.threads} threads beside"
            )

    # --- in the training's folder --------------------------------------------------------------

    @contextlib.contextmanager
    def open(self, weights: str) -> Iterator[Workdir]:
        """Opens the training's folder, locks it against other processes, and sets seeds and threads.

        `weights` is the sha256 of the checkpoint that training starts from. UserError if the folder
        holds a different training. A RowError inside becomes a FileProblemsError that names the files.
        """
        settings = self._settings
        begun = {
            "method": self._method,
            "settings": resume_settings(settings),
            "data": file_hash(settings.files),
            "weights": weights,
        }
        names, bound = renamed_settings(type(settings)), bound_to_length(settings)
        with open_workdir(Path(settings.out), begun, names, bound) as work:
            self._work = work
            if self.is_done:
                yield work
                return
            with prepared(settings):
                try:
                    yield work
                except RowError as error:
                    raise self._problem(error.row, str(error)) from None

    @property
    def is_done(self) -> bool:
        """Whether the folder has the result of this training."""
        return self._work.lengthened is None and self._work.result.is_file()

    def say(self, message: str) -> None:
        """Reports a message, if there is one."""
        if message:
            self.progress.say(message)

    def encoded(self, rows: Sequence[RowT], encode: Callable[[RowT], ItemT], model: Any) -> list[ItemT]:
        """Encoded rows, without those that are longer than `max_tokens`, whose number is reported.

        Args:
            rows: the rows.
            encode: encodes a row; its ValueError is reported with the row.
            model: the model, for the longest sequence that it takes.

        Raises:
            FileProblemsError: a row cannot be encoded, or is too long for the model.
            UserError: no rows are left.
        """
        limit, positions = self._settings.max_tokens, max_sequence_length(model)
        items = []
        too_many = 0
        for row in rows:
            try:
                encoded_row = encode(row)
            except ValueError as error:
                raise self._problem(row.id, str(error)) from None
            if limit is not None and encoded_row.tokens > limit:
                too_many += 1
                continue
            if positions is not None and encoded_row.tokens > positions:
                raise self._problem(row.id, too_long(encoded_row.tokens, positions))
            items.append(encoded_row)
        if too_many:
            self.progress.say(f"left out: {too_many} of {len(rows)} rows have more than {limit} tokens")
        if not items:
            raise UserError(f"max_tokens: none of the {len(rows)} rows has at most {limit} tokens")
        return items

    def _problem(self, row: str, message: str) -> FileProblemsError:
        names = " or ".join(map(str, self._settings.files))
        return mistake(Path(names), f"row {row!r}: {message}")

    def fit(self, engine: TrainingLoop, monitor_type: type[TrainingMonitor] | None = None) -> None:
        """Trains to the end, or resumes from the last complete checkpoint, with evaluations beside; then
        copies the last checkpoint to `final`.

        Args:
            engine: trains the model.
            monitor_type: follows the training (log, evaluations, rotation of checkpoints).

        Raises:
            UserError: the folder has a checkpoint of a later step than the last one.
            NotFiniteError: names the last good checkpoint.
            InfrastructureError: the disk is full.
        """
        from align_plugins.training.engine import NotFiniteError
        from align_plugins.training.monitor import TrainingMonitor

        work, progress = self._work, self.progress
        monitor = (monitor_type or TrainingMonitor)(
            engine, self._method, self._settings, work, progress, self._start
        )
        engine.add_callback(monitor)
        dropped = work.drop_incomplete() if is_main() else []
        if dropped:
            progress.say(f"half-written, ignored: {', '.join(dropped)}")
        checkpoints = work.complete_checkpoints()
        resumed = checkpoints[-1] if checkpoints else None
        if resumed is not None and resumed.step > engine.steps:
            raise UserError(
                f"out: {self._settings.out} holds a training of {resumed.step} steps already, more than "
                f"{engine.steps}: choose another folder with out=DIR"
            )
        if is_main():
            work.lengthen()
            work.cut_log(resumed.step if resumed is not None else 0)
        progress.say(
            f"{self._method}: {engine.rows} rows, {engine.steps} steps, into {work.path}"
            + (f", from step {resumed.step} on" if resumed is not None else "")
        )
        try:
            if resumed is None or not broadcast_decision(monitor.is_over(resumed)):
                monitor.begin(resumed)
                engine.train(resume_from_checkpoint=str(resumed.path) if resumed is not None else None)
            monitor.settle()
        except NotFiniteError as error:
            good = work.complete_checkpoints()
            last_good = (
                f"the last good checkpoint is {good[-1].path}" if good else "there is no checkpoint yet"
            )
            raise NotFiniteError(
                f"{error}; {last_good}. A lower learning_rate usually fixes it"
            ) from None
        except OSError as error:
            raise cannot_write(work.path, error) from None
        finally:
            monitor.stop()
            if is_main():
                work.drop_incomplete()
        if is_main():
            _copy_final(work.complete_checkpoints()[-1], work.final)

    # --- after it ------------------------------------------------------------------------------

    def finish(self, measure: Callable[[], Mapping[str, Any]] = dict) -> None:
        """Writes result.json: steps, tokens, seconds, evaluations, and the entries that `measure`
        returns. Only the main process does so."""
        if not is_main():
            return
        work, evaluate = self._work, self._settings.evaluate
        last = work.complete_checkpoints()[-1]
        summary: dict[str, Any] = {
            "method": self._method,
            "out": str(work.path),
            "final": str(work.final),
            "step": last.step,
            "tokens": last.note["tokens"],
            "seconds": last.note["seconds"],
            **measure(),
        }
        if evaluate is not None:
            summary |= report_evaluations(evaluate, work, self.progress, START)
        write_atomically(work.result, pretty_json(summary))
        write_page(work, evaluate, last.step)

    def report(self) -> Trained:
        """Report of a finished training; empty in all processes but the main one."""
        if not is_main():
            return Trained({}, [])
        return training_report(msgspec.json.decode(self._work.result.read_bytes()))


def _copy_final(last: Checkpoint, final: Path) -> None:
    """Copies the last checkpoint, without the files that only resuming needs, to `final`: complete or
    not at all."""
    partial = final.with_name(".final")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(last.model, partial, ignore=shutil.ignore_patterns(*_FOR_RESUMING, "merged"))
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise cannot_write(final, error) from None
    except shutil.Error as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InfrastructureError(f"cannot write {final}: {error.args[0][0][-1]}") from None
