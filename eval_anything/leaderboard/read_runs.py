"""Reads the runs that a site is built from, with reasons for those that cannot be shown."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eval_anything.content import without_surrogates
from eval_anything.errors import UserError
from eval_anything.files.reading import MAX_LINES, open_file
from eval_anything.runs.directory import RunFile, read_run_file, records_path
from eval_anything.runs.own_files import own_file
from eval_anything.runs.results_file import Results, read_results

_LONGEST_NAME = 200


class SiteRun(NamedTuple):
    """A finished run. `id` depends on its content alone: it names the run in links and files."""

    id: str
    path: Path
    name: str
    folder: str
    file: RunFile
    results: Results


class LeftOut(NamedTuple):
    """A run that is not on the board: the name of its folder, and the reason."""

    folder: str
    reason: str


def read_entries(paths: Sequence[Path]) -> tuple[list[SiteRun], list[LeftOut]]:
    """Finished runs sorted by name, and what is left out: runs that are unfinished or damaged, and paths
    that are no runs, as `runs/*` may have. The order of `paths` has no effect.

    UserError for a path that does not exist, and if no run can be shown.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: there is no such directory of a run")
    entries: dict[str, SiteRun] = {}
    left_out: list[LeftOut] = []
    for path in sorted({path.resolve() for path in paths}):
        try:
            entry = _read_entry(path)
        except (UserError, OSError) as error:
            left_out.append(
                LeftOut(without_surrogates(path.name), str(error).replace(str(path), path.name))
            )
            continue
        if entry.id in entries:
            first = entries[entry.id].folder
            left_out.append(LeftOut(entry.folder, f"it is a copy of the run in {first}"))
        else:
            entries[entry.id] = entry
    if not entries:
        reasons = "; ".join(f"{run.folder}: {run.reason}" for run in left_out)
        raise UserError(f"none of these runs can be shown: {reasons}")
    return sorted(entries.values(), key=lambda e: (e.name, e.folder, e.id)), left_out


def _read_entry(path: Path) -> SiteRun:
    file = read_run_file(path)
    if file.status != "done":
        raise UserError(f"it is not finished (status: {file.status})")
    results = read_results(path, file.tasks)
    digest = hashlib.sha256()
    for part in (path / "run.json", path / "results.json", *(records_path(path, t) for t in file.tasks)):
        try:
            with open_file(own_file(path, part), MAX_LINES) as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise UserError(f"{part} cannot be read: {error.strerror}") from None
    name = without_surrogates(file.model)[:_LONGEST_NAME].strip() or "unnamed"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "model"
    id_ = f"{slug}-{digest.hexdigest()[:10]}"
    return SiteRun(id_, path, name, without_surrogates(path.name)[:_LONGEST_NAME], file, results)
