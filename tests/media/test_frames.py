"""Frames of clips: exactly those asked for, by either reader, and nothing else is decoded."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_anything.content import Modality
from eval_anything.media import (
    MediaError,
    check_decodes,
    media_part,
    probe,
    read_frames,
    read_times,
    read_video,
)
from eval_anything.media.frames import decord_frames, pyav_frames
from eval_anything.media.pool import Pool
from eval_anything.media.sniff import kind_of_file
from eval_anything.media.timeline import read_timeline
from tests.support.lanes import only_in
from tests.support.numbered_clips import (
    FRAMES,
    HEIGHT,
    WIDTH,
    make_clip,
    make_growing,
    make_slow_then_fast,
    number_of,
    numbered,
)

CLIPS: dict[str, tuple[str, dict[str, Any]]] = {
    "H.264": ("a.mp4", {}),
    "B-frames, short groups": ("a.mp4", {"bf": "3", "g": "20", "b_pyramid": "normal"}),
    "open groups": ("a.mp4", {"x264_params": "open-gop=1:keyint=20:bframes=3:scenecut=0"}),
    "variable rate": ("a.mp4", {"uneven": True, "bf": "3", "g": "24"}),
    "variable rate, Matroska": ("a.webm", {"uneven": True, "codec": "libvpx", "g": "24"}),
    "VP9 with hidden frames": (
        "a.webm",
        {"codec": "libvpx-vp9", "auto_alt_ref": "1", "lag_in_frames": "16"},
    ),
    "VP8 with hidden frames": (
        "a.webm",
        {"codec": "libvpx", "auto_alt_ref": "1", "lag_in_frames": "16"},
    ),
    "B-frames, Matroska": ("a.mkv", {"bf": "3", "g": "20"}),
    "HEVC": ("a.mp4", {"codec": "libx265", "x265_params": "log-level=none"}),
    "MPEG-4": ("a.mp4", {"codec": "mpeg4", "bf": "2", "g": "15"}),
    "BT.709": ("a.mp4", {"matrix": 1}),
    "AV1": ("a.mp4", {"codec": "libsvtav1", "preset": "8", "crf": "10"}),
}
ONLY_PYAV = ("open groups", "MPEG-4", "AV1")
WANTED = [0, 3, 19, 20, 21, 44, 45, 46, 80, FRAMES - 1]


def by_pyav(path: Path, wanted: Sequence[int]) -> list[np.ndarray]:
    kind = kind_of_file(path)
    return [pixels for _, pixels in pyav_frames(path, kind, read_timeline(path, kind), wanted)]


def by_decord(path: Path, wanted: Sequence[int]) -> list[np.ndarray] | None:
    if sys.platform != "linux" and not os.environ.get("CI"):
        pytest.importorskip("decord", reason="decord has wheels for Linux alone")
    kind = kind_of_file(path)
    found = decord_frames(path, kind, read_timeline(path, kind), wanted)
    return None if found is None else [pixels for _, pixels in found]


@pytest.mark.parametrize("name", CLIPS)
def test_an_index_gives_exactly_this_frame_by_either_reader(tmp_path: Path, name: str) -> None:
    file, options = CLIPS[name]
    path = tmp_path / file
    # libsvtav1 gives the thread that opens it, as root, the highest priority in real time: not this one.
    with ThreadPoolExecutor(1) as thread:
        times = thread.submit(make_clip, path, **options).result()
    video = read_frames(path, indices=WANTED)
    assert [number_of(pixels) for pixels in video.frames] == WANTED
    assert video.times == pytest.approx([times[index] for index in WANTED], abs=0.0011)
    expected = numbered(45).astype(int)
    assert abs(video.frames[WANTED.index(45)].astype(int) - expected).mean() < 6
    first = by_pyav(path, WANTED)
    second = by_decord(path, WANTED)
    assert (second is None) == (name in ONLY_PYAV or file != "a.mp4")
    for one, other in zip(first, second or first, strict=True):
        assert abs(one.astype(int) - other).max() <= 2
    for pixels, one in zip(video.frames, first, strict=True):
        assert abs(pixels.astype(int) - one).max() <= 2
    whole = read_video(path)
    assert [number_of(pixels) for pixels in whole.frames] == list(range(FRAMES))
    assert whole.times == pytest.approx(times, abs=0.0011)


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_turned_clip_is_read_upright(tmp_path: Path, turned: int) -> None:
    make_clip(tmp_path / "a.mp4", turned=turned)
    frames = read_frames(tmp_path / "a.mp4", indices=[5, 60]).frames
    assert [number_of(np.rot90(pixels, -turned // 90)) for pixels in frames] == [5, 60]
    size = (WIDTH, HEIGHT) if turned == 180 else (HEIGHT, WIDTH)
    assert probe(tmp_path / "a.mp4").size == size
    assert by_decord(tmp_path / "a.mp4", [5, 60]) is None


# By the numbers a, b, c, d of a display matrix: the stored pixel (x, y) is shown at (ax + cy, bx + dy).
MATRICES: dict[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]] = {
    (1, 0, 0, 1): lambda pixels: pixels,
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (-1, 0, 0, -1): lambda pixels: np.rot90(pixels, 2),
    (0, 1, 1, 0): lambda pixels: pixels.swapaxes(0, 1),
    (0, -1, 1, 0): lambda pixels: np.rot90(pixels, 1),
    (0, 1, -1, 0): lambda pixels: np.rot90(pixels, -1),
    (0, -1, -1, 0): lambda pixels: np.rot90(pixels.swapaxes(0, 1), 2),
}


def test_all_eight_orientations_are_upright(tmp_path: Path) -> None:
    """As `ffmpeg` shows them (compared once with ffmpeg 5.1, and in the corpus)."""
    path = tmp_path / "a.mp4"
    make_clip(path, frames=3)
    stored = read_frames(path, indices=[2]).frames[0]
    data = path.read_bytes()
    start = data.index(b"tkhd") + 44
    one = 2**16
    for (a, b, c, d), turn in MATRICES.items():
        matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 2**30)
        path.write_bytes(data[:start] + matrix + data[start + 36 :])
        expected = turn(stored)
        frame = read_frames(path, indices=[2]).frames[0]
        assert frame.shape == expected.shape, (a, b, c, d)
        assert abs(frame.astype(int) - expected).max() <= 2, (a, b, c, d)
        assert probe(path).size == (expected.shape[1], expected.shape[0])
        assert read_times(path).size == (expected.shape[1], expected.shape[0])


def test_a_count_is_spread_over_the_time_not_over_the_frames(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.webm"):
        path = tmp_path / name
        make_slow_then_fast(path)
        # On screen at .625, 1.875, 3.125 ... 9.375 s.
        video = read_frames(path, 8)
        assert [number_of(pixels) for pixels in video.frames] == [0, 1, 3, 4, 5, 6, 8, 20]
        assert video.times == pytest.approx([0, 1, 3, 4, 5, 6, 8, 9 + 11 / 30], abs=0.001)
        times, end, size = read_times(path)
        assert len(times) == 39
        assert end == pytest.approx(10, abs=0.005)
        assert size == (WIDTH, HEIGHT)


def test_the_last_frame_lasts_as_its_packet_says(tmp_path: Path) -> None:
    for number, bf in enumerate(("0", "3")):
        path = tmp_path / f"{number}.mp4"
        make_clip(path, frames=12, bf=bf)
        assert probe(path).duration == pytest.approx(12 / 25, abs=0.002)


def test_a_clip_of_one_frame_has_a_rate(tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "libx264"), ("a.webm", "libvpx")):
        make_clip(tmp_path / name, codec=codec, frames=1)
        found = probe(tmp_path / name)
        assert found.frames == 1
        assert found.rate is not None
        assert found.rate * (found.duration or 0) == pytest.approx(1)
        assert len(read_frames(tmp_path / name, 4).frames) == 1


def test_a_clip_that_changes_its_size_is_read_in_the_size_of_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    make_growing(path)
    check_decodes(media_part(path, Modality.VIDEO))
    video = read_video(path)
    assert video.frames.shape == (10, 96, 160, 3)
    assert probe(path).size == (160, 96)
    for later in video.frames[5:]:
        assert later[48, 40].max() < 20
        assert later[48, 120, 0] > 220
    assert read_frames(path, indices=[9]).frames.shape == (1, 96, 160, 3)


def test_the_order_and_repeats_of_indices_are_kept(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", g="10")
    frames = read_frames(tmp_path / "a.mp4", indices=[70, 2, 70, 0, 33]).frames
    assert [number_of(pixels) for pixels in frames] == [70, 2, 70, 0, 33]


@pytest.mark.parametrize(("count", "frames"), [(1, 9), (3, 9), (4, 10), (8, 90), (5, 5), (9, 4)])
def test_a_count_gives_the_middles_of_equal_spans(tmp_path: Path, count: int, frames: int) -> None:
    make_clip(tmp_path / "a.mp4", frames=frames)
    least = min(count, frames)
    expected = [int((i + 0.5) * frames / least) for i in range(least)]
    found = read_frames(tmp_path / "a.mp4", count).frames
    assert [number_of(pixels) for pixels in found] == expected


@pytest.mark.parametrize("uneven", [False, True])
def test_a_time_gives_the_frame_that_is_seen_then(tmp_path: Path, uneven: bool) -> None:
    starts = make_clip(tmp_path / "a.mp4", uneven=uneven, bf="2")
    between = [a + (b - a) * share for a, b in pairwise(starts) for share in (0.1, 0.9)]
    asked = [*starts[::7], *between[::9]]
    expected = [max(i for i, start in enumerate(starts) if start <= time) for time in asked]
    found = read_frames(tmp_path / "a.mp4", times=asked).frames
    assert [number_of(pixels) for pixels in found] == expected


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_clip(path)
    for index in (-1, FRAMES):
        with pytest.raises(MediaError, match=rf"{FRAMES} frames: no frame {index}"):
            read_frames(path, indices=[0, index])
    for second in (-0.5, 3.7):
        with pytest.raises(MediaError, match="shows nothing at"):
            read_frames(path, times=[second])
    with pytest.raises(TypeError, match="one of"):
        read_frames(path)
    with pytest.raises(TypeError, match="one of"):
        read_frames(path, 3, times=[0.1])


def test_probing_counts_exactly(tmp_path: Path) -> None:
    times = make_clip(tmp_path / "a.webm", codec="libvpx", uneven=True)
    found = probe(tmp_path / "a.webm")
    assert (found.mime, found.size, found.frames) == ("video/webm", (WIDTH, HEIGHT), FRAMES)
    assert found.duration == pytest.approx(times[-1], abs=0.1)
    assert found.rate == pytest.approx((FRAMES - 1) / times[-1], rel=0.01)
    assert found.has_sound is False


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_a_truncated_clip_is_refused_even_if_the_wanted_frames_are_there(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if name == "a.mp4":
        make_clip(path, g="10")
        fast = tmp_path / "fast.mp4"
        subprocess.run([sys.executable, "-c", FASTSTART, str(path), str(fast)], check=True)
        path = fast
    else:
        make_clip(path, codec="libvpx", g="10")
    data = path.read_bytes()
    assert len(read_frames(path, indices=[0]).frames) == 1
    for share in (0.5, 0.8, 0.95):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(MediaError, match="truncated"):
            read_frames(path, indices=[0])


FASTSTART = """
import av, sys
front = {"movflags": "faststart"}
with av.open(sys.argv[1]) as source, av.open(sys.argv[2], "w", options=front) as target:
    stream = target.add_stream_from_template(source.streams.video[0])
    for packet in source.demux(source.streams.video[0]):
        if packet.dts is not None:
            packet.stream = stream
            target.mux(packet)
