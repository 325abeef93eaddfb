"""Pictures of the corpus: depths, transparency, orientations, and formats of phones."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from eval_anything.content import Modality
from tests.media.corpus.specimen import Bound, Make, Specimen, specimens
from tests.media.corpus.writers import (
    animated_by_pillow,
    by_pillow,
    changed,
    cut,
    jpeg_with_exif,
    png_with,
)

# 16 bits are rounded or cut to 8, and transparent pixels are blended in whole numbers.
EXACT = Bound("pictures: PNG, GIF, TIFF, lossless WebP", most=1, mean=0.6)
# Chroma is interpolated in other ways.
LOSSY = Bound("pictures: JPEG, WebP, AVIF, HEIC", most=16, mean=2.5)

PNG: dict[str, Make] = {
    "convert.png": "convert photo.png OUT",
    "convert-interlaced.png": "convert photo.png -interlace PNG OUT",
    "convert-palette.png": "convert photo.png -colors 64 -type Palette PNG8:OUT",
    "convert-palette-clear.png": "convert clear.png -colors 32 PNG8:OUT",
    "convert-16.png": "convert -size 62x46 -depth 16 -endian LSB RGB:deep.rgb48 OUT",
    "convert-16-alpha.png": "convert -size 62x46 -depth 16 -endian LSB RGBA:deep.rgba64 PNG64:OUT",
    "convert-grey-1.png": "convert grey.png -monochrome -depth 1 OUT",
    "convert-grey-2.png": "convert grey.png -colors 4 -depth 2 -define png:bit-depth=2 OUT",
    "convert-grey-4.png": "convert grey.png -depth 4 -define png:bit-depth=4 OUT",
    "convert-grey-alpha.png": "convert clear.png -colorspace Gray -type GrayscaleAlpha OUT",
    "ffmpeg.png": "ffmpeg -i photo.png OUT",
    "ffmpeg-grey.png": "ffmpeg -i grey.png -pix_fmt gray OUT",
    "ffmpeg-grey-alpha.png": "ffmpeg -i clear.png -pix_fmt ya8 OUT",
    "ffmpeg-alpha.png": "ffmpeg -i clear.png -pix_fmt rgba OUT",
    "ffmpeg-palette.png": "ffmpeg -i photo.png -pix_fmt pal8 OUT",
    "ffmpeg-1.png": "ffmpeg -i grey.png -pix_fmt monob OUT",
    "ffmpeg-16.png": "ffmpeg -f rawvideo -pix_fmt rgb48le -s 62x46 -i deep.rgb48 -pix_fmt rgb48be OUT",
    "ffmpeg-16-grey.png": "ffmpeg -f rawvideo -pix_fmt gray16le -s 62x46 -i deep.gray16"
    " -pix_fmt gray16be OUT",
    "ffmpeg-16-alpha.png": "ffmpeg -f rawvideo -pix_fmt rgba64le -s 62x46 -i deep.rgba64"
    " -pix_fmt rgba64be OUT",
    "ffmpeg-16-grey-alpha.png": "ffmpeg -f rawvideo -pix_fmt rgba64le -s 62x46 -i deep.rgba64"
    " -pix_fmt ya16be OUT",
    "ffmpeg-animated.png": "ffmpeg -i film.y4m -f apng OUT",
    "pillow-palette.png": by_pillow("P"),
    "pillow-1.png": by_pillow("1"),
    "pillow-palette-clear.png": by_pillow("P", transparency=40),
    "pillow-16-grey.png": by_pillow("I;16", source="grey.png"),
    "pillow-profile.png": by_pillow(icc_profile=bytes(200)),
    "key.png": changed("convert photo.png OUT", png_with(b"tRNS", struct.pack(">3H", 153, 76, 255))),
    "key-grey.png": changed("convert grey.png OUT", png_with(b"tRNS", struct.pack(">H", 90))),
    "key-16.png": changed(
        "ffmpeg -f rawvideo -pix_fmt rgb48le -s 62x46 -i deep.rgb48 -pix_fmt rgb48be OUT",
        png_with(b"tRNS", struct.pack(">3H", 300, 200, 100)),
    ),
    "key-16-grey.png": changed(
        "ffmpeg -f rawvideo -pix_fmt gray16le -s 62x46 -i deep.gray16 -pix_fmt gray16be OUT",
        png_with(b"tRNS", struct.pack(">H", 13107)),
    ),
}

JPEG: dict[str, Make] = {
    "convert.jpg": "convert photo.png -quality 90 OUT",
    "convert-444.jpg": "convert photo.png -quality 90 -sampling-factor 4:4:4 OUT",
    "convert-422.jpg": "convert photo.png -quality 90 -sampling-factor 4:2:2 OUT",
    "convert-progressive.jpg": "convert photo.png -quality 90 -interlace JPEG OUT",
    "convert-grey.jpg": "convert photo.png -colorspace Gray -quality 90 OUT",
    "ffmpeg.jpg": "ffmpeg -i photo.png -q:v 2 OUT",
    "ffmpeg-444.jpg": "ffmpeg -i photo.png -q:v 2 -pix_fmt yuvj444p OUT",
    "ffmpeg-grey.jpg": "ffmpeg -i grey.png -q:v 2 -pix_fmt gray OUT",
    "pillow.jpg": by_pillow(quality=90),
    "pillow-progressive.jpg": by_pillow(quality=90, progressive=True),
    "pillow-restarts.jpg": by_pillow(quality=90, restart_marker_rows=1),
    "pillow-pair.jpg": animated_by_pillow(format="MPO"),
    "tags.jpg": "convert photo.png -quality 90 OUT && exiftool -q -overwrite_original -Artist=A"
    " -XMP:Title=T '-ThumbnailImage<=grey.png' OUT",
    "bytes-behind.jpg": "convert photo.png -quality 90 OUT && head -c 500 /dev/zero >> OUT",
}

# An Orientation (0x0112) that is text, a rational number, or none of the eight.
WRONG_ORIENTATIONS: dict[str, Make] = {
    "wrong-orientation.jpg": changed(
        "ffmpeg -i photo.png -q:v 2 OUT", jpeg_with_exif(struct.pack("<HHI4s", 0x112, 2, 2, b"6\0\0\0"))
    ),
    "rational-orientation.jpg": changed(
        "ffmpeg -i photo.png -q:v 2 OUT", jpeg_with_exif(struct.pack("<HHII", 0x112, 5, 1, 26))
    ),
    "ninth-orientation.jpg": changed(
        "ffmpeg -i photo.png -q:v 2 OUT", jpeg_with_exif(struct.pack("<HHIHH", 0x112, 3, 1, 9, 0))
    ),
    "two-orientations.jpg": changed(
        "ffmpeg -i photo.png -q:v 2 OUT", jpeg_with_exif(struct.pack("<HHIHH", 0x112, 3, 2, 1, 6))
    ),
}

GIF: dict[str, Make] = {
    "convert.gif": "convert photo.png OUT",
    "convert-clear.gif": "convert clear.png OUT",
    "convert-interlaced.gif": "convert photo.png -interlace GIF OUT",
    "convert-animated.gif": "convert -delay 20 moving0.png moving1.png moving2.png OUT",
    "ffmpeg-animated.gif": "ffmpeg -i film.y4m OUT",
    "pillow-animated.gif": animated_by_pillow(duration=100, loop=0),
}

WEBP_EXACT: dict[str, Make] = {
    "convert-lossless.webp": "convert photo.png -define webp:lossless=true OUT",
    "convert-lossless-clear.webp": "convert clear.png -define webp:lossless=true,exact=true OUT",
    "ffmpeg-lossless.webp": "ffmpeg -i photo.png -lossless 1 OUT",
}

WEBP: dict[str, Make] = {
    "convert.webp": "convert photo.png -quality 90 OUT",
    "ffmpeg.webp": "ffmpeg -i photo.png -quality 90 OUT",
    "ffmpeg-clear.webp": "ffmpeg -i clear.png -quality 90 OUT",
    "pillow.webp": by_pillow(quality=90),
}

# ffmpeg 5.1 reads no animated WebP: what was written is the truth.
WEBP_ANIMATED: dict[str, Make] = {
    "ffmpeg-animated.webp": "ffmpeg -i moving0.png -i moving1.png -filter_complex concat=n=2"
    " -c:v libwebp_anim -lossless 1 OUT",
    "pillow-animated.webp": animated_by_pillow(lossless=True),
}

CMYK: dict[str, Make] = {
    "convert-cmyk.jpg": "convert photo.png -colorspace CMYK -quality 95 OUT",
    "pillow-cmyk.jpg": by_pillow("CMYK", quality=95),
}

TIFF: dict[str, Make] = {
    "ffmpeg.tiff": "ffmpeg -i photo.png OUT",
    "ffmpeg-alpha.tiff": "ffmpeg -i clear.png OUT",
    "convert-lzw.tiff": "convert photo.png -compress LZW OUT",
    "convert-grey-16.tiff": "convert -size 62x46 -depth 16 -endian LSB GRAY:deep.gray16 OUT",
    "convert-pages.tiff": "convert moving0.png moving1.png OUT",
    "pillow.tiff": by_pillow(compression="tiff_deflate"),
}

HEIF: dict[str, Make] = {
    "heif-enc.heic": "heif-enc -q 90 -o OUT photo.png",
    "heif-enc-444.heic": "heif-enc -q 90 -p chroma=444 -o OUT photo.png",
    "heif-enc-clear.heic": "heif-enc -q 95 -o OUT clear.png",
    "heif-enc-10.heic": "convert -size 62x46 -depth 16 -endian LSB RGB:deep.rgb48 OUT.16.png"
    " && heif-enc -q 95 -b 10 -o OUT OUT.16.png",
    "heif-enc.avif": "heif-enc -A -q 90 -o OUT photo.png",
    "heif-enc-clear.avif": "heif-enc -A -q 95 -o OUT clear.png",
    "ffmpeg.avif": "ffmpeg -i photo.png -c:v libaom-av1 -still-picture 1 -crf 20 OUT",
    "ffmpeg-10.avif": "ffmpeg -i photo.png -c:v libaom-av1 -still-picture 1 -crf 20"
    " -pix_fmt yuv420p10le OUT",
    "convert.avif": "convert photo.png -quality 90 OUT",
    "pillow.avif": by_pillow(quality=90),
}

TRUNCATED: dict[str, Make] = {
    "cut.png": changed("ffmpeg -i photo.png OUT", cut(0.6)),
    "cut.jpg": changed("ffmpeg -i photo.png -q:v 2 OUT", cut(0.6)),
    "cut.webp": changed("ffmpeg -i photo.png OUT", cut(0.6)),
}

OTHERS: dict[str, Make] = {
    "bmp.bmp": "ffmpeg -i photo.png OUT",
    "portable.ppm": "ffmpeg -i photo.png OUT",
    "jpeg2000.jp2": "convert photo.png OUT",
    "vector.svg": "echo '<svg xmlns=\"http://www.w3.org/2000/svg\"/>' > OUT",
}


def pictures() -> Iterator[Specimen]:
    """All pictures."""
    yield from specimens(Modality.IMAGE, EXACT, PNG)
    yield from specimens(Modality.IMAGE, LOSSY, JPEG)
    yield from specimens(Modality.IMAGE, LOSSY, WRONG_ORIENTATIONS)
    yield from specimens(Modality.IMAGE, EXACT, GIF)
    yield from specimens(Modality.IMAGE, EXACT, TIFF)
    yield from specimens(Modality.IMAGE, EXACT, WEBP_EXACT)
    yield from specimens(Modality.IMAGE, LOSSY, WEBP)
    for specimen in specimens(Modality.IMAGE, EXACT, WEBP_ANIMATED):
        yield replace(specimen, shown="cp moving0.png OUT.shown.png")
    for specimen in specimens(Modality.IMAGE, LOSSY, CMYK):
        yield replace(specimen, shown="ffmpeg -i photo.png OUT.shown.png")
    for specimen in specimens(Modality.IMAGE, LOSSY, HEIF):
        yield replace(specimen, shown="heif-convert OUT OUT.shown.png")
    yield from _turned()
    yield from specimens(Modality.IMAGE, EXACT, TRUNCATED, refused="truncated|does not decode")
    yield from specimens(Modality.IMAGE, EXACT, OTHERS, refused="known")


def _turned() -> Iterator[Specimen]:
    tag = "exiftool -q -n -overwrite_original -Orientation={} OUT"
    for orientation in range(1, 9):
        entry = struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0)
        makes: dict[str, Make] = {
            f"turned-{orientation}.jpg": changed(
                "ffmpeg -i photo.png -q:v 2 OUT", jpeg_with_exif(entry)
            ),
            f"exiftool-{orientation}.jpg": "convert photo.png -quality 90 OUT && "
            + tag.format(orientation),
        }
        for specimen in specimens(Modality.IMAGE, LOSSY, makes):
            yield replace(specimen, orientation=orientation)
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0)
    upright: dict[str, tuple[Bound, Make]] = {
        "pillow-turned.png": (EXACT, by_pillow(exif=exif)),
        "pillow-turned.webp": (EXACT, by_pillow(exif=exif, lossless=True)),
        "exiftool-turned.tiff": (EXACT, "convert photo.png OUT && " + tag.format(6)),
        "exiftool-turned.png": (EXACT, "convert photo.png OUT && " + tag.format(6)),
        "exiftool-turned.webp": (LOSSY, "convert photo.png OUT && " + tag.format(6)),
    }
    for name, (bound, make) in upright.items():
        [specimen] = specimens(Modality.IMAGE, bound, {name: make})
        yield replace(specimen, orientation=6)
    heif: dict[str, Make] = {
        "turned.heic": "convert photo.png -quality 95 OUT.jpg && "
        "exiftool -q -n -overwrite_original -Orientation=6 OUT.jpg && heif-enc -q 90 -o OUT OUT.jpg",
        "turned.avif": "convert photo.png -quality 95 OUT.jpg && "
        "exiftool -q -n -overwrite_original -Orientation=8 OUT.jpg && heif-enc -A -q 90 -o OUT OUT.jpg",
    }
    for specimen in specimens(Modality.IMAGE, LOSSY, heif):
        yield replace(specimen, shown="heif-convert OUT OUT.shown.png")
