"""Pauses that a server asks for: read from its reply, made longer if they do not help, and announced."""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Mapping

from eval_anything.errors import ServerError
from eval_anything.output.progress import notice
from eval_anything.servers.limit import Limit
from eval_anything.servers.replies import PassingError

FIRST_PAUSE = 0.5
"""Seconds after the first refusal, if the server names none; they double with each further one."""


LONGEST_PAUSE = 60.0


# A pause of at least so many seconds is announced, shorter ones once in so many seconds.
_LONG, _AGAIN = 10.0, 60.0


_SENSELESS = 31 * 86400.0


# "14", "14.5", "14s"; a header that a proxy has added again is "14, 14".
_NUMBER = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:s|ms|sec|seconds)?\s*(?:[,;]|$)")


class Pauses:
    """Pauses of all requests of one client.

    Args:
        label: names the judge or model in messages.
        limit: the client's limit, which counts the refusals.
    """

    def __init__(self, label: str, limit: Limit) -> None:
        self._label = label
        self._limit = limit
        self._quiet_until = self._long_until = -math.inf
        self._closed_until = -math.inf
        self._closed: ServerError | None = None

    def check(self) -> None:
        """Raises ServerError while the server wants no requests for longer than a run waits."""
        if self._limit.refusals and time.monotonic() < self._closed_until:
            raise ServerError(str(self._closed))

    def after(self, refusal: PassingError, since: float, longest: float) -> float:
        """The seconds to wait after a refusal that the limit has counted.

        Args:
            refusal: the server's refusal, with the seconds that it asks for.
            since: time of the first refusal of this request.
            longest: seconds that a request waits in all.

        Raises:
            ServerError: the pause would end after that.
        """
        now = time.monotonic()
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(max(self._limit.refusals - 1, 0), 20))
        if refusal.pause is not None:
            pause = refusal.pause if refusal.pause >= 1 else max(refusal.pause, pause)
        if now + pause > min(since, self._limit.refused_since) + longest:
            is_long = pause > longest
            message = _asks_for(pause) if is_long else f"rate-limited for {_words(longest)}"
            error = ServerError(f"{self._label}: {message} ({refusal}{refusal.words})")
            if is_long:
                self._closed, self._closed_until = error, now + pause
            raise error
        self._announce(refusal, pause, now)
        return pause

    def asked(self, failure: PassingError, pause: float, longest: float) -> float:
        """The seconds to wait after a failure with which the server asked for that pause. ServerError if
        it is longer than a run waits."""
        if pause > longest:
            raise ServerError(f"{self._label}: {_asks_for(pause)} ({failure}{failure.words})")
        if pause >= _LONG:
            self._announce(failure, pause, time.monotonic())
        return pause

    def _announce(self, failure: PassingError, pause: float, now: float) -> None:
        """Prints a line about a pause: once for all requests that are in it."""
        if now < (self._long_until if pause >= _LONG else self._quiet_until):
            return
        self._quiet_until = now + max(pause, _AGAIN)
        if pause >= _LONG:
            self._long_until = now + pause
        words = f"{failure}{failure.words}"
        notice(f"{self._label}: the server asks for a pause ({words}): waiting {_words(pause)}")


def asked_pause(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the headers of a reply; None if they name none, or more than a month.

    `retry-after` has seconds or a date, which is compared with the clock of the server if it shows it.

    Example:
        >>> asked_pause({"retry-after": "14"}), asked_pause({"retry-after-ms": "250"})
        (14.0, 0.25)
    """
    for name, unit in (("retry-after-ms", 1000), ("x-ms-retry-after-ms", 1000), ("retry-after", 1)):
        match = _NUMBER.match(headers.get(name, ""))
        if match is not None:
            seconds = float(match[1]) / unit
            return seconds if seconds <= _SENSELESS else None
    then = _time_of(headers.get("retry-after"))
    if then is None:
        return None
    seconds = max(0.0, then - (_time_of(headers.get("date")) or time.time()))
    return seconds if seconds <= _SENSELESS else None


def _time_of(date: str | None) -> float | None:
    """The seconds since 1970 of an HTTP date; None if it is none."""
    try:
        return email.utils.parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError, TypeError):
        return None


def _words(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{max(1.0, seconds):.0f} s"


def _asks_for(pause: float) -> str:
    end = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + pause))
    return f"the server asks for a pause of {_words(pause)}, until {end}: repeat the command then"
