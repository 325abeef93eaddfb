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
        if self.style == "silent":
            yield lambda record: None
        elif sys.stderr.isatty():
            from tqdm import tqdm

            failed = 0
            with tqdm(total=total, unit="sample", smoothing=0.1) as bar:

                def advance(record: Record) -> None:
                    nonlocal failed
                    if record.error is not None:
                        failed += 1
                        bar.set_postfix(failed=failed)
                    bar.update()

                yield advance
        else:
            yield _lines(total)


def _lines(total: int) -> Callable[[Record], None]:
    """A line at every tenth of the way."""
    start = time.monotonic()
    done = failed = 0

    def advance(record: Record) -> None:
        nonlocal done, failed
        done += 1
        failed += record.error is not None
        if done == total or done * 10 // total > (done - 1) * 10 // total:
            rate = done / max(time.monotonic() - start, 1e-9)
            left = (total - done) / rate
            print(
                f"{done}/{total} samples, {rate:.1f}/s, {left:.0f} s left, {failed} failed",
                file=sys.stderr,
                flush=True,
            )

    return advance
