"""Whole runs against servers that refuse: whose the refusal is, from the first request on or later. One
table says what is expected, and docs/servers.md shows it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval_anything.models.agent.grammar import render
from tests.support.agent_server import plan
from tests.support.agents import write_agent
from tests.support.faults import good
from tests.support.faults import sample_of as question_of
from tests.support.helpers import (
    TASK_YAML,
    Cli,
    Result,
    make_task,
    medium_sample,
    png,
    text_sample,
    write_jsonl,
)
from tests.support.judge_server import judge_server, talk_task
from tests.support.labelled import flipping, judge_pairs
from tests.support.lanes import full
from tests.support.paths import ROOT
from tests.support.refusing import ALSO, ENDPOINTS, REFUSED, Endpoint, Refused, refusing
from tests.support.scripted_server import ScriptedServer, fails, raw, says, serve
from tests.support.shapes_server import (
    Asked,
    Sent,
    ShapesServer,
    answer,
    choice,
    chunk,
    events,
    problem,
    serve_shapes,
)
from tests.support.shapes_server import completion as completed

pytestmark = pytest.mark.usefixtures("short_pauses")

IDS = [f"s{i}" for i in range(6)]
FAULTY = ("s4", "s5")
COMMAND = ["run", "--tasks", "mine/demo", "--include", "mine", "--json", "--out", "run"]


def task(root: Path, output: str = "text", media: bool = False, ids: list[str] = IDS) -> None:
    """A task of questions, with a picture each or without."""
    samples = [text_sample(i, f"Question {i}?") for i in ids]
    for i, sample in zip(ids, samples, strict=True):
        if media:
            picture = medium_sample(i, "image", "red.png")["messages"][0]["parts"][1]
            sample["messages"][0]["parts"].append(picture)
    yaml = TASK_YAML.replace("required: [text]", f"required: [{output}]")
    make_task(root, samples=samples, yaml=yaml, red__png=png())


def records(root: Path) -> dict[str, dict[str, Any]]:
    path = root / "run" / "mine" / "demo" / "records.jsonl"
    rows = [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    assert len({row["sample_id"] for row in rows}) == len(rows), "a sample is recorded twice"
    return {row["sample_id"]: row for row in rows}


def wait_for(root: Path, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(records(root)) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def said(row: dict[str, Any] | None) -> str:
    """What a record says of its sample, as the table has it."""
    if row is None:
        return "none"
    return "scored" if row["error"] is None else f"`{row['error']['kind']}`"


def check(endpoint: Endpoint, refused: Refused, reply: Sent, when: str, cli: Cli, root: Path) -> None:
    faulty = tuple(IDS) if when == "first" else FAULTY
    good = len(IDS) - len(faulty)
    record, code = refused.first if when == "first" else refused.later
    refuses = True

    def answer_to(sample: str) -> Sent | None:
        if not refuses or sample not in faulty:
            return None
        wait_for(root, good)
        return reply

    task(root, endpoint.output, refused.media)
    with serve_shapes(refusing(endpoint, answer_to)) as server:
        arguments = [f"--model-arg={k}={v}" for k, v in endpoint.arguments.items()]
        command = [*COMMAND, "--model", server.spec, *arguments]
        first = cli(*command)
        kept = records(root)
        assert {said(kept.get(i)) for i in faulty} == {record}, first.err
        assert {said(kept.get(i)) for i in IDS if i not in faulty} <= {"scored"}
        assert len(kept) == good + (len(faulty) if record != "none" else 0)
        assert first.code == code, first.err
        refuses, asked = False, len(server.asked)
        again = cli(*command)
    if record == "none":
        assert again.code == 0, again.err
        assert {said(row) for row in records(root).values()} == {"scored"}
    else:
        assert (again.code, len(server.asked)) == (code, asked), "a failure on record stays one"
    assert records(root).items() >= kept.items()


@pytest.mark.engines
@pytest.mark.parametrize("when", ["first", "later"])
@pytest.mark.parametrize(
    ("name", "row"),
    [
        pytest.param(name, row, id=f"{name}, {row}", marks=pytest.mark.slow if name != "chat" else ())
        for column, (name, endpoint) in enumerate(ENDPOINTS.items())
        for number, (row, refused) in enumerate(REFUSED.items())
        if name in refused.endpoints and (endpoint.media or not refused.media)
        # of the other endpoints a fifth, such that each row and each endpoint is among them
        if full("engines") or name == "chat" or (number + column) % 5 == 0
    ],
)
def test_a_refusal_has_its_effect_at_every_endpoint(
    name: str, row: str, when: str, cli: Cli, tmp_path: Path
) -> None:
    refused = REFUSED[row]
    check(ENDPOINTS[name], refused, refused.reply, when, cli, tmp_path)


@pytest.mark.engines
@pytest.mark.slow
@pytest.mark.parametrize("when", ["first", "later"] if full("engines") else ["later"])
@pytest.mark.parametrize(
    ("row", "reply"), [(row, reply) for row, replies in ALSO.items() for reply in replies]
)
def test_other_ways_to_say_it(row: str, reply: Sent, when: str, cli: Cli, tmp_path: Path) -> None:
    check(ENDPOINTS["chat"], REFUSED[row], reply, when, cli, tmp_path)


def test_the_docs_show_this_table() -> None:
    page = (ROOT / "docs" / "servers.md").read_text("utf-8")
    section = page.partition("\n## Refusals\n")[2].partition("\n## ")[0]
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in section.splitlines()]
    shown = [row for row in rows if len(row) == 5 and row[2].isdigit()]
    expected = [
        [name, *(str(cell) for effect in (row.first, row.later) for cell in effect)]
        for name, row in REFUSED.items()
    ]
    assert shown == expected


# --- the rule of the first requests --------------------------------------------------------------


def chat(cli: Cli, root: Path, server: ScriptedServer | ShapesServer, *more: str) -> Result:
    spec = server.spec() if isinstance(server, ScriptedServer) else server.spec
    return cli(*COMMAND, "--model", spec, *more)


@pytest.mark.parametrize("count", [1, 4, 5, 40])
def test_what_all_requests_get_stops_the_run(count: int, cli: Cli, tmp_path: Path) -> None:
    task(tmp_path, ids=[f"s{i}" for i in range(count)])
    with serve(lambda n, body: fails(400, f"Unknown field. Request id: 5f-{n:08d}")) as server:
        stopped = chat(cli, tmp_path, server)
        assert stopped.code == 2
        assert "the server answered 400: Unknown field. Request id" in stopped.err
        assert records(tmp_path) == {}
        server.script = lambda n, body: says("hi")
        assert chat(cli, tmp_path, server).code == 0
    assert len(records(tmp_path)) == count


def test_few_requests_are_sent_to_a_server_that_refuses_all(cli: Cli, tmp_path: Path) -> None:
    task(tmp_path, ids=[f"s{i}" for i in range(500)])
    with serve(lambda n, body: fails(400)) as server:
        assert chat(cli, tmp_path, server).code == 2
    assert len(server.bodies) <= 64 + 5


@pytest.mark.parametrize("faulty", ["s0", "s3", "s5"])
def test_a_refusal_among_successes_is_of_that_sample(faulty: str, cli: Cli, tmp_path: Path) -> None:
    task(tmp_path)

    def script(number: int, body: dict[str, Any]) -> Any:
        return fails(400, "too odd") if f"{faulty}?" in str(body) else says("hi")

    with serve(script) as server:
        done = chat(cli, tmp_path, server, "--max-failed", "0.5")
    assert done.code == 0, done.err
    assert len(server.bodies) == len(IDS), "nothing is asked twice"
    kept = records(tmp_path)
    assert [i for i, row in kept.items() if row["error"]] == [faulty]
    assert kept[faulty]["error"] == {
        "kind": "model_error",
        "message": "the server answered 400: too odd",
    }


def test_refusals_that_differ_are_of_their_samples(cli: Cli, tmp_path: Path) -> None:
    """Each prompt is refused for a reason of its own, so no setting is to blame."""
    task(tmp_path)
    script = lambda n, body: fails(400, f"too odd: {body['messages'][0]['content']}")  # noqa: E731
    with serve(script) as server:
        assert chat(cli, tmp_path, server).code == 1
        assert {said(row) for row in records(tmp_path).values()} == {"`model_error`"}
        assert len(records(tmp_path)) == len(server.bodies) == len(IDS)


def test_one_flagged_prompt_does_not_hide_that_all_others_are_refused(cli: Cli, tmp_path: Path) -> None:
    task(tmp_path, ids=IDS[:4])

    def script(number: int, body: dict[str, Any]) -> Any:
        return fails(403, "flagged") if "s1?" in str(body) else fails(400, "no such field")

    with serve(script) as server:
        stopped = chat(cli, tmp_path, server)
    assert stopped.code == 2
    assert "no such field" in stopped.err
    assert {i: said(row) for i, row in records(tmp_path).items()} == {"s1": "`refusal`"}


def test_a_resumed_run_remembers_that_requests_succeeded(cli: Cli, tmp_path: Path) -> None:
    """The last sample fails for the server first, and is refused when the run goes on."""
    task(tmp_path)
    reply = fails(500)
    script = lambda n, body: reply if "s5?" in str(body) else says("hi")  # noqa: E731
    with serve(script) as server:
        assert chat(cli, tmp_path, server).code == 4
        reply = fails(400, "too odd")
        assert chat(cli, tmp_path, server).code == 1
    assert said(records(tmp_path)["s5"]) == "`model_error`"


def test_a_run_that_was_answered_twice_and_then_ran_out_of_money(cli: Cli, tmp_path: Path) -> None:
    task(tmp_path, ids=IDS[:5])
    lock, answered = threading.Lock(), 0

    def script(number: int, body: dict[str, Any]) -> Any:
        nonlocal answered
        with lock:
            answered += 1
            return says("hi") if answered <= 2 else fails(402, "Insufficient Balance")

    with serve(script) as server:
        stopped = chat(cli, tmp_path, server)
        assert stopped.code == 2
        assert "Insufficient Balance" in stopped.err
        assert {said(row) for row in records(tmp_path).values()} == {"scored"}
        assert len(records(tmp_path)) == 2
        server.script = lambda n, body: says("hi")
        done = chat(cli, tmp_path, server)
    assert done.code == 0
    assert done.json["tasks"]["mine/demo"]["metrics"]["selection"]["value"] == 1.0


def test_one_flagged_prompt_of_five(cli: Cli, tmp_path: Path) -> None:
    task(tmp_path, ids=IDS[:5])
    reply = problem(403, "Your input was flagged for violence")
    routes = refusing(ENDPOINTS["chat"], lambda sample: reply if sample == "s2" else None)
    with serve_shapes(routes) as server:
        done = chat(cli, tmp_path, server)
    assert done.code == 1, "one of five is more than --max-failed"
    kept = records(tmp_path)
    assert kept["s2"]["error"]["kind"] == "refusal"
    assert "flagged for violence" in kept["s2"]["error"]["message"]
    assert [said(kept[i]) for i in ("s0", "s1", "s3", "s4")] == ["scored"] * 4


def test_a_wrong_name_of_a_model_is_said_at_once(cli: Cli, tmp_path: Path) -> None:
    task(tmp_path)
    with serve(lambda n, body: fails(404, "The model `tester` does not exist.")) as server:
        stopped = chat(cli, tmp_path, server)
    assert stopped.code == 2
    assert "no model 'tester', or no /chat/completions (404): The model `tester` does" in stopped.err
    assert records(tmp_path) == {}


# --- failures inside of good replies -------------------------------------------------------------

ERROR = {"code": 502, "message": "Provider disconnected"}
BROKEN: dict[str, Sent] = {
    "an error of the choice": answer(completed({**choice({"content": "Pa"}, "error"), "error": ERROR})),
    "an error beside the choices": answer(
        {**completed(choice({"content": "Pa"})), "error": {"message": "oh"}}
    ),
    "a stream with an error of the choice": events(
        chunk({"content": "Pa"}),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": ERROR}]},
    ),
    "a stream with an error beside the choices": events(
        chunk({"content": "Pa"}), {**chunk({"content": ""}, "error"), "error": ERROR}
    ),
    "a stream that ends in an error": events(chunk({"content": "Pa"}), chunk({}, "error")),
    "a stream that is aborted": events(chunk({"content": "Pa"}), chunk({}, "abort")),
}


@pytest.mark.parametrize("name", list(BROKEN))
@pytest.mark.parametrize("times", [1, 99])
def test_a_failure_inside_of_a_reply_is_tried_again(
    times: int, name: str, cli: Cli, tmp_path: Path
) -> None:
    endpoint = ENDPOINTS["stream" if "stream" in name else "chat"]
    task(tmp_path, ids=["s0"])

    def route(asked: Asked) -> Sent:
        return BROKEN[name] if asked.number <= times else endpoint.good[endpoint.path]

    with serve_shapes({endpoint.path: route}) as server:
        done = chat(
            cli, tmp_path, server, *(f"--model-arg={k}={v}" for k, v in endpoint.arguments.items())
        )
        assert len(server.asked) == min(4, times + 1)
    if times == 1:
        assert done.code == 0, done.err
        assert records(tmp_path)["s0"]["parts"] == [{"modality": "text", "text": "hi"}]
    else:
        assert done.code == 4
        assert "4 times: " in done.err
        assert records(tmp_path) == {}


# --- judges --------------------------------------------------------------------------------------


class Judged:
    """A task of questions with a rubric's judge, which says `refusal` to some samples."""

    def __init__(self, cli: Cli, root: Path, judge: ScriptedServer, model: ScriptedServer) -> None:
        self.refusal: Any = None
        self.faulty: tuple[str | None, ...] = tuple(IDS)
        self.root = root
        self.server = judge
        self._cli = cli
        self._command = [*COMMAND, "--model", model.spec(), "--judge", f"synergy_rubric={judge.spec()}"]
        samples = [text_sample(i, f"Question {i}?") for i in IDS]
        make_task(root, samples=samples, yaml=talk_task())
        judge.script = lambda number, body: self._reply(body)

    def _reply(self, body: dict[str, Any]) -> Any:
        refused = self.refusal is not None and question_of(body) in self.faulty
        return self.refusal if refused else good(body)

    def run(self, *more: str) -> Result:
        return self._cli(*self._command, *more)

    @property
    def unscored(self) -> dict[str, str]:
        """The reasons of the samples on record that have no score."""
        scores = {i: row["scores"]["synergy"] for i, row in records(self.root).items()}
        return {i: score["explanation"] for i, score in scores.items() if score["value"] is None}


