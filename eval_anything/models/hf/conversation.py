"""Conversion of messages into the conversations of transformers' processors, with decoded media."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from eval_anything.content import MediaPart, Message, Modality, TextPart
from eval_anything.media import probe, read_audio, read_frames, read_image

# Frames of a clip for a video processor whose config does not define its sampling.
FRAMES = 16


# A function from the VideoMetadata (of transformers) of a clip to the indices of the frames to take.
Sampler = Callable[[Mapping[str, Any]], Sequence[int]]


class Conversations(NamedTuple):
    """A batch of conversations, and the metadata of their clips in the same order."""

    turns: list[list[dict[str, Any]]]
    videos: list[dict[str, Any]]


def conversations(
    batch: Sequence[Sequence[Message]], rate: int | None = None, sampler: Sampler | None = None
) -> Conversations:
    """The conversations of a batch, with parts in their order.

    Media become PIL images, float32 (samples,) at `rate` Hz and uint8 (frames, height, width, 3).

    Args:
        batch: the messages of each conversation.
        rate: Hz of sound; only needed if there is any.
        sampler: chooses the frames of a clip; None takes `FRAMES`, evenly spread. Only these frames are
            decoded.

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
        pixels, about = _clip(part, sampler)
        videos.append(about)
        return {"type": "video", "video": pixels}

    turns = [
        [{"role": m.role, "content": [content(part) for part in m.parts]} for m in messages]
        for messages in batch
    ]
    return Conversations(turns, videos)


def _clip(part: MediaPart, sampler: Sampler | None) -> tuple[Any, dict[str, Any]]:
    """The frames of a clip and its VideoMetadata, as transformers calls it.

    With a sampler the metadata are those of the whole clip, otherwise those of the chosen frames.
    """
    if sampler is not None:
        probed = probe(part.path)
        assert probed.frames is not None
        assert probed.size is not None
        about = _about(probed.frames, probed.rate, *probed.size[::-1])
        indices = list(sampler(about))
        return read_frames(part.path, indices=indices).frames, about | {"frames_indices": indices}
    video = read_frames(part.path, FRAMES)
    frames, height, width = video.frames.shape[:3]
    span = float(video.times[-1] - video.times[0])
    return video.frames, _about(frames, (frames - 1) / span if span > 0 else None, height, width)


def _about(frames: int, fps: float | None, height: int, width: int) -> dict[str, Any]:
    return {
        "total_num_frames": frames,
        "fps": fps,
        "duration": frames / fps if fps else None,
        "height": height,
        "width": width,
        "frames_indices": list(range(frames)),
    }


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
