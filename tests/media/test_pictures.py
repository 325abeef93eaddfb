"""Pictures of every mode and orientation, as Pillow and the formats define them."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from eval_anything.content import Modality
from eval_anything.media import MediaError, media_part, probe, read_image, read_picture, sniff
from tests.support.media_corpus import chunk

CHANCE = np.random.default_rng(11)
PIXELS = CHANCE.integers(0, 255, (12, 20, 3), np.uint8)
PICTURE = Image.fromarray(PIXELS)


def saved(picture: Image.Image, path: Path, form: str, **options: Any) -> Path:
    picture.save(path, form, **options)
    return path


def exif(kind: int, count: int, value: bytes) -> bytes:
    """Exif data of one tag, the orientation, of this type."""
    entry = struct.pack("<HHI", 0x0112, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4) + b"\x06\0\0\0\x01\0\0\0"


TAGS = {
    **{f"SHORT {value}": exif(3, 1, bytes([value, 0])) for value in range(10)},
    "ASCII": exif(2, 2, b"6\0"),
    "BYTE": exif(1, 1, b"\6"),
    "LONG": exif(4, 1, b"\6\0\0\0"),
    "RATIONAL": exif(5, 1, b"\x1a\0\0\0"),
    "UNDEFINED": exif(7, 4, b"\6\0\0\0"),
    "FLOAT": exif(11, 1, struct.pack("<f", 6)),
    "two SHORT": exif(3, 2, b"\6\0\3\0"),
    "too many": exif(3, 2**32 - 1, b"\6\0"),
    "no type": exif(99, 1, b"\6"),
    "cut": b"Exif\0\0II*\0\x08\0\0\0\xff",
    "no Exif data": b"Exif\0\0hello",
}


def tiff(tag: bytes) -> bytes:
    """The picture as TIFF, with the tag of Exif data in its own directory."""
    buffer = io.BytesIO()
    PICTURE.save(buffer, "TIFF")
    data = buffer.getvalue()
    start = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[start : start + 2])[0]
    entries = [data[start + 2 + 12 * n : start + 14 + 12 * n] for n in range(count)] + [tag]
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2])[0])
    directory = struct.pack("<H", count + 1) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


@pytest.mark.filterwarnings("ignore::UserWarning")  # by Pillow, about such tags
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_orientation_of_any_type_and_value_is_read_as_pillow_reads_it(
    tmp_path: Path, form: str
) -> None:
    for name, data in TAGS.items():
        path = tmp_path / f"a.{form.lower()}"
        if form == "TIFF":
            if name in ("cut", "no Exif data", "RATIONAL"):
                continue
            path.write_bytes(tiff(data[16:28]))
        else:
            PICTURE.save(path, form, exif=data, **({"lossless": True} if form == "WEBP" else {}))
        stored = np.asarray(Image.open(path))
        try:
            expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
        except SyntaxError:  # "not a TIFF file": readers show such a picture as it is
            expected = stored
        pixels, is_plain = read_picture(path)
        assert np.array_equal(pixels, expected), name
        assert probe(path).size == (expected.shape[1], expected.shape[0]), name
        assert is_plain == (form != "TIFF" and np.array_equal(expected, stored)), name


def raw_png(values: np.ndarray, bits: int, colour: int, clear: Any = None) -> bytes:
    """A PNG of values (height, width, channels) of so many bits, with a transparent colour."""
    height, width, _ = values.shape
    if bits < 8:
        planes = (values.reshape(height, -1, 1) >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)
        rows = [np.packbits(row.reshape(-1)).tobytes() for row in planes]
    else:
        rows = [row.astype(">u2" if bits == 16 else "u1").tobytes() for row in values]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    named = b"" if clear is None else chunk(b"tRNS", np.asarray(clear).astype(">u2").tobytes())
    packed = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + named + packed + chunk(b"IEND", b"")


def test_a_png_may_name_a_colour_of_any_depth_as_transparent(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for bits, channels in ((1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (8, 3), (16, 3)):
        values = CHANCE.integers(0, 2**bits, (8, 8, channels))
        values[4] = values[3, 3]  # the transparent colour
        if bits == 16:
            values[5] = values[3, 3] ^ 1  # another one with the same higher byte
        shown = values * 255 // (2**bits - 1) if bits < 16 else values >> 8
        is_clear = (values == values[3, 3]).all(axis=2, keepdims=True)
        expected = np.broadcast_to(np.where(is_clear, 255, shown), (8, 8, 3))
        path.write_bytes(raw_png(values, bits, 0 if channels == 1 else 2, values[3, 3]))
        assert np.array_equal(read_image(path), expected), (bits, channels)
        assert not read_picture(path).is_plain
        path.write_bytes(raw_png(values, bits, 0 if channels == 1 else 2))
        assert np.array_equal(read_image(path), np.broadcast_to(shown, (8, 8, 3))), (bits, channels)
        assert read_picture(path).is_plain == (bits in (2, 4, 8))


def test_pictures_of_every_mode_are_rgb_of_eight_bits(tmp_path: Path) -> None:
    grey = np.asarray(PICTURE.convert("L"))
    over_white = np.asarray(
        Image.alpha_composite(
            Image.new("RGBA", PICTURE.size, "white"), Image.fromarray(np.dstack([PIXELS, grey]))
        ).convert("RGB")
    )
    three = np.dstack([grey] * 3)
    palette = PICTURE.quantize(16)
    lab = Image.merge("LAB", [Image.new("L", (4, 4), value) for value in (138, 209, 198)])  # red
    cases: dict[str, tuple[Image.Image, str, np.ndarray, float]] = {
        "CMYK": (PICTURE.convert("CMYK"), "TIFF", PIXELS, 1),
        "palette": (palette, "PNG", np.asarray(palette.convert("RGB")), 0),
        "grey with alpha": (
            Image.merge("LA", [PICTURE.convert("L"), Image.new("L", PICTURE.size, 0)]),
            "PNG",
            np.full_like(PIXELS, 255),
            0,
        ),
        "RGBA": (Image.fromarray(np.dstack([PIXELS, grey])), "TIFF", over_white, 0),
        "16 bits": (Image.fromarray(grey.astype(np.uint16) * 257), "TIFF", three, 0),
        "32 bits": (Image.fromarray(grey.astype(np.int32) << 23), "TIFF", three, 0),
        "floats of 0..255": (Image.fromarray(grey.astype(np.float32)), "TIFF", three, 0),
        "floats of 0..1": (Image.fromarray((grey / 255).astype(np.float32)), "TIFF", three, 0),
        "CIELAB": (lab, "TIFF", np.full((4, 4, 3), (255, 0, 0)), 6),
    }
    for name, (picture, form, expected, most) in cases.items():
        path = saved(picture, tmp_path / f"a.{form.lower()}", form)
        pixels, is_plain = read_picture(path)
        assert pixels.dtype == np.uint8
        assert abs(pixels.astype(int) - expected).max() <= most, name
        assert is_plain == (name == "palette"), name


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "TIFF"])
def test_of_several_pictures_the_first_is_read_and_the_file_is_not_plain(
    tmp_path: Path, form: str
) -> None:
    pages = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    path = tmp_path / f"a.{form.lower()}"
    pages[0].save(path, form, save_all=True, append_images=pages[1:], **options)
    pixels, is_plain = read_picture(path)
    assert (pixels == (255, 0, 0)).all()
    assert not is_plain


def test_avif_and_heic_are_read_upright(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    large = Image.fromarray(np.kron(PIXELS, np.ones((16, 16, 1), np.uint8)))
    turned = Image.Exif()
    turned[0x0112] = 6
    expected = np.rot90(np.asarray(large), -1).astype(int)
    for form in ("AVIF", "HEIF"):
        path = saved(large, tmp_path / f"a.{form.lower()}", form, exif=turned.tobytes(), quality=100)
        part = media_part(path, Modality.IMAGE)
        assert part.mime == {"AVIF": "image/avif", "HEIF": "image/heic"}[form]
        pixels, is_plain = read_picture(path)
        assert probe(path).size == (192, 320)
        assert abs(pixels - expected).mean() < 8
        assert not is_plain


@pytest.mark.parametrize(
    ("brands", "mime"),
    [
        (b"heic\0\0\0\0mif1heic", "image/heic"),
        (b"mif1\0\0\0\0mif1heicmiaf", "image/heic"),
        (b"msf1\0\0\0\0hevc", "image/heic"),
        (b"mif1\0\0\0\0mif1avifmiaf", "image/avif"),
        (b"avis\0\0\0\0avif", "image/avif"),
    ],
)
def test_the_brands_tell_heic_from_avif(brands: bytes, mime: str) -> None:
    kind = sniff(struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(32))
    assert kind is not None
    assert kind.mime == mime


def test_heic_without_its_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    with pytest.raises(
        MediaError, match=r"photo.heic is HEIC, which needs pillow-heif: pip install '.\[heif"
    ):
        media_part(path, Modality.IMAGE)
