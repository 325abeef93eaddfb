"""Checks of the machine and of optional packages before anything is loaded, and the settings of torch
and transformers during a training."""

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
    """Whether a training with this `device` setting runs on the CPU.

    accelerate must be told explicitly: without an accelerator it treats several processes as separate
    trainings unless the CPU was requested.
    """
    import torch

    return device == "cpu" or not torch.accelerator.is_available()


def wants_fsdp() -> bool:
    """Whether accelerate is configured to shard weights among processes (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


@contextlib.contextmanager
def prepared(settings: TrainSettings) -> Iterator[None]:
    """Context with the seeds and threads of the settings, in which transformers is quiet."""
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
    """UserError for a tracker that is unknown or not installed, or a precision or sharding that the
    device does not support: the engines would continue without it silently.

    Args:
        settings: of the training.
        where: prefix of keys in messages, such as "dpo." for a group of that name.
    """
    for tracker in settings.report_to:
        if tracker not in TRACKERS:
            hint = near(tracker, TRACKERS) or f" Known: {', '.join(TRACKERS)}."
            raise UserError(f"{where}report_to: {tracker!r} is unknown.{hint}")
        if importlib.util.find_spec(tracker) is None:
            raise UserError(f"{where}report_to: {tracker} is not installed: pip install {tracker}")
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
