"""Messages as the conversations that processors of transformers take, with media decoded by us."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from eval_anything.content import MediaPart, Message, Modality, TextPart
from eval_anything.media import probe, read_audio, read_frames, read_image

# Frames of a clip for a video processor whose config does not say how it samples.
FRAMES = 16


# From what transformers calls VideoMetadata of a whole clip to indices of the frames that are taken.
Sampler = Callable[[Mapping[str, Any]], Sequence[int]]


class Conversations(NamedTuple):
    """A batch of conversations, and the metadata of their clips in the same order."""

    turns: list[list[dict[str, Any]]]
    videos: list[dict[str, Any]]


def conversations(
    batch: Sequence[Sequence[Message]], rate: int | None = None, sampler: Sampler | None = None
) -> Conversations:
    """Media as PIL images, float32 (samples,) at `rate` Hz and uint8 (frames, height, width, 3).

    The order of parts is kept. `sampler` says which frames are taken of a clip; None takes `FRAMES`,
    evenly spread. Only those are decoded. MediaError for a medium that does not decode.
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
    """The frames, and what transformers calls VideoMetadata: of the whole clip for a sampler, else what
    was taken is the clip."""
    if sampler is not None:
        whole = probe(part.path)
        assert whole.frames is not None
        assert whole.size is not None
        about = _about(whole.frames, whole.rate, *whole.size[::-1])
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
    """A chat template for checkpoints that have none: the parts of messages as they are, with
    `between` after each message but the last."""
    return (
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
        "{% for c in m.content %}"
        f"{{% if c.type == 'image' %}}{image_token}{{% else %}}{{{{ c.text }}}}{{% endif %}}"
        "{% endfor %}{% endif %}"
        f"{{% if not loop.last %}}{{{{ {between!r} }}}}{{% endif %}}{{% endfor %}}"
    )
