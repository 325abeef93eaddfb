"""Why samples have no usable answer or score: the reasons of a run, and the ways to end such a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import eval_anything as ea
from eval_anything.files.wording import wording_key
from tests.support.helpers import TASK_YAML, Cli, answers, make_task, text_sample, write_jsonl
from tests.support.scripted_server import Reply, ScriptedServer, completion, fails, raw, says, serve

pytestmark = pytest.mark.usefixtures("short_pauses")

IDS = [f"s{i}" for i in range(6)]

Script = Callable[[str, int], Reply]
"""The reply to a sample that is asked for the n-th time (from 1)."""


class Model:
    """A model behind a server, whose replies depend on the sample; `asked` counts them."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.asked: dict[str, int] = {}
        self.script: Script = lambda sample, number: says("Paris")
        server.script = lambda _, body: self._reply(body)

    def _reply(self, body: dict[str, Any]) -> Reply:
        sample = str(body["messages"][-1]["content"]).rpartition(" ")[2]
        self.asked[sample] = self.asked.get(sample, 0) + 1
        return self.script(sample, self.asked[sample])


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Model]:
    make_task(tmp_path, samples=[text_sample(i, f"Capital of {i}") for i in IDS])
    with serve(lambda number, body: says("Paris")) as server:
        yield Model(server)


def command(model: Model, *more: str) -> list[str]:
    task = ("--tasks", "mine/demo", "--include", "mine", "--out", "run")
    return ["run", "--model", model.server.spec(), *task, *more]


def broken(*samples: str, status: int = 500) -> Script:
    """These samples always fail; the words of the server differ each time."""

    def script(sample: str, number: int) -> Reply:
        if sample in samples:
            return fails(status, f"worker {number}: out of memory, request req_{sample}x{number}")
        return says("Paris")

    return script


