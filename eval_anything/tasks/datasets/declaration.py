"""What a task says of the data set that its samples come from: `data:` in task.yaml."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from msgspec import Struct

ARCHIVES = (".tar.gz", ".tgz", ".tar")


ROW_FILES = (".json", ".jsonl", ".parquet")


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


_HUB = re.compile(rf"{_NAME.pattern}/{_NAME.pattern}")


class Where(Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows belong to the task: those whose `field` is `equals`. `among` are all values that it
    may have, so that a row with another one is an error instead of being left out by all tasks."""

    field: str
    equals: str
    among: list[str]


class DataSet(Struct, frozen=True, forbid_unknown_fields=True):
    """`data:` in task.yaml. The licence of the data is that of the task.

    Attributes:
        name: of the folder that holds the set.
        hub: where it is on the Hugging Face hub, `owner/name`; None if it is not there.
        revision: the commit to fetch; the newest one if left out.
        megabytes: how much is downloaded, about.
        rows: patterns of the files with the rows (.json, .jsonl, .parquet); the first one that
            matches any file counts.
        archives: archives of media; each is unpacked into a folder of its name.
        items: how many items the whole set has, before `where`: rows, or groups of them.
        group_by: a field; the rows that have the same value in it make one sample.
        where: which items belong to the task.
        sample: a Jinja2 file that turns an item into one line of samples.jsonl.
    """

    name: str
    rows: list[str]
    items: int
    sample: str
    megabytes: float
    hub: str | None = None
    revision: str | None = None
    archives: list[str] = []
    group_by: str | None = None
    where: Where | None = None

    @property
    def samples(self) -> int | None:
        """How many samples the task has, if that is known without the data."""
        return self.items if self.where is None else None


def mistakes_in(data: DataSet) -> list[tuple[str, str]]:
    """What the types cannot say: pairs of a key and what is wrong with it."""
    found = []
    if not _NAME.fullmatch(data.name):
        found.append(("name", "must be the name of a folder: letters, digits, `.`, `_`, `-`"))
    if data.hub is not None and not _HUB.fullmatch(data.hub):
        found.append(("hub", f"must be `owner/name`, not {data.hub!r}"))
    if data.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", data.revision):
        found.append(("revision", "must be a commit: 40 hexadecimal digits"))
    if data.items < 1:
        found.append(("items", "must be at least 1"))
    if not data.megabytes > 0:
        found.append(("megabytes", "must be above 0"))
    if not data.rows:
        found.append(("rows", "names no file: give a pattern, such as `data/test-*.parquet`"))
    for key in ("rows", "archives"):
        for pattern in getattr(data, key):
            endings = ROW_FILES if key == "rows" else ARCHIVES
            path = PurePosixPath(pattern)
            if path.is_absolute() or ".." in path.parts:
                found.append((key, f"{pattern!r} leads outside the data set"))
            elif not pattern.endswith(endings):
                found.append((key, f"{pattern!r} must end in {', '.join(endings)}"))
    if data.where is not None and data.where.equals not in data.where.among:
        found.append(("where", f"equals {data.where.equals!r} is none of `among`"))
    return found
