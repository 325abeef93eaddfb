"""docs/models.md says of families and their options what the code says."""

from __future__ import annotations

import re

from eval_anything.models.hf.families import families
from tests.support.helpers import Cli
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "models.md"


def rows(header: str) -> list[list[str]]:
    """The cells of the table below a header line, without the marks of code."""
    _, _, after = PAGE.read_text("utf-8").partition(f"\n{header}\n")
    lines = after.splitlines()[1:]
    table = lines[: next(i for i, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in table]


def test_the_table_of_families() -> None:
    expected = []
    for family in (cls.described(types) for cls, types in families().items()):
        types = ", ".join(family["model_types"]) or "any other that is made to answer with text"
        modes = ", ".join(family["modes"]) if len(family["modes"]) > 1 else ""
        media = [", ".join(family[way]) for way in ("inputs", "outputs")]
        expected.append([family["name"], types, *media, modes])
    assert rows("| family | `model_type` | in | out | `output` |") == expected


def test_the_options_of_families() -> None:
    told = {
        (family, option)
        for families, options, *_ in rows("| family | `--model-arg` | default | |")
        for family in families.split(", ")
        for option in options.split(", ")
    }
    assert told == {(cls.name, option) for cls in families() for option in cls.options}


def test_the_listing_reads_as_sentences(cli: Cli) -> None:
    lines = cli("models", "list").out.splitlines()
    for cls in families():
        for hole in cls.holes:
            assert f"{cls.name} lacks {hole.what}: {hole.reason}" in lines
            assert not re.match(r"no |not |without ", hole.what)  # "lacks no ..." says the opposite
