"""What families that draw have in common: pixels as parts, and how strongly the prompt guides."""

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
    """What a decoder of codes gave, (3, height, width), as PNG in the store.

    The numbers are those that the image processor makes of 0..255; this is the way back. Its own
    `postprocess` does the same where it works (transformers 5.23: not with torchvision, nor with
    channels last). ValueError for pixels that are no numbers, which a file could not show.
    """
    import numpy as np

    found = pixels.detach().float().cpu().numpy()
    if not abs(found).max() < float("inf"):
        raise ValueError("the image has pixels that are infinite or no numbers")
    means, scales = image_processor.image_mean, image_processor.image_std
    # Rounding matters, as fractions are cut off: the steps and types are those of `postprocess`.
    shift = np.array([-mean / std for mean, std in zip(means, scales, strict=True)], np.float32)
    scale = np.array([1 / std for std in scales], np.float32)
    shares = (found - shift[:, None, None]) / scale[:, None, None]
    values = (shares.astype(np.float64) / image_processor.rescale_factor).astype(np.float32)
    image = values.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    return store.put(encode_png(np.ascontiguousarray(image)), Modality.IMAGE)


def guidance_scale(asked: str, own: float | None, otherwise: float) -> float:
    """The scale of classifier-free guidance, at least 1, which is none: with the prompt, logits are
    `without + scale * (with - without)`.

    `asked` is `--model-arg guidance_scale`; "auto" is the checkpoint's `own` of its generation config,
    `otherwise` where it says nothing. UserError for what is no such number.
    """
    if asked == "auto":
        return otherwise if own is None else own
    try:
        scale = float(asked)
    except ValueError:
        scale = math.nan
    if not 1 <= scale < math.inf:
        raise UserError(f"--model-arg guidance_scale={asked}: must be auto or a number from 1 (none) up")
    return scale


def check_asked(family: Family) -> None:
    """UserError for an option of how images are made, where none are."""
    asked = [name for name, own in family.options.items() if family.option(name) != own]
    if asked and family.mode != "image":
        raise UserError(f"--model-arg {asked[0]} goes with --model-arg output=image alone")


def leave_out_check(processor: Any) -> None:
    """Lets a processor take text that names its placeholder.

    Such text is encoded as text, but the processors of Janus and Emu3 (transformers 5.23) count it as
    an image before that. The model itself checks that there are as many placeholders as images.
    """
    processor.validate_inputs = lambda **inputs: None