@pytest.fixture
def judged(cli: Cli, tmp_path: Path) -> Iterator[Judged]:
    with serve(lambda n, body: good(body)) as model, serve(lambda n, body: good(body)) as judge:
        yield Judged(cli, tmp_path, judge, model)


@pytest.mark.parametrize("faulty", [tuple(IDS), FAULTY])
@pytest.mark.parametrize(
    "refusal", [fails(402, "Insufficient Balance"), fails(400, "API key not valid"), fails(401)]
)
def test_an_account_that_a_judges_server_refuses_stops_the_run(
    refusal: Any, faulty: tuple[str, ...], judged: Judged
) -> None:
    judged.refusal, judged.faulty = refusal, faulty
    stopped = judged.run()
    assert stopped.code == 2
    assert "judge synergy_rubric: the server refuses the key or the account" in stopped.err
    assert not set(faulty) & set(records(judged.root))
    judged.refusal = None
    assert judged.run().code == 0
    assert sorted(records(judged.root)) == IDS


@pytest.mark.parametrize("refusal", [fails(403, "Your input was flagged"), fails(400, "too odd")])
def test_a_verdict_that_is_refused_among_others_is_unscored(refusal: Any, judged: Judged) -> None:
    judged.refusal, judged.faulty = refusal, ("s0",)
    assert judged.run().code == 1, "one of six is more than the 2 % that a judge may fail"
    assert sorted(records(judged.root)) == IDS
    assert list(judged.unscored) == ["s0"]
    assert "the server answered 40" in judged.unscored["s0"]


