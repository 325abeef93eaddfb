"""How far a run is: a bar on a terminal, plain lines elsewhere, nothing with --json."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Literal

from eval_anything.content import Record

Style = Literal["auto", "silent"]


class Progress:
    """Writes to stderr only."""

    def __init__(self, style: Style = "auto") -> None:
        self.style = style

    def say(self, line: str) -> None:
        """One line for people."""
        if self.style != "silent":
            print(line, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def bar(self, total: int) -> Iterator[Callable[[Record], None]]:
        """Counts up to `total` records; the function it gives is called with each."""
        with self.count(total, "sample") as advance:
            yield lambda record: advance(record.error is not None)

    @contextlib.contextmanager
    def count(self, total: int, unit: str) -> Iterator[Callable[[bool], None]]:
        """Counts up to `total` of anything; the function it gives is told of each if it failed."""
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
    """A line at every tenth of the way."""
    start = time.monotonic()
    done = failures = 0

    def advance(failed: bool) -> None:
        nonlocal done, failures
        done += 1
        failures += failed
        if done == total or done * 10 // total > (done - 1) * 10 // total:
            rate = done / max(time.monotonic() - start, 1e-9)
            left = (total - done) / rate
            print(
                f"{done}/{total} {unit}s, {rate:.1f}/s, {left:.0f} s left, {failures} failed",
                file=sys.stderr,
                flush=True,
            )

    return advance
