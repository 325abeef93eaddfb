"""A real LiteLLM proxy between `eval-anything` and servers: what it passes on, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.engines.conftest import Served
from tests.support.faults import good
from tests.support.helpers import Cli, Result, answers, make_task, text_sample, write_jsonl
from tests.support.judge_server import talk_task
from tests.support.lanes import full, only_in
from tests.support.litellm_proxy import Proxy
from tests.support.scripted_server import Reply, ScriptedServer, says, serve, streams

pytestmark = [pytest.mark.slow, pytest.mark.engines, pytest.mark.timeout(100, func_only=True)]

in_full = only_in("engines")
IDS = [f"s{i}" for i in range(6)]


@pytest.fixture(autouse=True)
def key(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that the proxy takes."""
    monkeypatch.setenv("OPENAI_API_KEY", proxy.key)


@pytest.fixture(autouse=True)
def task(tmp_path: Path) -> None:
    """A task of six questions in words, scored without a judge model."""
    _make_task(tmp_path, talk_task("selection_contract", "selection"))


def _make_task(root: Path, yaml: str, name: str = "mine/demo") -> None:
    make_task(root, name, [text_sample(i, f"Question {i}?") for i in IDS], yaml)


def _run(cli: Cli, spec: str, *more: str, out: str = "run", task: str = "mine/demo") -> Result:
    command = ["run", "--tasks", task, "--include", "mine", "--json", "--out", out]
    return cli(*command, "--model", spec, "--model-arg", "max_tokens=16", *more)


def _rows(run: Path, task: str = "mine/demo") -> dict[str, dict[str, Any]]:
    """The records by their sample; none if the run has not begun one."""
    path = run / task / "records.jsonl"
    rows = map(json.loads, path.read_bytes().splitlines() if path.exists() else [])
    return {row["sample_id"]: row for row in rows}


def _texts(run: Path) -> dict[str, str]:
    rows = _rows(run)
    assert sorted(rows) == IDS
    for row in rows.values():
        assert row["error"] is None, row
        assert row["usage"]["input"] > 0
        assert row["usage"]["output"] > 0
    return {id_: row["parts"][0]["text"] for id_, row in rows.items()}


def _body(status: int, **error: Any) -> Reply:
    """An error object in the form of OpenAI's servers."""
    data = json.dumps({"error": {"message": "no", "type": "invalid_request_error", **error}}).encode()
    return lambda handler: handler.send(status, data)


def test_answers_are_those_of_the_server_behind(
    proxy: Proxy, served: Served, cli: Cli, tmp_path: Path
) -> None:
    for out, spec, stream in (
        ("whole", proxy.spec("tiny"), "false"),
        ("streamed", proxy.spec("tiny"), "true"),
        ("direct", served.spec(served.text), "false"),
    ):
        done = _run(cli, spec, "--model-arg", f"stream={stream}", out=out)
        assert done.code == 0, done.err
    texts = _texts(tmp_path / "direct")
    assert len(set(texts.values())) > 1
    assert _texts(tmp_path / "whole") == texts
    assert _texts(tmp_path / "streamed") == texts
    direct, whole, streamed = (_rows(tmp_path / out)["s0"] for out in ("direct", "whole", "streamed"))
    assert whole["usage"] == streamed["usage"] == direct["usage"]
    assert 0 < streamed["latency"]["first_text"] <= streamed["latency"]["total"]


def test_a_judge_behind_the_proxy(
    proxy: Proxy, backend: ScriptedServer, cli: Cli, tmp_path: Path
) -> None:
    _make_task(tmp_path, talk_task(), "mine/judged")
    backend.script = lambda number, body: good(body)
    first = len(backend.bodies)
    write_jsonl(tmp_path / "out.jsonl", [answers([i], f"The answer to {i}.")[0] for i in IDS])
    done = cli(
        *["score", "--outputs", "out.jsonl", "--tasks", "mine/judged", "--include", "mine", "--json"],
        *["--judge", f"synergy_rubric={proxy.spec('scripted')}", "--out", "run"],
    )
    assert done.code == 0, done.err
    metric = done.json["tasks"]["mine/judged"]["metrics"]["synergy"]
    assert (metric["value"], metric["n"], metric["unscored"]) == (pytest.approx(0.7), len(IDS), 0)
    for row in _rows(tmp_path / "run", "mine/judged").values():
        assert row["scores"]["synergy"]["details"]["usage"] == {"input": 11, "output": 7}
    for body in backend.bodies[first:]:
        assert "response_format" in body, "structured output is passed on"
    assert set(backend.keys[first:]) == {"Bearer sk-of-the-proxy-alone"}


