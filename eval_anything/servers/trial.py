"""The rule of the first requests: a refusal that every request gets is no answer of the model.

Until a server has accepted one request of a run, nobody knows whether it refuses one sample, or all of
them for a wrong parameter. Such refusals are held: five equal ones in a row stop the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, TypeVar

from eval_anything.content import Failure
from eval_anything.errors import UserError
from eval_anything.servers.refusals import Refusal

_EQUAL_IN_A_ROW = 5


T = TypeVar("T")


class EarlyRefusalError(UserError):
    """A refusal before the server has accepted any request of the run: perhaps it refuses all of them.

    Attributes:
        trial: the trial that is undecided.
        failure: the failure of the sample, if the refusal turns out to be of that sample alone.
    """

    def __init__(self, message: str, trial: Trial, failure: Failure) -> None:
        super().__init__(message)
        self.trial = trial
        self.failure = failure


class Trial:
    """The decision whether a server accepts the requests of a run at all.

    `accepted` is set with the first reply, by this run or an earlier one that it resumes.
    """

    def __init__(self) -> None:
        self.accepted = False
        self._last = ""
        self._in_a_row = 0

    def interrupt(self) -> None:
        """Notes a refusal that is of one sample alone: the equal ones are no longer in a row."""
        self._in_a_row = 0

    def refuse(self, label: str, refusal: Refusal, failure: Failure, hint: str = "") -> None:
        """Takes a refusal that all requests may get; does nothing once a request was accepted.

        Args:
            label: names the judge or the model.
            refusal: the refusal.
            failure: the failure of the sample, if it is of that sample alone.
            hint: a sentence with the option that helps.

        Raises:
            EarlyRefusalError: nothing is decided yet; the caller holds the sample (`Held`).
            UserError: too many equal refusals in a row.
        """
        if self.accepted:
            return
        words = _without_ids(f"{refusal.status} {refusal.words}")
        self._in_a_row = self._in_a_row + 1 if words == self._last else 1
        self._last = words
        message, hint = f"{label}: {failure.message.rstrip('.')}.", hint or advice(refusal)
        if self._in_a_row >= _EQUAL_IN_A_ROW:
            count = f"{self._in_a_row} requests were refused so, and none succeeded."
            raise UserError(f"{message} {count} {hint}")
        raise EarlyRefusalError(f"{message} No request succeeded. {hint}", self, failure)


class Held(Generic[T]):
    """Work that waits for the decision of a trial."""

    def __init__(self) -> None:
        self._waiting: list[tuple[T, EarlyRefusalError]] = []

    def add(self, work: T, error: EarlyRefusalError) -> None:
        """Holds work that ended in this error."""
        self._waiting.append((work, error))

    def decide(self) -> list[tuple[T, EarlyRefusalError]]:
        """Everything that is held, to go on with, each with the refusal that then is its own.

        Called once no other request is under way.

        Raises:
            EarlyRefusalError: the server has accepted nothing, and all its refusals are equal.
        """
        waiting, self._waiting = self._waiting, []
        for trial in {error.trial: None for _, error in waiting}:
            errors = [error for _, error in waiting if error.trial is trial]
            if not trial.accepted and _equal(errors):
                raise errors[0]
            trial.accepted = True
        return waiting


def advice(refusal: Refusal) -> str:
    """Advice for a request that the server refuses."""
    if refusal.parameter is not None:
        return f"It names the field {refusal.parameter!r} of the request: see its option."
    return "Fix what it names: the model, its options, or the address."


def _equal(errors: Iterable[EarlyRefusalError]) -> bool:
    return len({_without_ids(str(error)) for error in errors}) == 1


def _without_ids(text: str) -> str:
    """The text without what differs from request to request: long words with digits."""
    return re.sub(r"(?=\S*\d)\S{8,}", "#", text)
