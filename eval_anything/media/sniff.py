"""Kinds of media files by their first bytes; their names do not count."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NamedTuple

from eval_anything.content import Modality
from eval_anything.media.limits import MAX_BYTES


class MediaError(ValueError):
    """A medium that cannot be used; the message says why."""


class Kind(NamedTuple):
    """Kind of a medium: modality, MIME type, and the usual extension without a dot."""

    modality: Modality
    mime: str
    extension: str


HEAD = 64
"""Number of first bytes that `sniff` needs."""


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
"""MIME types by the extension of a file's name."""


def sniff(head: bytes) -> Kind | None:
    """The kind of a medium by its first bytes (at least `HEAD` of them), None if unknown.

    Example:
        >>> sniff(bytes.fromhex("89504e470d0a1a0a")).extension
        'png'
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return Kind(Modality.AUDIO, "audio/wav", "wav")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind(Modality.IMAGE, "image/webp", "webp")
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in _STILL_BRANDS:  # pictures in the container of clips
            return None
        if brand in (b"M4A ", b"M4B "):
            return Kind(Modality.AUDIO, "audio/mp4", "m4a")
        return Kind(Modality.VIDEO, "video/mp4", "mp4")
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 == 0xE2):
        return Kind(Modality.AUDIO, "audio/mpeg", "mp3")
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def checked_kind(content: bytes, modality: Modality, where: str) -> Kind:
    """The kind of a medium. MediaError, which begins with `where`, if it is unknown or of another
    modality."""
    if not content:
        raise MediaError(f"{where} is empty")
    kind = sniff(content)
    if kind is None:
        raise MediaError(f"{where} is not a known {modality} format (first bytes {content[:8].hex()})")
    if kind.modality is not modality:
        raise MediaError(f"{where} should be {modality}, but its bytes are {kind.mime}")
    return kind


def head_of(path: Path) -> bytes:
    """The first bytes of a file. MediaError if it does not exist, is no regular file, or too large.

    Only regular files are opened: reading from a pipe could wait for ever.
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
        fault = f"of no known format (first bytes {head[:8].hex()})" if head else "empty"
        raise MediaError(f"{path} is {fault}")
    return kind
