"""The folder of a site: built beside the old one, then exchanged with it by one system call."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from eval_anything.errors import UserError
from eval_anything.files.reading import open_file
from eval_anything.files.writing import cannot_write, take_lock

MARK = b'<meta name="generator" content="eval-anything leaderboard">'
"""Mark in index.html of every site: a folder or page that has it may be replaced."""


_EXCHANGE = 2  # RENAME_EXCHANGE of linux/fs.h


_HERE = -100  # AT_FDCWD


@contextlib.contextmanager
def new_site(out: Path) -> Iterator[Path]:
    """Yields a new folder to build in; when the block ends, it replaces the site at `out`.

    An error or a kill inside the block leaves the old site as it was.

    Raises:
        UserError: `out` holds other files than a site, or another process builds it.
        InfrastructureError: a file cannot be written.
    """
    out = out.resolve()
    check_out(out)
    building = out.with_name(f".{out.name}.building")
    try:
        building.mkdir(parents=True, exist_ok=True)
        lock = os.open(building, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(building, error) from None
    try:
        take_lock(lock, f"{out} is being built by another process: wait for it")
        try:
            _empty(building)  # leftovers of a build that was killed
            yield building
            _put_in_place(building, out)
        except OSError as error:
            raise cannot_write(Path(error.filename or building), error) from None
        finally:
            shutil.rmtree(building, ignore_errors=True)
    finally:
        os.close(lock)


def check_out(out: Path) -> None:
    """Raises UserError if `out` exists and is not a site."""
    if out.is_file():
        raise UserError(f"--out {out} is a file; it should be a directory")
    if out.is_dir() and any(out.iterdir()) and not is_site(out / "index.html"):
        raise UserError(f"--out {out} holds other files than a site: choose another directory")


def is_site(page: Path) -> bool:
    """True if a file is a page that this package built."""
    try:
        with open_file(page) as file:
            return MARK in file.read(4096)
    except OSError:
        return False


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _put_in_place(building: Path, out: Path) -> None:
    """Exchanges the two folders; the old site is then in `building`."""
    if not out.exists():
        building.rename(out)
        return
    try:
        _exchange(building, out)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise
        # A file system without the exchange: two steps, between which there is no site.
        old = out.with_name(f".{out.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
        building.rename(out)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(first: Path, second: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    rename = getattr(library, "renameat2", None)  # of glibc 2.28 and musl 1.2.6
    if rename is None:
        raise OSError(errno.ENOSYS, "no renameat2", str(first))
    if rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(first))
