"""Mistakes in files that users write, collected so that all of them are reported together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from eval_anything.errors import UserError

Step = str | int
"""A key of a mapping or an index (from 0) of a list: steps lead to an entry of a document."""


class Problem(NamedTuple):
    """One mistake: the file, its line (1-based, 0 if it has none) and what to do about it."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return (
            f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"
        )

    def extended(self, message: str) -> Problem:
        """The same place with `message` after its own."""
        return self._replace(message=self.message + message)


class FileProblemsError(UserError):
    """A file, or a folder of files, has mistakes."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def mistake(file: Path, message: str, line: int = 0) -> FileProblemsError:
    """The error for a single mistake after which a file cannot be read further."""
    return FileProblemsError([Problem(file, line, message)])


class Mistakes(list[Problem]):
    """The mistakes of `file` in the order in which they were noted; `extend` adds those of other files.

    `line_of` gives the line that steps lead to: `load_yaml` knows it, a file of lines has none.
    """

    def __init__(self, file: Path, line_of: Callable[[tuple[Step, ...]], int] = lambda steps: 0) -> None:
        super().__init__()
        self.file = file
        self._line_of = line_of

    def add(self, message: str, *steps: Step) -> None:
        """Notes a mistake at the key or item that the steps lead to, or of the whole file."""
        self.add_line(self._line_of(steps), message)

    def add_line(self, line: int, message: str) -> None:
        """Notes a mistake on a line (1-based) of the file."""
        self.append(Problem(self.file, line, message))

    def check(self, most: int | None = None) -> None:
        """Raises FileProblemsError with the mistakes, the first `most` of them, if there are any."""
        if self:
            raise FileProblemsError(self[:most])
