"""The processes that decode media: they crash, hang and grow alone, and none is left over."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eval_anything.content import Modality
from eval_anything.errors import InfrastructureError
from eval_anything.media import (
    MediaError,
    check_decodes,
    media_part,
    read_audio,
    read_frames,
    read_image,
)
from eval_anything.media import pool as pools
from eval_anything.media.pool import Pool
from tests.support.helpers import mp4, png, wav
from tests.support.media_corpus import png_of, zeros


@pytest.fixture
def pool() -> Iterator[Pool]:
    one = Pool(1, seconds=20)
    yield one
    one.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    return path


def gone(pid: int) -> bool:
    """Whether no process has this id, not even a zombie."""
    return not Path(f"/proc/{pid}").exists()


def wait_until_gone(pid: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return gone(pid)


def resident(pid: int | str = "self") -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_is_one_error_and_the_next_medium_is_read(
    pool: Pool, picture: Path, number: signal.Signals
) -> None:
    pool.decode("image", picture, "uint8")
    (first,) = pool.processes()
    os.kill(first, signal.SIGSTOP)  # so that it is at work when it is hit
    hit = threading.Timer(0.3, lambda: (os.kill(first, number), os.kill(first, signal.SIGCONT)))
    hit.start()
    with pytest.raises(MediaError, match=rf"a\.png crashed its decoder \({number.name}\)"):
        pool.decode("image", picture, "uint8")
    hit.join()
    assert gone(first)
    array = pool.decode("image", picture, "uint8").array
    assert array is not None
    assert array.shape == (16, 16, 3)
    assert pool.processes() != [first]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_is_no_fault_of_the_medium(
    pool: Pool, picture: Path, number: signal.Signals
) -> None:
    pool.decode("image", picture, "uint8")
    (first,) = pool.processes()
    os.kill(first, signal.SIGSTOP)  # so that it is at work when it is hit
    hit = threading.Timer(0.3, lambda: (os.kill(first, number), os.kill(first, signal.SIGCONT)))
    hit.start()
    assert pool.decode("image", picture, "uint8").array is not None
    hit.join()
    assert gone(first)


def test_processes_that_are_killed_again_and_again(picture: Path) -> None:
    """As by a system without memory: the medium stays for later, and nobody is blamed."""
    pool = Pool(1)
    killing = True

    def kill_all() -> None:
        while killing:
            for pid in pool.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(InfrastructureError, match=r"was killed \(SIGKILL\), 3 times"):
            pool.decode("video", picture, None)
    finally:
        killing = False
        killer.join()
        pool.close()


def test_a_process_that_died_between_two_media_is_no_fault_of_the_second(
    pool: Pool, picture: Path
) -> None:
    pool.decode("image", picture, "uint8")
    (first,) = pool.processes()
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)  # dead, and still the pool's to find out
    assert pool.decode("image", picture, "uint8").array is not None
    assert gone(first)


def test_a_hang_ends_at_the_time_limit(picture: Path) -> None:
    pool = Pool(1, seconds=1)
    try:
        pool.decode("image", picture, "uint8")
        (first,) = pool.processes()
        os.kill(first, signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(MediaError, match="takes too long to decode"):
            pool.decode("image", picture, "uint8")
        assert 0.9 < time.monotonic() - start < 10
        assert gone(first)
        assert pool.decode("image", picture, "uint8").array is not None
    finally:
        pool.close()


def test_too_much_memory_is_one_error_and_the_next_medium_is_read(tmp_path: Path, picture: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(png_of(8000, zeros(8000 * 1001 + 2**20), bits=1, colour=0))
    pool = Pool(1, memory=400 * 2**20)
    try:
        with pytest.raises(MediaError, match=r"large\.png needs more than 400 MiB"):
            pool.decode("image", large, "uint8")
        assert pool.decode("image", picture, "uint8").array is not None
    finally:
        pool.close()
    assert read_image(large).shape == (8000, 8000, 3)  # the usual limit is enough


def test_processes_that_cannot_be_started_are_no_fault_of_the_medium(
    pool: Pool, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(InfrastructureError, match="cannot start a process"):
        pool.decode("image", picture, "uint8")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InfrastructureError, match="end with code 1"):
        pool.decode("image", picture, "uint8")
    monkeypatch.undo()
    assert pool.decode("image", picture, "uint8").array is not None


def test_threads_share_a_few_processes(picture: Path) -> None:
    pool = Pool(2)
    try:
        with ThreadPoolExecutor(16) as threads:
            jobs = [threads.submit(pool.decode, "image", picture, "uint8") for _ in range(200)]
            arrays = [job.result().array for job in jobs]
        assert 1 <= len(pool.processes()) <= 2
    finally:
        pool.close()
    assert all(array is not None and (array == (200, 30, 30)).all() for array in arrays)
    assert pool.processes() == []


def test_a_later_medium_does_not_touch_an_array_that_was_given_out(tmp_path: Path) -> None:
    for name, colour in (("a.png", (200, 30, 30)), ("b.png", (0, 0, 255))):
        (tmp_path / name).write_bytes(png(colour, size=64))
    first = read_image(tmp_path / "a.png")
    for _ in range(8):
        read_image(tmp_path / "b.png")
    assert (first == (200, 30, 30)).all()
    first[:] = 0  # it is the caller's own
    assert (read_image(tmp_path / "a.png") == (200, 30, 30)).all()


READS = """
import os, sys, time
from pathlib import Path
from eval_anything.media import read_image
from eval_anything.media.pool import pool
assert not {"numpy", "PIL", "av", "decord", "soundfile", "soxr", "torch"} & set(sys.modules)
read_image(Path("a.png"))
assert not {"PIL", "av", "decord", "soundfile", "soxr", "torch"} & set(sys.modules)
print(*pool().processes(), flush=True)
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "raise KeyError('x')", "os._exit(0)"])
def test_nothing_is_left_when_the_parent_ends(picture: Path, end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READS + end], cwd=picture.parent, capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    assert "Traceback" not in done.stderr or "KeyError" in done.stderr
    for pid in done.stdout.split():
        assert wait_until_gone(int(pid))


