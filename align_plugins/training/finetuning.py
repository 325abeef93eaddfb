"""What all methods share: data, checkpoints, evaluation and the account at the end."""

from __future__ import annotations

import shutil
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from align_plugins.data.contamination import known_prompts, refuse_contaminated
from align_plugins.data.files import file_hash, read_rows
from align_plugins.data.rows import Prompt, rows_of
from align_plugins.evaluation.checkpoints import START, check_evaluation
from align_plugins.evaluation.report import account_of
from align_plugins.policies.base import RowError, positions_of, too_long
from align_plugins.settings import TrainSettings, lasting
from align_plugins.trainer import Trained, Trainer
from align_plugins.training.environment import check_environment
from align_plugins.workdir import RESUMING, Checkpoint, Workdir, as_main_says, is_main, open_workdir
from eval_anything.errors import InfrastructureError, UserError
from eval_anything.files.mistakes import FileProblemsError, mistake
from eval_anything.files.writing import cannot_write, pretty_json, write_atomically
from eval_anything.output.progress import Progress

if TYPE_CHECKING:
    from align_plugins.training.monitor import Watch


S = TypeVar("S", bound=TrainSettings)


RowT = TypeVar("RowT", bound=Prompt)


Item = TypeVar("Item")


# What is in a checkpoint for going on with it alone.
_FOR_RESUMING = ("optimizer.*", "scheduler.pt", "rng_state*", "scaler.pt", "trainer_state.json",
                 "training_args.bin", "training.json", "pytorch_model_fsdp*", "optimizer_*",
                 RESUMING)  # fmt: skip


