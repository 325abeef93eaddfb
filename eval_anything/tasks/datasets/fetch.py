"""Downloads a data set from the Hugging Face hub: only the files that its tasks read, never its code.

A download that was cut off continues where it stopped, also in a later call. The hub's own
`snapshot_download` would restart the file, so files are downloaded one by one. Each is checked against
the hash that the hub lists (sha256 of a large file, else the hash of its git blob), also one that was
there before; a wrong one is downloaded once more. The commit is noted beside the files.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from eval_anything.errors import EvalError, ServerError, UserError, install
from eval_anything.files.hashing import sha256_of
from eval_anything.files.places import path_inside
from eval_anything.files.writing import cannot_write, pretty_json, write_atomically
from eval_anything.tasks.datasets.declaration import DataSet
from eval_anything.tasks.datasets.find import data_home

NOTE = ".fetched.json"
"""Name of the file in a fetched folder that notes its commit and the sha256 of each file."""


_PARTS = ".parts"


_PAPERS = ("README*", "LICENSE*")


_TIMEOUT = 30.0


class HubFile(NamedTuple):
    """A file as the hub describes it: sha256 of a large one (Git LFS), else the hash of its git blob."""

    name: str
    size: int
    sha256: str | None
    blob: str | None


class Fetched(NamedTuple):
    """A data set that is complete on disk."""

    path: Path
    commit: str
    files: list[HubFile]


def fetch(sets: Sequence[DataSet], licence: str, report: Callable[[str], None]) -> Fetched:
    """Downloads one data set, or what is missing of it.

    Args:
        sets: the declarations of the same set by all tasks that use it; they share name and hub.
        licence: licence of the data, for the report.
        report: function that is called with each line for people.

    Raises:
        ServerError: the hub cannot be reached, or a file does not have the listed hash; the same call
            continues later.
        UserError: the set is not on the hub, lacks a file that a task needs, or huggingface_hub is
            missing.
    """
    dataset = sets[0]
    folder = data_home() / dataset.name
    if dataset.hub is None:
        raise UserError(
            f"{dataset.name} is not on the hub: put it into {folder}, or name it with --data"
        )
    try:
        import huggingface_hub as hub
    except ImportError:
        raise UserError(f"downloads need huggingface_hub: {install('hf')}") from None
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        listing = hub.HfApi(endpoint=endpoint).dataset_info(
            dataset.hub, revision=dataset.revision, files_metadata=True, timeout=_TIMEOUT
        )
        files = _wanted(sets, [_hub_file(file) for file in listing.siblings or ()])
        size = sum(file.size for file in files)
        report(f"{dataset.hub} at {listing.sha}: {len(files)} files, {size:,} bytes, licence {licence}")
        report(f"into {folder}")
        for file in files:
            url = hub.hf_hub_url(
                dataset.hub, file.name, repo_type="dataset", revision=listing.sha, endpoint=endpoint
            )
            _complete(url, folder, file, report)
    except EvalError:
        raise
    except Exception as error:  # errors of the hub, of HTTP, of sockets, of the disk
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES):
            raise cannot_write(folder, error) from None
        reason = str(error).strip().splitlines() or [""]
        raise ServerError(
            f"{dataset.hub} could not be downloaded ({type(error).__name__}: {reason[0]}). What is "
            "there is kept, and the same command goes on.\nBy hand, on a machine with a network: hf "
            f"download {dataset.hub} --repo-type dataset --local-dir {dataset.name}; then copy that "
            f"folder to {folder}, or name it with --data."
        ) from None
    _note(folder, dataset, listing.sha, files)
    return Fetched(folder, listing.sha, files)


def _complete(url: str, folder: Path, file: HubFile, report: Callable[[str], None]) -> None:
    """Downloads what is missing of a file, and once more from the start if its hash is wrong."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    path = path_inside(folder, file.name)
    if path.is_file():
        fault = _fault(path, file)
        if fault is None:
            return
        report(f"{file.name}: {fault}; once more")
    part = folder / _PARTS / sha256_of(file)[:32]
    part.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        with part.open("ab") as stream:
            http_get(
                url,
                stream,
                resume_size=stream.tell(),
                headers=build_hf_headers(),
                expected_size=file.size,
                displayed_filename=file.name,
            )
        fault = _fault(part, file)
        if fault is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.replace(path)
            return
        part.unlink()
    raise ServerError(
        f"{file.name} was downloaded twice and is not what the hub says: {fault}. Try later, or another "
        "mirror (HF_ENDPOINT); the same command goes on."
    )


def _hub_file(file: Any) -> HubFile:
    sha256 = None if file.lfs is None else file.lfs.sha256
    return HubFile(file.rfilename, file.size or 0, sha256, file.blob_id)


def _wanted(sets: Sequence[DataSet], files: Sequence[HubFile]) -> list[HubFile]:
    """The files that the tasks read, with README and licence. UserError if one of them is missing."""
    chosen = {f.name: f for f in files if any(_matches(f.name, p) for p in _PAPERS)}
    for dataset in sets:
        rows = [[f for f in files if _matches(f.name, pattern)] for pattern in dataset.rows]
        archives = [f for f in files if f.name in dataset.archives]
        if not any(rows) or len(archives) < len(dataset.archives):
            names = ", ".join(sorted(f.name for f in files)[:12])
            raise UserError(
                f"{dataset.hub} on the hub is not as this version of the benchmark expects: it has no "
                f"{' or '.join(dataset.rows)}{' with ' if dataset.archives else ''}"
                f"{' and '.join(dataset.archives)}. It has {names}."
            )
        chosen |= {f.name: f for f in (*next(filter(None, rows)), *archives)}
    return sorted(chosen.values())


def _matches(name: str, pattern: str) -> bool:
    """Whether a file's name matches a pattern by the rules of `Path.glob`: `*` matches no slash."""
    return name.count("/") == pattern.count("/") and PurePosixPath(name).match(pattern)


def _fault(path: Path, file: HubFile) -> str | None:
    """The difference between a file on disk and the hub's listing; None if there is none."""
    size = path.stat().st_size
    if size != file.size:
        return f"it has {size:,} bytes instead of {file.size:,}"
    if file.sha256 is not None and _digest(path, hashlib.sha256()) != file.sha256:
        return "its sha256 is not the one that the hub gives"
    if file.sha256 is None and file.blob is not None:
        head = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        if _digest(path, head) != file.blob:
            return "its git hash is not the one that the hub gives"
    return None


def _digest(path: Path, digest: Any) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: digest).hexdigest()


def _note(folder: Path, dataset: DataSet, commit: str, files: Sequence[HubFile]) -> None:
    hashes = {file.name: _digest(folder / file.name, hashlib.sha256()) for file in files}
    note = {"hub": dataset.hub, "commit": commit, "sha256": hashes}
    write_atomically(folder / NOTE, pretty_json(note))