REFUSED = {
    "no key": ("", "scripted", "No connected db."),  # that is, none which has other keys than its own
    "another key": ("sk-of-somebody-else-01234", "scripted", "No connected db."),
    "another model": (None, "no-such-model", "Invalid model name passed in model=no-such-model"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_the_proxy_refuses_to_everybody_stops_the_run(
    name: str,
    proxy: Proxy,
    backend: ScriptedServer,
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, model, words = REFUSED[name]
    if key is not None:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    backend.script = lambda number, body: says("Paris")
    asked = len(backend.bodies)
    done = _run(cli, proxy.spec(model))
    assert done.code == 2, done.err
    assert words in done.err
    assert ("OPENAI_API_KEY" in done.err) == (key is not None)
    assert _rows(tmp_path / "run") == {}
    assert len(backend.bodies) == asked
    if key is not None:
        assert not key or key not in done.err
        monkeypatch.setenv("OPENAI_API_KEY", proxy.key)
        assert _run(cli, proxy.spec(model)).code == 0, "the same command, with the right key"
        assert sorted(_rows(tmp_path / "run")) == IDS


def test_a_refusal_of_one_request_is_of_its_sample(
    proxy: Proxy, backend: ScriptedServer, cli: Cli, tmp_path: Path
) -> None:
    flagged = _body(400, message="The prompt was flagged.", code="content_policy_violation")
    backend.script = lambda number, body: flagged if "Question s3?" in str(body) else says("Paris")
    done = _run(cli, proxy.spec("flagging"))
    assert done.code == 1, f"one of six samples failed, which is more than 10 %: {done.err}"
    rows = _rows(tmp_path / "run")
    assert sorted(rows) == IDS
    assert [id_ for id_, row in rows.items() if row["error"]] == ["s3"]
    assert rows["s3"]["error"]["kind"] == "refusal"
    assert "The prompt was flagged." in rows["s3"]["error"]["message"]


STRICT = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'"
)
OPTIONS = {
    "strict": "body.rename=max_tokens:max_completion_tokens",
    "reasoning": "body.drop=temperature",
}


@pytest.mark.parametrize("model", list(OPTIONS))
def test_a_parameter_that_a_model_does_not_take_stops_the_run(
    model: str, proxy: Proxy, backend: ScriptedServer, cli: Cli, tmp_path: Path
) -> None:
    """`strict` is refused by the server behind; temperature 0 for `reasoning` by the proxy itself."""
    refused = _body(400, message=f"{STRICT} instead.", param="max_tokens", code="unsupported_parameter")
    backend.script = lambda number, body: refused if "max_tokens" in body else says("Paris")
    done = _run(cli, proxy.spec(model))
    assert done.code == 2, done.err
    assert f"--model-arg {OPTIONS[model]}" in done.err, "the option that helps"
    assert _rows(tmp_path / "run") == {}
    helped = _run(cli, proxy.spec(model), "--model-arg", OPTIONS[model], out="helped")
    assert helped.code == 0, helped.err
    assert sorted(_rows(tmp_path / "helped")) == IDS


def test_a_parameter_that_the_proxy_drops(
    proxy: Proxy, backend: ScriptedServer, cli: Cli, tmp_path: Path
) -> None:
    first = len(backend.bodies)
    backend.script = lambda number, body: says("Paris")
    assert _run(cli, proxy.spec("dropping")).code == 0
    assert sorted(_rows(tmp_path / "run")) == IDS
    for body in backend.bodies[first:]:
        assert "seed" not in body
        assert (body["temperature"], body["max_tokens"]) == (0, 16)


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("model", ["down", "down-streamed"] if full("engines") else ["down"])
def test_a_server_that_is_down_leaves_samples_pending(
    model: str, proxy: Proxy, cli: Cli, tmp_path: Path
) -> None:
    streamed = model == "down-streamed"
    command = (proxy.spec(model), "--model-arg", f"stream={str(streamed).lower()}")
    done = _run(cli, *command)
    assert done.code == 4, [row["error"] for row in _rows(tmp_path / "run").values()]
    assert "6 samples are pending" in done.err
    assert _rows(tmp_path / "run") == {}
    answer = streams("Paris") if streamed else says("Paris")
    with serve(lambda number, body: answer, proxy.down[model]):
        again = _run(cli, *command)
        assert again.code == 0, f"the same command, with the server up again: {again.err}"
    assert sorted(_rows(tmp_path / "run")) == IDS


@in_full
def test_more_requests_than_the_proxy_takes_in_a_minute(
    proxy: Proxy, backend: ScriptedServer, cli: Cli, tmp_path: Path
) -> None:
    """Six are asked at once of a model with four a minute: two wait until the next one begins."""
    backend.script = lambda number, body: says("Paris")
    refused = proxy.answered(429)
    done = _run(cli, proxy.spec("limited"))
    assert done.code == 0, done.err
    assert sorted(_rows(tmp_path / "run")) == IDS
    assert proxy.answered(429) - refused <= 16, "a minute, in pauses that grow"


@in_full
def test_a_budget_that_is_spent_stops_the_run(
    proxy: Proxy, backend: ScriptedServer, cli: Cli, tmp_path: Path
) -> None:
    """18 tokens cost 0.036 of a budget of 0.05 a day: the third answer is refused with 429."""
    backend.script = lambda number, body: says("Paris")
    done = _run(cli, proxy.spec("spent"), "--concurrency", "1")
    assert done.code == 2, done.err
    assert "budget" in done.err.lower()
    rows = _rows(tmp_path / "run")
    assert 0 < len(rows) < len(IDS)
    assert all(row["error"] is None for row in rows.values())
