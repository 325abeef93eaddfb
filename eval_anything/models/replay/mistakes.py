"""Mistakes in saved outputs: equal ones are one, with some of its places, however long the file is."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from eval_anything.files.mistakes import FileProblemsError, Problem
from eval_anything.files.wording import wording_key

_MOST = 20


_PLACES = 3


_ENOUGH = 10_000


_wording_key = lru_cache(maxsize=1024)(wording_key)


class AnswerError(ValueError):
    """A mistake in one answer.

    Attributes:
        kind: the same text for equal mistakes; "" to tell them by their wording.
        hint: makes a sentence such as near names, which takes a while: only the first one is made.
    """

    def __init__(self, message: str, kind: str = "", hint: Callable[[], str] = str) -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint


class _Group:
    """Equal mistakes: the first of them, the places of some others, and their number."""

    def __init__(self, first: Problem) -> None:
        self.first = first
        self.places: list[str] = []
        self.more = 0

    def add(self, position: str) -> None:
        """Adds another one."""
        self.more += 1
        if len(self.places) < _PLACES:
            self.places.append(position)

    @property
    def problem(self) -> Problem:
        """The first one, which names the others."""
        if not self.more:
            return self.first
        dots = ", ..." if self.more > len(self.places) else ""
        return self.first.extended(f" (and {self.more} more: {', '.join(self.places)}{dots})")


class FoldedMistakes:
    """The mistakes of saved outputs, the first 20 kinds of them."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._left_out = 0
        self._count = 0

    @property
    def enough(self) -> bool:
        """Whether there are so many that it makes no sense to read on."""
        return self._count >= _ENOUGH

    def add(self, problem: Problem, position: str, error: ValueError | None = None) -> None:
        """Notes a mistake. `position` is a short name of its place, for messages about equal ones."""
        kind, hint = (error.kind, error.hint) if isinstance(error, AnswerError) else ("", str)
        key = kind or _wording_key(problem.message)
        self._count += 1
        if key in self._groups:
            self._groups[key].add(position)
        elif len(self._groups) < _MOST:
            self._groups[key] = _Group(problem.extended(hint()))
        else:
            self._left_out += 1

    def check(self) -> None:
        """Raises FileProblemsError with the mistakes, if there are any."""
        problems = [group.problem for group in self._groups.values()]
        if self._left_out:
            problems[-1] = problems[-1].extended(f"\nand {self._left_out} mistakes of other kinds")
        if self.enough:
            problems[-1] = problems[-1].extended("\ntoo many mistakes: the rest was not read")
        if problems:
            raise FileProblemsError(problems)
