"""Archives of media, unpacked once into a cache; an archive that could do harm is refused.

That is an archive with a member that is no plain file or folder, or whose name leads outside; one that
unpacks to many times its size; and one with too many files.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from eval_anything.errors import UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.files.writing import cannot_write
from eval_anything.media.limits import MAX_BYTES
from eval_anything.media.sniff import EXTENSIONS, HEAD, sniff
from eval_anything.tasks.datasets.declaration import ARCHIVES

MAX_FILES = 50_000


MAX_GROWTH = 20
"""Largest ratio of unpacked to packed bytes: media hardly compress, uncompressed sound by less."""


ALWAYS_ALLOWED = 64 * 2**20
"""Bytes that any archive may unpack to, however small it is."""


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


def unpack(archive: Path, into: Path) -> None:
    """Unpacks a tar archive into the folder `into`. Appends the right ending to a file whose name claims
    another kind of medium than its bytes are. UserError if it is broken or refused."""
    limit = max(ALWAYS_ALLOWED, MAX_GROWTH * archive.stat().st_size)
    try:
        with archive.open("rb") as raw, _Limited(_decompressed(raw), limit) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for number, member in enumerate(tar, start=1):
                    if number > MAX_FILES:
                        raise ValueError(f"it holds more than {MAX_FILES:,} files")
                    _unpack_member(tar, member, into)
            while stream.read(2**20):  # up to the checksum at its end
                pass
    except ValueError as error:
        raise UserError(f"{archive} is not unpacked: {error}") from None
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{archive} is broken ({error}): download it again") from None


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise ValueError(f"its member {member.name!r} leads outside")
    if member.isdir():
        return
    if not member.isreg():
        raise ValueError(f"its member {member.name!r} is a link or a device, not a file")
    if member.size > MAX_BYTES:
        raise ValueError(f"its member {member.name!r} has {member.size:,} bytes: too large")
    source = tar.extractfile(member)
    assert source is not None
    target = into / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            shutil.copyfileobj(source, file, 2**20)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ValueError(f"its member {member.name!r} is there twice") from None
    with target.open("rb") as file:
        kind = sniff(file.read(HEAD))
    claimed = EXTENSIONS.get(target.suffix.lower().lstrip("."))
    if kind is not None and claimed is not None and claimed != kind.mime:
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
            raise ValueError(f"it becomes larger than {self._limit:,} bytes, as an archive bomb does")
        return chunk