def test_what_a_judges_server_refuses_to_all_stops_the_run(judged: Judged) -> None:
    judged.refusal = fails(400, "no such field")
    stopped = judged.run()
    assert stopped.code == 2
    assert "judge synergy_rubric: the server answered 400: no such field" in stopped.err
    assert records(judged.root) == {}
    judged.refusal = None
    assert judged.run().code == 0


def test_a_resumed_run_remembers_that_its_judge_gave_verdicts(judged: Judged) -> None:
    judged.refusal, judged.faulty = fails(500), ("s0",)
    assert judged.run().code == 4
    judged.refusal = fails(400, "too odd")
    assert judged.run().code == 1
    assert list(judged.unscored) == ["s0"]


@pytest.mark.parametrize(
    "refusal",
    [
        raw(json.dumps({**completed(choice({"content": "{}"})), "error": {"message": "oh"}}).encode()),
        raw(json.dumps(completed({**choice({"content": "{}"}, "error"), "error": ERROR})).encode()),
    ],
)
def test_a_failure_inside_of_a_judges_reply_is_pending(refusal: Any, judged: Judged) -> None:
    judged.refusal, judged.faulty = refusal, ("s1",)
    pending = judged.run()
    assert pending.code == 4
    assert "s1" not in records(judged.root)
    judged.refusal = None
    assert judged.run().code == 0


