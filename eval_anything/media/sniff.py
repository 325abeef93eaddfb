"""Kinds of media files by their first bytes; their names do not count."""

from __future__ import annotations

import stat
from importlib.util import find_spec
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
    (b"II*\0", Kind(Modality.IMAGE, "image/tiff", "tiff")),
    (b"MM\0*", Kind(Modality.IMAGE, "image/tiff", "tiff")),
    (b"OggS", Kind(Modality.AUDIO, "audio/ogg", "ogg")),
    (b"fLaC", Kind(Modality.AUDIO, "audio/flac", "flac")),
    (b"\x1aE\xdf\xa3", Kind(Modality.VIDEO, "video/webm", "webm")),
)


# Brands of pictures in the container of clips (ISO/IEC 23008-12, AV1 Image File Format).
_AVIF_BRANDS = frozenset({b"avif", b"avis"})


_STILL_BRANDS = _AVIF_BRANDS | {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


EXTENSIONS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "heic": "image/heic",
    "heif": "image/heic",
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
        if brand in _STILL_BRANDS:
            return _still_kind(head)
        if brand in (b"M4A ", b"M4B "):
            return Kind(Modality.AUDIO, "audio/mp4", "m4a")
        return Kind(Modality.VIDEO, "video/mp4", "mp4")
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 == 0xE2):
        return Kind(Modality.AUDIO, "audio/mpeg", "mp3")
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def _still_kind(head: bytes) -> Kind | None:
    """The kind of a picture in the container of clips, by all brands of its first box."""
    length = int.from_bytes(head[:4], "big")
    if length < 16 or len(head) < 16:
        return None
    brands = {head[start : start + 4] for start in (8, *range(16, min(length, len(head)), 4))}
    if brands & _AVIF_BRANDS:
        return Kind(Modality.IMAGE, "image/avif", "avif")
    return Kind(Modality.IMAGE, "image/heic", "heic")


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
    check_readable(kind, where)
    return kind


def check_readable(kind: Kind, where: str) -> None:
    """MediaError, which begins with `where`, for a kind whose reader is not installed."""
    if kind.mime == "image/heic" and find_spec("pillow_heif") is None:
        raise MediaError(f"{where} is HEIC, which needs: pip install 'eval-anything[heif]'")
    if kind.mime == "image/avif":
        from PIL import features

        if not features.check("avif"):
            raise MediaError(f"{where} is AVIF, which this build of Pillow cannot read: install another")


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
    check_readable(kind, str(path))
    return kind
