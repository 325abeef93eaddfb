"""Helpers of families that make images: pixels as parts, and the scale of guidance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from eval_anything.content import MediaPart, Modality
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.media.encode import encode_png
from eval_anything.models.hf.family import Family

if TYPE_CHECKING:
    import torch


def picture_part(pixels: torch.Tensor, image_processor: Any, store: MediaStore) -> MediaPart:
    """The output of an image decoder as a PNG in the store.

    It inverts the normalization of the image processor. `postprocess` of the image processor does the
    same where it works (transformers 5.23: not with torchvision, nor with channels last).

    Args:
        pixels: (3, height, width), normalized as the image processor does it.
        image_processor: has the means, scales and the factor of the normalization.
        store: takes the PNG.

    Raises:
        ValueError: pixels are infinite or not numbers, which a PNG cannot show.
    """
    import numpy as np

    numbers = pixels.detach().float().cpu().numpy()
    if not abs(numbers).max() < float("inf"):
        raise ValueError("the image has pixels that are infinite or no numbers")
    means, scales = image_processor.image_mean, image_processor.image_std
    # The steps and types are those of `postprocess`: fractions are cut off, so rounding matters.
    shift = np.array([-mean / std for mean, std in zip(means, scales, strict=True)], np.float32)
    scale = np.array([1 / std for std in scales], np.float32)
    shares = (numbers - shift[:, None, None]) / scale[:, None, None]
    levels = (shares.astype(np.float64) / image_processor.rescale_factor).astype(np.float32)
    image = levels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    return store.put(encode_png(np.ascontiguousarray(image)), Modality.IMAGE)


def guidance_scale(option: str, checkpoint_scale: float | None, default: float) -> float:
    """The scale of classifier-free guidance: logits are `without + scale * (with - without)` the prompt.

    Args:
        option: `--model-arg guidance_scale`: "auto", or a number from 1 (no guidance) up.
        checkpoint_scale: the scale in the checkpoint's generation config, for "auto".
        default: the scale for "auto" if the checkpoint has none.

    Raises:
        UserError: the option is neither.

    Example:
        >>> guidance_scale("auto", None, 3.0)
        3.0
    """
    if option == "auto":
        return default if checkpoint_scale is None else checkpoint_scale
    try:
        scale = float(option)
    except ValueError:
        scale = math.nan
    if not 1 <= scale < math.inf:
        raise UserError(
            f"--model-arg guidance_scale={option}: must be auto or a number from 1 (none) up"
        )
    return scale


def check_asked(family: Family) -> None:
    """Raises UserError if an option for images was set in a mode without images."""
    changed = [name for name, default in family.options.items() if family.option(name) != default]
    if changed and family.mode != "image":
        raise UserError(f"--model-arg {changed[0]} goes with --model-arg output=image alone")


def leave_out_check(processor: Any) -> None:
    """Turns off a processor's check, so that it takes text that contains its image placeholder.

    Such text is encoded as text, but the processors of Janus and Emu3 (transformers 5.23) count it as
    an image before that. The model itself checks that there are as many placeholders as images.
    """
    processor.validate_inputs = lambda **inputs: None
