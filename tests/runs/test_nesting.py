"""Lines of JSON that are nested deeper than any content: refused with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval_anything.files.json_text import DEEPEST, check_nesting
from tests.support.helpers import Cli, answers, make_task, text_sample, write_jsonl

DEEP = "[" * 3000 + "]" * 3000
"""A list in a list, and so on."""

RUN = ["run", "--model", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine", "--out", "run"]

WORDS = f"nested more than {DEEPEST} levels deep"


@pytest.mark.parametrize("depth", [DEEPEST + 1, 600, 990, 3000, 100_000])
@pytest.mark.parametrize("field", ["targets", "metadata"])
def test_a_deep_sample_is_named(cli: Cli, tmp_path: Path, depth: int, field: str) -> None:
    line = json.dumps(text_sample("s1", **{field: {"x": "DEEP"}}))
    deep = line.replace('"DEEP"', "[" * depth + "]" * depth)
    folder = make_task(tmp_path, samples=[text_sample("s0"), deep])
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0", "s1"]))
    result = cli(*RUN)
    assert result.code == 2, result.err
    assert f"{folder.relative_to(tmp_path)}/samples.jsonl:2: {WORDS}" in result.err


def test_deep_saved_outputs_labels_and_records_are_named(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, samples=[text_sample("s0")])
    rows = write_jsonl(tmp_path / "rows.jsonl", answers(["s0"]))
    assert cli(*RUN).code == 0
    log = tmp_path / "run" / "mine" / "demo" / "records.jsonl"
    log.write_text(log.read_text().replace('"details":{}', f'"details":{{"x":{DEEP}}}'))
    again = cli(*RUN)
    assert again.code == 2, again.err
    assert f"{log}:1: damaged record ({WORDS}" in again.err
    rows.write_text(rows.read_text() + f'{{"sample_id": "s0", "parts": [], "x": {DEEP}}}\n')
    saved = cli(*RUN[:-1], "other")
    assert saved.code == 2, saved.err
    assert f"rows.jsonl:2: {WORDS}" in saved.err
    (tmp_path / "labels.jsonl").write_text(f'{{"id": "a", "targets": {{"x": {DEEP}}}}}\n')
    labels = cli("judges", "calibrate", "validity", "--labels", "labels.jsonl")
    assert labels.code == 2, labels.err
    assert f"labels.jsonl:1: {WORDS}" in labels.err


def test_brackets_in_texts_are_no_nesting() -> None:
    check_nesting(json.dumps({"text": "[" * 5000, "more": ['"[{' * 300]}).encode())
    check_nesting(b"[" + b"[]," * 5000 + b"[]]")
