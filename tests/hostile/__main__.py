"""Runs all attacks and writes docs/hostile.md: `python -m tests.hostile [BEFORE.json]`.

With `--json` it prints the outcomes alone: another version's page has them as its column "was". Without
such a file the page keeps what it has in that column.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.hostile.attack import SECONDS, outcome_of
from tests.hostile.table import ATTACKS
from tests.support.paths import ROOT

_HEAD = f"""\
# Hostile inputs

What strangers may hand us, and how it ends: written by `python -m tests.hostile`, which runs each
attack in a process of its own with bounds on its time ({SECONDS} s), memory and files.
[SECURITY.md](../SECURITY.md) says what is promised. Memory is what the process took beside what it
began with, or all of a child that took more than that process; smaller children do not show, but have
limits of their own. Where our own limit is longer (10 s for a template), the attack sets a shorter one.

*was*: the version before these bounds. *exit 1*: the model's or the generator's failure, which is
recorded; *exit 2*: wrong input, named in one message; *exit 0*: nothing is wrong, or a site without the
bad run, which it names.

| attack | was | is | MiB | s |
|---|---|---|---:|---:|
"""


PAGE = ROOT / "docs" / "hostile.md"


_OF_CHILDREN = ("media", "programs", "templates")
"""Kinds of attacks on children, whose memory shows beside that of a new Python alone."""


def main(words: list[str]) -> None:
    """Writes the page, or prints JSON."""
    if words == ["--json"]:  # without bounds, programs would fill the disk
        names = [name for name, attack in ATTACKS.items() if attack.kind != "programs"]
        print(json.dumps({name: _outcome(name, fresh=False, seconds=15) for name in names}, indent=1))
        return
    before = json.loads(Path(words[0]).read_text()) if words else _before()
    rows = []
    for name, attack in ATTACKS.items():
        outcome = _outcome(name, attack.kind in _OF_CHILDREN, SECONDS)
        was = before.get(name, {}).get("words", "not run")
        memory, time = round(outcome["memory"] / 2**20), outcome["seconds"]
        rows.append(f"| {name} | {was} | {outcome['words']} | {memory} | {time:.1f} |\n")
    PAGE.write_text(_HEAD + "".join(rows), "utf-8")


def _before() -> dict[str, Any]:
    """The column "was" of the page."""
    rows = [line.split(" | ") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    return {row[0].removeprefix("| "): {"words": row[1]} for row in rows}


def _outcome(name: str, fresh: bool, seconds: float) -> dict[str, Any]:
    attack = ATTACKS[name]
    with tempfile.TemporaryDirectory() as folder:
        outcome = outcome_of(name, Path(folder), fresh, seconds)
    if outcome.code is None:
        words = f"no end in {seconds:g} s"
    elif outcome.code < 0:
        words = f"killed by signal {-outcome.code}"
    elif "internal error" in outcome.said or "Traceback" in outcome.said:
        words = "internal error"
    elif outcome.code == attack.code and attack.says in outcome.said:
        words = f"exit {outcome.code}"
    else:
        words = f"exit {outcome.code}, with another message"
    print(f"{name}: {words}", file=sys.stderr)
    return {"words": words, "memory": outcome.memory, "seconds": outcome.seconds}


if __name__ == "__main__":
    main(sys.argv[1:])
