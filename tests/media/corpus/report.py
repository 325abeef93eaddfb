"""The tables of docs/media.md: of how many files each reader returns the truth, and within which bounds.

python -m tests.media.corpus.report     writes them anew, from all files
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.media.corpus.clips import clips
from tests.media.corpus.pictures import pictures
from tests.media.corpus.readers import EQUAL, LEFT, REFUSED, WRONG, Outcome, outcomes
from tests.media.corpus.sounds import sounds
from tests.media.corpus.sources import write_sources
from tests.media.corpus.specimen import Specimen, build
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "media.md"
COUNTS = "| reader | files | as the truth | refused by name | left to another | wrong |\n"
BOUNDS = "| bounds | one value | mean | samples |\n"


def whole_corpus() -> list[Specimen]:
    """All files."""
    return [*sounds(), *pictures(), *clips()]


def read_all(corpus: list[Specimen], folder: Path) -> list[list[Outcome]]:
    """Writes all files into a folder, reads them, and returns the outcomes of each."""
    write_sources(folder)
    build(corpus, folder)
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda specimen: outcomes(specimen, folder), corpus))


def counts_table(every: Iterable[Outcome]) -> str:
    """Counts by reader, in Markdown."""
    counts = Counter((outcome.reader, outcome.state) for outcome in every)
    rows = []
    for reader in dict.fromkeys(reader for reader, _ in counts):
        states = [counts[reader, state] for state in (EQUAL, REFUSED, LEFT, WRONG)]
        rows.append("| " + " | ".join([reader, *map(str, [sum(states), *states])]) + " |\n")
    return COUNTS + "|---|" + "---:|" * 5 + "\n" + "".join(rows)


def bounds_table() -> str:
    """Largest differences from the truth, in Markdown."""
    rows = [
        f"| {bound.about} | {bound.most:g} | {bound.mean:g} | {bound.length} |\n"
        for bound in dict.fromkeys(s.bound for s in whole_corpus() if not s.refused)
    ]
    return BOUNDS + "|---|" + "---:|" * 3 + "\n" + "".join(rows)


def with_table(page: str, head: str, table: str) -> str:
    """The page with this table in the place of the one that has this head."""
    start = page.index(head)
    return page[:start] + table + page[page.index("\n\n", start) + 1 :]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        every = [outcome for file in read_all(whole_corpus(), Path(folder)) for outcome in file]
    for outcome in every:
        if outcome.state == WRONG:
            print(f"{outcome.reader}: {outcome.name}: {outcome.reason}")
    page = with_table(PAGE.read_text("utf-8"), COUNTS, counts_table(every))
    PAGE.write_text(with_table(page, BOUNDS, bounds_table()), "utf-8")