def test_calibration_decides_like_a_run(cli: Cli, tmp_path: Path) -> None:
    """One response that the judge's server refuses is unscored; if it refuses all, nothing is kept."""
    labels = write_jsonl(tmp_path / "labels.jsonl", judge_pairs(8))
    command = ["judges", "calibrate", "synergy_rubric", "--labels", labels, "--again", "0", "--json"]
    right = flipping(1.0)
    with judge_server() as server:
        command += ["--judge", f"synergy_rubric={server.spec}"]
        server.reply = lambda asked: (400, "too odd")
        stopped = cli(*command)
        assert stopped.code == 2
        assert "the server answered 400: too odd" in stopped.err
        server.reply = lambda asked: (400, "too odd") if "good 0" in str(asked.answer) else right(asked)
        done = cli(*command)
    assert done.code == 0, done.err
    assert done.json["pairs"]["unscored"] == 1


# --- agents --------------------------------------------------------------------------------------


@pytest.mark.parametrize("faulty", [tuple(IDS), ("s0",)])
def test_what_an_agents_generator_is_refused(faulty: tuple[str, ...], cli: Cli, tmp_path: Path) -> None:
    task(tmp_path)
    refuses = True

    def plan_for(number: int, body: dict[str, Any]) -> Any:
        question = body["messages"][-1]["content"]
        return says(render(plan(text="Look:", image=question)))

    def reply(sample: str) -> Sent | None:
        return problem(400, "no such field") if refuses and sample in faulty else None

    images = ENDPOINTS["images"]
    with serve(plan_for) as chat_server, serve_shapes(refusing(images, reply)) as server:
        generator = {"kind": "model", "model": server.spec, "arguments": images.arguments}
        file = write_agent(tmp_path, chat_server.spec(), {"image": generator}, form="text")
        done = cli(*COMMAND, "--model", f"agent/{file}")
        if len(faulty) == 1:
            assert done.code == 1
            assert said(records(tmp_path)["s0"]) == "`generator_failed`"
            assert "no such field" in records(tmp_path)["s0"]["error"]["message"]
            return
        assert done.code == 2
        assert "no such field" in done.err
        assert records(tmp_path) == {}
        refuses = False
        assert cli(*COMMAND, "--model", f"agent/{file}").code == 0
