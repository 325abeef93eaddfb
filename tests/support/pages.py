"""Pages of the docs as their tests read them: commands, and files that they make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class File(NamedTuple):
    """A block of a page that names a file: ```yaml mine/task.yaml."""

    path: str
    content: str


def steps(page: Path) -> list[str | File]:
    """The commands of a page and the files that it makes, in order."""
    found: list[str | File] = []
    blocks = re.findall(
        r"^```(\w+)(?: (\S+))?\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    for language, path, content in blocks:
        if path:
            found.append(File(path, content))
        elif language == "sh":
            lines = content.splitlines()
            found += [line.partition("  #")[0].strip() for line in lines if line.strip()]
    return found


def commands(page: Path) -> list[str]:
    """The commands alone."""
    return [step for step in steps(page) if isinstance(step, str)]
