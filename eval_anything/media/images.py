"""Pictures by Pillow. Runs in a child process (`worker`), which turns its errors into `MediaError`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eval_anything.content import Modality
from eval_anything.media.limits import MAX_PIXELS
from eval_anything.media.sniff import Kind, MediaError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image as Pillow


def open_image(path: Path, kind: Kind) -> Pillow.Image:
    """The picture, of which only the header is read. MediaError if it is no picture or too large.

    The first bytes select the format: no other parser of Pillow ever gets the file.
    """
    from PIL import Image

    if kind.modality is not Modality.IMAGE:
        raise MediaError(f"{path} should be image, but its bytes are {kind.mime}")
    Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS is lower
    image = Image.open(path, formats=[kind.mime.removeprefix("image/").upper()])
    if image.width * image.height > MAX_PIXELS:
        raise MediaError(f"{path} has {image.width}x{image.height} pixels: more than allowed")
    return image


def decode_image(path: Path, kind: Kind) -> np.ndarray:
    """The pixels, uint8 (height, width, 3); see `eval_anything.media.read_image`."""
    import numpy as np
    from PIL import Image, ImageOps

    with open_image(path, kind) as image:
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            rgba = image.convert("RGBA")
            return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba))[
                ..., :3
            ]
        if image.mode.startswith("I"):  # 16 bits a pixel: convert("RGB") would clip them
            grey = (np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        return np.asarray(image.convert("RGB"))