def lines(root: Path) -> list[dict[str, Any]]:
    text = (root / "run" / "mine" / "demo" / "records.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def results(root: Path) -> Any:
    return json.loads((root / "run" / "results.json").read_bytes())


# --- reasons --------------------------------------------------------------------------------------


def test_the_reasons_of_failures_are_counted_and_shown(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, samples=[text_sample(i) for i in IDS])
    write_jsonl(tmp_path / "rows.jsonl", [*answers(IDS[:2]), *answers(IDS[2:5], " ")])
    run = ("run", "--model", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine", "--out", "run")
    shown = cli(*run, "--model-arg", "allow_missing=1")
    assert "  3 x empty_output: the response is empty (finish reason stop)\n" in shown.out
    assert "  1 x missing_output: the saved outputs lack this sample\n" in shown.out
    assert shown.out.index("3 x empty") < shown.out.index("1 x missing")
    document = results(tmp_path)
    assert document["reasons"][0] == {
        "outcome": "failed",
        "kind": "empty_output",
        "count": 3,
        "message": "the response is empty (finish reason stop)",
        "samples": [f"mine/demo:{i}" for i in IDS[2:5]],
    }
    assert document["pending"] == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.index("3 x empty_output: the response is empty") < page.index("<table>")
    assert ea.load_run(tmp_path / "run").results.reasons[1].kind == "missing_output"


def test_a_run_without_failures_gives_no_reasons(cli: Cli, tmp_path: Path, model: Model) -> None:
    done = cli(*command(model))
    assert done.code == 0, done.err
    assert "reasons" not in done.out
    assert results(tmp_path)["reasons"] == []
    assert 'class="reasons"' not in (tmp_path / "run" / "report.html").read_text()


def test_an_empty_answer_says_how_it_ended(cli: Cli, tmp_path: Path, model: Model) -> None:
    choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": ""}}
    model.script = lambda sample, number: raw(completion(None, choices=[choice]))
    done = cli(*command(model))
    assert "6 x empty_output: the response is empty (finish reason length, 7 tokens)" in done.out


def test_hostile_words_of_a_server_are_shown_harmlessly(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, samples=[text_sample(i) for i in IDS])
    rows = answers(IDS)
    write_jsonl(tmp_path / "rows.jsonl", rows)
    scorer = """\
def score(sample, response):
    if response.parts:
        raise ValueError("\\x1b[2J<script>alert(1)</script>" + "x" * 5000)
    return {"selection": 0.0}
"""
    own_task(tmp_path, scorer)
    done = cli(*OWN)
    assert "\x1b" not in done.out
    assert max(map(len, done.out.splitlines())) < 400
    assert len(results(tmp_path)["reasons"][0]["message"]) < 600
    assert "<script>" not in (tmp_path / "run" / "report.html").read_text()


OWN = [
    *("run", "--model", "rows.jsonl", "--tasks", "mine/own", "--include", "mine", "--allow-code"),
    *("--out", "run"),
]


def own_task(root: Path, scorer: str) -> None:
    """A task with scoring code of its own."""
    metric = "{range: [0, 1], description: own}"
    yaml = TASK_YAML.replace(
        "judges: [selection_contract]",
        f"scorer: score.py:score\nmetrics: {{selection: {metric}}}",
    )
    samples = [text_sample(i) for i in IDS]
    make_task(root, "mine/own", samples, yaml, score__py=scorer)


def test_scoring_code_that_fails_is_named_with_its_line(cli: Cli, tmp_path: Path) -> None:
    scorer = """\
import json

def part(text):
    return json.loads(text)["x"]

def score(sample, response):
    if sample.id == "s0":
        return {"selection": 1 / (len(response.parts) - 1)}
    return {"selection": part(response.text) if response.parts else 0.0}
"""
    own_task(tmp_path, scorer)
    write_jsonl(tmp_path / "rows.jsonl", answers(IDS))
    done = cli(*OWN)
    assert done.code == 1, done.err
    assert "5 x unscored by mine/own: the scorer of mine/own failed on this response: " in done.out
    assert "JSONDecodeError: Expecting value: line 1 column 1 (char 0) (score.py:4)" in done.out
    assert "ZeroDivisionError: division by zero (score.py:8)" in done.out
    first, second = results(tmp_path)["reasons"]
    assert (first["outcome"], first["judge"], first["count"]) == ("unscored", "mine/own", 5)
    assert second["samples"] == ["mine/own:s0"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("took 17 of 20 tokens", "took 1,024 of 2,048 tokens"),
        ("request req_011CSHo is bad", "request req_9fQxZ is bad"),
        ("request id abcdef failed", "request id qwertz failed"),
        ("hash 0f3a99c1d2", "hash 77aa01bb02"),
        ("hash " + "deadbeef" * 8, "hash " + "cafebabe" * 8),
        ("no 1b4e28ba-2fa1-11d2-883f-0016d3cca427", "no 6fa459ea-ee8a-3ca4-894e-db77e160355e"),
        ("at http://10.0.0.1:8000/v1?a=b", "at https://example.org/x"),
        ("cannot read /tmp/a/b.png", "cannot read /home/me/c.png"),
        ("cannot read runs/a/b.png", "cannot read media/ff/c.png"),
        ("object at 0x7f3a2b", "object at 0x7f3a99"),
        ("value -3.5e-07 is out", "value 12 is out"),
        ("s1 is bad", "s2 is bad"),
    ],
)
def test_reasons_that_differ_in_names_of_things_are_one(first: str, second: str) -> None:
    assert wording_key(first) == wording_key(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("the server answered 500", "the server answered 503"),
        ("HTTP 400: no", "HTTP 403: no"),
        ("KeyError: 'x' (score.py:4)", "KeyError: 'x' (score.py:9)"),
        ("cannot read image", "cannot read audio"),
        ("text/html came", "text/plain came"),
        ("no codec for mp3", "no codec for mp4"),
        ("a and/or b", "a or b"),
    ],
)
def test_reasons_that_differ_in_kind_are_several(first: str, second: str) -> None:
    assert wording_key(first) != wording_key(second)


