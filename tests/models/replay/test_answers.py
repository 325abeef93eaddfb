"""Files of answers in the forms that people have: `id` and `response`, CSV, parquet; wrong ones; parts
of a task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import (
    Cli,
    Result,
    answers,
    make_task,
    png,
    text_sample,
    write_jsonl,
)

IDS = ["s0", "s1", "s2", "s3"]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return make_task(tmp_path)


def score(cli: Cli, outputs: str, *more: str) -> Result:
    arguments = ["--tasks", "mine/demo", "--include", "mine", "--out", "run", "--json"]
    return cli("score", "--outputs", outputs, *arguments, *more)


def texts() -> dict[str, str]:
    lines = Path("run/mine/demo/records.jsonl").read_text("utf-8").splitlines()
    rows = map(json.loads, lines)
    return {row["sample_id"]: "|".join(p.get("text", "[]") for p in row["parts"]) for row in rows}


EXPECTED = {"s0": "Paris", "s1": 'a "b", c\nd', "s2": "é", "s3": "4"}


def _quoted(separator: str = ",") -> str:
    cells = [f'{id_}{separator}"{text.replace(chr(34), chr(34) * 2)}"' for id_, text in EXPECTED.items()]
    return "\r\n".join([f"id{separator}response", *cells]) + "\r\n"


FILES: dict[str, bytes] = {
    "rows.csv": _quoted().encode(),
    "excel.csv": b"\xef\xbb\xbf" + _quoted(";").encode(),
    "wide.csv": _quoted("\t").encode("utf-16"),
    "rows.tsv": _quoted("\t").encode(),
    "rows.jsonl": b"".join(
        json.dumps({"id": id_, "response": text}).encode() + b"\n" for id_, text in EXPECTED.items()
    ),
    "rows.json": json.dumps([{"id": i, "response": text} for i, text in EXPECTED.items()]).encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_answers_in_the_forms_that_people_have(cli: Cli, demo: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    done = score(cli, name)
    assert done.code == 0, done.err
    assert texts() == EXPECTED
    assert cli("run", "--model", name, "--tasks", "mine/demo", "--include", "mine").code == 0


def test_answers_in_parquet_with_other_columns_and_media(cli: Cli, demo: Path, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    (tmp_path / "a.png").write_bytes(png())
    parts: list[Any] = [None] * 3
    parts.append([{"modality": "text", "text": "A"}, {"modality": "image", "path": "a.png"}])
    table = {"id": IDS, "response": ["x", "y", "z", None], "parts": parts, "prompt": ["?"] * 4}
    parquet.write_table(pyarrow.table(table), tmp_path / "rows.parquet")
    done = score(cli, "rows.parquet")
    assert done.code == 0, done.err
    assert texts() == {"s0": "x", "s1": "y", "s2": "z", "s3": "A|[]"}


def test_numbers_are_ids_and_parts_may_be_json_in_a_cell(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, samples=[text_sample("1"), text_sample("2")])
    write_jsonl(tmp_path / "rows.jsonl", [{"id": 1, "response": "a"}, {"id": "2", "response": "b"}])
    assert score(cli, "rows.jsonl").code == 0
    cell = json.dumps([{"modality": "text", "text": "c"}]).replace('"', '""')
    (tmp_path / "rows.csv").write_text(f'sample_id,parts,score\n1,"{cell}",0.5\n2,"{cell}",\n')
    assert score(cli, "rows.csv", "--out", "other").code == 0


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"", "a.csv:1: there is no column `id` or `sample_id`. Its columns: none"),
        (
            "a.csv",
            b"idd,response\n",
            "no column `id` or `sample_id`. Did you mean idd? Its col",
        ),
        ("a.csv", b"id,answer\ns0,x\n", "no column `response` or `parts`. Its columns: id, answer"),
        ("a.csv", b"id,id,response\n", "has two columns `id`"),
        (
            "a.csv",
            b"id,response\ns0,x,y\ns1,x,y\n",
            "a.csv:2: has 3 cells, and the table 2 columns",
        ),
        ("a.csv", b'id,response\ns0,"never closed\ns1,y\n', "is no CSV: unexpected end of data"),
        ("a.csv", b"id,response\ns0,\xff\xfe\xff\n", "is no UTF-8 text: save it as UTF-8"),
        ("a.csv", b"id,parts\ns0,[{]\n", "a.csv:2: JSON is malformed"),
        ("a.csv", b"id,response,repeat\ns0,x,one\n", "a.csv:2: Expected `int | null`, got `str`"),
        ("a.csv", b"id,response\n,x\n", 'a.csv:2: a row has an "id"'),
        ("a.parquet", b"PAR1 no", "is no readable parquet file"),
        ("a.json", b'[{"id": "s0"', "not valid JSON"),
        ("a.json", b"[" * 5000, "nested more than 200 levels deep"),
        ("a.jsonl", b"\xff\xfe\x00", "cannot be read: "),
        ("a.jsonl", b'{"id": "s0", "response": {"text": "x"}}', "Expected `str | null`, got `object`"),
        ("a.jsonl", b'{"id": "s0", "sample_id": "s1", "response": ""}', "and only one"),
        ("a.jsonl", b'{"id": "s0", "response": "", "parts": []}', "keep one"),
    ],
)
def test_wrong_files_are_named_with_their_place(
    cli: Cli, demo: Path, tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    done = score(cli, name)
    assert done.code == 2, done.out
    assert words in done.err
    assert not (tmp_path / "run").exists()


def test_a_null_is_no_answer_and_an_empty_text_an_empty_one(
    cli: Cli, demo: Path, tmp_path: Path
) -> None:
    rows = [{"id": "s0", "response": "x"}, {"id": "s1", "response": ""}, {"id": "s2", "parts": None}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    missing = score(cli, "rows.jsonl")
    assert missing.code == 2
    assert "no output for 2 of 4 samples (mine/demo s2, mine/demo s3)" in missing.err
    assert "--only-answered" in missing.err
    done = score(cli, "rows.jsonl", "--only-answered", "--max-failed", "0.5")
    assert done.code == 0, done.err
    task = done.json["tasks"]["mine/demo"]
    assert (task["samples"], task["failed"], task["left_out"]) == (2, 1, 2)
    assert task["metrics"]["selection"]["value"] == 0.5
    assert json.loads(Path("run/run.json").read_bytes())["counts"] == {"mine/demo": 2}
    (tmp_path / "rows.csv").write_text("id,response\ns0,x\ns1,\n")
    assert "no output for 3 of 4" in score(cli, "rows.csv").err


def test_a_part_of_the_samples_says_which(cli: Cli, demo: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", answers(["s3", "s1"]))
    arguments = ["--tasks", "mine/demo", "--include", "mine", "--only-answered", "--out", "run"]
    done = cli("score", "--outputs", "rows.jsonl", *arguments)
    assert done.code == 0, done.err
    assert "mine/demo: 2 of 4 samples, those that have an answer (s" in done.out
    assert cli("score", "--outputs", "rows.jsonl", *arguments).out == done.out
    results = json.loads(Path("run/results.json").read_bytes())
    in_place = cli("score", "--outputs", "run", "--include", "mine", "--json")
    assert in_place.json == results
    copy = cli("score", "--outputs", "run", "--include", "mine", "--out", "copy", "--json")
    assert copy.json["tasks"] == results["tasks"]
    both = score(cli, "rows.jsonl", "--only-answered", "--allow-missing")
    assert both.code == 2
    write_jsonl(tmp_path / "rows.jsonl", [])
    nothing = score(cli, "rows.jsonl", "--only-answered", "--out", "nothing")
    assert nothing.code == 2
    assert "no output for any sample of mine/demo" in nothing.err


def test_very_many_wrong_lines_are_one_message(cli: Cli, demo: Path, tmp_path: Path) -> None:
    """Bounded in time and memory: 10,000 mistakes are enough."""
    line = b'{"id": "x%d", "response": "y"}\n'
    (tmp_path / "rows.jsonl").write_bytes(b"".join(line % i for i in range(12_000)))
    done = score(cli, "rows.jsonl")
    assert done.code == 2
    assert "rows.jsonl:1: mine/demo has no sample 'x0'." in done.err
    assert "(and 9999 more: line 2, line 3, line 4, ...)" in done.err
    assert "too many mistakes: the rest was not read" in done.err


def test_answers_to_other_tasks_are_passed_over(cli: Cli, demo: Path, tmp_path: Path) -> None:
    """A file of many tasks: those of the run are scored, however many others there are."""
    others = answers([f"o{i}" for i in range(20_000)], task="open/selection")
    write_jsonl(tmp_path / "rows.jsonl", [*others, *answers(IDS, task="mine/demo")])
    assert score(cli, "rows.jsonl").code == 0


def test_answers_to_another_task(cli: Cli, demo: Path, tmp_path: Path) -> None:
    """The answers may be whole, and the task a wrong one."""
    make_task(tmp_path, "mine/other", [text_sample("x")])
    write_jsonl(tmp_path / "rows.jsonl", [{"task": "mine/other", "id": "x", "response": "Paris"}])
    done = score(cli, "rows.jsonl")
    assert done.code == 2
    assert "no output for 4 of 4 samples" in done.err
    assert "It has outputs for mine/other: name that in --tasks." in done.err
