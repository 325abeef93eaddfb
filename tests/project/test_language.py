"""The language of the code: the checker finds what it is for, and the examples of docstrings run."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

from tests.support.language import PACKAGES, Function, check, main
from tests.support.paths import ROOT

FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
EXAMPLES = [file for file in FILES if ">>> " in file.read_text("utf-8")]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(found): ...", "1: local name 'found'"),
        ("def f(*, kept=1): ...", "1: local name 'kept'"),
        ("def f(**more): ...", "1: local name 'more'"),
        ("def f():\n    for thing in (): ...", "2: local name 'thing'"),
        ("def f():\n    return [said for said in ()]", "2: local name 'said'"),
        ("async def f():\n    if (done := 1): ...", "2: local name 'done'"),
        ('def f():\n    """What it is."""', "1: docstring begins with 'What'"),
        ('class A:\n    """Of a sort."""', "1: docstring begins with 'Of'"),
        ('"""How it works."""', "1: docstring begins with 'How'"),
        ("def f(): data = value = item = 1", "1: 3 of 3 local names are generic"),
    ],
)
def test_the_checker_names_file_line_and_rule(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "code.py").write_text(code)
    assert any(str(v).startswith(f"{tmp_path}/code.py:{message}") for v in check([tmp_path]))


def test_the_checker_finds_classes_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("class Plan: ...\nclass _Own: ...")
    (tmp_path / "b.py").write_text("\nclass Plan: ...\nclass _Own: ...")
    (violation,) = check([tmp_path])
    assert str(violation) == f"{tmp_path}/b.py:2: class 'Plan' stands in {tmp_path}/a.py too"


def test_good_code_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text('"""Sums."""\n\n\ndef total(prices):\n    """The sum of prices."""\n')
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


def test_public_functions_and_classes_are_documented() -> None:
    public = documented = 0
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
                public += 1
                documented += ast.get_docstring(node) is not None
    assert documented / public >= 0.85


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_examples_of_docstrings_run(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    failures, count = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert count > 0
    assert failures == 0