def test_the_id_of_a_sample_is_no_difference() -> None:
    assert wording_key("cat has no answer", "cat") == wording_key("dog has no answer", "dog")


# --- samples that a server always fails -----------------------------------------------------------


def test_pending_samples_are_named(cli: Cli, tmp_path: Path, model: Model) -> None:
    model.script = broken("s1", "s4")
    stopped = cli(*command(model))
    assert stopped.code == 4
    assert "  2 x pending: " in stopped.out
    assert "(mine/demo:s1, mine/demo:s4)" in stopped.out
    assert "2 samples are pending" in stopped.err
    assert "--skip-failing" in stopped.err
    document = results(tmp_path)
    assert document["pending"] == 2
    (reason,) = document["reasons"]
    assert (reason["outcome"], reason["count"]) == ("pending", 2)
    assert sorted(reason["samples"]) == ["mine/demo:s1", "mine/demo:s4"]
    assert "2 x pending: " in (tmp_path / "run" / "report.html").read_text()


def test_pending_counts_samples_and_not_their_repeats(cli: Cli, tmp_path: Path, model: Model) -> None:
    model.script = broken("s1")
    stopped = cli(*command(model, "--repeats", "3", "--temperature", "1"))
    assert "1 samples are pending" in stopped.err
    assert results(tmp_path)["pending"] == 1


@pytest.mark.parametrize("again", [False, True], ids=["at once", "after a run that ended pending"])
def test_failing_samples_are_given_up_without_a_score(
    cli: Cli, tmp_path: Path, model: Model, again: bool
) -> None:
    model.script = broken("s1")
    if again:
        assert cli(*command(model)).code == 4
    done = cli(*command(model, "--skip-failing", "--max-failed", "0.2"))
    assert done.code == 0, done.err
    assert "skipped" in done.out.splitlines()[0]
    assert "  1 x skipped: " in done.out
    assert "(mine/demo:s1)" in done.out
    assert results(tmp_path)["pending"] == 0
    task = results(tmp_path)["tasks"]["mine/demo"]
    assert (task["samples"], task["failed"], task["skipped"]) == (6, 0, 1)
    metric = task["metrics"]["selection"]
    assert (metric["value"], metric["n"]) == (1.0, 6)
    assert (metric["failed"], metric["unscored"], metric["skipped"]) == (0, 0, 1)
    assert "invalid" not in metric
    (line,) = [line for line in lines(tmp_path) if line["sample_id"] == "s1"]
    assert line["error"]["kind"] == "skipped"
    assert "500" in line["error"]["message"]
    assert [score.get("value") for score in line["scores"].values()] == [None] * len(line["scores"])
    assert json.loads((tmp_path / "run" / "run.json").read_bytes())["status"] == "done"
    asked = dict(model.asked)
    assert cli(*command(model)).code == 1  # it is above the usual --max-failed
    assert model.asked == asked  # nothing is asked again, unless one says so
    model.script = broken()
    done = cli(*command(model, "--retry-failed", "skipped"))
    assert done.code == 0, done.err
    metric = results(tmp_path)["tasks"]["mine/demo"]["metrics"]["selection"]
    assert (metric["value"], metric["n"], metric["skipped"]) == (1.0, 6, 0)


def test_too_many_skipped_samples_fail_the_run(cli: Cli, tmp_path: Path, model: Model) -> None:
    model.script = broken("s1", "s2")
    done = cli(*command(model, "--skip-failing"))
    assert done.code == 1
    assert "2 of 6 samples were skipped, more than --max-failed 0.1 allows" in done.err


