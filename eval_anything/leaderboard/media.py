"""The media of a site: copies known by their content, with what pages show before they are played.

A medium is what its first bytes say. What is no picture, sound or clip that browsers know, such as
SVG or HTML, never gets into the site: its place tells why.
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
from eval_anything.media import MediaError, probe, read_audio, read_frames, read_image
from eval_anything.media.sniff import checked_kind, head_of

if TYPE_CHECKING:
    import numpy as np


_THUMBNAIL = 320  # pixels of the longer side


_POSTER = 480


_SMALL = 40_000  # bytes: a picture no larger than this and its thumbnail is its own thumbnail


_PEAKS = 160


_FULL = 255


class Media:
    """What a site holds of media: `media/<aa>/<sha256>.<ext>`, and smaller pictures in `thumbs/`.

    `known` are descriptions of what an older site at `old` holds, by path; its files are linked.
    """

    def __init__(
        self, root: Path, old: Path | None = None, known: Mapping[str, dict[str, Any]] | None = None
    ) -> None:
        self._root = root
        self._old = old
        self._known = known or {}
        self._by_source: dict[tuple[Path, Modality], dict[str, Any]] = {}
        self._by_content: dict[tuple[str, Modality], dict[str, Any]] = {}

    def add(self, parts: Iterable[MediaPart]) -> None:
        """Takes in the media of these parts, several at a time."""
        new = {
            (part.path, part.modality): part
            for part in parts
            if (part.path, part.modality) not in self._by_source
        }
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
            for key, found in zip(new, threads.map(self._taken, new.values()), strict=True):
                self._by_source[key] = found

    def shown(self, part: MediaPart) -> dict[str, Any]:
        """What the page needs of a part that was added: {"m", "f", ...}, or {"m", "x": why not}."""
        return self._by_source[part.path, part.modality]

    def _taken(self, part: MediaPart) -> dict[str, Any]:
        try:
            kind = checked_kind(head_of(part.path), part.modality, part.path.name)
            data = part.path.read_bytes()
        except (MediaError, OSError) as error:
            return {"m": part.modality, "x": _reason(error, part.path)}
        sha256 = hashlib.sha256(data).hexdigest()
        found = self._by_content.get((sha256, part.modality))
        if found is None:
            name = f"media/{sha256[:2]}/{sha256[:32]}.{kind.extension}"
            try:
                found = self._taken_over(name)
                if found is None:
                    described = self._described(part, sha256[:32], len(data))
                    found = {"m": part.modality, "f": name, **described}
                    _put(self._root / name, data)
            except MediaError as error:
                found = {"m": part.modality, "x": _reason(error, part.path)}
            self._by_content[sha256, part.modality] = found
        return found

    def _taken_over(self, name: str) -> dict[str, Any] | None:
        """The description of a medium of the old site, its files now in this one; None without it."""
        found = self._known.get(name)
        if found is None or self._old is None:
            return None
        try:
            for key in ("f", "th"):
                if key in found:
                    link(self._old / found[key], self._root / found[key])
        except FileNotFoundError:
            return None
        return found

    def described(self, files: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What is known of these files, by path; thumbnails have no description."""
        new = {found["f"]: found for found in self._by_content.values() if "f" in found}
        both = {name: new.get(name, self._known.get(name)) for name in sorted(set(files))}
        return {name: found for name, found in both.items() if found is not None}

    def _described(self, part: MediaPart, name: str, size: int) -> dict[str, Any]:
        if part.modality is Modality.AUDIO:
            return _sound(part.path)
        if part.modality is Modality.VIDEO:
            said = probe(part.path)
            frame = read_frames(part.path, 1).frames[0]
            assert said.size is not None
            return {
                "w": said.size[0],
                "h": said.size[1],
                "d": round(said.duration or 0.0, 3),
                "th": self._picture(frame, name, _POSTER),
            }
        pixels = read_image(part.path)
        height, width = pixels.shape[:2]
        found: dict[str, Any] = {"w": width, "h": height}
        if max(width, height) > _THUMBNAIL or size > _SMALL:
            found["th"] = self._picture(pixels, name, _THUMBNAIL)
        return found

    def _picture(self, pixels: np.ndarray, name: str, longest: int) -> str:
        from io import BytesIO

        from PIL import Image

        image = Image.fromarray(pixels)
        image.thumbnail((longest, longest))
        buffer = BytesIO()
        image.save(buffer, "WEBP", quality=80, method=3)
        path = f"thumbs/{name[:2]}/{name}.webp"
        _put(self._root / path, buffer.getvalue())
        return path


def _sound(path: Path) -> dict[str, Any]:
    """Seconds, loudness in LUFS, and the outline of the waveform: base64 of bytes, 255 is full scale."""
    samples = read_audio(path, RATE)
    return {
        "d": round(len(samples) / RATE, 3),
        "lu": None if (level := loudness(samples)) is None else round(level, 1),
        "pk": base64.b64encode(peaks(samples)).decode(),
    }


def peaks(samples: np.ndarray) -> bytes:
    """The largest magnitude in each of 160 equal spans (all, if there are fewer samples)."""
    import numpy as np

    count = min(_PEAKS, len(samples))
    starts = np.arange(count) * len(samples) // count
    largest = np.maximum.reduceat(np.abs(samples), starts)
    return (np.clip(largest, 0, 1) * _FULL).round().astype(np.uint8).tobytes()


def link(source: Path, target: Path) -> None:
    """The same file under another path; FileNotFoundError if it is away."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(source, target)


def _put(path: Path, data: bytes) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _reason(error: Exception, path: Path) -> str:
    """Without the path: the site must not depend on where the runs lie."""
    text = error.strerror or "" if isinstance(error, OSError) else str(error)
    return text.replace(str(path), path.name)
