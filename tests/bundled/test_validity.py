"""judges/validity: blank pictures, silent sounds and empty responses are not usable."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest

from eval_anything.content import Contract, Modality, Part, Response, Sample, TextPart
from eval_anything.judges.scorer import score_response
from eval_anything.media import MediaStore
from tests.support.helpers import bundled_judge, mp4, png, wav

JUDGE = bundled_judge("validity")
SAMPLE = Sample("s", (), Contract(required=(Modality.TEXT,)))


def plain_clip() -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(4):
            pixels = np.full((32, 32, 3), (200, 30, 30), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("media", "fault"),
    [
        ([], ""),
        ([(png(noise=1), Modality.IMAGE)], ""),
        ([(wav(), Modality.AUDIO)], ""),
        ([(mp4(), Modality.VIDEO)], ""),
        ([(png(), Modality.IMAGE)], "the image is of one colour"),
        ([(wav(level=0), Modality.AUDIO)], "the sound is silent"),
        ([(plain_clip(), Modality.VIDEO)], "the clip is of one colour"),
        (
            [(png(noise=1), Modality.IMAGE), (wav(level=0), Modality.AUDIO), (png(), Modality.IMAGE)],
            "silent (peak 0); the image is of one colour",
        ),
    ],
)
def test_media_must_show_or_sound(
    tmp_path: Path, media: list[tuple[bytes, Modality]], fault: str
) -> None:
    store = MediaStore(tmp_path)
    parts: list[Part] = [TextPart("words"), *(store.put(data, m) for data, m in media)]
    [score] = asyncio.run(score_response([JUDGE], SAMPLE, Response(tuple(parts)))).values()
    assert score.value == (0 if fault else 1)
    assert fault in score.explanation


def test_nothing_is_not_usable() -> None:
    [score] = asyncio.run(score_response([JUDGE], SAMPLE, Response())).values()
    assert score.value == 0