def test_a_server_that_answers_nothing_is_not_skipped(cli: Cli, tmp_path: Path, model: Model) -> None:
    model.script = broken(*IDS)
    stopped = cli(*command(model, "--skip-failing"))
    assert stopped.code == 4, stopped.err
    assert "skipped nothing" in stopped.err
    assert not (tmp_path / "run" / "mine" / "demo" / "records.jsonl").exists()


def test_a_server_that_is_gone_in_between_is_not_skipped(cli: Cli, tmp_path: Path, model: Model) -> None:
    model.script = broken("s1")
    assert cli(*command(model)).code == 4
    model.script = broken(*IDS)
    stopped = cli(*command(model, "--skip-failing"))
    assert stopped.code == 4, stopped.err
    assert "skipped nothing" in stopped.err
    assert len(lines(tmp_path)) == 5


def test_many_failing_samples_in_a_row_can_be_given_up(cli: Cli, tmp_path: Path, model: Model) -> None:
    many = [f"t{i}" for i in range(30)]
    samples = [text_sample(i, f"Capital of {i}") for i in ["s0", *many]]
    make_task(tmp_path, "mine/many", samples)
    model.script = broken(*many)
    run = [word.replace("mine/demo", "mine/many") for word in command(model, "--concurrency", "4")]
    stopped = cli(*run)
    assert stopped.code == 4
    assert stopped.out == ""  # after twenty in a row a run stops
    done = cli(*run, "--skip-failing", "--max-failed", "1")
    assert done.code == 0, done.err
    task = results(tmp_path)["tasks"]["mine/many"]
    assert (task["samples"], task["skipped"]) == (31, 30)
    assert "30 x skipped: " in done.out
    assert len(results(tmp_path)["reasons"][0]["samples"]) == 20


def test_skipped_samples_are_no_failures_of_the_model_in_other_commands(
    cli: Cli, tmp_path: Path, model: Model
) -> None:
    model.script = broken("s1")
    assert cli(*command(model, "--skip-failing", "--max-failed", "0.2")).code == 0
    table = ea.load_run(tmp_path / "run").to_pandas()
    assert table["failed"].sum() == 0
    again = cli(
        *("score", "--outputs", "run", "--tasks", "mine/demo", "--include", "mine", "--out", "again"),
        *("--max-failed", "0.2", "--json"),
    )
    assert again.code == 0, again.err
    metric = again.json["tasks"]["mine/demo"]["metrics"]["selection"]
    assert (metric["value"], metric["failed"], metric["skipped"]) == (1.0, 0, 1)
    compared = cli("compare", "run", "again", "--json")
    assert compared.code == 0, compared.err


# --- failed samples, asked again ------------------------------------------------------------------


def silent(*samples: str, times: int = 10**6) -> Script:
    """These samples get an empty answer so many times."""

    def script(sample: str, number: int) -> Reply:
        return says("") if sample in samples and number <= times else says("Paris")

    return script


