"""What tests build: task folders, replay rows, small real media."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eval_anything.content import Latency, Usage
from eval_anything.judges.folder import find_judges
from eval_anything.judges.kinds.program import ProgramScorer
from eval_anything.judges.registry import read_judge_file


class Result(NamedTuple):
    """What a command did: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout as the one JSON document that it must be."""
        return json.loads(self.out)


Cli = Callable[..., Result]

TASK_YAML = """\
version: 1
title: A task
description: What it measures.
licence: CC0-1.0
inputs: [text, image, audio, video]
outputs: [text, image, audio, video]
judges: [selection_contract]
primary: selection
contract: {required: [text]}
"""


def text_sample(id_: str, text: str = "What is the capital of France?", **more: Any) -> dict[str, Any]:
    """A line of samples.jsonl with one text part."""
    parts = [{"modality": "text", "text": text}]
    return {"id": id_, "messages": [{"role": "user", "parts": parts}], **more}


def medium_sample(id_: str, modality: str, path: str) -> dict[str, Any]:
    """A line of samples.jsonl with a text part and a medium."""
    parts = [{"modality": "text", "text": "What is this?"}, {"modality": modality, "path": path}]
    return {"id": id_, "messages": [{"role": "user", "parts": parts}]}


def make_task(
    root: Path,
    name: str = "mine/demo",
    samples: Sequence[Mapping[str, Any] | str] | None = None,
    yaml: str = TASK_YAML,
    **files: str | bytes,
) -> Path:
    """A task folder at `root/name`; `files` maps names (`__` for a dot) to content."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(yaml, "utf-8")
    rows = samples if samples is not None else [text_sample(f"s{i}") for i in range(4)]
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "samples.jsonl").write_text("".join(line + "\n" for line in lines), "utf-8")
    for key, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / key.replace("__", ".")).write_bytes(data)
    return folder


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def answers(ids: Sequence[str], text: str = "Paris", **more: Any) -> list[dict[str, Any]]:
    """Rows of a replay file that answer with a text."""
    return [{"sample_id": i, "parts": [{"modality": "text", "text": text}], **more} for i in ids]


def png(colour: tuple[int, int, int] = (200, 30, 30), size: int = 16, noise: int = 0) -> bytes:
    """A small PNG; with noise it cannot be compressed and is long enough to be cut."""
    return _image("PNG", colour, size, noise)


def jpeg(colour: tuple[int, int, int] = (200, 30, 30), size: int = 64, noise: int = 1) -> bytes:
    """A small JPEG."""
    return _image("JPEG", colour, size, noise)


def _image(form: str, colour: tuple[int, int, int], size: int, noise: int) -> bytes:
    from PIL import Image

    pixels = np.empty((size, size, 3), np.uint8)
    pixels[:] = colour
    if noise:
        pixels ^= np.random.default_rng(noise).integers(0, 255, pixels.shape, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def wav(seconds: float = 0.2, rate: int = 8000, level: float = 0.5, hertz: float = 440) -> bytes:
    """A tone as 16-bit mono WAV."""
    times = np.arange(int(seconds * rate)) / rate
    samples = (level * 32767 * np.sin(2 * np.pi * hertz * times)).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def mp4(frames: int = 8, size: int = 32, sound: bool = False, pictures: bool = True) -> bytes:
    """A small clip of noise, with or without pictures and sound."""
    import av

    buffer = io.BytesIO()
    generator = np.random.default_rng(0)
    with av.open(buffer, "w", format="mp4") as container:
        if pictures:
            stream = container.add_stream("mpeg4", rate=8)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
        if sound:
            audio = container.add_stream("aac", rate=8000)
        if pictures:
            for _ in range(frames):
                pixels = generator.integers(0, 255, (size, size, 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if sound:
            tone = np.sin(np.arange(8192) / 5).astype(np.float32)[None]
            block = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            block.sample_rate = 8000
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return buffer.getvalue()


def bundled_judge(name: str) -> ProgramScorer:
    """A bundled judge of kind program."""
    folder = find_judges()[name]
    file = read_judge_file(folder)
    assert file.scorer is not None
    return ProgramScorer(name, folder.path, file.scorer, file.metrics)


RECORD_FIELDS: dict[str, Any] = {
    "sample_id": "s",
    "repeat": 0,
    "item": "i",
    "source_id": "c",
    "order_known": True,
    "stop_reason": "stop",
    "error": None,
    "usage": Usage(),
    "latency": Latency(),
}
"""A record's fields but scores and parts."""
