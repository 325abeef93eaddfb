"""Whole runs against servers that fail: the model's, or the judge's. One table says what is expected,
and docs/judging.md shows it."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eval_anything.content import FailureKind
from eval_anything.judges.asking.verdict import Verdict
from eval_anything.servers.client import _TIMEOUT, Client
from tests.support.faults import (
    ECHOES,
    FAULTS,
    MODELS_TIMEOUT,
    NONE,
    SECRET,
    SHORT,
    UNSCORED,
    Fault,
    Role,
    always,
    good,
    sample_of,
)
from tests.support.helpers import Cli, Result, make_task, text_sample
from tests.support.judge_server import talk_task
from tests.support.paths import ROOT
from tests.support.scripted_server import Reply, ScriptedServer, serve

CASES = [
    pytest.param(role, name, id=f"{role}-{name}")
    for role in ("judge", "model")
    for name, fault in FAULTS.items()
    if getattr(fault, role) is not None
]

TASK = talk_task()
IDS = [f"s{i}" for i in range(6)]
FAULTY = ("s4", "s5")
CANARIES = 6  # three of each of the first two samples
COMMAND = ["run", "--tasks", "mine/demo", "--include", "mine", "--json"]

pytestmark = pytest.mark.usefixtures("short_pauses")


class Servers:
    """The model's and the judge's server, without a fault until `fault` is set for a role. The faulty
    samples are answered when all others are on record, so that there is something to lose."""

    def __init__(self, root: Path, model: ScriptedServer, judge: ScriptedServer) -> None:
        self.of: dict[Role, ScriptedServer] = {"model": model, "judge": judge}
        self.fault: tuple[Role, Fault] | None = None
        self.faulty: tuple[str | None, ...] = FAULTY  # None: canaries
        self._root = root
        self._met: dict[str | None, int] = {}
        model.script = lambda number, body: self._reply("model", body)
        judge.script = lambda number, body: self._reply("judge", body)

    @property
    def arguments(self) -> list[str]:
        """What names both on the command line."""
        judge = f"synergy_rubric={self.of['judge'].spec()}"
        return ["--model", self.of["model"].spec(), "--judge", judge]

    def asked(self) -> dict[Role, int]:
        """How many requests each has had."""
        return {role: len(server.bodies) for role, server in self.of.items()}

    def _reply(self, role: Role, body: dict[str, Any]) -> Reply:
        sample = sample_of(body)
        if self.fault is None or self.fault[0] != role or sample not in self.faulty:
            return good(body)
        fault = self.fault[1]
        met = self._met[sample] = self._met.get(sample, 0) + 1
        if fault.times is not None and met > fault.times:
            return good(body)
        if met == 1:
            self._wait_for_the_others()
        return fault.reply(body)

    def _wait_for_the_others(self) -> None:
        path = self._root / "run" / "mine" / "demo" / "records.jsonl"
        samples = (self._root / "mine" / "demo" / "samples.jsonl").read_bytes().count(b"\n")
        others = samples - len([sample for sample in self.faulty if sample])
        deadline = time.monotonic() + 10
        while others and not (path.exists() and path.read_bytes().count(b"\n") >= others):
            if time.monotonic() > deadline:
                return  # the test then says what is missing
            time.sleep(0.01)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """A task of six samples, and both servers."""
    _make_task(tmp_path, IDS)
    with serve(lambda number, body: good(body)) as model, serve(lambda n, body: good(body)) as judge:
        yield Servers(tmp_path, model, judge)


@pytest.fixture(autouse=True)
def it_ends() -> Iterator[None]:
    """No fault may hang a run: after a minute the test fails where it stands."""

    def late(number: int, frame: object) -> None:
        pytest.fail("the run does not end")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Results and records of the run that meets no fault."""
    from eval_anything.cli.main import main

    root = tmp_path_factory.mktemp("unbroken")
    _make_task(root, IDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVAL_ANYTHING_HOME", str(root / "home"))
        patch.chdir(root)
        with serve(lambda number, body: good(body)) as model, serve(lambda n, b: good(b)) as judge:
            both = Servers(root, model, judge)
            assert main([*COMMAND, *both.arguments, "--out", "run"]) == 0
    found = _state(root / "run")
    assert found["results"]["tasks"]["mine/demo"]["metrics"]["synergy"]["value"] == pytest.approx(0.7)
    assert sorted(found["records"]) == IDS
    return found


def _make_task(root: Path, ids: list[str]) -> None:
    make_task(root, samples=[text_sample(i, f"Question {i}?") for i in ids], yaml=TASK)


def _state(run: Path) -> dict[str, Any]:
    """Results, records and canaries of a run, without what a clock or a directory decides, and what was
    spent on answers that had to be asked for again."""
    results = json.loads((run / "results.json").read_bytes())
    results.pop("run")
    results["cost"].pop("spent")
    return {"results": results, "records": _records(run), "canaries": _records(run, "canaries")}


def _records(run: Path, log: str = "records") -> dict[str, dict[str, Any]]:
    path = run / "mine" / "demo" / f"{log}.jsonl"
    rows = [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    for row in rows:
        row.pop("latency")
    found = {row["sample_id"]: row for row in rows}
    assert len(found) == len(rows), "a sample is recorded twice"
    return found


def _verdicts(home: Path) -> list[Verdict]:
    """What is in the cache of verdicts."""
    with sqlite3.connect(home / "verdicts.sqlite") as base:
        rows = base.execute("SELECT text FROM verdicts").fetchall()
    return [msgspec.json.decode(text, type=Verdict) for (text,) in rows]


def _hurry(monkeypatch: pytest.MonkeyPatch) -> set[float]:
    """Makes a try as short as `SHORT`; gives the seconds that it would have had."""
    made = Client.__init__
    real = set()

    def make(self: Client, *arguments: Any, **more: Any) -> None:
        made(self, *arguments, **more)
        real.add(self.timeout)
        self.timeout = SHORT

    monkeypatch.setattr(Client, "__init__", make)
    monkeypatch.setattr("eval_anything.servers.client._LONGEST_WAIT", 0.5)
    return real


@pytest.mark.slow
@pytest.mark.parametrize(("role", "name"), CASES)
def test_a_fault_has_its_effect_and_loses_nothing(
    role: Role,
    name: str,
    servers: Servers,
    unbroken: Mapping[str, Any],
    cli: Cli,
    own_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault = FAULTS[name]
    says_what, code = getattr(fault, role)
    run = tmp_path / "run"
    command = [*COMMAND, *servers.arguments, "--out", "run"]
    servers.fault = (role, fault)
    with monkeypatch.context() as patch:
        real = _hurry(patch) if fault.timed else None
        broken = cli(*command)
    assert real in (None, {_TIMEOUT, MODELS_TIMEOUT}), "the docs name the time that a try has"
    assert broken.code == code, broken.err

    records, canaries = _records(run), _records(run, "canaries")
    for id_ in IDS[:4]:
        assert records[id_] == unbroken["records"][id_], "what went well is kept as it was"
    for id_ in FAULTY:
        _check_record(says_what, records.get(id_), unbroken["records"][id_], fault.kind)
    scored = [i for i, row in records.items() if row["scores"]["synergy"]["value"] is not None]
    floored = [i for i, row in records.items() if row["error"] is not None]
    kept = _verdicts(own_home)
    assert len(kept) == len(scored) - len(floored) + len(canaries), "only what was judged is kept"
    assert {verdict.grades["synergy"] for verdict in kept} <= {0.0, 7.0}
    assert len(canaries) == (0 if code == 2 else CANARIES)
    _check_summary(says_what, code, role, broken)

    servers.fault = None
    lines = (run / "mine" / "demo" / "records.jsonl").read_bytes().splitlines()
    asked = servers.asked()
    again = cli(*command)
    assert (run / "mine" / "demo" / "records.jsonl").read_bytes().splitlines()[: len(lines)] == lines
    if says_what in ("scored", "pending"):
        assert again.code == 0, again.err
        assert _state(run) == unbroken
        return
    assert again.code == code, "a failure on record stays one"
    assert servers.asked() == asked
    if role == "judge":
        score = ["score", "--outputs", "run", *COMMAND[1:], *servers.arguments[2:], "--out", "judged"]
        judged = cli(*score)
        assert judged.code == 0, judged.err
        assert judged.json["tasks"] == unbroken["results"]["tasks"]
        assert servers.asked() == {**asked, "judge": asked["judge"] + len(FAULTY)}


def _check_record(
    says_what: str, row: dict[str, Any] | None, good: dict[str, Any], kind: FailureKind
) -> None:
    if says_what == "pending":
        assert row is None
        return
    assert row is not None
    score = row["scores"]["synergy"]
    if says_what == "scored":
        assert row == good
    elif says_what == "unscored":
        assert score["value"] is None
        assert "no usable verdict of tester: " in score["explanation"]
        assert row["error"] is None
        assert row["parts"] == good["parts"], "the response is kept, to be judged again"
    else:
        assert score["value"] == 0
        assert row["error"]["kind"] == kind
        assert row["error"]["message"]
        assert row["parts"] == []


def _check_summary(says_what: str, code: int, role: Role, broken: Result) -> None:
    """What the user sees of it: the numbers on stdout, the reason on stderr."""
    who = "judge synergy_rubric" if role == "judge" else "--model openai/tester@"
    if code == 2:  # no result: the message says whose server and what to mend
        assert broken.out == ""
        assert who in broken.err
        return
    metric = broken.json["tasks"]["mine/demo"]["metrics"]["synergy"]
    counted = {"scored": (6, 0, 0), "pending": (4, 0, 0), "unscored": (6, 0, 2), "floor": (6, 2, 0)}
    assert (metric["n"], metric["failed"], metric["unscored"]) == counted[says_what]
    if says_what == "pending":
        assert f"2 samples are pending: {who}" in broken.err
    if says_what == "unscored":
        assert metric["value"] is None
        assert "INVALID: 2 of 6 samples are unscored" in broken.err
    if says_what == "floor":
        assert metric["value"] == pytest.approx(0.7 * 4 / 6)
        assert "the model failed 2 of 6 samples" in broken.err


def test_the_docs_show_this_table() -> None:
    page = (ROOT / "docs" / "judging.md").read_text("utf-8")
    section = page.partition("\n## Servers\n")[2].partition("\n## ")[0]
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in section.splitlines()]
    shown = [row for row in rows if len(row) == 5 and row[2].isdigit()]
    assert shown == [_row(name, fault) for name, fault in FAULTS.items()]


def _row(name: str, fault: Fault) -> list[str]:
    """A fault as the docs show it."""
    cells = [str(cell) for effect in (fault.judge, fault.model or NONE) for cell in effect]
    return [name, *(f"floor, `{fault.kind}`" if cell == "floor" else cell for cell in cells)]


@pytest.mark.parametrize("role", ["judge", "model"])
def test_one_failure_in_many_is_counted_and_borne(
    role: Role, servers: Servers, cli: Cli, tmp_path: Path
) -> None:
    """1 of 60: less than the 2 % that a judge, and the 10 % that a model, may fail."""
    shutil.rmtree(tmp_path / "mine")
    _make_task(tmp_path, [f"s{i}" for i in range(60)])
    servers.fault, servers.faulty = (role, FAULTS["400"]), ("s59",)
    done = cli(*COMMAND, *servers.arguments, "--out", "run")
    assert done.code == 0, done.err
    metric = done.json["tasks"]["mine/demo"]["metrics"]["synergy"]
    if role == "judge":
        assert (metric["n"], metric["failed"], metric["unscored"]) == (60, 0, 1)
        assert metric["value"] == pytest.approx(0.7)
    else:
        assert (metric["n"], metric["failed"], metric["unscored"]) == (60, 1, 0)
        assert metric["value"] == pytest.approx(0.7 * 59 / 60)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["judge", "model"])
def test_a_server_that_is_down_is_given_up_and_the_run_finished_later(
    role: Role, servers: Servers, cli: Cli, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "mine")
    ids = tuple(f"s{i}" for i in range(200))
    _make_task(tmp_path, list(ids))
    servers.fault, servers.faulty = (role, FAULTS["500"]), ids
    command = [*COMMAND, *servers.arguments, "--out", "run"]
    down = cli(*command)
    assert down.code == 4
    assert "the server answered 500" in down.err
    assert "4 times" in down.err
    assert servers.asked()[role] < 4 * len(ids), "the rest is not tried"
    assert _records(tmp_path / "run") == {}
    servers.fault = None
    done = cli(*command)
    assert done.code == 0, done.err
    assert done.json["tasks"]["mine/demo"]["metrics"]["synergy"]["n"] == len(ids)


def test_an_answer_that_the_judges_server_always_fails_is_kept_unscored(
    servers: Servers, cli: Cli, tmp_path: Path
) -> None:
    servers.fault, servers.faulty = ("judge", FAULTS["500"]), ("s5",)
    done = cli(*COMMAND, *servers.arguments, "--out", "run", "--skip-failing")
    assert done.code == 1, done.err
    assert "INVALID: 1 of 6 samples are unscored" in done.err
    metric = done.json["tasks"]["mine/demo"]["metrics"]["synergy"]
    assert (metric["n"], metric["unscored"], metric["skipped"]) == (6, 1, 0)
    record = _records(tmp_path / "run")["s5"]
    assert record["error"] is None
    assert record["parts"]
    assert record["scores"]["synergy"]["value"] is None
    assert "the server answered 500" in record["scores"]["synergy"]["explanation"]
    (reason,) = done.json["reasons"]
    assert (reason["outcome"], reason["judge"], reason["count"]) == ("unscored", "synergy_rubric", 1)


def test_canaries_that_a_server_failed_to_judge_are_pending_too(
    servers: Servers, unbroken: Mapping[str, Any], cli: Cli, tmp_path: Path
) -> None:
    servers.fault, servers.faulty = ("judge", FAULTS["500"]), (None,)
    command = [*COMMAND, *servers.arguments, "--out", "run"]
    broken = cli(*command)
    assert broken.code == 4
    assert f"{CANARIES} canaries are pending" in broken.err
    assert "samples are pending" not in broken.err
    assert broken.json["pending"] == 0
    assert _records(tmp_path / "run") == unbroken["records"]
    servers.fault = None
    asked = servers.asked()
    assert cli(*command).code == 0
    assert servers.asked() == {**asked, "judge": asked["judge"] + CANARIES}
    assert _state(tmp_path / "run") == unbroken


@pytest.mark.slow
@pytest.mark.parametrize("role", ["judge", "model"])
@pytest.mark.parametrize("echo", list(ECHOES))
def test_the_key_is_in_no_file_and_no_message(
    echo: str,
    role: Role,
    servers: Servers,
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Records, run.json, results, page, cache, stdout and stderr: also if the server repeats the key."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    servers.fault = (role, Fault(always(ECHOES[echo]), UNSCORED))
    command = [*COMMAND, *servers.arguments, "--out", "run"]
    first = cli(*command)
    assert first.code in (1, 2, 4), "the fault is met"
    servers.fault = None
    second = cli(*command)
    assert set(servers.of[role].keys) == {f"Bearer {SECRET}"}, "the key is used"
    for done in (first, second):
        assert SECRET not in done.out + done.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"records.jsonl", "run.json", "results.json", "verdicts.sqlite"} <= {p.name for p in files}
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
