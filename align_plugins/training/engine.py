"""The engine of sft, reward and dpo: `transformers.Trainer` with losses of this package.

transformers provides resuming, precision, gradient accumulation, several devices, trackers and
callbacks. This module adds losses over batches of parts, their metrics in the log, and a stop at the
first number that is not finite. A loss is a sum over an optimiser step, divided by what the whole step
has of rows or tokens: its gradient is the same however the step is cut into batches and processes.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import gather_object
from transformers.integrations import TensorBoardCallback

from align_plugins.settings import TrainSettings
from align_plugins.training.adapters import Trainable
from align_plugins.training.environment import TRACKED, on_cpu, wants_fsdp
from align_plugins.training.epochs import RowBatches, optimiser_steps
from align_plugins.training.metrics import Tally
from eval_anything.errors import EvalError, InfrastructureError, UserError
from eval_anything.files.writing import cannot_write


class BatchLoss(NamedTuple):
    """Loss of one batch.

    Attributes:
        loss: the batch's share of the loss of the optimiser step, a scalar with gradients.
        metrics: for the log, each a mean and its weight in the mean over batches.
        tokens: number of tokens that were read.
    """

    loss: torch.Tensor
    metrics: Mapping[str, tuple[torch.Tensor, float]]
    tokens: int


Totals = Mapping[str, torch.Tensor]
"""Numbers of rows or tokens by name, scalars: those of one batch, or of a whole optimiser step."""


_EMPTY = "empty"
"""Key of a batch that only keeps a process in step with the others: it has no part in the loss."""


_DISK = ("I/O error", "PytorchStreamWriter", "No space", "too large", "os error")


class Batches(NamedTuple):
    """Encoded rows, and the functions that make batches of them and compute their loss.

    Attributes:
        items: the encoded rows.
        collate: makes a batch, a mapping of tensors, of some of them.
        counts: numbers of a batch that its loss is divided by, such as those of its pairs or tokens.
        step: loss of a batch under the model, which may be wrapped: sums over the batch, divided by the
            third argument, the `counts` of all batches of the optimiser step together.
    """

    items: Sequence[Any]
    collate: Callable[[Sequence[Any]], dict[str, Any]]
    counts: Callable[[Mapping[str, Any]], Totals]
    step: Callable[[Any, Mapping[str, Any], Totals], BatchLoss]


class NotFiniteError(EvalError):
    """The loss or a weight is NaN or infinite. Training stopped; earlier checkpoints are good."""


class _StepsOfSettings(transformers.TrainerCallback):  # type: ignore[misc]
    """Takes the steps of logging and saving from the settings, also in a resumed training, where
    transformers takes those of the checkpoint."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.compute_steps(args, state.max_steps)


