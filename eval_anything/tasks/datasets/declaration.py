"""Declaration of the data set that a task's samples come from: `data:` in task.yaml."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from msgspec import Struct

ARCHIVES = (".tar.gz", ".tgz", ".tar")


ROW_FILES = (".json", ".jsonl", ".parquet")


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


_HUB = re.compile(rf"{_NAME.pattern}/{_NAME.pattern}")


class Where(Struct, frozen=True, forbid_unknown_fields=True):
    """Condition for the items of the task: their `field` has the value `equals`. `among` lists all
    values that it may have, so that an item with another one is an error, not an item of no task."""

    field: str
    equals: str
    among: list[str]


class DataSet(Struct, frozen=True, forbid_unknown_fields=True):
    """`data:` in task.yaml. The licence of the data is that of the task.

    Attributes:
        name: name of the folder that holds the set.
        hub: its name on the Hugging Face hub, `owner/name`; None if it is not there.
        revision: commit to fetch; the newest one if left out.
        megabytes: approximate size of the download.
        rows: patterns of the files with the rows (.json, .jsonl, .parquet); the first one that
            matches any file counts.
        archives: archives of media; each is unpacked into a folder of its name.
        items: number of items in the whole set, before `where`: rows, or groups of them.
        group_by: a field; the rows that have the same value in it make one sample.
        where: condition for the items that belong to the task; all do without it.
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
        """Number of samples of the task; None if only the data can tell."""
        return self.items if self.where is None else None


def mistakes_in(dataset: DataSet) -> list[tuple[str, str]]:
    """Mistakes that the types cannot express: pairs of a key and a message."""
    mistakes = []
    if not _NAME.fullmatch(dataset.name):
        mistakes.append(("name", "must be the name of a folder: letters, digits, `.`, `_`, `-`"))
    if dataset.hub is not None and not _HUB.fullmatch(dataset.hub):
        mistakes.append(("hub", f"must be `owner/name`, not {dataset.hub!r}"))
    if dataset.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", dataset.revision):
        mistakes.append(("revision", "must be a commit: 40 hexadecimal digits"))
    if dataset.items < 1:
        mistakes.append(("items", "must be at least 1"))
    if not dataset.megabytes > 0:
        mistakes.append(("megabytes", "must be above 0"))
    if not dataset.rows:
        mistakes.append(("rows", "names no file: give a pattern, such as `data/test-*.parquet`"))
    for key in ("rows", "archives"):
        for pattern in getattr(dataset, key):
            endings = ROW_FILES if key == "rows" else ARCHIVES
            path = PurePosixPath(pattern)
            if path.is_absolute() or ".." in path.parts:
                mistakes.append((key, f"{pattern!r} leads outside the data set"))
            elif not pattern.endswith(endings):
                mistakes.append((key, f"{pattern!r} must end in {', '.join(endings)}"))
    if dataset.where is not None and dataset.where.equals not in dataset.where.among:
        mistakes.append(("where", f"equals {dataset.where.equals!r} is none of `among`"))
    return mistakes
