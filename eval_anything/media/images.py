"""Pictures by Pillow. Runs in a child process (`worker`), which turns its errors into `MediaError`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_anything.content import Modality
from eval_anything.media.limits import MAX_PIXELS
from eval_anything.media.orientation import Orientation
from eval_anything.media.sniff import Kind, MediaError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image as Pillow


_TAG = 0x0112  # Orientation


# By the value of the tag (Exif 2.3); 1 is upright, and so is any other value.
_ORIENTATIONS = {
    2: Orientation(False, False, True),
    3: Orientation(False, True, True),
    4: Orientation(False, True, False),
    5: Orientation(True, False, False),
    6: Orientation(True, False, True),
    7: Orientation(True, True, True),
    8: Orientation(True, True, False),
}


_FORMATS = {"image/heic": "HEIF"}  # of Pillow, where it is not the end of the MIME type


# Pictures of these are the same for every reader. Readers differ in what they do with transparency.
_PLAIN_FORMATS = ("PNG", "JPEG", "MPO", "WEBP")


_PLAIN_MODES = ("L", "RGB", "P")


_CLEAR_MODES = ("1", "L", "I;16", "RGB")  # in which a PNG may name one colour as transparent


def open_image(path: Path, kind: Kind) -> Pillow.Image:
    """The picture, of which only the header is read. MediaError if it is no picture or too large.

    The first bytes select the format: no other parser of Pillow ever gets the file.
    """
    from PIL import Image

    if kind.modality is not Modality.IMAGE:
        raise MediaError(f"{path} should be image, but its bytes are {kind.mime}")
    Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS is lower
    if kind.mime == "image/heic":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    name = _FORMATS.get(kind.mime, kind.mime.removeprefix("image/").upper())
    image = Image.open(path, formats=[name])
    if image.width * image.height > MAX_PIXELS:
        raise MediaError(f"{path} has {image.width}x{image.height} pixels: more than allowed")
    return image


def upright_size(path: Path, kind: Kind) -> tuple[int, int]:
    """Width and height as shown, from the header."""
    with open_image(path, kind) as image:
        return _orientation(image).size(*image.size)


def decode_image(path: Path, kind: Kind) -> tuple[np.ndarray, bool]:
    """The pixels, uint8 (height, width, 3), and whether the file is plain: see `read.DecodedImage`."""
    with open_image(path, kind) as image:
        image.load()
        orientation = _orientation(image)
        is_plain = (
            image.format in _PLAIN_FORMATS
            and image.mode in _PLAIN_MODES
            and orientation == Orientation()
            and not image.has_transparency_data
            and (image.format == "MPO" or getattr(image, "n_frames", 1) == 1)
            and _png_bits(path, kind) <= 8
        )
        return orientation.upright(_rgb(image, path, kind)), is_plain


def _orientation(image: Pillow.Image) -> Orientation:
    """The orientation of the Exif data; upright if they have none, or one that cannot be read."""
    if image.format in ("TIFF", "HEIF"):  # the reader turns them
        return Orientation()
    try:
        return _ORIENTATIONS.get(image.getexif().get(_TAG, 1), Orientation())
    except Exception:  # Pillow raises errors of many types for damaged data
        return Orientation()


def _rgb(image: Pillow.Image, path: Path, kind: Kind) -> np.ndarray:
    """The pixels of a loaded picture, as stored: uint8 (height, width, 3), over white."""
    import numpy as np
    from PIL import Image

    if (
        image.format == "PNG"
        and "transparency" in image.info
        and image.mode in ("1", "L", "I;16", "RGB")
    ):
        return _with_clear_colour(image, path, kind)
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        rgba = image.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba))[..., :3]
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_grey(image)[..., None], 3, axis=2)
    if image.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return np.asarray(ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB"))
    return np.asarray(image.convert("RGB"))


def _grey(image: Pillow.Image) -> np.ndarray:
    """Grey pixels of more than 8 bits as uint8 (height, width): convert("RGB") would clip them.

    Whole numbers are scaled from their full range. Floats are scaled from 0..1 if all lie in it, and are
    taken for 0..255 if not.
    """
    import numpy as np

    values = np.asarray(image)
    if image.mode == "F":
        values = np.nan_to_num(values.astype(np.float64), nan=0.0)
        scale = 255 if values.max(initial=0) <= 1 else 1
        return (values * scale).round().clip(0, 255).astype(np.uint8)
    bits, is_signed = _tiff_sample(image)
    if bits == 32 and not is_signed:
        values = values.view(np.uint32)
    return (values >> (bits - 8 - is_signed)).clip(0, 255).astype(np.uint8)


def _tiff_sample(image: Pillow.Image) -> tuple[int, bool]:
    """Bits of a whole number of the picture, and whether it has a sign; 16 and none but in TIFF."""
    tags: Any = getattr(image, "tag_v2", {})
    return int(tags.get(258, (16,))[0]), tags.get(339, (1,))[0] == 2


def _png_bits(path: Path, kind: Kind) -> int:
    """Bits of a channel of a PNG, by its header; 8 for other formats."""
    if kind.mime != "image/png":
        return 8
    with path.open("rb") as file:
        return file.read(25)[24]


def _with_clear_colour(image: Pillow.Image, path: Path, kind: Kind) -> np.ndarray:
    """The pixels of a PNG that names one colour as transparent (tRNS), over white.

    The colour is one of the file: of 1 to 16 bits. Pillow compares it with pixels of 8.
    """
    import numpy as np

    bits = _png_bits(path, kind)
    clear = np.atleast_1d(image.info["transparency"])
    stored = np.asarray(image)
    if image.mode == "RGB" and bits == 16:
        stored = stored.astype(np.uint16) << 8 | _low_bytes(path, kind)
    elif bits < 8:
        clear = (clear > 0) * 255 if image.mode == "1" else clear * 255 // (2**bits - 1)
    if image.mode == "1":
        stored = stored * np.uint8(255)
    pixels = (stored >> 8 if bits == 16 else stored).astype(np.uint8)
    stored, pixels = np.atleast_3d(stored), np.atleast_3d(pixels)
    return np.where((stored == clear).all(axis=2, keepdims=True), 255, pixels).repeat(
        3 // pixels.shape[2], axis=2
    )


def _low_bytes(path: Path, kind: Kind) -> np.ndarray:
    """The lower bytes of a PNG with 16 bits a channel, of which Pillow reads the higher ones."""
    import numpy as np
    from PIL.ImageFile import ImageFile

    with open_image(path, kind) as image:
        assert isinstance(image, ImageFile)
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        return np.asarray(image)
