"""Search for a data set on this machine, and instructions for getting it."""

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
    """The folder into which `tasks fetch` puts data sets, each in a folder of its name."""
    return home() / "data"


def find_snapshot(
    task: str, dataset: DataSet, licence: str, data_folders: Sequence[Path] = ()
) -> Snapshot:
    """The data set of a task: in a folder of its name in one of `data_folders` (`--data`), in one of
    these itself, or in `data_home()`. MissingDataError says how to get it."""
    for folder in data_folders:
        if not folder.is_dir():
            raise UserError(f"--data {folder}: there is no such folder")
    subfolders = [folder / dataset.name for folder in data_folders if (folder / dataset.name).is_dir()]
    direct = [folder for folder in data_folders if folder / dataset.name not in subfolders]
    looked_in = [*subfolders, *direct, data_home() / dataset.name]
    for path in looked_in:
        rows = _files(path, dataset.rows)
        if rows:
            return Snapshot(path.resolve(), rows)
        if path in subfolders:
            raise MissingDataError(
                f"{task}: {path} has no {' or '.join(dataset.rows)}: the copy of {dataset.name} is not "
                f"complete. It holds {_listing(path)}.\n{how_to_get(task, dataset, licence)}"
            )
    raise MissingDataError(
        f"{task} needs the data set {dataset.name}, which is not bundled and not on this machine "
        f"(looked for {' or '.join(dataset.rows)} in {', '.join(map(str, looked_in))}).\n"
        f"{how_to_get(task, dataset, licence)}"
    )


def how_to_get(task: str, dataset: DataSet, licence: str) -> str:
    """Instructions: the download, its size and licence, and the folder to put it into."""
    name = dataset.hub or dataset.name
    about = f"  what:    {name}, about {dataset.megabytes:g} MB, licence {licence}\n"
    where = (
        f"  where:   DIR/{dataset.name}, named with --data DIR; or {data_home() / dataset.name}, "
        "where it is found by itself"
    )
    if dataset.hub is None:
        return about + where
    return (
        f"{about}"
        f"  fetch:   eval-anything tasks fetch {task.rpartition('/')[0]}\n"
        f"  by hand: hf download {dataset.hub} --repo-type dataset --local-dir DIR/{dataset.name}\n"
        f"{where}"
    )


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """The files of the first pattern that matches any, sorted."""
    for pattern in patterns:
        matches = sorted(path for path in folder.glob(pattern) if path.is_file())
        if matches:
            return matches
    return []


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") if names else "nothing"
