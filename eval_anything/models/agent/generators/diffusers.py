"""A generator of images with a pipeline of diffusers, from a folder or the hub, safetensors only."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_anything.content import Modality
from eval_anything.errors import UserError, install, near
from eval_anything.files.hashing import hash_files, sha256_of
from eval_anything.media.encode import encode_png
from eval_anything.models.agent.generators.base import (
    Generator,
    GeneratorContext,
    GeneratorSettings,
    Order,
)

_PICKLES = (".bin", ".ckpt", ".pt", ".pth")


class DiffusersSettings(GeneratorSettings, frozen=True, kw_only=True):
    """The settings of a generator with a pipeline of diffusers.

    Attributes:
        pipeline: a folder, or an id of the hub.
        revision: branch, tag or commit of an id.
        arguments: of the pipeline's call: num_inference_steps, guidance_scale, height, width ...
        batch_size: how many images one call makes.
        device: a name of torch, or auto.
        dtype: a name of torch, or auto.
    """

    pipeline: str
    revision: str | None = None
    arguments: dict[str, str | int | float | bool] = {}
    batch_size: int = 1
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")


class DiffusersGenerator(Generator):
    """A text-to-image pipeline; each image starts from noise of its own seed."""

    settings_type = DiffusersSettings

    def __init__(self, settings: GeneratorSettings, context: GeneratorContext) -> None:
        assert isinstance(settings, DiffusersSettings)
        if context.modality is not Modality.IMAGE:
            raise UserError(f"{context.name}: kind diffusers makes images; use kind model or command")
        if importlib.util.find_spec("diffusers") is None:
            raise UserError(f"{context.name} needs diffusers: {install('hf')}")
        self.settings = settings
        self.batch_size = settings.batch_size
        self._name = context.name
        local = context.folder / Path(settings.pipeline).expanduser()
        self._path = local if local.is_dir() else None
        self._pipeline: Any = None
        if self._path is None and settings.pipeline.startswith((".", "/", "~")):
            raise UserError(f"{context.name}: there is no folder {local}")
        if self._path is not None and not (self._path / "model_index.json").is_file():
            raise UserError(f"{context.name}: {local} is no pipeline, model_index.json is missing")

    def weights(self) -> str:
        """sha256 of the files of the folder, or of the id and its commit on the hub."""
        if self._path is not None:
            files = sorted(p for p in self._path.rglob("*") if p.is_file() and p.suffix not in _PICKLES)
            names = [str(path.relative_to(self._path)) for path in files]
            return sha256_of([names, [hash_files([path]) for path in files]])
        from huggingface_hub import HfApi  # the commit that the id stands for names its files

        settings = self.settings
        try:
            commit = HfApi().model_info(settings.pipeline, revision=settings.revision).sha
        except Exception as error:
            raise UserError(
                f"{self._name}: the hub does not answer for {settings.pipeline!r} "
                f"({type(error).__name__}); give a local path if there is no network"
            ) from error
        return sha256_of([settings.pipeline, commit])

    def load(self) -> None:
        """Loads the pipeline. UserError if `arguments` has a name that its call does not take."""
        import diffusers
        import torch

        settings = self.settings
        device = settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        half = settings.dtype == "auto" and device.startswith("cuda")
        dtype = "bfloat16" if half else settings.dtype.replace("auto", "float32")
        untyped: Any = diffusers.DiffusionPipeline
        pipeline = untyped.from_pretrained(
            self._path or settings.pipeline,
            revision=settings.revision,
            use_safetensors=True,
            dtype=getattr(torch, dtype),
        )
        parameters = inspect.signature(pipeline.__call__).parameters
        for name in settings.arguments:
            if name not in parameters:
                raise UserError(f"{self._name}: the pipeline takes no {name!r}.{near(name, parameters)}")
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline.to(device)

    async def generate(self, orders: Sequence[Order]) -> list[bytes]:
        """PNG files of the images, made in a thread."""
        return await asyncio.to_thread(self._generate, orders)

    def _generate(self, orders: Sequence[Order]) -> list[bytes]:
        import numpy as np
        import torch

        images = self._pipeline(
            prompt=[order.prompt for order in orders],
            generator=[torch.Generator().manual_seed(order.seed) for order in orders],
            **self.settings.arguments,
        ).images
        return [encode_png(np.asarray(image.convert("RGB"))) for image in images]
