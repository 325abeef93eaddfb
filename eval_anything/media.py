"""Media files: what they are, whether they decode, and their pixels and samples.

Bytes are believed, names are not: a file is what its first bytes say. Every reader raises
`MediaError` with the reason for an empty, truncated, foreign or oversized file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eval_anything.content import MediaPart, Modality
from eval_anything.files import write_atomically

if TYPE_CHECKING:
    import numpy as np

# A response is a few seconds of media; anything near these bounds is a decompression bomb.
MAX_BYTES = 512 * 2**20
MAX_PIXELS = 64 * 2**20
MAX_VIDEO_PIXELS = 512 * 2**20
MAX_AUDIO_SECONDS = 3600.0


class MediaError(ValueError):
    """A medium that cannot be used; the message says why."""


class Kind(NamedTuple):
    """What the first bytes of a file say."""

    modality: Modality
    mime: str
    extension: str


def sniff(data: bytes) -> Kind | None:
    """The kind of medium from its first bytes (at least 16 are wanted), None if unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return Kind(Modality.AUDIO, "audio/wav", "wav")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Kind(Modality.IMAGE, "image/webp", "webp")
    if data[4:8] == b"ftyp":
        if data[8:12] == b"M4A ":
            return Kind(Modality.AUDIO, "audio/mp4", "m4a")
        return Kind(Modality.VIDEO, "video/mp4", "mp4")
    if data[:3] == b"ID3" or (data[:1] == b"\xff" and len(data) > 1 and data[1] & 0xE6 == 0xE2):
        return Kind(Modality.AUDIO, "audio/mpeg", "mp3")
    for magic, kind in (
        (b"\x89PNG\r\n\x1a\n", Kind(Modality.IMAGE, "image/png", "png")),
        (b"\xff\xd8\xff", Kind(Modality.IMAGE, "image/jpeg", "jpg")),
        (b"GIF8", Kind(Modality.IMAGE, "image/gif", "gif")),
        (b"OggS", Kind(Modality.AUDIO, "audio/ogg", "ogg")),
        (b"fLaC", Kind(Modality.AUDIO, "audio/flac", "flac")),
        (b"\x1aE\xdf\xa3", Kind(Modality.VIDEO, "video/webm", "webm")),
    ):
        if data.startswith(magic):
            return kind
    return None


_NAMES = {
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


def _kind_of(data: bytes, modality: Modality, where: str) -> Kind:
    if not data:
        raise MediaError(f"{where} is empty")
    kind = sniff(data)
    if kind is None:
        raise MediaError(f"{where} is not a known {modality} format (first bytes {data[:8].hex()})")
    if kind.modality is not modality:
        raise MediaError(f"{where} should be {modality}, but its bytes are {kind.mime}")
    return kind


def media_part(path: Path, modality: Modality) -> MediaPart:
    """The part for a file as it lies on disk. MediaError if its bytes are not what is claimed."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise MediaError(f"{path} has {size} bytes, more than the {MAX_BYTES} allowed")
        data = path.read_bytes()
    except FileNotFoundError:
        raise MediaError(f"{path} does not exist") from None
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}") from None
    kind = _kind_of(data, modality, str(path))
    named = _NAMES.get(path.suffix.lower().lstrip("."))
    if named is not None and named != kind.mime:
        raise MediaError(f"{path} is named like {named}, but its bytes are {kind.mime}")
    return MediaPart(modality, hashlib.sha256(data).hexdigest(), kind.mime, path.resolve())


class MediaStore:
    """A folder that holds each medium once, at `<aa>/<sha256>.<ext>`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def put(self, data: bytes, modality: Modality) -> MediaPart:
        """Keeps the bytes (atomically; a second time is free). MediaError if they are no such medium."""
        kind = _kind_of(data, modality, f"the {modality} of the response")
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.root / sha256[:2] / f"{sha256}.{kind.extension}"
        if not path.exists():
            write_atomically(path, data)
        return MediaPart(modality, sha256, kind.mime, path)


def check_decodes(part: MediaPart) -> None:
    """Reads the whole medium. MediaError if it does not decode."""
    if part.modality is Modality.IMAGE:
        read_image(part.path)
    elif part.modality is Modality.AUDIO:
        read_audio(part.path, rate=8000)
    else:
        read_video(part.path)


def read_image(path: Path) -> np.ndarray:
    """Pixels as uint8 (height, width, 3), RGB; transparency is laid over white."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise MediaError(f"{path} has {image.width}x{image.height} pixels: more than allowed")
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                rgba = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
            return np.asarray(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"{path} does not decode as an image: {error}") from None


def read_audio(path: Path, rate: int) -> np.ndarray:
    """The sound as float32 (samples,), mono, in -1..1, resampled to `rate` Hz."""
    import av
    import numpy as np

    _check_wav_length(path)
    chunks: list[np.ndarray] = []
    total = 0
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise MediaError(f"{path} has no sound")
            for frame in container.decode(container.streams.audio[0]):
                for out in resampler.resample(frame):
                    chunks.append(out.to_ndarray()[0])
                    total += out.samples
                if total > MAX_AUDIO_SECONDS * rate:
                    raise MediaError(f"{path} is longer than {MAX_AUDIO_SECONDS:.0f} s")
            for out in resampler.resample(None):
                chunks.append(out.to_ndarray()[0])
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"{path} does not decode as audio: {error}") from None
    if not chunks:
        raise MediaError(f"{path} holds no samples of sound")
    return np.concatenate(chunks).astype(np.float32)


def _check_wav_length(path: Path) -> None:
    """FFmpeg reads a truncated WAV without a word: compare its data chunk with the file's size."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(12)
            if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
                return
            while len(chunk := file.read(8)) == 8:
                length = int.from_bytes(chunk[4:], "little")
                if chunk[:4] == b"data":
                    # 0 and 0xFFFFFFFF are what streaming writers put there
                    if length not in (0, 0xFFFFFFFF) and file.tell() + length > size:
                        raise MediaError(f"{path} is truncated: {length} bytes of sound declared")
                    return
                file.seek(length + length % 2, 1)
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}") from None
    raise MediaError(f"{path} is truncated: it has no sound data")


class Video(NamedTuple):
    """Decoded frames: uint8 (n, height, width, 3), RGB, and their times in seconds, float64 (n,)."""

    frames: np.ndarray
    times: np.ndarray


def read_video(path: Path) -> Video:
    """All frames of a clip, in order."""
    import av
    import numpy as np

    frames: list[np.ndarray] = []
    times: list[float] = []
    pixels = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path} has no pictures")
            stream = container.streams.video[0]
            declared = stream.frames
            for frame in container.decode(stream):
                pixels += frame.width * frame.height
                if pixels > MAX_VIDEO_PIXELS:
                    raise MediaError(f"{path} is larger than {MAX_VIDEO_PIXELS} pixels in all")
                frames.append(frame.to_ndarray(format="rgb24"))
                times.append(frame.time if frame.time is not None else float(len(times)))
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"{path} does not decode as video: {error}") from None
    if not frames:
        raise MediaError(f"{path} holds no frames")
    if declared and len(frames) < declared:
        raise MediaError(f"{path} is truncated: {len(frames)} of {declared} frames")
    return Video(np.stack(frames), np.asarray(times))
