"""Media of a site: copies named by their hash, with thumbnails, posters and waveforms.

The type of a medium is read from its first bytes. A file that is no image, sound or video of a type
that browsers play, such as SVG or HTML, is never copied into the site: the page shows the reason.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_anything.content import MediaPart, Modality
from eval_anything.leaderboard.loudness import RATE, loudness
from eval_anything.media import (
    MediaError,
    encode_png,
    encode_wav,
    medium_bytes,
    probe,
    read_audio,
    read_frames,
    read_image,
    read_sound,
)
from eval_anything.media.kinds import checked_kind

if TYPE_CHECKING:
    import numpy as np


_NOT_OF_BROWSERS = ("tiff", "heic")  # pictures that a site has as PNG


# Containers of sounds and clips that browsers play; a site has other sounds as WAV.
_PLAYED = ("aac", "flac", "mp4", "mpeg", "ogg", "wav", "webm")


_THUMBNAIL = 320  # pixels of the longer side, in lists


_POSTER = 480


_SHOWN = 1280  # of a picture in a sample, which opens at its own size


_HEAVY = 600_000  # bytes: a larger picture is shown from a smaller file, too


_SMALL = 40_000  # bytes: a picture no larger than this and its thumbnail is its own thumbnail


FILES = ("f", "th", "md")
"""Fields of a description that are paths: the medium, its thumbnail, and what a sample shows of a large
medium."""


_PEAKS = 160


_FULL = 255


class Media:
    """Media of a site: `media/<aa>/<sha256>.<ext>`, and smaller pictures in `thumbs/`.

    `descriptions` describe the media of an older site at `old`, by path; its files are linked.
    """

    def __init__(
        self,
        root: Path,
        old: Path | None = None,
        descriptions: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self._root = root
        self._old = old
        self._old_files = descriptions or {}
        self._by_source: dict[tuple[Path, Modality], dict[str, Any]] = {}
        self._by_content: dict[tuple[str, Modality], dict[str, Any]] = {}

    def add(self, parts: Iterable[MediaPart]) -> None:
        """Copies the media of these parts into the site, several at a time."""
        new = {
            (part.path, part.modality): part
            for part in parts
            if (part.path, part.modality) not in self._by_source
        }
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
            for key, description in zip(new, threads.map(self._add, new.values()), strict=True):
                self._by_source[key] = description

    def for_page(self, part: MediaPart) -> dict[str, Any]:
        """Description of a part that was added: {"m", "f", ...}, or {"m", "x": why it is missing}."""
        return self._by_source[part.path, part.modality]

    def _add(self, part: MediaPart) -> dict[str, Any]:
        """Copies one medium, unless its content is in the site already; its description."""
        try:
            kind = checked_kind(part.path, part.modality, part.path.name)
            extension, content = kind.extension, medium_bytes(part.path)
            if extension in _NOT_OF_BROWSERS:
                extension, content = "png", encode_png(read_image(part.path))
            elif kind.modality is Modality.AUDIO and kind.container not in _PLAYED:
                extension, content = "wav", encode_wav(*read_sound(part.path))
            elif kind.modality is Modality.VIDEO and kind.container not in _PLAYED:
                raise MediaError(f"{part.path} is {kind.mime}, which browsers do not play")
        except (MediaError, OSError) as error:
            return {"m": part.modality, "x": _reason(error, part.path)}
        sha256 = hashlib.sha256(content).hexdigest()
        description = self._by_content.get((sha256, part.modality))
        if description is None:
            name = f"media/{sha256[:2]}/{sha256[:32]}.{extension}"
            try:
                description = self._reused(name)
                if description is None:
                    preview = self._preview(part, sha256[:32], len(content))
                    description = {"m": part.modality, "f": name, **preview}
                    _put(self._root / name, content)
            except MediaError as error:
                description = {"m": part.modality, "x": _reason(error, part.path)}
            self._by_content[sha256, part.modality] = description
        return description

    def _reused(self, name: str) -> dict[str, Any] | None:
        """Links a medium of the old site into this one; its description, or None if it is missing."""
        description = self._old_files.get(name)
        if description is None or self._old is None:
            return None
        try:
            for key in FILES:
                if key in description:
                    link(self._old / description[key], self._root / description[key])
        except FileNotFoundError:
            return None
        return description

    def described(self, files: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Descriptions of these files by path; thumbnails have none."""
        by_file = {**self._old_files, **{d["f"]: d for d in self._by_content.values() if "f" in d}}
        return {name: by_file[name] for name in sorted(set(files)) if name in by_file}

    def _preview(self, part: MediaPart, name: str, size: int) -> dict[str, Any]:
        """Size, duration, loudness, thumbnail: the fields of the description by modality."""
        if part.modality is Modality.AUDIO:
            return _sound(part.path)
        if part.modality is Modality.VIDEO:
            clip = probe(part.path)
            frame = read_frames(part.path, 1).frames[0]
            assert clip.size is not None
            return {
                "w": clip.size[0],
                "h": clip.size[1],
                "d": round(clip.duration or 0.0, 3),
                "th": self._picture(frame, name, _POSTER),
            }
        pixels = read_image(part.path)
        height, width = pixels.shape[:2]
        preview: dict[str, Any] = {"w": width, "h": height}
        if max(width, height) > _THUMBNAIL or size > _SMALL:
            preview["th"] = self._picture(pixels, name, _THUMBNAIL)
        if max(width, height) > _SHOWN or size > _HEAVY:
            preview["md"] = self._picture(pixels, f"{name}-{_SHOWN}", _SHOWN, quality=90)
        return preview

    def _picture(self, pixels: np.ndarray, name: str, longest: int, quality: int = 80) -> str:
        from io import BytesIO

        from PIL import Image

        image = Image.fromarray(pixels)
        image.thumbnail((longest, longest))
        buffer = BytesIO()
        image.save(buffer, "WEBP", quality=quality, method=3)
        path = f"thumbs/{name[:2]}/{name}.webp"
        _put(self._root / path, buffer.getvalue())
        return path


def _sound(path: Path) -> dict[str, Any]:
    """Duration in seconds, loudness in LUFS, and peaks of the waveform (base64 of bytes, 255 is full
    scale)."""
    samples = read_audio(path, RATE)
    return {
        "d": round(len(samples) / RATE, 3),
        "lu": None if (level := loudness(samples)) is None else round(level, 1),
        "pk": base64.b64encode(peaks(samples)).decode(),
    }


def peaks(samples: np.ndarray) -> bytes:
    """The largest magnitude in each of 160 equal spans, or of each sample if there are fewer."""
    import numpy as np

    count = min(_PEAKS, len(samples))
    starts = np.arange(count) * len(samples) // count
    largest = np.maximum.reduceat(np.abs(samples), starts)
    return (np.clip(largest, 0, 1) * _FULL).round().astype(np.uint8).tobytes()


def link(source: Path, target: Path) -> None:
    """Links a file under another path, or copies it. FileNotFoundError if it does not exist."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _put(path: Path, content: bytes) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _reason(error: Exception, path: Path) -> str:
    """The error's message without the folder: the site must not depend on where the runs are stored."""
    text = error.strerror or "" if isinstance(error, OSError) else str(error)
    return text.replace(str(path), path.name)
