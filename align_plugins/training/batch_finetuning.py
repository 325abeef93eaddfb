"""What methods share whose engine is `transformers.Trainer`: batches of rows, and their loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from align_plugins.training.environment import wants_fsdp
from align_plugins.training.finetuning import Finetuning, Item, RowT, S
from align_plugins.workdir import Workdir
from eval_anything.errors import UserError
from eval_anything.output.progress import Progress

if TYPE_CHECKING:
    import torch

    from align_plugins.training.engine import Step
    from align_plugins.training.monitor import Watch


class BatchFinetuning(Finetuning[S, RowT, Item]):
    """A method that goes through its rows in batches. A subclass says how rows become a batch, and what
    the loss of a batch is.

    Attributes:
        counts_tokens: whether `step` divides by the number of tokens of the whole optimiser step.
    """

    counts_tokens: bool = False

    @abstractmethod
    def collate(self, items: Sequence[Item]) -> dict[str, Any]:
        """A batch."""

    @abstractmethod
    def step(self, model: Any, batch: Mapping[str, Any], count: torch.Tensor | None) -> Step:
        """The loss of a batch and figures for the log."""

    def steps(self, items: int, processes: int) -> int:
        from align_plugins.training.engine import steps_of

        return steps_of(self.settings, items, processes)

    def make_engine(
        self,
        model: Any,
        items: list[Item],
        steps: int,
        work: Workdir,
        watch: Watch,
        progress: Progress,
    ) -> Any:
        from align_plugins.training.engine import Engine, arguments_of

        if self.settings.lora is not None and self.saves_merged and wants_fsdp():
            raise UserError(
                "lora: adapters are not merged into weights that FSDP shares out among processes: take "
                "`merge: false`, another model than micro, or data parallelism"
            )
        return Engine(
            model,
            self.step,
            self.collate,
            items,
            arguments_of(self.settings, work.checkpoints, steps),
            watch.callbacks,
            self._save_beside,
            self.counts_tokens,
        )
