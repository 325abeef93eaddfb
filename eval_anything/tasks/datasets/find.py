"""Where a data set lies on this machine, and what to say if it does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eval_anything.errors import UserError
from eval_anything.files.places import home
from eval_anything.tasks.datasets.declaration import DataSet


class MissingDataError(UserError):
    """A task's data set is not on this machine, or not all of it."""


class Snapshot(NamedTuple):
    """A data set on disk: its folder, and the files that hold its rows."""

    path: Path
    rows: list[Path]


def data_home() -> Path:
    """Where `tasks fetch` puts data sets, each in a folder of its name."""
    return home() / "data"


def find_snapshot(task: str, data: DataSet, licence: str, given: Sequence[Path] = ()) -> Snapshot:
    """The data set of a task: in a folder of its name in one of those `given` (`--data`), in one of
    them itself, or where `tasks fetch` puts it. MissingDataError says how to get it."""
    for folder in given:
        if not folder.is_dir():
            raise UserError(f"--data {folder}: there is no such folder")
    own = [folder / data.name for folder in given if (folder / data.name).is_dir()]
    looked_in = [*own, *(f for f in given if f not in [o.parent for o in own]), data_home() / data.name]
    for path in looked_in:
        rows = _files(path, data.rows)
        if rows:
            return Snapshot(path.resolve(), rows)
        if path in own:
            raise MissingDataError(
                f"{task}: {path} has no {' or '.join(data.rows)}: the copy of {data.name} is not "
                f"complete. It holds {_listing(path)}.\n{how_to_get(task, data, licence)}"
            )
    raise MissingDataError(
        f"{task} needs the data set {data.name}, which is not bundled and not on this machine "
        f"(looked for {' or '.join(data.rows)} in {', '.join(map(str, looked_in))}).\n"
        f"{how_to_get(task, data, licence)}"
    )


def how_to_get(task: str, data: DataSet, licence: str) -> str:
    """What to download, how large it is, under which licence, and where to put it."""
    about = f"  what:    {data.hub or data.name}, about {data.megabytes:g} MB, licence {licence}\n"
    where = (
        f"  where:   DIR/{data.name}, named with --data DIR; or {data_home() / data.name}, "
        "where it is found by itself"
    )
    if data.hub is None:
        return about + where
    return (
        f"{about}"
        f"  fetch:   eval-anything tasks fetch {task.rpartition('/')[0]}\n"
        f"  by hand: hf download {data.hub} --repo-type dataset --local-dir DIR/{data.name}\n"
        f"{where}"
    )


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """What the first pattern that matches anything matches, sorted."""
    for pattern in patterns:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if found:
            return found
    return []


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") if names else "nothing"