class Engine(transformers.Trainer):  # type: ignore[misc]  # its types are not read
    """Trains a model on batches. Checkpoints go into `folder`.

    Attributes:
        rows: number of encoded rows.
        steps: number of optimiser steps.
        tokens: number read so far by all processes.
    """

    def __init__(
        self, trained: Trainable, batches: Batches, settings: TrainSettings, folder: Path
    ) -> None:
        if trained.merges and wants_fsdp():
            raise UserError(
                "lora: adapters are not merged into weights that FSDP shares out among processes: take "
                "`merge: false`, another model than micro, or data parallelism"
            )
        self.rows = len(batches.items)
        arguments = arguments_of(settings, folder, self.rows)
        self._batches = batches
        super().__init__(
            model=trained.model,
            args=arguments,
            data_collator=self._collate,
            train_dataset=batches.items,
        )
        self.remove_callback(transformers.PrinterCallback)
        self.add_callback(_StepsOfSettings())
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
                callback.logging_dir = str(folder.parent / TRACKED)
        self.model_accepts_loss_kwargs = True  # so the loss is not divided by the number of batches
        self._trained = trained
        self._tally = Tally()
        self.steps = arguments.max_steps
        self.tokens = 0
        self._local_tokens = 0  # those of this process that are not among them yet

    def get_train_dataloader(self) -> Any:
        """The batches of this process."""
        arguments = self.args
        batches = RowBatches(
            self.rows,
            arguments.per_device_train_batch_size,
            arguments.data_seed,
            arguments.process_index,
            arguments.world_size,
        )
        loader = torch.utils.data.DataLoader(
            self._batches.items,
            batch_sampler=batches,
            collate_fn=self._collate,
            pin_memory=arguments.dataloader_pin_memory,
        )
        # One process, as far as accelerate goes: these batches are shared out among processes already.
        return prepare_data_loader(
            loader, self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )

    def _collate(self, items: Sequence[Any]) -> dict[str, Any]:
        """A batch of these items. One of none reads the first row, as every process reads a batch."""
        if items:
            return self._batches.collate(items)
        return {**self._batches.collate(self._batches.items[:1]), _EMPTY: True}

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Totals]:
        """Batches of the next optimiser step, and their counts together with those of all other
        processes. A collective call."""
        batches = list(itertools.islice(epoch_iterator, num_batches))
        counts = [self._batches.counts(batch) for batch in batches]
        shares = [0.0 if _EMPTY in batch else 1.0 for batch in batches]
        local = [
            sum(torch.as_tensor(share * count[name], device=device)
                for share, count in zip(shares, counts, strict=True))
            for name in counts[0]
        ]  # fmt: skip
        totals = self.accelerator.reduce(torch.stack(local), "sum")
        return batches, dict(zip(counts[0], totals, strict=True))

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Totals | None = None,
    ) -> torch.Tensor:
        """Loss of a batch. NotFiniteError if it is not finite."""
        assert num_items_in_batch is not None
        step = self._batches.step(model, inputs, num_items_in_batch)
        if not torch.isfinite(step.loss):
            raise NotFiniteError(f"the loss is {step.loss.item()} at step {self.state.global_step + 1}")
        if _EMPTY in inputs:
            return step.loss * 0.0
        self._local_tokens += step.tokens
        self._tally.add({name: (mean.detach(), n) for name, (mean, n) in step.metrics.items()})
        return step.loss * self.args.world_size  # processes average their gradients

    def _count_tokens(self) -> None:
        """Adds the tokens that all processes have read since the last call. A collective call."""
        self.tokens += sum(gather_object([self._local_tokens]))
        self._local_tokens = 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the metrics of all processes since the last line."""
        self._count_tokens()
        super().log({**logs, **self._tally.means(), "tokens": self.tokens}, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Saves a checkpoint that can be evaluated. NotFiniteError if weights are not finite,
        InfrastructureError if the disk is full."""
        check_weights(self.model, self.state.global_step)
        super().save_model(output_dir, _internal_call)
        if self.is_fsdp_enabled:  # it may have saved shards, and what is evaluated is whole
            state_dict = self.accelerator.get_state_dict(self.model)
            if self.args.should_save:
                self._save(output_dir, state_dict=state_dict)
        if self.args.should_save:
            self._trained.save_beside(Path(output_dir or self.args.output_dir))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._count_tokens()
        with saving(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"):
            super()._save_checkpoint(model, trial)


@contextlib.contextmanager
def saving(path: Path) -> Iterator[None]:
    """Context in which a checkpoint is written: InfrastructureError if the disk is full or read-only."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from None
    except Exception as error:
        # Weights and optimiser are written by code that is not Python's, with errors of its own.
        message = str(error)
        if any(sign in message for sign in _DISK):
            raise InfrastructureError(
                f"cannot write {path}: {message.splitlines()[0]}. The checkpoints before it are kept; "
                "fix that and run the same command again to resume."
            ) from None
        raise


def check_weights(model: Any, step: int) -> None:
    """NotFiniteError if a trained weight is not finite after `step` steps."""
    for name, weight in model.named_parameters():
        spoilt = (~weight.isfinite()).sum()
        if hasattr(spoilt, "full_tensor"):  # sharded: each process sees its own part alone
            spoilt = spoilt.full_tensor()
        if weight.requires_grad and spoilt:
            raise NotFiniteError(f"the weights are no numbers at step {step}: {name}")


def arguments_of(settings: TrainSettings, folder: Path, rows: int) -> transformers.TrainingArguments:
    """Arguments of `transformers.Trainer` for a training on `rows` rows. Checkpoints go into `folder`,
    and the last step always saves one. Resets accelerate's state, with all processes in it."""
    warmup = settings.warmup_steps
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = transformers.TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=settings.per_device_train_batch_size,
            gradient_accumulation_steps=settings.gradient_accumulation_steps,
            learning_rate=settings.learning_rate,
            lr_scheduler_type=settings.lr_scheduler_type,
            warmup_steps=warmup if warmup < 1 else int(warmup),
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            num_train_epochs=settings.num_train_epochs,
            logging_steps=settings.logging_steps,
            logging_nan_inf_filter=False,
            save_strategy="steps",
            save_total_limit=None,
            bf16=settings.precision == "bfloat16",
            fp16=settings.precision == "float16",
            gradient_checkpointing=settings.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            seed=settings.seed,
            data_seed=settings.seed,
            report_to=settings.report_to or "none",
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=on_cpu(settings.device),
            dataloader_pin_memory=torch.cuda.is_available() and settings.device != "cpu",
            eval_strategy="no",
        )
    # A lone process with several devices would split batches by rows, which media have no part in:
    # `accelerate launch` is the way to several devices.
    arguments._n_gpu = min(1, arguments.n_gpu)
    arguments.max_steps = optimiser_steps(settings, rows, arguments.world_size)
    arguments.save_steps = settings.save_steps or arguments.max_steps
    return arguments


def without_dropout(model: Any) -> None:
    """Sets every dropout of a model to 0: modules, and the rates that attention passes to functions.

    Log-probabilities under dropout are not those of the policy: the first loss of DPO would not be ln 2.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, rate in vars(module).items():
            if ("dropout" in name or "layerdrop" in name) and isinstance(rate, float):
                setattr(module, name, 0.0)


def to_device(batch: Any, device: Any) -> Any:
    """The batch (tensors in nested mappings) on a device."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: to_device(part, device) for key, part in batch.items()}
    return batch
