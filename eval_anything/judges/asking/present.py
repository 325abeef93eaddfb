"""Parts as content of a chat message, cleaned by the guard: what a judge model is shown."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

from eval_anything.content import Modality, Part, TextPart
from eval_anything.judges.asking import guard

Content = list[dict[str, Any]]


class Clips(NamedTuple):
    """How clips are shown: as so many frames, or whole, as a file without its sound."""

    frames: int
    whole: bool


def text(words: str) -> dict[str, Any]:
    """A piece of text as it is."""
    return {"type": "text", "text": words}


def messages(system: str, content: Content) -> list[dict[str, Any]]:
    """A request: the system message, then what the user shows."""
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def shown(part: Part, clips: Clips) -> tuple[str, Content]:
    """A label and the content: a sound as WAV, a clip as frames in order or as MP4. MediaError if it is
    broken."""
    if isinstance(part, TextPart):
        return f"[{part.modality}]", [text(guard.clean_text(part.text))]
    if part.modality is Modality.AUDIO:
        sound = guard.clean_audio(part.path)
        data = base64.b64encode(sound.data).decode()
        return _label(part, sound.note), [
            {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
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
