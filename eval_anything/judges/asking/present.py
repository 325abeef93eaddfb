"""Sanitized parts as content of a chat message to a judge model."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

from eval_anything.content import Modality, Part, TextPart
from eval_anything.judges.asking import guard

Content = list[dict[str, Any]]


class Clips(NamedTuple):
    """Form of clips in a message: a number of frames, or the whole clip as a file without sound."""

    frames: int
    whole: bool


def text(words: str) -> dict[str, Any]:
    """Content item for a text, which is not changed."""
    return {"type": "text", "text": words}


def messages(system: str, content: Content) -> list[dict[str, Any]]:
    """Messages of a request: the system message, and one of the user with the content."""
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def part_content(part: Part, clips: Clips) -> tuple[str, Content]:
    """Label of a part, and its sanitized content: a sound as WAV, a clip as frames in order or as MP4.

    MediaError for a broken medium.
    """
    if isinstance(part, TextPart):
        return f"[{part.modality}]", [text(guard.clean_text(part.text))]
    if part.modality is Modality.AUDIO:
        sound = guard.clean_audio(part.path)
        encoded = base64.b64encode(sound.data).decode()
        return _label(part, sound.note), [
            {"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}}
        ]
    if part.modality is Modality.VIDEO and clips.whole:
        clip = guard.clean_clip(part.path)
        return _label(part, clip.note), [_by_url("video_url", clip)]
    if part.modality is Modality.VIDEO:
        images = guard.clean_frames(part.path, clips.frames)
    else:
        images = [guard.clean_image(part.path)]
    return _label(part, images[0].note), [_by_url("image_url", image) for image in images]


def _label(part: Part, note: str) -> str:
    return f"[{part.modality}, {note}]" if note else f"[{part.modality}]"


def _by_url(kind: str, medium: guard.CleanMedium) -> dict[str, Any]:
    url = f"data:{medium.mime};base64,{base64.b64encode(medium.data).decode()}"
    return {"type": kind, kind: {"url": url}}
