"""Progress of a run: a bar on a terminal, plain lines elsewhere, nothing with --json."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Literal

from eval_anything.content import Record


def notice(line: str) -> None:
    """Prints a line on stderr that a user must see in any style, above a bar if there is one."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr, flush=True)


Style = Literal["auto", "silent"]


class Progress:
    """Messages and counts for people, on stderr only; nothing in the style `silent`."""

    def __init__(self, style: Style = "auto") -> None:
        self.style = style

    def say(self, line: str) -> None:
        """Prints one line."""
        if self.style != "silent":
            print(line, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def bar(self, total: int) -> Iterator[Callable[[Record], None]]:
        """Shows a count up to `total` records; yields the function to call with each record."""
        with self.count(total, "sample") as advance:
            yield lambda record: advance(record.error is not None)

    @contextlib.contextmanager
    def count(self, total: int, unit: str) -> Iterator[Callable[[bool], None]]:
        """Shows a count up to `total` units; yields the function to call for each, with True if it
        failed."""
        if self.style == "silent":
            yield lambda failed: None
        elif sys.stderr.isatty():
            from tqdm import tqdm

            failures = 0
            with tqdm(total=total, unit=unit, smoothing=0.1) as bar:

                def advance(failed: bool) -> None:
                    nonlocal failures
                    if failed:
                        failures += 1
                        bar.set_postfix(failed=failures)
                    bar.update()

                yield advance
        else:
            yield _lines(total, unit)


def _lines(total: int, unit: str) -> Callable[[bool], None]:
    """Prints a line at every tenth of the way."""
    start = time.monotonic()
    finished = failures = 0

    def advance(failed: bool) -> None:
        nonlocal finished, failures
        finished += 1
        failures += failed
        if finished == total or finished * 10 // total > (finished - 1) * 10 // total:
            rate = finished / max(time.monotonic() - start, 1e-9)
            eta = (total - finished) / rate
            print(
                f"{finished}/{total} {unit}s, {rate:.1f}/s, {eta:.0f} s left, {failures} failed",
                file=sys.stderr,
                flush=True,
            )

    return advance