class Finetuning(Trainer[S], Generic[S, RowT, Item]):
    """A method that learns from rows. A subclass says what they are, how they are encoded, and what
    engine learns from them.

    Attributes:
        row_type: the kind of rows that it learns from.
    """

    row_type: type[RowT]
    model: Any = None

    @abstractmethod
    def weights(self) -> str:
        """sha256 of the checkpoint that training starts from; nothing is loaded."""

    @abstractmethod
    def load(self) -> None:
        """Loads what is trained into `self.model`."""

    @abstractmethod
    def encode(self, row: RowT) -> Item:
        """A row as tokens. ValueError says why it cannot be one."""

    @abstractmethod
    def length(self, item: Item) -> int:
        """Its tokens, in the longest of its sequences; with `max_tokens` those of media are counted."""

    @abstractmethod
    def steps(self, items: int, processes: int) -> int:
        """How many steps the training has."""

    @abstractmethod
    def make_engine(
        self,
        model: Any,
        items: list[Item],
        steps: int,
        work: Workdir,
        watch: Watch,
        progress: Progress,
    ) -> Any:
        """What trains: it has `train(resume_from_checkpoint)` and counts `tokens`."""

    @abstractmethod
    def save_beside(self, folder: Path) -> None:
        """Writes what a checkpoint needs beside weights and config."""

    def prepare(self, items: list[Item], work: Workdir, progress: Progress) -> list[Item]:
        """Called once before training, with the start's weights still in place."""
        return items

    def finish(self, work: Workdir, progress: Progress) -> dict[str, Any]:
        """Called once after training, with the last weights in `work.final`: what it adds to the
        result."""
        return {}

    def positions(self) -> int | None:
        """The longest sequence that the model takes; None if that is not known."""
        return positions_of(self.model)

    def rows(self, rows: list[RowT], progress: Progress) -> list[RowT]:
        """The rows that are learned from."""
        return rows

    # --- the way of a training -----------------------------------------------------------------

    def train(self, progress: Progress) -> Trained:
        settings = self.settings
        check_environment(settings)
        if not is_main():
            progress = Progress("silent")
        rows = self._read(progress)
        begun = {
            "method": self.name,
            "settings": lasting(settings),
            "data": file_hash(settings.files),
            "weights": self.weights(),
        }
        self._check_evaluation(progress)
        with open_workdir(Path(settings.out), begun) as work:
            if not work.result.is_file():
                found = self._run(rows, work, progress)
                if not is_main():
                    return Trained({}, [])
                write_atomically(work.result, pretty_json(found))
            return account_of(msgspec.json.decode(work.result.read_bytes()))

    def _check_evaluation(self, progress: Progress) -> None:
        """Finds what would stop an evaluation before anything is trained, and says what they take."""
        evaluate, spec = self.settings.evaluate, self._start_spec()
        if evaluate is not None and spec is not None:
            answers = check_evaluation(evaluate, spec, Path(self.settings.out) / "runs")
            progress.say(
                f"each evaluation takes {answers} answers, on {evaluate.threads} threads beside"
            )

    def _read(self, progress: Progress) -> list[RowT]:
        settings = self.settings
        known = None if settings.allow_contamination else known_prompts()
        found: list[RowT] = []
        for path in settings.files:
            read = rows_of(read_rows(path), self.row_type, path, self.name)
            if known is not None:
                refuse_contaminated(path, read, known)
            found += read
        found = self.rows(found, progress)
        if not found:
            raise UserError(f"data: no rows are left in {', '.join(map(str, settings.files))}")
        return found

    def _run(self, rows: list[RowT], work: Workdir, progress: Progress) -> dict[str, Any]:
        import torch
        import transformers

        settings = self.settings
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        transformers.set_seed(settings.seed)
        transformers.utils.logging.disable_progress_bar()
        verbosity = transformers.utils.logging.get_verbosity()
        # It warns of tied weights that a checkpoint rightly lacks; what is wrong is raised.
        transformers.utils.logging.set_verbosity_error()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # between transformers and peft
                return self._trained(rows, work, progress)
        except RowError as error:
            raise self._at(error.row, str(error)) from None
        finally:
            transformers.utils.logging.set_verbosity(verbosity)

    def _trained(self, rows: list[RowT], work: Workdir, progress: Progress) -> dict[str, Any]:
        self.load()
        items = self.prepare(self._encoded(rows, progress), work, progress)
        last = self._fit(items, work, progress)
        if last is None:
            return {}
        _copy_final(last, work.final)
        more = self.finish(work, progress)
        return self._result(last, work, more, progress)

    def _encoded(self, rows: Sequence[RowT], progress: Progress) -> list[Item]:
        limit, positions = self.settings.max_tokens, self.positions()
        items = []
        long = 0
        for row in rows:
            try:
                item = self.encode(row)
            except ValueError as error:
                raise self._at(row.id, str(error)) from None
            tokens = self.length(item)
            if limit is not None and tokens > limit:
                long += 1
                continue
            if positions is not None and tokens > positions:
                raise self._at(row.id, too_long(tokens, positions))
            items.append(item)
        if long:
            progress.say(f"left out: {long} of {len(rows)} rows have more than {limit} tokens")
        if not items:
            raise UserError(f"max_tokens: none of the {len(rows)} rows has at most {limit} tokens")
        return items

    def _at(self, row: str, message: str) -> FileProblemsError:
        names = " or ".join(map(str, self.settings.files))
        return mistake(Path(names), f"row {row!r}: {message}")

    def _fit(self, items: list[Item], work: Workdir, progress: Progress) -> Checkpoint | None:
        """Trains, or goes on; the last checkpoint, None in processes that write nothing."""
        from align_plugins.training.engine import NotFiniteError, arguments_of

        settings = self.settings
        dropped = work.drop_half_written() if is_main() else []
        if dropped:
            progress.say(f"half-written, ignored: {', '.join(dropped)}")
        steps = self.steps(len(items), arguments_of(settings, work.checkpoints, 1).world_size)
        model = self._trained_part(progress)
        watch = self.make_watch(work, progress)
        engine = self.make_engine(model, items, steps, work, watch, progress)
        watch.engine = engine
        whole = work.whole_checkpoints()
        begun = whole[-1] if whole else None
        if is_main():
            work.cut_log(begun.step if begun is not None else 0)
        progress.say(
            f"{self.name}: {len(items)} rows, {steps} steps, into {work.path}"
            + (f", from step {begun.step} on" if begun is not None else "")
        )
        try:
            if begun is None or not as_main_says(watch.is_over(begun, steps)):
                watch.begin(begun)
                engine.train(resume_from_checkpoint=str(begun.path) if begun is not None else None)
            watch.settle()
        except NotFiniteError as error:
            good = work.whole_checkpoints()
            kept = (
                f"the last good checkpoint is {good[-1].path}" if good else "there is no checkpoint yet"
            )
            raise NotFiniteError(f"{error}; {kept}. A lower learning_rate usually mends it") from None
        except OSError as error:
            raise cannot_write(work.path, error) from None
        finally:
            watch.stop()
            if is_main():
                work.drop_half_written()
        return work.whole_checkpoints()[-1] if is_main() else None

    def make_watch(self, work: Workdir, progress: Progress) -> Watch:
        """What follows the training: log, evaluations, rotation."""
        from align_plugins.training.monitor import Watch

        return Watch(self.name, self.settings, work, progress, self._start_spec())

    def _start_spec(self) -> str | None:
        """The SPEC under which the start can be evaluated; None for what is no model of answers."""
        return None

    def _trained_part(self, progress: Progress) -> Any:
        """The model, with adapters in place of its weights if that is wanted."""
        lora = self.settings.lora
        if lora is None:
            return self.model
        try:
            from peft import LoraConfig, get_peft_model
        except ImportError:
            raise UserError("lora needs peft: pip install 'eval-anything[train]'") from None
        import transformers

        transformers.set_seed(self.settings.seed)
        config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.targets,
            **self.lora_task(),
        )
        try:
            model: Any = get_peft_model(self.model, config)
        except ValueError as error:
            raise UserError(f"lora: {error}") from None
        if self.settings.gradient_checkpointing:
            model.enable_input_require_grads()
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        for weight in trained:  # a new head too, which is of the type of what lies below
            weight.data = weight.data.float()
        progress.say(f"lora: {sum(weight.numel() for weight in trained):,} weights are trained")
        return model

    def lora_task(self) -> dict[str, Any]:
        """What peft is told of the model beside ranks and targets."""
        return {"task_type": "CAUSAL_LM"}

    @property
    def saves_merged(self) -> bool:
        """Whether checkpoints of adapters get the merged weights beside them, to be evaluated with."""
        return self.settings.lora is not None and self.settings.lora.merge

    def _save_beside(self, model: Any, folder: Path) -> None:
        self.save_beside(folder)
        if self.settings.lora is not None and self.saves_merged:
            merged = folder / "merged"
            _merged(model).save_pretrained(merged)
            self.save_beside(merged)

    # --- what came of it -----------------------------------------------------------------------

    def _result(
        self, last: Checkpoint, work: Workdir, more: Mapping[str, Any], progress: Progress
    ) -> dict[str, Any]:
        from align_plugins.evaluation.report import evaluated

        found: dict[str, Any] = {
            "method": self.name,
            "out": str(work.path),
            "final": str(work.final),
            "step": last.step,
            "tokens": last.note["tokens"],
            "seconds": last.note["seconds"],
            **more,
        }
        if self.settings.evaluate is not None:
            found |= evaluated(self.settings.evaluate, work, progress, START)
        return found


def _merged(model: Any) -> Any:
    """The base model with the adapter's changes in its weights, as a copy in float32: in a smaller type
    small changes are lost."""
    import copy

    return copy.deepcopy(model).float().merge_and_unload()


def _copy_final(last: Checkpoint, final: Path) -> None:
    """The last checkpoint without what only resuming needs; whole or not there."""
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
