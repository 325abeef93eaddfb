"""The table of docs/reliability.md, from the rounds that `make chaos` has written.

python -m tests.chaos.report     writes it anew
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tests.chaos.kinds import KINDS
from tests.media.corpus.report import with_table
from tests.support.paths import ROOT

LOG = ROOT / ".cache" / "chaos.jsonl"
"""A line for each round: kind, seed, strikes, exit codes, whether it survived, seconds. The last round
with a seed counts."""


PAGE = ROOT / "docs" / "reliability.md"
HEAD = "| what happens | rounds | seeds | strikes | survived | median s | longest s |\n"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rounds by kind, in Markdown."""
    lines = [HEAD, "|---|---:|---|---:|---:|---:|---:|\n"]
    last = {(row["kind"], row["seed"]): row for row in rows}
    groups = {name: [row for (kind, _), row in last.items() if kind == name] for name in KINDS}
    for name, rounds in (*groups.items(), ("**all**", [*last.values()])):
        if rounds:
            seconds = [row["seconds"] for row in rounds]
            numbers = [
                *(len(rounds), _ranges({row["seed"] for row in rounds})),
                *(sum(row["strikes"] for row in rounds), sum(row["survived"] for row in rounds)),
                *(f"{median(seconds):.1f}", f"{max(seconds):.1f}"),
            ]
            lines.append(f"| {' | '.join(map(str, [name, *numbers]))} |\n")
    return "".join(lines)


def _ranges(seeds: set[int]) -> str:
    """Seeds in words: "0-10", "0, 3"."""
    first, last = min(seeds), max(seeds)
    is_range = len(seeds) == last - first + 1 and len(seeds) > 1
    return f"{first}-{last}" if is_range else ", ".join(map(str, sorted(seeds)))


if __name__ == "__main__":
    rounds = [json.loads(line) for line in LOG.read_bytes().splitlines()]
    page = with_table(PAGE.read_text("utf-8"), HEAD, table(rounds))
    PAGE.write_text(page, "utf-8")
