"""JSON that is legal and odd: byte order marks, NaN, lone surrogates; in replies, streams and files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eval_anything.files.json_text import decode_json, without_mark
from tests.support.helpers import Cli, answers, make_task, text_sample, write_jsonl
from tests.support.judge_server import GOOD, MARK, marked, talk_task
from tests.support.scripted_server import Reply, completion, raw, serve

pytestmark = pytest.mark.usefixtures("short_pauses")

TEXTS: dict[bytes, Any] = {
    b'{"a": [1, "x"]}': {"a": [1, "x"]},
    b'\xef\xbb\xbf{"a": 1}': {"a": 1},
    '{"a": "é"}'.encode("utf-16"): {"a": "é"},
    b"\xfe\xff" + '{"a": "é"}'.encode("utf-16-be"): {"a": "é"},
    b'"cut \\ud83d"': "cut �",
    b'"\\ude00 cut"': "� cut",
    b'"\\ud83d\\ude00 whole"': "😀 whole",
    b'"\\ude00\\ud83d swapped"': "�� swapped",
    b'"raw \xed\xa0\xbd"': "raw �",
    b'{"\\ud83d": {"deep": ["\\ud83d"]}}': {"�": {"deep": ["�"]}},
    b"[Infinity, -Infinity]": [math.inf, -math.inf],
}


@pytest.mark.parametrize("text", list(TEXTS))
def test_odd_json_is_read(text: bytes) -> None:
    assert decode_json(text) == TEXTS[text]


def test_nan_is_read() -> None:
    [value] = decode_json(b"[NaN]")
    assert math.isnan(value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"a": nan}', b"[1,]", b"<html>", b'"\xff"', b"\xef\xbb\xbf"]
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_json(text)


def test_bytes_that_are_cut_are_read_where_that_is_asked_for() -> None:
    assert decode_json(b'"cut \xf0\x9f"', cut=True) == "cut �"


def test_halves_stay_where_they_are_joined_later() -> None:
    halves = [decode_json(text, joined=True) for text in (b'"\\ud83d"', b'"\\ude00"')]
    assert halves == ["\ud83d", "\ude00"]


def test_a_mark_is_removed_once() -> None:
    assert without_mark(b"\xef\xbb\xbfa\xef\xbb\xbf") == b"a\xef\xbb\xbf"


ODD: dict[str, tuple[bytes, str]] = {
    "a cut emoji": (b"Paris \\ud83d", "Paris"),
    "the second half of an emoji": (b"\\ude00 Paris", "� Paris"),
    "bytes of half an emoji": (b"Paris \xf0\x9f\x98", "Paris"),
}


def _reply(text: bytes, mark: bytes = b"", **more: Any) -> Reply:
    body = completion({"role": "assistant", "content": "@"}, **more)
    return raw(mark + body.replace(b"@", text))


def _records(run: Path) -> list[dict[str, Any]]:
    lines = (run / "mine" / "demo" / "records.jsonl").read_bytes().splitlines()
    return [json.loads(line) for line in lines]


def _run(cli: Cli, reply: Reply, *more: str) -> Any:
    with serve(lambda number, body: reply) as server:
        command = ["run", "--model", server.spec(), "--tasks", "mine/demo", "--include", "mine"]
        return cli(*command, "--out", "run", *more)


@pytest.mark.parametrize("form", list(ODD))
def test_a_reply_that_is_cut_inside_a_character(form: str, cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path)
    sent, expected = ODD[form]
    done = _run(cli, _reply(sent))
    assert done.code == 0, done.err
    assert {row["parts"][0]["text"] for row in _records(tmp_path / "run")} == {expected}


@pytest.mark.parametrize(
    "more",
    [
        {"logprobs": {"content": [{"token": "P", "logprob": math.nan}]}},
        {"timings": {"speed": math.inf}},
        {"x_note": "\ud83d"},
    ],
)
def test_odd_values_in_fields_that_are_not_used(more: dict[str, Any], cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path)
    done = _run(cli, _reply(b"Paris", b"\xef\xbb\xbf", **more))
    assert done.code == 0, done.err
    assert {row["parts"][0]["text"] for row in _records(tmp_path / "run")} == {"Paris"}


def _stream(*texts: bytes, mark: bytes = b"", more: bytes = b"") -> Reply:
    chunk = b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}%s}]%s}\n\n'
    ends = [b""] * (len(texts) - 1) + [b', "finish_reason": "stop"']
    events = [chunk % (text, end, more) for text, end in zip(texts, ends, strict=True)]
    return raw(mark + b"".join(events) + b"data: [DONE]\n\n", "text/event-stream")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (_stream(b"Paris ", b"\\ud83d"), "Paris"),
        (_stream(b"Paris \\ud83d", b"\\ude00!"), "Paris 😀!"),
        (_stream(b"Paris", mark=b"\xef\xbb\xbf"), "Paris"),
        (_stream(b"Paris", more=b', "logprob": NaN'), "Paris"),
    ],
)
def test_streams_too(reply: Reply, expected: str, cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path)
    done = _run(cli, reply, "--model-arg", "stream=true")
    assert done.code == 0, done.err
    assert {row["parts"][0]["text"] for row in _records(tmp_path / "run")} == {expected}


def test_judges_too(cli: Cli, tmp_path: Path, own_home: Path) -> None:
    make_task(tmp_path, yaml=talk_task())
    path = write_jsonl(tmp_path / "answers.jsonl", answers(["s0", "s1", "s2", "s3"], "Paris."))
    verdict = GOOD.replace("they agree", "they agree \\ud83d")
    odd = {"logprobs": math.nan}

    def script(number: int, body: dict[str, Any]) -> Reply:
        assert MARK in verdict
        answer = marked(body, verdict if "Paris." in str(body["messages"]) else GOOD.replace("7", "0"))
        return raw(b"\xef\xbb\xbf" + completion({"role": "assistant", "content": answer}, **odd))

    with serve(script) as server:
        command = ["score", "--outputs", str(path), "--tasks", "mine/demo", "--include", "mine"]
        done = cli(*command, "--judge", f"synergy_rubric={server.spec()}", "--out", "run", "--json")
    assert done.code == 0, done.err
    assert done.json["tasks"]["mine/demo"]["metrics"]["synergy"]["value"] == pytest.approx(0.7)
    assert _records(tmp_path / "run")[0]["scores"]["synergy"]["explanation"].startswith("they agree �")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_with_a_mark(encoding: str, cli: Cli, tmp_path: Path) -> None:
    """task.yaml, samples.jsonl, saved answers, a configuration."""
    folder = make_task(tmp_path, samples=[text_sample("s0", "Ünd?"), text_sample("s1")])
    saved = write_jsonl(tmp_path / "answers.jsonl", answers(["s0", "s1"], "Paris é"))
    config = tmp_path / "run.yaml"
    config.write_text("tasks: [mine/demo]\nout: run\n", "utf-8")
    for path in (folder / "task.yaml", folder / "samples.jsonl", saved, config):
        path.write_text(path.read_text("utf-8"), encoding)
    assert cli("tasks", "validate", str(folder)).code == 0
    command = ["run", "--config", str(config), "--model", str(saved), "--include", "mine"]
    done = cli(*command)
    assert done.code == 0, done.err
    assert [row["parts"][0]["text"] for row in _records(tmp_path / "run")] == ["Paris é"] * 2


def test_lines_with_lone_surrogates_and_nan(cli: Cli, tmp_path: Path) -> None:
    sample = text_sample("s0", "Q \ud83d", targets={"answer": "x \ud83d"}, metadata={"length": math.nan})
    make_task(tmp_path, samples=[sample])
    saved = write_jsonl(tmp_path / "answers.jsonl", answers(["s0"], "Paris \ud83d"))
    done = cli("run", "--model", str(saved), "--tasks", "mine/demo", "--include", "mine", "--out", "run")
    assert done.code == 0, done.err
    assert _records(tmp_path / "run")[0]["parts"][0]["text"] == "Paris �"


def test_a_template_with_a_mark_has_none_in_its_prompt(cli: Cli, tmp_path: Path) -> None:
    from eval_anything.files.mistakes import Mistakes
    from eval_anything.files.templates import read_template

    path = tmp_path / "rubric.md"
    path.write_text("Judge.", "utf-8-sig")
    template = read_template(path, Mistakes(path))
    assert template is not None
    assert template.source == "Judge."
