"""What a file is: its first bytes say it, its name does not."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NamedTuple

from eval_anything.content import Modality
from eval_anything.media.limits import MAX_BYTES


class MediaError(ValueError):
    """A medium that cannot be used; the message says why."""


class Kind(NamedTuple):
    """What the first bytes of a file say."""

    modality: Modality
    mime: str
    extension: str


HEAD = 64
"""How many of the first bytes `sniff` wants."""


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", Kind(Modality.IMAGE, "image/png", "png")),
    (b"\xff\xd8\xff", Kind(Modality.IMAGE, "image/jpeg", "jpg")),
    (b"GIF8", Kind(Modality.IMAGE, "image/gif", "gif")),
    (b"OggS", Kind(Modality.AUDIO, "audio/ogg", "ogg")),
    (b"fLaC", Kind(Modality.AUDIO, "audio/flac", "flac")),
    (b"\x1aE\xdf\xa3", Kind(Modality.VIDEO, "video/webm", "webm")),
)


_STILL_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"})


EXTENSIONS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "m4a": "audio/mp4",
    "mp4": "video/mp4",
    "webm": "video/webm",
}
"""The mime type that a name claims."""


def sniff(data: bytes) -> Kind | None:
    """The kind of medium from its first bytes (`HEAD` are wanted), None if unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return Kind(Modality.AUDIO, "audio/wav", "wav")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Kind(Modality.IMAGE, "image/webp", "webp")
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand in _STILL_BRANDS:  # pictures in the container of clips
            return None
        if brand in (b"M4A ", b"M4B "):
            return Kind(Modality.AUDIO, "audio/mp4", "m4a")
        return Kind(Modality.VIDEO, "video/mp4", "mp4")
    if data[:3] == b"ID3" or (data[:1] == b"\xff" and len(data) > 1 and data[1] & 0xE6 == 0xE2):
        return Kind(Modality.AUDIO, "audio/mpeg", "mp3")
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)


def checked_kind(data: bytes, modality: Modality, where: str) -> Kind:
    """The kind of these first bytes. MediaError if it is none or of another modality."""
    if not data:
        raise MediaError(f"{where} is empty")
    kind = sniff(data)
    if kind is None:
        raise MediaError(f"{where} is not a known {modality} format (first bytes {data[:8].hex()})")
    if kind.modality is not modality:
        raise MediaError(f"{where} should be {modality}, but its bytes are {kind.mime}")
    return kind


def head_of(path: Path) -> bytes:
    """The first bytes of a file. MediaError if it is away, no regular file, or too large.

    Nothing that is no regular file is opened: a pipe would wait for ever.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(f"{path} cannot be read: it is no regular file")
        if status.st_size > MAX_BYTES:
            raise MediaError(f"{path} has {status.st_size} bytes, more than the {MAX_BYTES} allowed")
        with path.open("rb") as file:
            return file.read(HEAD)
    except FileNotFoundError:
        raise MediaError(f"{path} does not exist") from None
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}") from None


def kind_of_file(path: Path) -> Kind:
    """The kind of a file; errors as in `head_of`, and MediaError for an empty or unknown one."""
    head = head_of(path)
    kind = sniff(head)
    if kind is None:
        found = f"of no known format (first bytes {head[:8].hex()})" if head else "empty"
        raise MediaError(f"{path} is {found}")
    return kind
