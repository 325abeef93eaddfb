"""What reading media costs beside bare libraries: python -m tests.benchmarks.media_speed [ROUNDS]

Eight frames of a clip of 10 s (640x360, 25 frames a second, H.264) against decord and PyAV; 30 s of
stereo at 44.1 kHz to 16 kHz mono, of WAV, FLAC and MP3, against soundfile with soxr, librosa and PyAV;
and what the process that decodes adds to a small picture. The libraries run in this process, without
limits. All take turns, so that a busy machine is as hard on each; the figures are medians in ms.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eval_anything.media import read_audio, read_frames, read_image
from eval_anything.media.encode import encode_mp4
from eval_anything.media.images import decode_image
from eval_anything.media.sniff import kind_of_file

COUNT = 8
RATE = 16_000


def make_media(folder: Path) -> None:
    """The files that are read."""
    import soundfile
    from PIL import Image

    generator = np.random.default_rng(0)
    small = Image.fromarray(generator.integers(0, 255, (45, 80, 3), np.uint8))
    scene = np.asarray(small.resize((640, 360), Image.Resampling.BICUBIC))
    frames = (np.roll(scene, (number, 2 * number), (0, 1)) for number in range(250))
    (folder / "clip.mp4").write_bytes(encode_mp4(frames, fps=25, crf=23))
    times = np.arange(30 * 44_100) / 44_100
    tones = np.stack(
        [np.sin(2 * np.pi * (200 + 50 * times) * times), np.sin(2 * np.pi * 330 * times)], 1
    )
    sound = 0.3 * tones + generator.normal(0, 0.01, tones.shape)
    for name, subtype in (("wav", "PCM_16"), ("flac", "PCM_16"), ("mp3", "MPEG_LAYER_III")):
        soundfile.write(folder / f"sound.{name}", sound, 44_100, subtype=subtype)
    small.resize((64, 64)).save(folder / "small.png")


def clip_readers(path: Path) -> dict[str, Callable[[], Any]]:
    """Ways to eight frames."""
    import av

    wanted = [(2 * i + 1) * 250 // (2 * COUNT) for i in range(COUNT)]

    def by_decord() -> np.ndarray:
        import decord

        frames: np.ndarray = decord.VideoReader(str(path)).get_batch(wanted).asnumpy()
        return frames

    def by_pyav() -> np.ndarray:
        kept = []
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    kept.append(frame.to_ndarray(format="rgb24"))
        return np.stack(kept)

    readers: dict[str, Callable[[], Any]] = {"ours": lambda: read_frames(path, COUNT).frames}
    if sys.platform == "linux":
        readers["decord"] = by_decord
    return {**readers, "PyAV": by_pyav}


def sound_readers(path: Path) -> dict[str, Callable[[], Any]]:
    """Ways to 16 kHz mono."""
    import av
    import librosa
    import soundfile
    import soxr

    def by_soundfile() -> np.ndarray:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return soxr.resample(samples.mean(axis=1), rate, RATE)

    def by_pyav() -> np.ndarray:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        with av.open(str(path)) as container:
            blocks = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        return np.concatenate([block.to_ndarray()[0] for block in blocks + resampler.resample(None)])

    return {
        "ours": lambda: read_audio(path, RATE),
        "soundfile + soxr": by_soundfile,
        "librosa": lambda: librosa.load(path, sr=RATE, mono=True),
        "PyAV": by_pyav,
    }


def medians(readers: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds of each, once all are warm."""
    taken: dict[str, list[float]] = {name: [] for name in readers}
    for number in range(rounds + 1):
        for name, read in readers.items():
            start = time.perf_counter()
            read()
            if number:
                taken[name].append((time.perf_counter() - start) * 1000)
    return {name: round(statistics.median(values), 2) for name, values in taken.items()}


def main(rounds: int) -> None:
    """Prints the medians, and ours against what is to be matched, as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_media(folder)
        clip = medians(clip_readers(folder / "clip.mp4"), rounds)
        ratios = {"clip / decord": clip["ours"] / clip.get("decord", clip["PyAV"])}
        figures = {"8 frames of 10 s": clip}
        for form in ("wav", "flac", "mp3"):
            sound = medians(sound_readers(folder / f"sound.{form}"), rounds)
            figures[f"30 s of {form}"] = sound
            ratios[f"{form} / fastest"] = sound["ours"] / min(t for n, t in sound.items() if n != "ours")
        small = folder / "small.png"
        readers = {
            "ours": lambda: read_image(small),
            "here": lambda: decode_image(small, kind_of_file(small)),
        }
        figures["64x64 PNG"] = medians(readers, 10 * rounds)
    print(json.dumps({"ms": figures, "ratios": {k: round(v, 2) for k, v in ratios.items()}}, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 9)
