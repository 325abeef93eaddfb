"""Media files: what they are, whether they decode, and their pixels and samples.

Bytes are believed, names are not: a file is what its first bytes say. Every reader raises `MediaError`
with the reason for an empty, truncated, foreign or oversized file, and for one whose decoder crashes,
hangs or asks for too much memory: decoding happens in child processes. docs/media.md says more.
"""

from __future__ import annotations

from eval_anything.media.encode import encode_mp4, encode_png, encode_wav
from eval_anything.media.limits import MAX_BYTES
from eval_anything.media.read import (
    Probe,
    Sound,
    Video,
    check_decodes,
    probe,
    read_audio,
    read_frames,
    read_image,
    read_sound,
    read_video,
)
from eval_anything.media.sniff import Kind, MediaError, sniff
from eval_anything.media.store import MediaStore, media_part

__all__ = [
    "MAX_BYTES",
    "Kind",
    "MediaError",
    "MediaStore",
    "Probe",
    "Sound",
    "Video",
    "check_decodes",
    "encode_mp4",
    "encode_png",
    "encode_wav",
    "media_part",
    "probe",
    "read_audio",
    "read_frames",
    "read_image",
    "read_sound",
    "read_video",
    "sniff",
]
