"""Kinds of media files by their first bytes; their names do not count.

Some containers hold sounds or clips: there the first bytes only tell the container (`Kind.is_either`),
and the streams in it decide (`kinds`).
"""

from __future__ import annotations

import stat
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from eval_anything.content import Modality
from eval_anything.errors import install
from eval_anything.files.reading import open_file
from eval_anything.media.limits import MAX_BYTES


class MediaError(ValueError):
    """A medium that cannot be used; the message says why."""


class Kind(NamedTuple):
    """Kind of a medium: modality, MIME type, and the usual extension without a dot."""

    modality: Modality
    mime: str
    extension: str

    @property
    def container(self) -> str:
        """The MIME type without the modality, such as "mp4"."""
        return self.mime.partition("/")[2]

    @property
    def is_either(self) -> bool:
        """Whether such a container holds a sound or a clip, which its first bytes do not tell."""
        return self.container in _EITHER

    def is_named(self, mime: str) -> bool:
        """Whether a file of this kind may have a name that stands for `mime`."""
        return self.mime == mime or (self.is_either and self.container == mime.partition("/")[2])

    def holding(self, modality: Modality) -> Kind:
        """The kind of such a container with a sound or a clip in it."""
        return Kind(modality, f"{modality}/{self.container}", _EITHER[self.container][modality])


# Extensions of containers of sounds and clips.
_EITHER = {
    "mp4": {Modality.AUDIO: "m4a", Modality.VIDEO: "mp4"},
    "webm": {Modality.AUDIO: "weba", Modality.VIDEO: "webm"},
    "ogg": {Modality.AUDIO: "ogg", Modality.VIDEO: "ogv"},
    "x-ms-asf": {Modality.AUDIO: "wma", Modality.VIDEO: "wmv"},
}


_MP3 = Kind(Modality.AUDIO, "audio/mpeg", "mp3")


_MP2 = Kind(Modality.AUDIO, "audio/mp2", "mp2")


_MP4 = Kind(Modality.VIDEO, "video/mp4", "mp4")


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
    (b"0&\xb2u\x8ef\xcf\x11", Kind(Modality.AUDIO, "audio/x-ms-asf", "wma")),
    (b"riff\x2e\x91\xcf\x11", Kind(Modality.AUDIO, "audio/x-w64", "w64")),
    (b".snd", Kind(Modality.AUDIO, "audio/basic", "au")),
    (b"caff", Kind(Modality.AUDIO, "audio/x-caf", "caf")),
    (b"#!AMR", Kind(Modality.AUDIO, "audio/amr", "amr")),
    (b"wvpk", Kind(Modality.AUDIO, "audio/x-wavpack", "wv")),
    (b"TTA1", Kind(Modality.AUDIO, "audio/x-tta", "tta")),
    (b"NIST_1A", Kind(Modality.AUDIO, "audio/x-nist", "sph")),
    (b"Creative Voice File", Kind(Modality.AUDIO, "audio/x-voc", "voc")),
)


# Formats that are named and not read, by their first bytes.
_UNREAD = (
    (b"MThd", "MIDI, which holds notes and no sound"),
    (b"MAC ", "Monkey's Audio"),
    (b"MPCK", "Musepack"),
    (b"MP+", "Musepack"),
    (b"DSD ", "DSF"),
    (b"ADIF", "AAC with an ADIF header"),
    (b"\x0bw", "AC-3"),
    (b".RMF", "RealMedia"),
    (b"FLV\x01", "Flash video"),
    (b"\0\0\x01\xba", "an MPEG program stream"),
    (b"#EXTM3U", "a list of other files"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
)


FORMATS = {
    Modality.IMAGE: "PNG, JPEG, GIF, WebP, TIFF, AVIF, HEIC",
    Modality.AUDIO: (
        "WAV, MP3, FLAC, Ogg, M4A and other MP4, WebM, AAC (ADTS), AIFF, AU, CAF, AMR, WMA, W64, "
        "WavPack, TTA, SPHERE, VOC"
    ),
    Modality.VIDEO: "MP4, MOV, 3GP, WebM, Matroska, Ogg, WMV",
}
"""Names of the formats that are read, by modality."""


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
    "mp2": "audio/mp2",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "spx": "audio/ogg",
    "aac": "audio/aac",
    "aif": "audio/aiff",
    "aifc": "audio/aiff",
    "aiff": "audio/aiff",
    "au": "audio/basic",
    "amr": "audio/amr",
    "caf": "audio/x-caf",
    "sph": "audio/x-nist",
    "tta": "audio/x-tta",
    "voc": "audio/x-voc",
    "w64": "audio/x-w64",
    "wv": "audio/x-wavpack",
    "m4a": "audio/mp4",
    "mka": "audio/webm",
    "weba": "audio/webm",
    "wma": "audio/x-ms-asf",
    "mp4": "video/mp4",
    "mov": "video/mp4",
    "3gp": "video/mp4",
    "mkv": "video/webm",
    "ogv": "video/ogg",
    "webm": "video/webm",
    "wmv": "video/x-ms-asf",
}
"""MIME types by the extension of a file's name."""


