"""Models prepared for training: all weights, or low-rank adapters (LoRA) on frozen weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from align_plugins.policies.base import Policy
from align_plugins.settings import TrainSettings
from eval_anything.errors import UserError, install
from eval_anything.output.progress import Progress


class Trainable(NamedTuple):
    """A model that is trained, and the function that completes its checkpoints.

    Attributes:
        model: a model of transformers, or of peft if it has adapters.
        write_beside: writes the files of a checkpoint other than weights and config into a folder:
            tokenizer, processor, codec.
        merges: whether a checkpoint of adapters also gets full weights, in its folder `merged`, for an
            evaluation that reads no adapters.
    """

    model: Any
    write_beside: Callable[[Path], None]
    merges: bool = False

    def save_beside(self, folder: Path) -> None:
        """Writes the files of a checkpoint other than the trained weights."""
        self.write_beside(folder)
        if self.merges:
            # A copy in float32: in a smaller type small changes are lost.
            merged = copy.deepcopy(self.model).float().merge_and_unload()
            merged.save_pretrained(folder / "merged")
            self.write_beside(folder / "merged")


def trainable_policy(policy: Policy, settings: TrainSettings, progress: Progress) -> Trainable:
    """The model of a loaded policy, prepared as by `trainable`."""
    return trainable(
        policy.model,
        policy.save_beside,
        settings,
        progress,
        frozen=policy.frozen,
        merges=not policy.reads_adapters,
    )


def trainable(
    model: Any,
    write_beside: Callable[[Path], None],
    settings: TrainSettings,
    progress: Progress,
    *,
    task_type: str = "CAUSAL_LM",
    frozen: str = "",
    merges: bool = False,
) -> Trainable:
    """Model prepared for training, with adapters if the settings ask for them.

    Args:
        model: the loaded model.
        write_beside: as in `Trainable`.
        settings: of the training.
        progress: reports the number of trained weights.
        task_type: peft's name for the kind of model.
        frozen: regular expression for names of submodules that get no adapters.
        merges: whether checkpoints of adapters must also have full weights, whatever the settings say.

    Raises:
        UserError: the model cannot have these adapters, or peft is not installed.
    """
    lora = settings.lora
    if lora is None:
        return Trainable(model, write_beside)
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise UserError(f"lora needs peft: {install('train')}") from None
    import transformers

    transformers.set_seed(settings.seed)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type=task_type,
        **({"exclude_modules": frozen} if frozen else {}),
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"lora: {error}") from None
    if settings.gradient_checkpointing:
        adapted.enable_input_require_grads()
    trained = [weight for weight in adapted.parameters() if weight.requires_grad]
    for weight in trained:  # a new head too, which is of the type of what lies below
        weight.data = weight.data.float()
    progress.say(f"lora: {sum(weight.numel() for weight in trained):,} weights are trained")
    return Trainable(adapted, write_beside, merges or lora.merge)
