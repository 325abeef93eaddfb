"""Checks the language of the code: `make lint` runs it. The rules stand in CONTRIBUTING.md.

    python -m tests.support.language [FOLDER ...]

Prints a line for each local name that says nothing about its value, each public class name that two
files of the packages share, and each docstring that begins with a word that only helps who knows the
function already. Exits 1 if there is one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT

PACKAGES = ("eval_anything", "align_plugins")
FILLERS = frozenset(
    """
    asked both does done drawn everything found given how info keep kept known left made meant mine
    more named obj one others ours own place rest said say seen shown some stuff such taken that
    theirs thing things this tmp todo told wanted way ways what who whole why
    """.split()  # noqa: SIM905  (a list of quoted words is three times as long)
)
"""Local names that say where a value came from, or nothing."""

GENERIC = frozenset(["data", "item", "result", "value"])
"""Local names for code that is generic itself: all of them together at most `GENERIC_SHARE`."""

GENERIC_SHARE = 0.0075
OPENINGS = ("What", "How", "Where", "Which", "Of", "As")
"""First words that no docstring has."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Violation(NamedTuple):
    """One line of a file that breaks a rule, and the rule in words."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


def local_names(function: Function) -> dict[str, int]:
    """Names of parameters and of variables of a function, with the lines where they appear first."""
    arguments = function.args
    nodes: list[ast.arg | ast.Name] = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    nodes += [extra for extra in (arguments.vararg, arguments.kwarg) if extra]
    nodes += [n for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    names: dict[str, int] = {}
    for node in nodes:
        names.setdefault(node.arg if isinstance(node, ast.arg) else node.id, node.lineno)
    return {name: line for name, line in names.items() if name not in ("self", "cls")}


def violations_of(file: Path, tree: ast.Module) -> Iterator[Violation]:
    """Filler names and openings of docstrings in one file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            docstring = ast.get_docstring(node) or ""
            if match := re.match(rf"({'|'.join(OPENINGS)})\b", docstring):
                line = getattr(node, "lineno", 1)
                advice = "begin with the noun it returns or the verb it does"
                yield Violation(file, line, f"docstring begins with {match[0]!r}: {advice}")
        if isinstance(node, Function):
            for name, line in local_names(node).items():
                if name in FILLERS:
                    yield Violation(file, line, f"local name {name!r}: say what the value is")


def doubled_classes(trees: dict[Path, ast.Module]) -> Iterator[Violation]:
    """Public classes whose name another file of the packages has, too."""
    homes: defaultdict[str, list[tuple[Path, int]]] = defaultdict(list)
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append((file, node.lineno))
    for name, definitions in homes.items():
        for file, line in definitions[1:]:
            yield Violation(file, line, f"class {name!r} stands in {definitions[0][0]} too")


def too_generic(trees: dict[Path, ast.Module]) -> Iterator[Violation]:
    """One violation for each generic name, where all of them together have too large a share."""
    generic, total = [], 0
    for file, tree in trees.items():
        for function in (n for n in ast.walk(tree) if isinstance(n, Function)):
            names = local_names(function)
            total += len(names)
            generic += [
                Violation(file, names[n], f"local name {n!r}: generic") for n in names if n in GENERIC
            ]
    if len(generic) > GENERIC_SHARE * total:
        yield from generic
        yield Violation(
            generic[-1].file,
            1,
            f"{len(generic)} of {total} local names are generic: {GENERIC_SHARE:.2%} may be",
        )


def check(folders: list[Path]) -> list[Violation]:
    """All violations in the Python files of these folders, by file and line.

    Classes and the share of generic names are looked at in all folders together.
    """
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    trees = {file: ast.parse(file.read_text("utf-8")) for file in files}
    in_files = [violation for file, tree in trees.items() for violation in violations_of(file, tree)]
    return sorted([*in_files, *doubled_classes(trees), *too_generic(trees)])


def main(arguments: list[str]) -> int:
    folders = [Path(a) for a in arguments] or [ROOT / package for package in PACKAGES]
    violations = check(folders)
    for violation in violations:
        print(violation)
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
