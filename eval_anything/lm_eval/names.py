"""Index of the tasks of lm-evaluation-harness, made without importing it: importing takes seconds, and
its own index of 14,000 files most of a minute.

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

from eval_anything.errors import UserError, install, near
from eval_anything.files.reading import MAX_DOCUMENT, read_text

PREFIX = "lm_eval"
"""Prefix of the tasks of lm_eval: `lm_eval/<name>`."""


_KEY = re.compile(
    r"""^["']?(task|group|tag|class|include)["']?[ \t]*:"""  # a top-level key,
    r"""[ \t]*([^\n#]*?)[ \t]*(?:\#[^\n]*)?$"""  # what follows in its line,
    r"""((?:\n[ \t]*-[^\n]*)*)""",  # and the items of a list below it
    re.MULTILINE,
)


_IGNORED = {"__pycache__", ".ipynb_checkpoints"}


_CODE = re.compile(r"!function|^[\"']?(class|custom_dataset|unsafe_code)[\"']?[ \t]*:", re.MULTILINE)


class NameEntry(NamedTuple):
    """Kind of a name, and the YAML files that define it: one, or all with the tag."""

    kind: Literal["task", "group", "tag"]
    paths: tuple[Path, ...]


def installed_version() -> str:
    """The version of lm_eval. UserError if it is not installed."""
    _package()
    return version("lm_eval")


def _package() -> Path:
    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"tasks of lm-evaluation-harness need the package lm_eval: {install('lm_eval')}")
    return Path(spec.submodule_search_locations[0])


def index(include: Sequence[Path] = ()) -> dict[str, NameEntry]:
    """Every task, group and tag of lm_eval and of included folders, by name."""
    entries = dict(_scan(_package() / "tasks"))
    for folder in include:
        for name, entry in _scan(folder.resolve()).items():
            earlier = entries.get(name)
            if earlier is None or earlier.paths == entry.paths:
                entries[name] = entry
            elif earlier.kind == entry.kind == "tag":
                entries[name] = NameEntry("tag", earlier.paths + entry.paths)
            else:
                raise UserError(
                    f"--include {folder}: {entry.paths[0]} is called {name!r}, as is "
                    f"{earlier.paths[0]}. Rename it."
                )
    return entries


def has_tasks(folder: Path) -> bool:
    """True if a folder contains tasks for lm_eval."""
    return any(entry.kind != "tag" for entry in _scan(folder.resolve()).values())


def find(name: str, entries: dict[str, NameEntry]) -> NameEntry:
    """The entry of a name. UserError, with similar names, if there is none."""
    if name not in entries:
        raise UserError(
            f"lm_eval has no task {name!r}.{near(name, entries)} "
            f"`eval-anything tasks list --suite {PREFIX}` shows all; --include DIR adds your own."
        )
    return entries[name]


def files_of(names: Iterable[str], entries: dict[str, NameEntry]) -> list[Path]:
    """Files of these names, with those of the members of groups, sorted."""
    files: set[Path] = set()
    pending = [find(name, entries) for name in names]
    while pending:
        entry = pending.pop()
        new = set(entry.paths) - files
        files |= new
        if entry.kind == "group":
            members = (member for path in new for member in _members(read_loosely(path).get("task")))
            pending += [entries[member] for member in members if member in entries]
    return sorted(files)


def with_code(files: Iterable[Path]) -> Path | None:
    """The first of these files that runs Python code of its own, or includes a file that does."""
    return next((path for path in files if any(map(_has_code, _chain(path)))), None)


def _has_code(path: Path) -> bool:
    try:
        return _CODE.search(read_text(path, MAX_DOCUMENT)) is not None
    except (OSError, UnicodeDecodeError):  # what cannot be checked does not run either
        return True


def _chain(path: Path) -> list[Path]:
    """A file, and those that it includes, directly or not."""
    chain = [path]
    for file in chain:
        included = (file.parent / other for other in _keys(file).get("include", []))
        chain += [other for other in included if other not in chain and other.is_file()]
    return chain


def _members(listed: Any) -> Iterable[str]:
    """Yields the names in a group's list of tasks and groups, with those inside inline groups."""
    if isinstance(listed, str):
        yield listed
    elif isinstance(listed, list):
        for member in listed:
            yield from _members(member)
    elif isinstance(listed, dict):
        yield from _members(listed.get("group"))
        yield from _members(listed.get("task"))


def read_loosely(path: Path) -> dict[str, Any]:
    """Reads a YAML file of lm_eval; references to code (`!function`) are read as text."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: str(node.value))
    content = yaml.load(_read(path), Loader)
    return content if isinstance(content, dict) else {}


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
    """Tags of a task: its own, else those of the file that it includes."""
    return next((keys["tag"] for file in _chain(path) if "tag" in (keys := _keys(file))), [])


@lru_cache(maxsize=32768)
def _keys(path: Path) -> dict[str, list[str]]:
    """Names under the keys that `_KEY` matches, in one line or as a list below."""
    names_by_key: dict[str, list[str]] = {}
    for key, inline, lines_below in _KEY.findall(_read(path)):
        lines = [inline] if inline else lines_below.splitlines()
        if inline.startswith("["):
            lines = inline.strip("[]").split(",")
        values = [re.sub(r"^[ \t]*-[ \t]+|[ \t]+#.*$", "", line).strip(" \t'\"") for line in lines]
        names_by_key.setdefault(key, [name for name in values if name])
    return names_by_key


def _read(path: Path) -> str:
    try:
        return read_text(path, MAX_DOCUMENT)
    except (OSError, UnicodeDecodeError):  # a file that cannot be read defines no task
        return ""