def sniff(head: bytes) -> Kind | None:
    """The kind of a medium by its first bytes (at least `HEAD` of them), None if unknown.

    Example:
        >>> sniff(bytes.fromhex("89504e470d0a1a0a")).extension
        'png'
    """
    if head[:3] == b"ID3":
        behind = head[_tag_length(head) :]
        kind = sniff(behind) if behind[:3] != b"ID3" else None
        return kind if kind is not None and kind.modality is Modality.AUDIO else _MP3
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return Kind(Modality.AUDIO, "audio/wav", "wav")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind(Modality.IMAGE, "image/webp", "webp")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return Kind(Modality.AUDIO, "audio/aiff", "aiff")
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in _STILL_BRANDS:
            return _still_kind(head)
        return _MP4.holding(Modality.AUDIO if brand in (b"M4A ", b"M4B ") else Modality.VIDEO)
    if head[4:8] in (b"moov", b"mdat", b"wide"):  # QuickTime before it had brands
        return _MP4
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), _mpeg_audio(head))


def _still_kind(head: bytes) -> Kind | None:
    """The kind of a picture in the container of clips, by all brands of its first box."""
    length = int.from_bytes(head[:4], "big")
    if length < 16 or len(head) < 16:
        return None
    brands = {head[start : start + 4] for start in (8, *range(16, min(length, len(head)), 4))}
    if brands & _AVIF_BRANDS:
        return Kind(Modality.IMAGE, "image/avif", "avif")
    return Kind(Modality.IMAGE, "image/heic", "heic")


def _mpeg_audio(head: bytes) -> Kind | None:
    """MPEG audio by the first two bytes of a frame: twelve bits of sync (eleven in MPEG 2.5), version,
    two bits of the layer, of which AAC has none (ISO/IEC 11172-3, 13818-7)."""
    second = head[1] if head[:1] == b"\xff" and len(head) > 1 else 0
    if second & 0xF6 == 0xF0:
        return Kind(Modality.AUDIO, "audio/aac", "aac")
    return {0xE2: _MP3, 0xE4: _MP2}.get(second & 0xE6)


def _tag_length(head: bytes) -> int:
    """Bytes of the tag ID3v2 that begins so: 28 bits of length, a head of 10 and maybe a foot of 10."""
    if len(head) < 10:
        return len(head)
    a, b, c, d = head[6:10]
    return 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)


def format_name(head: bytes) -> str:
    """The name of a format that is not read, by its first bytes, or these in hex."""
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    if head[4:8] == b"ftyp":
        return f"MP4 of the brand {head[8:12].decode('latin-1')!r}"
    return next(
        (name for magic, name in _UNREAD if head.startswith(magic)), f"first bytes {head[:8].hex()}"
    )


def check_readable(kind: Kind, where: str) -> None:
    """MediaError, which begins with `where`, for a kind whose reader is not installed."""
    if kind.mime == "image/heic" and find_spec("pillow_heif") is None:
        raise MediaError(f"{where} is HEIC, which needs pillow-heif: {install('heif')}")
    if kind.mime == "image/avif":
        from PIL import features

        if not features.check("avif"):
            raise MediaError(f"{where} is AVIF, which this build of Pillow cannot read: install another")


def head_of(path: Path) -> bytes:
    """The first bytes of a file, and those behind a tag ID3. MediaError if it does not exist, is no
    regular file, or too large.

    Only regular files are opened: reading from a pipe could wait for ever.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(f"{path} cannot be read: it is no regular file")
        if status.st_size > MAX_BYTES:
            raise MediaError(f"{path} has {status.st_size} bytes, more than the {MAX_BYTES} allowed")
        with open_file(path) as file:
            head = file.read(HEAD)
            if head[:3] == b"ID3":  # the tag may be long, and is left out
                file.seek(_tag_length(head))
                head = head[:5] + bytes(5) + file.read(HEAD)
            return head
    except FileNotFoundError:
        raise MediaError(f"{path} does not exist") from None
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}") from None


def kind_of_file(path: Path) -> Kind:
    """The kind of a file; errors as in `head_of`, and MediaError for an empty or unknown one."""
    head = head_of(path)
    kind = sniff(head)
    if kind is None:
        fault = f"of no known format ({format_name(head)})" if head else "empty"
        raise MediaError(f"{path} is {fault}")
    check_readable(kind, str(path))
    return kind