def test_failed_samples_are_asked_again_and_the_newer_record_counts(
    cli: Cli, tmp_path: Path, model: Model
) -> None:
    model.script = silent("s1", "s2", times=1)
    first = cli(*command(model, "--max-failed", "1"))
    assert first.code == 0, first.err
    before = (tmp_path / "run" / "mine" / "demo" / "records.jsonl").read_bytes()
    tokens = results(tmp_path)["cost"]["tokens"]
    done = cli(*command(model, "--retry-failed"))
    assert done.code == 0, done.err
    assert model.asked == {i: 2 if i in ("s1", "s2") else 1 for i in IDS}
    after = (tmp_path / "run" / "mine" / "demo" / "records.jsonl").read_bytes()
    assert after.startswith(before)  # the log keeps what was
    assert len(lines(tmp_path)) == 8
    assert "reasons" not in done.out
    metric = results(tmp_path)["tasks"]["mine/demo"]["metrics"]["selection"]
    assert (metric["value"], metric["n"], metric["failed"]) == (1.0, 6, 0)
    assert [r.error for r in ea.load_run(tmp_path / "run").records()] == [None] * 6
    paid = results(tmp_path)["cost"]["tokens"]
    assert paid == {name: number * 8 // 6 for name, number in tokens.items()}


def test_only_one_kind_of_failure_is_asked_again(cli: Cli, tmp_path: Path, model: Model) -> None:
    model.script = silent("s1", times=1)
    assert cli(*command(model, "--max-failed", "1")).code == 0
    asked = dict(model.asked)
    assert cli(*command(model, "--max-failed", "1", "--retry-failed", "refusal")).code == 0
    assert model.asked == asked
    assert cli(*command(model, "--retry-failed", "empty_output")).code == 0
    assert model.asked == {**asked, "s1": 2}


def test_a_failed_sample_that_the_server_fails_again_keeps_its_record(
    cli: Cli, tmp_path: Path, model: Model
) -> None:
    model.script = silent("s1")
    assert cli(*command(model, "--max-failed", "1")).code == 0
    model.script = broken("s1")
    stopped = cli(*command(model, "--max-failed", "1", "--retry-failed"))
    assert stopped.code == 4, stopped.err
    assert "1 samples are pending" in stopped.err
    task = results(tmp_path)["tasks"]["mine/demo"]
    assert (task["samples"], task["failed"]) == (6, 1)
    done = cli(*command(model, "--max-failed", "1", "--retry-failed", "--skip-failing"))
    assert done.code == 0, done.err
    assert len(lines(tmp_path)) == 6  # an answer of the model is not replaced by none
    assert results(tmp_path)["tasks"]["mine/demo"]["failed"] == 1


def test_an_unfinished_run_asks_failed_and_pending_samples(
    cli: Cli, tmp_path: Path, model: Model
) -> None:
    def script(sample: str, number: int) -> Reply:
        if sample == "s3":
            return fails(500)
        return silent("s1", times=1)(sample, number)

    model.script = script
    assert cli(*command(model)).code == 4
    model.script = lambda sample, number: says("Paris")
    done = cli(*command(model, "--retry-failed"))
    assert done.code == 0, done.err
    task = results(tmp_path)["tasks"]["mine/demo"]
    assert (task["samples"], task["failed"]) == (6, 0)
    assert model.asked["s0"] == 1


def test_the_options_are_in_files_and_in_python(cli: Cli, tmp_path: Path, model: Model) -> None:
    model.script = silent("s1", times=1)
    assert cli(*command(model, "--max-failed", "1")).code == 0
    (tmp_path / "run.yaml").write_text("retry_failed: true\nskip_failing: true\n")
    done = cli(*command(model, "--config", "run.yaml"))
    assert done.code == 0, done.err
    assert model.asked["s1"] == 2
    model.script = silent("s1", times=3)
    run = ea.evaluate(
        model.server.spec(),
        tasks="mine/demo",
        include=[tmp_path / "mine"],
        out=tmp_path / "other",
        max_failed=1,
        progress=False,
    )
    assert [reason.text for reason in run.results.reasons] == [
        "empty_output: the response is empty (finish reason stop, 7 tokens)"
    ]
    run = ea.evaluate(
        model.server.spec(),
        tasks="mine/demo",
        include=[tmp_path / "mine"],
        out=tmp_path / "other",
        retry_failed="empty_output",
        skip_failing=True,
        progress=False,
    )
    assert run.results.reasons == []


def test_an_unknown_kind_of_failure_is_named(cli: Cli, tmp_path: Path, model: Model) -> None:
    wrong = cli(*command(model, "--retry-failed", "refusl"))
    assert wrong.code == 2
    assert "there is no kind of failure 'refusl'. Did you mean refusal?" in wrong.err
    (tmp_path / "run.yaml").write_text("skip_failing: true\nretry_failed: refusl\n")
    wrong = cli(*command(model, "--config", "run.yaml"))
    assert wrong.code == 2
    assert "Did you mean refusal?" in wrong.err