def test_nothing_is_left_when_the_parent_is_killed(picture: Path) -> None:
    command = [sys.executable, "-c", READS + "time.sleep(60)"]
    with subprocess.Popen(command, cwd=picture.parent, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert pids
        assert not any(gone(pid) for pid in pids)
        parent.kill()
    assert all(wait_until_gone(pid) for pid in pids)


def test_a_forked_process_reads_with_processes_of_its_own(picture: Path) -> None:
    program = (
        READS
        + """
mine = pool().processes()
child = os.fork()
if child == 0:
    assert pool().processes() == []
    assert read_image(Path("a.png")).shape == (16, 16, 3)
    assert pool().processes() != mine
    pool().close()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert read_image(Path("a.png")).shape == (16, 16, 3)
assert pool().processes() == mine
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=picture.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_modules_in_the_working_directory_are_not_imported(picture: Path) -> None:
    for name in ("av", "numpy", "PIL", "json"):
        (picture.parent / f"{name}.py").write_text("raise SystemExit('imported')")
    program = "import sys; sys.path.remove('')\n" + READS
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=picture.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(MediaError, match="no regular file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(MediaError, match="no regular file"):
        media_part(tmp_path / "a.png", Modality.IMAGE)


def test_a_process_is_replaced_after_many_media(pool: Pool, picture: Path) -> None:
    pool.decode("probe", picture)
    (first,) = pool.processes()
    for _ in range(999):
        pool.decode("probe", picture)
    assert gone(first)
    pool.decode("probe", picture)
    assert len(pool.processes()) == 1


def test_a_small_medium_costs_less_than_five_milliseconds(picture: Path) -> None:
    read_image(picture)

    def seconds() -> float:
        start = time.perf_counter()
        read_image(picture)
        return time.perf_counter() - start

    assert statistics.median(seconds() for _ in range(200)) < 0.005


@pytest.mark.slow
def test_memory_does_not_grow_over_many_media(tmp_path: Path) -> None:
    files = {
        Modality.IMAGE: png(size=256, noise=1),
        Modality.AUDIO: wav(2),
        Modality.VIDEO: mp4(16, 128),
    }
    parts = []
    for modality, data in files.items():
        path = tmp_path / f"{modality}.bin"
        path.write_bytes(data)
        parts.append(media_part(path, modality))

    def read_all(times: int) -> None:
        for _ in range(times):
            for part in parts:
                check_decodes(part)
            read_image(parts[0].path)
            read_audio(parts[1].path, 16000)
            read_frames(parts[2].path, 8)

    read_all(20)
    gc.collect()
    before = resident(), max(map(resident, pools.pool().processes()))
    read_all(60)
    gc.collect()
    after = resident(), max(map(resident, pools.pool().processes()))
    assert after[0] - before[0] < 16 * 2**20
    assert after[1] - before[1] < 48 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="the limits of other systems differ")
@pytest.mark.parametrize("limit", ["ulimit -f 100000", "ulimit -c 0; ulimit -v 8000000"])
def test_a_smaller_limit_of_the_system_stays(picture: Path, limit: str) -> None:
    """The smaller of what is wanted and what is allowed: under `ulimit` media are decoded, too."""
    command = ["bash", "-c", f'{limit}; exec "$@"', "bash", sys.executable, "-c", READS]
    done = subprocess.run(command, cwd=picture.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
