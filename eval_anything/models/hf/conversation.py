"""Conversion of messages into the conversations of transformers' processors, with decoded media."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from eval_anything.content import MediaPart, Message, Modality, TextPart
from eval_anything.media import read_audio, read_image
from eval_anything.models.hf.clips import Sampler, Scaler, read_clip


class Conversations(NamedTuple):
    """A batch of conversations, and the metadata of their clips in the same order."""

    turns: list[list[dict[str, Any]]]
    videos: list[dict[str, Any]]


def conversations(
    batch: Sequence[Sequence[Message]],
    rate: int | None = None,
    sampler: Sampler | None = None,
    scaler: Scaler | None = None,
) -> Conversations:
    """The conversations of a batch, with parts in their order.

    Media become PIL images, float32 (samples,) at `rate` Hz and uint8 (frames, height, width, 3).

    Args:
        batch: the messages of each conversation.
        rate: Hz of sound; only needed if there is any.
        sampler: chooses the frames of a clip (`clips.read_clip`).
        scaler: scales the frames of large clips.

    Raises:
        MediaError: a medium cannot be decoded.
    """
    videos: list[dict[str, Any]] = []

    def content(part: TextPart | MediaPart) -> dict[str, Any]:
        if isinstance(part, TextPart):
            return {"type": "text", "text": part.text}
        if part.modality is Modality.IMAGE:
            from PIL import Image

            return {"type": "image", "image": Image.fromarray(read_image(part.path))}
        if part.modality is Modality.AUDIO:
            assert rate is not None
            return {"type": "audio", "audio": read_audio(part.path, rate)}
        pixels, about = read_clip(part.path, sampler, scaler)
        videos.append(about)
        return {"type": "video", "video": pixels}

    turns = [
        [{"role": m.role, "content": [content(part) for part in m.parts]} for m in messages]
        for messages in batch
    ]
    return Conversations(turns, videos)


def plain_template(image_token: str, between: str) -> str:
    """A chat template for checkpoints without one: the parts of all messages in order.

    `between` separates the messages.
    """
    return (
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
        "{% for c in m.content %}"
        f"{{% if c.type == 'image' %}}{image_token}{{% else %}}{{{{ c.text }}}}{{% endif %}}"
        "{% endfor %}{% endif %}"
        f"{{% if not loop.last %}}{{{{ {between!r} }}}}{{% endif %}}{{% endfor %}}"
    )
