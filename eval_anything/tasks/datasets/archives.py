"""Archives of media, unpacked once into a cache; an archive that could do harm is refused.

That is an archive with a member that is no plain file or folder, has holes (a sparse file), whose name
leads outside or is too long or too deep; one that unpacks to many times its size, has too many files, or
headers that are too long.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.files.reading import open_file
from eval_anything.files.writing import cannot_write
from eval_anything.media.limits import MAX_BYTES
from eval_anything.media.sniff import EXTENSIONS, HEAD, sniff
from eval_anything.tasks.datasets.declaration import ARCHIVES

MAX_FILES = 50_000


MAX_GROWTH = 20
"""Largest ratio of unpacked to packed bytes: media hardly compress, uncompressed sound by less."""


ALWAYS_ALLOWED = 64 * 2**20
"""Bytes that any archive may unpack to, however small it is."""


LONGEST_NAME, DEEPEST = 1000, 32
"""Characters of a member's name, and folders in it."""


LARGEST_HEADER = 64 * 2**10
"""Bytes of an extended header, which holds long names; reading one takes time quadratic in its size."""


class _Member(tarfile.TarInfo):
    """A member whose extended headers are bounded."""

    def _proc_pax(self, tar: tarfile.TarFile) -> Any:
        return self._bounded(super()._proc_pax, tar)  # type: ignore[misc]

    def _proc_gnulong(self, tar: tarfile.TarFile) -> Any:
        return self._bounded(super()._proc_gnulong, tar)  # type: ignore[misc]

    def _bounded(self, read: Callable[[tarfile.TarFile], Any], tar: tarfile.TarFile) -> Any:
        if self.size > LARGEST_HEADER:
            raise ValueError(f"it has a header of {self.size:,} bytes")
        return read(tar)


def folder_of(archive: str) -> str:
    """The name of an archive without its ending: the folder that it is unpacked into."""
    name = PurePosixPath(archive).name
    return next(name.removesuffix(ending) for ending in ARCHIVES if name.endswith(ending))


def unpacked(archives: Sequence[Path], name: str, cache: Path) -> Path:
    """A folder in `cache` with a folder for each archive. An unchanged archive is unpacked only once.

    UserError for an archive that is broken or refused, InfrastructureError if the disk fails.
    """
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in archives]
    folder = cache / f"{name}-{sha256_of(states)[:16]}"
    if folder.is_dir():
        return folder
    building = cache / f".{folder.name}.{os.getpid()}"
    _clear_left_behind(cache, name)
    try:
        shutil.rmtree(building, ignore_errors=True)
        for path in archives:
            into = building / folder_of(path.name)
            into.mkdir(parents=True)
            unpack(path, into)
        try:
            building.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    except OSError as error:
        raise cannot_write(folder, error) from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _clear_left_behind(cache: Path, name: str) -> None:
    """Removes what processes that were killed have unpacked halfway."""
    for folder in cache.glob(f".{name}-*.*"):
        pid = folder.name.rpartition(".")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)


def unpack(archive: Path, into: Path) -> None:
    """Unpacks a tar archive into the folder `into`. Appends the right ending to a file whose name claims
    another kind of medium than its bytes are. UserError if it is broken or refused."""
    limit = max(ALWAYS_ALLOWED, MAX_GROWTH * archive.stat().st_size)
    try:
        with open_file(archive) as raw, _Limited(_decompressed(raw), limit) as stream:
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
                total = 0
                for number, member in enumerate(tar, start=1):
                    if number > MAX_FILES:
                        raise ValueError(f"it holds more than {MAX_FILES:,} files")
                    _check_member(member)
                    total += member.size
                    if total > limit:
                        raise _too_large(limit)
                    _unpack_member(tar, member, into)
            while stream.read(2**20):  # up to the checksum at its end
                pass
    except ValueError as error:
        raise UserError(f"{archive} is not unpacked: {error}") from None
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{archive} is broken ({error}): download it again") from None


def _too_large(limit: int) -> ValueError:
    return ValueError(f"it becomes larger than {limit:,} bytes, as an archive bomb does")


def _check_member(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise ValueError(f"its member {member.name!r} leads outside")
    if len(member.name) > LONGEST_NAME or len(path.parts) > DEEPEST or len(path.name) > 255:
        raise ValueError(f"its member {member.name[:80]!r}... has a name that is too long or too deep")
    if member.isdir():
        return
    if member.issparse():
        raise ValueError(f"its member {member.name!r} is a sparse file, which may unpack to any size")
    if not member.isreg():
        raise ValueError(f"its member {member.name!r} is a link or a device, not a file")
    if member.size > MAX_BYTES:
        raise ValueError(f"its member {member.name!r} has {member.size:,} bytes: too large")


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    if member.isdir():
        return
    source = tar.extractfile(member)
    assert source is not None
    target = into / PurePosixPath(member.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            shutil.copyfileobj(source, file, 2**20)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ValueError(f"its member {member.name!r} is there twice") from None
    with target.open("rb") as file:
        kind = sniff(file.read(HEAD))
    claimed = EXTENSIONS.get(target.suffix.lower().lstrip("."))
    if kind is not None and claimed is not None and not kind.is_named(claimed):
        target.rename(f"{target}.{kind.extension}")


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    """The archive's unpacked bytes; its first bytes decide whether it is compressed, not its name."""
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[return-value]


class _Limited(io.RawIOBase):
    """A stream that raises ValueError beyond `limit` bytes, of content and headers together."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._left = limit
        self._limit = limit

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size if size >= 0 else self._left + 1)
        self._left -= len(chunk)
        if self._left < 0:
            raise _too_large(self._limit)
        return chunk
