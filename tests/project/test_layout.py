"""The floor plan: the tables of docs/design.md, the layers of the lint and the tree say the same."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGES = ["eval_anything", "align_plugins"]
NOT_CODE = {"__pycache__", "_content", "py.typed", "__init__.py", "__main__.py"}
FRONT_DOORS = {
    "eval_anything",
    "eval_anything.media",
    "eval_anything.scoring",
    "eval_anything.testing",
    "eval_anything.micro",
}
# What nothing below may know: each is a plugin of the engine.
PLUGIN_ROOMS = ["micro", "lm_eval", "leaderboard", "annotate", "gating"]


def rooms_on_disk(package: str) -> set[str]:
    entries = [entry for entry in (ROOT / package).iterdir() if entry.name not in NOT_CODE]
    return {entry.name.removesuffix(".py") for entry in entries}


def table_of(package: str) -> dict[str, int]:
    """The layer of each room, by the table of docs/design.md."""
    text = (ROOT / "docs/design.md").read_text("utf-8")
    table = text.split(f"\n`{package}/`, ")[1].split("\n\n")[1]
    return {name: int(layer) for name, layer in re.findall(r"\| `(\w+)[/.py]*` \| (\d+) \|", table)}


def layers_of_the_lint(package: str) -> dict[str, int]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (c["layers"] for c in contracts if c.get("containers") == [package])
    return {name: number for number, layer in enumerate(layers, 1) for name in re.findall(r"\w+", layer)}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_table_of_rooms_is_what_is_on_disk_and_what_lint_checks(package: str) -> None:
    table = table_of(package)
    assert set(table) == rooms_on_disk(package)
    assert table == layers_of_the_lint(package)


def content_code() -> list[Path]:
    folders = [ROOT / name for name in ("benchmarks", "judges", "examples")]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def modules_of(source: str) -> set[str]:
    """The modules that a source imports from."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    return plain | {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}


@pytest.mark.parametrize("path", content_code(), ids=lambda path: str(path.relative_to(ROOT)))
def test_content_uses_the_front_doors_alone(path: Path) -> None:
    ours = {name for name in modules_of(path.read_text("utf-8")) if name.startswith("eval_anything")}
    assert ours <= FRONT_DOORS


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_docs_use_the_front_doors_alone(page: Path) -> None:
    blocks = re.findall(r"^```python[^\n]*\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    ours = {n for block in blocks for n in modules_of(block) if n.startswith("eval_anything")}
    assert ours <= FRONT_DOORS


def test_names_of_the_front_doors_are_there_and_match_their_imports() -> None:
    import eval_anything
    from eval_anything import micro
    from eval_anything.lazy import homes

    for package in (eval_anything, micro):
        assert package.__file__ is not None
        names = homes(Path(package.__file__))
        assert len(names) > 10
        for name in dir(package):
            assert getattr(package, name) is not None
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            package.nothing  # noqa: B018


def test_nothing_below_names_a_plugin_room() -> None:
    """Neither in imports nor in words: `gating`, `leaderboard` and so on stand in cli alone.

    In `files/` leaderboard is the content folder with the templates of pages.
    """
    mentions = []
    for room in rooms_on_disk("eval_anything") - {*PLUGIN_ROOMS, "cli"}:
        words = [name for name in PLUGIN_ROOMS if (room, name) != ("files", "leaderboard")]
        place = ROOT / "eval_anything" / room
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                if re.search(rf"\b({'|'.join(words)})\b", line):
                    mentions.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert mentions == []