"""


def make_long(path: Path, seconds: int) -> None:
    """A clip of 640x360 at 25 frames a second, a keyframe every 4 seconds."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "100"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        pixels = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8) // 4
        for number in range(seconds * 25):
            pixels[:HEIGHT, :WIDTH] = numbered(number % 1024)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.slow
def test_a_long_clip_is_never_decoded_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    make_long(path, 60)
    wanted = [10, 760, 1490]
    kind = kind_of_file(path)
    timeline = read_timeline(path, kind)

    def seconds(indices: Sequence[int]) -> float:
        start = time.process_time()
        for _ in pyav_frames(path, kind, timeline, indices):
            pass
        return time.process_time() - start

    assert seconds(wanted) < 0.5 * seconds(range(1500))
    pool = Pool(1)
    try:
        few = pool.decode("video", path, "uint8", count=None, indices=wanted, times=None)
        assert few.array is not None
        assert [number_of(pixels) for pixels in few.array] == [n % 1024 for n in wanted]
        (child,) = pool.processes()
        status = Path(f"/proc/{child}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    finally:
        pool.close()
    assert peak * 1024 < 300 * 2**20  # all frames as pixels would be 1 GiB
    with pytest.raises(MediaError, match="pixels in all"):
        read_video(path)


@pytest.mark.slow
@pytest.mark.corpus
@pytest.mark.parametrize(
    "order",
    [
        "torch av decord",
        "decord av torch",
        pytest.param("decord torch av", marks=only_in("corpus")),
        pytest.param("av decord torch", marks=only_in("corpus")),
    ],
)
def test_decord_pyav_and_torch_live_in_one_process(tmp_path: Path, order: str) -> None:
    make_clip(tmp_path / "a.mp4")
    program = f"""
import {", ".join(order.split())}
import numpy as np
for _ in range(3):
    frames = decord.VideoReader("a.mp4").get_batch([3, 50]).asnumpy()
    with av.open("a.mp4") as clip:
        others = [f.to_ndarray(format="rgb24") for f in clip.decode(video=0)]
    assert abs(frames[1].astype(int) - others[50]).max() <= 2
    x = torch.randn(64, 64, requires_grad=True)
    (x @ x).sum().backward()
print("well")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "well\n", done.stderr
    assert done.returncode == 0
