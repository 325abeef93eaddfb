"""Parts as content of a chat message, cleaned by the guard: what a judge model is shown."""

from __future__ import annotations

import base64
from typing import Any

from eval_anything.content import Modality, Part, TextPart
from eval_anything.scorers import guard

Content = list[dict[str, Any]]


def text(words: str) -> dict[str, Any]:
    """A piece of text as it is."""
    return {"type": "text", "text": words}


def shown(part: Part) -> tuple[str, Content]:
    """A label and the content: a sound as WAV, a clip as frames in order. MediaError if it is broken."""
    if isinstance(part, TextPart):
        return f"[{part.modality}]", [text(guard.clean_text(part.text))]
    if part.modality is Modality.AUDIO:
        sound = guard.clean_audio(part.path)
        data = base64.b64encode(sound.data).decode()
        return _label(part, sound.note), [
            {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
        ]
    if part.modality is Modality.VIDEO:
        images = guard.clean_frames(part.path)
    else:
        images = [guard.clean_image(part.path)]
    return _label(part, images[0].note), [_image(image) for image in images]


def _label(part: Part, note: str) -> str:
    return f"[{part.modality}, {note}]" if note else f"[{part.modality}]"


def _image(image: guard.CleanMedium) -> dict[str, Any]:
    url = f"data:{image.mime};base64,{base64.b64encode(image.data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}
