"""Sounds are recognised exactly, also after other codecs, and nothing else passes for one."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval_anything.content import Modality
from eval_anything.micro.world.hearing import hear, hear_codes
from eval_anything.micro.world.perceive import perceive_file
from eval_anything.micro.world.raster import RATE, TONES_HZ, codes_to_wave, sound_codes
from eval_anything.micro.world.render import render
from eval_anything.micro.world.scenes import Sound, all_scenes, attributes_of

SOUNDS = list(all_scenes(Sound))


def saved(path: Path, wave: np.ndarray, rate: int, codec: str) -> Path:
    """The wave (8 kHz) as a file of another rate and codec."""
    frame = av.AudioFrame.from_ndarray(
        (wave.clip(-1, 1) * 32767).astype(np.int16)[None], format="s16", layout="mono"
    )
    frame.sample_rate = RATE
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        context = stream.codec_context
        resampler = av.AudioResampler(
            format=context.format.name, layout="mono", rate=rate, frame_size=context.frame_size or None
        )
        for out in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(out))
        container.mux(stream.encode(None))
    return path


def test_rendered_files_are_exact(tmp_path: Path) -> None:
    for sound in SOUNDS:
        path = tmp_path / "x.wav"
        path.write_bytes(render(sound).data)
        assert perceive_file(Modality.AUDIO, path).attributes == attributes_of(sound)


@pytest.mark.parametrize(
    ("rate", "codec", "extension"),
    [
        (16000, "pcm_s16le", "wav"),
        (44100, "pcm_s16le", "wav"),
        (8000, "flac", "flac"),
        (16000, "libmp3lame", "mp3"),
        (8000, "libmp3lame", "mp3"),
        (16000, "aac", "m4a"),
    ],
)
def test_other_codecs_are_exact(tmp_path: Path, rate: int, codec: str, extension: str) -> None:
    for sound in SOUNDS:
        wave = codes_to_wave(sound_codes(sound))
        path = saved(tmp_path / f"x.{extension}", wave, rate, codec)
        assert perceive_file(Modality.AUDIO, path).attributes == attributes_of(sound)


@settings(max_examples=60, deadline=None)
@given(
    sound=st.sampled_from(SOUNDS),
    gain=st.floats(0.05, 1.9),
    lead=st.floats(0, 0.08),
    noise=st.floats(0, 0.005),
)
def test_loudness_lead_and_slight_noise_do_not_matter(
    sound: Sound, gain: float, lead: float, noise: float
) -> None:
    wave = gain * codes_to_wave(sound_codes(sound))
    wave = np.concatenate([np.zeros(int(lead * RATE)), wave])
    wave = wave + gain * noise * np.random.default_rng(0).normal(size=wave.size)
    assert hear(wave.astype(np.float32)) == attributes_of(sound)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=11, max_size=11), st.integers(1, 9))
def test_any_codes_are_heard_as_they_are(rest: list[int], first: int) -> None:
    codes = (first, *rest)
    assert hear_codes(codes_to_wave(codes)) == codes


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        # two tones of different pitch; contours differ; a tone of three frames; five tones of one frame
        ((2, 2, 0, 5, 5, 0, 0, 0, 0, 0, 0, 0), {"pitch": None, "count": "two", "contour": "flat"}),
        ((1, 3, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0), {"pitch": "low", "count": "two", "contour": None}),
        ((8, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0), {"pitch": "high", "count": None, "contour": None}),
        ((5, 0, 5, 0, 5, 0, 5, 0, 5, 0, 0, 0), {"pitch": "mid", "count": None, "contour": None}),
    ],
)
def test_mixed_attributes_are_none(codes: tuple[int, ...], expected: dict[str, str | None]) -> None:
    assert hear(codes_to_wave(codes)) == expected


def foreign() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    second = np.arange(RATE) / RATE
    short = second[:3840]
    babble = np.convolve(rng.normal(0, 0.4, 3840), np.ones(8) / 8, "same")
    good = codes_to_wave(sound_codes(Sound("mid", "three", "rising")))
    return {
        "silence": np.zeros(3840),
        "noise": rng.normal(0, 0.2, 3840),
        "speech-like noise": babble * (1 + np.sin(2 * np.pi * 5 * short)),
        "a second of 440 Hz": 0.5 * np.sin(2 * np.pi * 440 * second),
        "half a second of 440 Hz": 0.5 * np.sin(2 * np.pi * 440 * short),
        "chord": 0.2 * sum(np.sin(2 * np.pi * hertz * short) for hertz in TONES_HZ[::2]),
        "too short": good[:1600],
        "late": np.concatenate([np.zeros(2000), good]),
        "twice": np.concatenate([good, good]),
        "drowned": good + rng.normal(0, 0.3, good.size),
    }


@pytest.mark.parametrize("name", foreign())
def test_foreign_sounds_are_refused(tmp_path: Path, name: str) -> None:
    percept = perceive_file(
        Modality.AUDIO, saved(tmp_path / "x.wav", foreign()[name], RATE, "pcm_s16le")
    )
    assert percept.problem
    assert not percept.attributes


@pytest.mark.parametrize("size", [0, 10, 44, 3000])
def test_truncated_files(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(render(SOUNDS[0]).data[:size])
    assert perceive_file(Modality.AUDIO, path).problem
