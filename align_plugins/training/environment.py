"""What a training needs of the machine and of other packages, looked at before anything is loaded."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Iterator

from align_plugins.settings import TrainSettings
from eval_anything.errors import UserError, near

TRACKERS = (
    "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "tensorboard", "trackio", "wandb",
)  # fmt: skip
"""Packages that both engines, accelerate and `transformers.Trainer`, can tell of progress."""


TRACKED = "tensorboard"
"""The folder of a training that holds TensorBoard's files."""


_SHARDING = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}


def on_cpu(device: str) -> bool:
    """Whether a training with this setting of `device` runs on the processor.

    accelerate must be told: where no accelerator is found, it takes several processes for as many
    trainings of their own unless the processor was asked for.
    """
    import torch

    return device == "cpu" or not torch.accelerator.is_available()


def wants_fsdp() -> bool:
    """Whether accelerate is told to share weights out among processes."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


@contextlib.contextmanager
def prepared(settings: TrainSettings) -> Iterator[None]:
    """Sets seeds and threads as the settings have them, and keeps transformers quiet inside."""
    import torch
    import transformers

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    transformers.set_seed(settings.seed)
    logging = transformers.utils.logging
    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    # It warns of tied weights that a checkpoint rightly lacks; what is wrong is raised.
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between transformers and peft
            yield
    finally:
        logging.set_verbosity(verbosity)


def check_environment(settings: TrainSettings, where: str = "") -> None:
    """UserError for a tracker that is unknown or not installed, and for a precision or a sharding that
    the device does not have: the engines would go on without, and say nothing. `where` leads to the
    settings in their file: "dpo." for a group of that name."""
    for tracker in settings.trackers:
        if tracker not in TRACKERS:
            hint = near(tracker, TRACKERS) or f" Known: {', '.join(TRACKERS)}."
            raise UserError(f"{where}trackers: {tracker!r} is unknown.{hint}")
        if importlib.util.find_spec(tracker) is None:
            raise UserError(f"{where}trackers: {tracker} is not installed: pip install {tracker}")
    if settings.precision == "float16" and on_cpu(settings.device):
        raise UserError(
            f"{where}precision: float16 needs a GPU: small gradients are lost without a scaling that is "
            "there alone. bfloat16 and float32 run on the processor too"
        )
    for variable, name in _SHARDING.items():
        if os.environ.get(variable, "").lower() == "true" and on_cpu(settings.device):
            raise UserError(
                f"{variable}: accelerate shards by {name} on GPUs alone, and training is on the "
                "processor: choose data parallelism in the configuration of accelerate"
            )
