"""A program within bounds: `python -I -S bounded.py FD FOLDER FILE_BYTES FOLDER_BYTES PROGRAM WORDS...`

It runs as a file of its own with few imports, so that it starts in hundredths of a second.
The limits are set before the program begins, and what the program starts inherits them. Everything ends
when the program does, when its folder grows too large, or when the socket FD closes, which the kernel
does also for a parent that is killed: then the folder is removed, too. The socket carries the reply:

    code 0         the exit code of the program; negative: the signal that ended it
    large          its folder, with deleted files that are still open, grew too large
    error WORDS    the program does not start

On Linux no process escapes, whatever it does to its group and session: orphans become children of this
process. Elsewhere the process group is ended.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import stat
import sys
from collections.abc import Callable

_SECONDS_BETWEEN_LOOKS = 0.05


_MOST_ENTRIES = 20_000
"""Files and folders in the program's folder: each takes space that their sizes do not show."""


_MOST_PROCESSES = 512


_LINUX = sys.platform == "linux"


_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # of <linux/prctl.h>


def main(words: list[str]) -> None:
    """Runs the program, replies, and ends all that it started."""
    parent, folder, file_bytes, folder_bytes, *command = words
    lifeline = int(parent)
    os.set_inheritable(lifeline, False)
    streams = {_identity(os.fstat(number)) for number in range(3)}  # each has the bound of a file
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wakeup = _wakeup_of_children()
    try:
        pid = _start(command, int(file_bytes))
    except OSError as error:
        os.write(lifeline, f"error {error.strerror}".encode())
        return

    def is_too_large(processes: list[int]) -> bool:
        size = _folder_size(folder, int(folder_bytes)) + _size_of_deleted(processes, streams)
        return size > int(folder_bytes) or len(processes) > _MOST_PROCESSES

    reply = _watch(pid, lifeline, wakeup, is_too_large)
    _end_all(pid)
    if reply is not None:
        os.write(lifeline, reply.encode())
    else:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _prctl(option: int, argument: int) -> None:
    if _LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def _wakeup_of_children() -> int:
    """A descriptor that can be read when a child has ended."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading


def _start(command: list[str], file_bytes: int) -> int:
    """The id of the process that runs the program. OSError if it does not start."""
    failing, failed = os.pipe()  # closed by the start of the program, else it holds the error's number
    me = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == me:
                _limit(file_bytes)
                os.execv(command[0], command)
        except OSError as error:
            os.write(failed, str(error.errno).encode())
        finally:
            os._exit(127)
    os.close(failed)
    number = os.read(failing, 16)
    os.close(failing)
    if number:
        os.waitpid(pid, 0)
        raise OSError(int(number), os.strerror(int(number)))
    return pid


def _limit(file_bytes: int) -> None:
    """Bounds of this process and of all that it starts; smaller ones that it has already stay."""
    for kind, amount in ((resource.RLIMIT_FSIZE, file_bytes), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        bound = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (bound, bound))
    for number in (signal.SIGXFSZ, signal.SIGPIPE):  # Python ignores them, and what it starts would, too
        signal.signal(number, signal.SIG_DFL)


def _watch(
    pid: int, lifeline: int, wakeup: int, is_too_large: Callable[[list[int]], bool]
) -> str | None:
    """The reply, once the program has ended or is to be ended; None if the parent wants none."""
    while True:
        readable, _, _ = select.select([lifeline, wakeup], [], [], _SECONDS_BETWEEN_LOOKS)
        if lifeline in readable:
            return None
        if wakeup in readable:
            os.read(wakeup, 4096)
            statuses = _reaped()
            if pid in statuses:
                code = os.waitstatus_to_exitcode(statuses[pid])
                return "large" if is_too_large([]) else f"code {code}"
        if is_too_large(_descendants()):
            return "large"


def _reaped() -> dict[int, int]:
    """The status of each child that has ended, by its id."""
    statuses: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return statuses
        if pid == 0:
            return statuses
        statuses[pid] = status


def _folder_size(folder: str, most: int) -> int:
    """Bytes on the disk of the files in a folder; more than `most` ends the count."""
    total = entries = 0
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as content:
                for entry in content:
                    entries += 1
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    if entries > _MOST_ENTRIES:
                        return most + 1
        except OSError:  # it is gone already
            continue
    return total


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _size_of_deleted(processes: list[int], streams: set[tuple[int, int]]) -> int:
    """Bytes on the disk of the files without a name that processes have open, without `streams`."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in processes:
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                status = os.stat(f"/proc/{pid}/fd/{name}")
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                    sizes[_identity(status)] = status.st_blocks * 512
        except OSError:  # it has ended
            continue
    return sum(size for identity, size in sizes.items() if identity not in streams)


def _descendants() -> list[int]:
    """The processes below this one, on Linux."""
    if not _LINUX:
        return []
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError):  # it has ended
            continue
        children.setdefault(parent, []).append(int(name))
    below: list[int] = []
    unread = [os.getpid()]
    while unread:
        nearest = children.get(unread.pop(), [])
        below += nearest
        unread += nearest
    return below


def _end_all(group: int) -> None:
    """Kills the program's group and, on Linux, every descendant until none is left."""
    _kill(os.killpg, group)
    while processes := _descendants():
        for pid in processes:
            _kill(os.kill, pid)
        _reaped()


def _kill(send: Callable[[int, int], None], pid: int) -> None:
    try:
        send(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


if __name__ == "__main__":
    main(sys.argv[1:])
