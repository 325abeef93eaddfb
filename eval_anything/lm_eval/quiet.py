"""Output of lm_eval, less what does not matter: its lines on stdout, which is for our JSON, go to
stderr, its notes are dropped, and each of its warnings is shown once, with its number."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import Counter
from collections.abc import Iterator

_HARMLESS = (
    "is defined, but aggregation is not",
    "is defined, but higher_is_better is not",
    "Custom kwargs can be passed",
    "No filter defined, passing through",
    "using test_docs as fewshot_docs",
    "using preconfigured rule",
    "Caching will not be performed",
)
"""Words of warnings that say how lm_eval fills in what a task leaves out."""


_LONGEST = 200


class _Warnings(logging.Handler):
    """Warnings by their first line, each with its number and its first wording; errors are printed at
    once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.counts: Counter[str] = Counter()
        self.wordings: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage().strip()
        except Exception:  # the wrong number of arguments
            message = str(record.msg)
        if record.levelno >= logging.ERROR:
            print(f"lm_eval: {message}", file=sys.stderr, flush=True)
        elif not any(words in message for words in _HARMLESS):
            first_line = message.partition("\n")[0]
            self.counts[first_line] += 1
            self.wordings.setdefault(first_line, " ".join(message.split()))

    def show(self, where: str) -> None:
        """Prints the warnings."""
        for first_line, count in self.counts.most_common():
            wording = self.wordings[first_line]
            text = wording if len(wording) <= _LONGEST else wording[:_LONGEST] + " ..."
            times = f", {count} times, first" if count > 1 else ""
            print(f"eval-anything: {where}: lm_eval warns{times}: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def quiet(where: str = "lm_eval") -> Iterator[None]:
    """A context in which lm_eval logs warnings and errors alone, and its printed lines go to stderr.

    `where` names the task in the warnings, which are shown when the context ends.
    """
    logger = logging.getLogger("lm_eval")
    level, propagate = logger.level, logger.propagate
    warnings = _Warnings()
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.addHandler(warnings)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logger.removeHandler(warnings)
        logger.propagate = propagate
        logger.setLevel(level)
        warnings.show(where)
