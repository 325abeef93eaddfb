"""Which tasks lm-evaluation-harness has, found without importing it: importing takes seconds, and its
own index of 14,000 files most of a minute.

A task, group or tag of lm_eval is named in a YAML file by the top-level keys `task`, `group` and `tag`
(its docs/new_task_guide.md). Only these lines are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

from eval_anything.errors import UserError, near

PREFIX = "lm_eval"
"""Tasks of lm_eval are called `lm_eval/<name>`."""


_KEY = re.compile(
    r"""^["']?(task|group|tag|class|include)["']?[ \t]*:"""  # a top-level key,
    r"""[ \t]*([^\n#]*?)[ \t]*(?:\#[^\n]*)?$"""  # what follows in its line,
    r"""((?:\n[ \t]*-[^\n]*)*)""",  # and the items of a list below it
    re.MULTILINE,
)


_IGNORED = {"__pycache__", ".ipynb_checkpoints"}


_CODE = re.compile(r"!function|^[\"']?(class|custom_dataset|unsafe_code)[\"']?[ \t]*:", re.MULTILINE)


class NameEntry(NamedTuple):
    """What a name stands for, and the YAML files that make it: one, or those with the tag."""

    kind: Literal["task", "group", "tag"]
    paths: tuple[Path, ...]


def installed_version() -> str:
    """The version of lm_eval. UserError if it is not installed."""
    _package()
    return version("lm_eval")


def _package() -> Path:
    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "tasks of lm-evaluation-harness need the package lm_eval: "
            "pip install 'eval-anything[lm_eval]'"
        )
    return Path(spec.submodule_search_locations[0])


def index(include: Sequence[Path] = ()) -> dict[str, NameEntry]:
    """Every task, group and tag of lm_eval and of included folders, by name."""
    entries = dict(_scan(_package() / "tasks"))
    for folder in include:
        for name, entry in _scan(folder.resolve()).items():
            known = entries.get(name)
            if known is None or known.paths == entry.paths:
                entries[name] = entry
            elif known.kind == entry.kind == "tag":
                entries[name] = NameEntry("tag", known.paths + entry.paths)
            else:
                raise UserError(
                    f"--include {folder}: {entry.paths[0]} is called {name!r}, as is "
                    f"{known.paths[0]}. Rename it."
                )
    return entries


def has_tasks(folder: Path) -> bool:
    """Whether a folder holds tasks for lm_eval."""
    return any(entry.kind != "tag" for entry in _scan(folder.resolve()).values())


def find(name: str, entries: dict[str, NameEntry]) -> NameEntry:
    """What a name stands for. UserError with the near names."""
    if name not in entries:
        raise UserError(
            f"lm_eval has no task {name!r}.{near(name, entries)} "
            f"`eval-anything tasks list --suite {PREFIX}` shows all; --include DIR adds your own."
        )
    return entries[name]


def files_of(names: Iterable[str], entries: dict[str, NameEntry]) -> list[Path]:
    """The files of these names, with those of the members of groups, sorted."""
    files: set[Path] = set()
    todo = [find(name, entries) for name in names]
    while todo:
        entry = todo.pop()
        new = set(entry.paths) - files
        files |= new
        if entry.kind == "group":
            members = (member for path in new for member in _members(read_loosely(path).get("task")))
            todo += [entries[member] for member in members if member in entries]
    return sorted(files)


def with_code(files: Iterable[Path]) -> Path | None:
    """The first of the files which, or a file it includes, brings Python code of its own."""
    return next((path for path in files if any(_CODE.search(_read(p)) for p in _chain(path))), None)


def _chain(path: Path) -> list[Path]:
    """A file, and those that it includes."""
    found = [path]
    for one in found:
        included = (one.parent / other for other in _keys(one).get("include", []))
        found += [other for other in included if other not in found and other.is_file()]
    return found


def _members(value: Any) -> Iterable[str]:
    """The names in a group's list: of tasks and groups, which may stand inside inline groups."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _members(item)
    elif isinstance(value, dict):
        yield from _members(value.get("group"))
        yield from _members(value.get("task"))


def read_loosely(path: Path) -> dict[str, Any]:
    """A YAML file of lm_eval; references to code (`!function`) are read as text."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: str(node.value))
    value = yaml.load(_read(path), Loader)
    return value if isinstance(value, dict) else {}


@lru_cache(maxsize=8)
def _scan(root: Path) -> dict[str, NameEntry]:
    entries: dict[str, NameEntry] = {}
    tagged: dict[str, list[Path]] = {}
    for directory, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _IGNORED)
        for filename in sorted(files):
            if not filename.endswith(".yaml"):
                continue
            path = Path(directory, filename)
            keys = _keys(path)
            kind: Literal["task", "group"] = (
                "group" if "group" in keys and "class" not in keys else "task"
            )
            for name in keys.get(kind, [])[:1]:
                entries.setdefault(name, NameEntry(kind, (path,)))
                for tag in _tags(path) if kind == "task" else ():
                    tagged.setdefault(tag, []).append(path)
    tags = {tag: NameEntry("tag", tuple(paths)) for tag, paths in tagged.items() if tag not in entries}
    return entries | tags


def _tags(path: Path) -> list[str]:
    """The tags of a task: its own, else those of the file that it includes."""
    return next((keys["tag"] for one in _chain(path) if "tag" in (keys := _keys(one))), [])


@lru_cache(maxsize=32768)
def _keys(path: Path) -> dict[str, list[str]]:
    """The values of the keys that matter; a list has an item a line."""
    found: dict[str, list[str]] = {}
    for key, one, many in _KEY.findall(_read(path)):
        lines = [one] if one else many.splitlines()
        if one.startswith("["):
            lines = one.strip("[]").split(",")
        values = [re.sub(r"^[ \t]*-[ \t]+|[ \t]+#.*$", "", line).strip(" \t'\"") for line in lines]
        found.setdefault(key, [value for value in values if value])
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):  # whatever it is, it is no task
        return ""
