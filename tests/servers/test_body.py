"""Fields of a request that users rename, leave out or add: for models, agents and judges."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

import eval_anything as ea
from eval_anything.errors import UserError
from eval_anything.models.openai.model import ChatModel
from eval_anything.models.openai.settings import read_settings, sent_fields
from eval_anything.servers.body import BodyChanges
from tests.support.helpers import Cli, answers, make_task, mp4, png, text_sample, wav, write_jsonl
from tests.support.judge_server import GOOD, Asked, judge_server, talk_task
from tests.support.paths import ROOT
from tests.support.scripted_server import Reply, completion, fails, raw, says, serve
from tests.support.shapes_server import answer, b64, binary, choice, respond, serve_shapes
from tests.support.shapes_server import completion as shape

SPEC = "openai/tester@http://127.0.0.1:9/v1"
RENAME = ("--model-arg", "body.rename=max_tokens:max_completion_tokens")
DROP = ("--model-arg", "body.drop=temperature,seed")
ADD = ("--model-arg", 'body.add={"reasoning_effort": "low", "extra": {"deep": [1, null, true]}}')


@pytest.fixture
def task(tmp_path: Path) -> list[str]:
    """The options that run a task of one's own."""
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(3)])
    return ["--tasks", "mine/demo", "--include", "mine", "--out", "r", "--json"]


def test_fields_are_renamed_left_out_and_added(cli: Cli, tmp_path: Path, task: list[str]) -> None:
    with serve(lambda number, body: says("fine")) as server:
        done = cli("run", "--model", server.spec(), *task, *RENAME, *DROP, *ADD)
    assert done.code == 0, done.err
    for body in server.bodies:
        assert body.keys() == {"model", "messages", "max_completion_tokens", "reasoning_effort", "extra"}
        assert body["max_completion_tokens"] == 1024
        assert body["extra"] == {"deep": [1, None, True]}
    file = json.loads((tmp_path / "r" / "run.json").read_bytes())
    assert file["arguments"]["body.rename"] == {"max_tokens": "max_completion_tokens"}
    assert file["arguments"]["body.drop"] == ["seed", "temperature"]
    assert file["arguments"]["body.add"]["extra"] == {"deep": [1, None, True]}


def test_a_resumed_run_must_repeat_them(cli: Cli, tmp_path: Path, task: list[str]) -> None:
    with serve(lambda number, body: says("fine")) as server:
        command = ["run", "--model", server.spec(), *task]
        assert cli(*command, *RENAME, *DROP, *ADD).code == 0
        again = cli(*command, *RENAME, "--model-arg", "body.drop=seed,temperature", *ADD)
        assert again.code == 0, again.err
        for other, words in (
            ([], "body.add"),
            ([*RENAME, *DROP], "body.add"),
            ([*RENAME, *ADD], "body.drop ['seed', 'temperature'] -> none. Choose"),
        ):
            refused = cli(*command, *other)
            assert refused.code == 2
            assert words in refused.err
        assert len(server.bodies) == 3


GOOD_CHAT = answer(shape(choice({"content": "hi"})))
JOB = answer({"id": "v", "status": "completed"})
TEXT = {"type": "message", "content": [{"type": "text", "text": "hi"}]}
ENDPOINTS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "chat": ({"modalities": "text,audio"}, {"POST /chat/completions": GOOD_CHAT}),
    "responses": (
        {"api": "responses", "tools": "image_generation"},
        {"POST /responses": answer({"output": [TEXT]})},
    ),
    "images": (
        {"api": "images", "image_size": "64x64"},
        {"POST /images/generations": answer({"data": [{"b64_json": b64(png())}]})},
    ),
    "speech": ({"api": "speech"}, {"POST /audio/speech": binary(wav())}),
    "videos": (
        {"api": "videos", "seconds": "4", "video_size": "64x64"},
        {"POST /videos": JOB, "GET /videos/v/content": binary(mp4())},
    ),
}  # fmt: skip


def fields_of(asked: Any) -> dict[str, Any]:
    """The fields of a request, of a form, too."""
    if asked.headers["content-type"].startswith("application/json"):
        return dict(asked.body)
    return {name: None for name in ("model", "prompt", "size", "seconds", "length", "quality")
            if f'name="{name}"'.encode() in asked.raw}  # fmt: skip


@pytest.mark.parametrize("name", list(ENDPOINTS))
def test_every_endpoint(name: str, tmp_path: Path) -> None:
    arguments, routes = ENDPOINTS[name]
    with serve_shapes(routes) as server:
        assert respond(server, tmp_path, **arguments).error is None
        plain = fields_of(server.asked.pop(0))
        server.asked.clear()
        changeable = [f for f in plain if f not in ("model", "messages", "input", "prompt")]
        drop, rename = changeable[0], changeable[-1]
        changes = {
            "body.drop": drop,
            "body.rename": f"{rename}:length",
            "body.add": '{"quality": "high"}',
        }
        if drop == rename:
            del changes["body.drop"]
        assert respond(server, tmp_path, **arguments, **changes).error is None
        changed = fields_of(server.asked[0])
    assert changed.keys() == plain.keys() - {drop, rename} | {"length", "quality"}


@pytest.mark.parametrize("name", [*ENDPOINTS, "stream"])
def test_all_fields_that_are_sent_can_be_changed(name: str, tmp_path: Path) -> None:
    arguments, routes = ENDPOINTS.get(name, ({"stream": "true"}, ENDPOINTS["chat"][1]))
    with serve_shapes(routes) as server:
        respond(server, tmp_path, **arguments)
        sent = fields_of(server.asked[0])
    assert sent.keys() <= set(sent_fields(read_settings(arguments)[0]))


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("body.add={", "no JSON"),
        ("body.add=low", "no JSON"),
        ("body.add={'a': 1}", "no JSON"),
        ("body.add=", "no JSON"),
        ("body.add=[1]", "must be an object of JSON"),
        ("body.add=7", "must be an object of JSON"),
        ('body.add={"a": NaN}', "no JSON"),
        ('body.add={"a": 1, "a": 2}', "a key is there twice"),
        ('body.add={"a": "\\ud800"}', "no JSON"),
        ("body.add=" + "[" * 100_000, "nested too deeply"),
        ('body.add={"": 1}', "a field without a name"),
        ('body.add={"messages": []}', "messages cannot be added: it is the request itself"),
        ('body.add={"model": "other"}', "model cannot be added: the SPEC names the model"),
        ('body.add={"stream": true}', "stream=true"),
        ('body.add={"n": 2}', "--repeats"),
        ("body.drop=model", "model cannot be changed"),
        ("body.drop=messages", "messages cannot be changed"),
        ("body.drop=", "must be names"),
        ("body.drop=seed,,temperature", "must be names"),
        ("body.drop=seed,seed", "seed is named twice"),
        ("body.drop=sed", "sed is not sent. Did you mean seed"),
        ("body.drop=voice", "voice is not sent"),
        ("body.rename=max_token:a", "max_token is not sent. Did you mean max_tokens"),
        ("body.rename=max_tokens", "must be OLD:NEW"),
        ("body.rename=:a", "must be OLD:NEW"),
        ("body.rename=seed:seed", "must be OLD:NEW"),
        ("body.rename=seed:a:b", "must be OLD:NEW"),
        ("body.rename=seed:a,seed:b", "seed is named twice"),
        ("body.rename=seed:a,temperature:a", "two fields a"),
        ("body.rename=seed:temperature", "two fields temperature"),
        ("body.rename=seed:model", "two fields model"),
        ("body.rename=messages:input", "messages cannot be changed"),
        ("body.header=a", "there is none"),
        ("body.drp=seed", "Did you mean body.drop"),
        ("body=seed", "there is none"),
    ],
)
def test_what_makes_no_sense_is_refused(argument: str, words: str) -> None:
    name, _, text = argument.partition("=")
    with pytest.raises(UserError) as error:
        ChatModel.from_spec(SPEC, "", {name: text})
    assert words in str(error.value)
    assert f"--model-arg {name}" in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"body.drop": "seed", "body.rename": "seed:a"},
        {"body.drop": "seed", "body.add": '{"seed": 1}'},
        {"body.rename": "seed:a", "body.add": '{"a": 1}'},
        {"body.rename": "seed:a", "body.add": '{"seed": 1}'},
    ],
)
def test_changes_that_contradict_each_other(arguments: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"named twice|name it once"):
        ChatModel.from_spec(SPEC, "", arguments)


def test_a_change_that_is_given_twice(cli: Cli, task: list[str]) -> None:
    more = ["--model-arg", "body.drop=seed", "--model-arg", "body.drop=temperature"]
    result = cli("run", "--model", SPEC, *task, *more)
    assert result.code == 2
    assert "body.drop is given twice" in result.err


def test_a_field_that_is_sent_anyway_gets_another_value(tmp_path: Path) -> None:
    with serve_shapes(ENDPOINTS["chat"][1]) as server:
        respond(server, tmp_path, **{"body.add": '{"temperature": 1}'})
    assert server.asked[0].body["temperature"] == 1


def test_a_file_of_options_and_python_take_values_of_any_type(tmp_path: Path, cli: Cli) -> None:
    make_task(tmp_path)
    with serve(lambda number, body: says("fine")) as server:
        (tmp_path / "run.yaml").write_text(
            f"model: {server.spec()}\ntasks: [mine/demo]\ninclude: [mine]\nout: a\n"
            "model_args:\n  max_tokens: 9\n  body.drop: [seed]\n  body.add: {top: {p: 1}}\n"
        )
        done = cli("run", "--config", "run.yaml")
        assert done.code == 0, done.err
        arguments = {"max_tokens": 9, "body.drop": ["seed"], "body.add": {"top": {"p": 1}}}
        ea.evaluate(
            server.spec(),
            tasks="mine/demo",
            include=[tmp_path / "mine"],
            out="b",
            model_args=arguments,
            progress=False,
        )
    assert len(server.bodies) == 8
    for body in server.bodies:
        assert "seed" not in body
        assert (body["max_tokens"], body["top"]) == (9, {"p": 1})


# --- servers that refuse a field -----------------------------------------------------------------


def reasoning(number: int, body: dict[str, Any]) -> Reply:
    """A server of a reasoning model."""
    for name, instead in (("max_tokens", " Use 'max_completion_tokens' instead."), ("seed", "")):
        if name in body:
            return refusal(
                f"Unsupported parameter: '{name}' is not supported with this model.{instead}", name
            )
    if body.get("temperature") == 0:
        return refusal(
            "Unsupported value: 'temperature' does not support 0 with this model.", "temperature"
        )
    return says("fine")  # fmt: skip


def refusal(message: str, param: str | None, status: int = 400) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return raw(json.dumps({"error": error}).encode(), status=status)


def option_in(message: str) -> list[str]:
    """The words of the option that an error ends with, as a shell reads them."""
    return shlex.split(message.strip().rpartition(": use ")[2])


def test_the_error_names_the_option_until_all_is_well(cli: Cli, tmp_path: Path, task: list[str]) -> None:
    options: list[str] = []
    with serve(reasoning) as server:
        for _ in range(3):
            stopped = cli("run", "--model", server.spec(), *task, *options)
            assert stopped.code == 2
            assert "Unsupported" in stopped.err, "the server's own words"
            flag, word = option_in(stopped.err)
            options = _replaced(options, flag, word)
            assert not list((tmp_path / "r").rglob("records.jsonl")), "nothing is recorded"
        done = cli("run", "--model", server.spec(), *task, *options)
    assert done.code == 0, done.err
    assert options == [
        *("--model-arg", "body.rename=max_tokens:max_completion_tokens"),
        *("--model-arg", "body.drop=seed,temperature"),
    ]


def _replaced(options: list[str], flag: str, word: str) -> list[str]:
    """The options with this one, in place of an earlier value of it."""
    pairs = [(f, w) for f, w in zip(options[::2], options[1::2], strict=False)
             if w.partition("=")[0] != word.partition("=")[0]]  # fmt: skip
    return [text for pair in [*pairs, (flag, word)] for text in pair]


def test_a_refusal_in_a_reply_of_status_200(cli: Cli, task: list[str]) -> None:
    error = {"message": "Unrecognized request argument supplied: seed", "code": 400}
    with serve(lambda number, body: raw(json.dumps({"error": error}).encode())) as server:
        stopped = cli("run", "--model", server.spec(), *task)
    assert stopped.code == 2
    assert option_in(stopped.err) == ["--model-arg", "body.drop=seed"]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("name", ["responses", "images", "speech", "videos"])
def test_the_option_of_every_endpoint(name: str, status: int, tmp_path: Path) -> None:
    arguments, routes = ENDPOINTS[name]
    path = next(iter(routes))
    field = {"responses": "store", "images": "size", "speech": "voice", "videos": "seconds"}[name]
    error = {"detail": [{"type": "extra_forbidden", "loc": ["body", field], "msg": "Extra inputs"}]}
    with (
        serve_shapes({path: answer(error, status)}) as server,
        pytest.raises(UserError, match=rf"use --model-arg body\.drop={field}$"),
    ):
        respond(server, tmp_path, **arguments)


def test_a_refusal_of_one_sample_is_not_about_a_field(cli: Cli, task: list[str]) -> None:
    words = (
        "This model's maximum context length is 2048 tokens and your request has 1500 input tokens "
        "('max_tokens' is too large: 1024)"
    )
    with serve(lambda number, body: fails(400, words) if number == 2 else says("fine")) as server:
        done = cli("run", "--model", server.spec(), *task)
    assert done.code == 1
    assert done.json["tasks"]["mine/demo"]["failed"] == 1


def test_a_generator_of_an_agent_is_named_with_its_file(tmp_path: Path, cli: Cli) -> None:
    make_task(tmp_path, samples=[text_sample("s0")])
    plan = {"role": "assistant", "tool_calls": [
        {"id": "1", "type": "function",
         "function": {"name": "make_image", "arguments": '{"prompt": "a red circle"}'}}]}  # fmt: skip

    def script(number: int, body: dict[str, Any]) -> Reply:
        if "prompt" in body:
            return refusal("Unknown parameter: 'n'.", "n")
        assert "seed" not in body
        return raw(completion(plan))

    with serve(script) as server:
        (tmp_path / "agent.yaml").write_text(
            f"model: {server.spec()}\narguments: {{body.drop: seed}}\n"
            f"generators: {{image: {{model: {server.spec('painter')}, arguments: {{api: images}}}}}}\n"
        )
        stopped = cli("run", "--model", "agent.yaml", "--tasks", "mine/demo", "--include", "mine")
    assert stopped.code == 2
    assert "agent.yaml: generators.image.arguments: {body.drop: 'n'}" in stopped.err


# --- judges --------------------------------------------------------------------------------------


@pytest.fixture
def judged(tmp_path: Path) -> list[str]:
    """A command that has answers judged."""
    make_task(tmp_path, samples=[text_sample(f"s{i}", f"Q{i}?") for i in range(3)], yaml=talk_task())
    write_jsonl(tmp_path / "out.jsonl", answers(["s0", "s1", "s2"]))
    return ["score", "--outputs", "out.jsonl", "--tasks", "mine/demo", "--include", "mine", "--json"]


def strict(asked: Asked) -> tuple[int, str]:
    """A judge that takes no temperature, and gives canaries nothing."""
    if "temperature" in asked.body:
        return 400, "Unsupported value: 'temperature' does not support 0.0 with this model."
    return 200, GOOD if "Paris" in str(asked.answer) else GOOD.replace("7", "0")


def test_a_judge_that_takes_no_temperature(cli: Cli, tmp_path: Path, judged: list[str]) -> None:
    with judge_server() as server:
        server.reply = strict
        command = [*judged, "--judge", server.spec, "--out", "a"]
        stopped = cli(*command)
        assert stopped.code == 2, stopped.err
        option = option_in(stopped.err)
        assert option == ["--judge-arg", "synergy_rubric:body.drop=temperature"]
        done = cli(*command, *option)
        assert done.code == 0, done.err
        assert done.json["tasks"]["mine/demo"]["metrics"]["synergy"]["value"] == pytest.approx(0.7)
        file = json.loads((tmp_path / "a" / "run.json").read_bytes())
        assert file["judge_arguments"] == {"synergy_rubric": {"body.drop": ["temperature"]}}
        refused = cli(*command)
        assert refused.code == 2
        assert "--judge-arg synergy_rubric:body.drop" in refused.err
        assert cli(*command, "--judge-arg", "body.drop=temperature").code == 0, "the same for all judges"


def test_a_verdict_that_was_asked_with_other_parameters_is_another(
    cli: Cli, tmp_path: Path, judged: list[str]
) -> None:
    efforts: list[Any] = []

    def reply(asked: Asked) -> tuple[int, str]:
        efforts.append(asked.body.get("reasoning_effort"))
        return strict(asked)

    with judge_server() as server:
        server.reply = reply
        command = [*judged, "--judge", server.spec, "--judge-arg", "body.drop=temperature"]
        low = ["--judge-arg", 'body.add={"reasoning_effort": "low"}']
        high = ["--judge-arg", 'body.add={"reasoning_effort": "high"}']
        first = cli(*command, *low, "--out", "a")
        asked = len(server.asked)
        cli(*command, *low, "--out", "b")
        assert len(server.asked) == asked, "kept"
        second = cli(*command, *high, "--out", "c")
        assert len(server.asked) == 2 * asked
    assert set(efforts) == {"low", "high"}
    fingerprints = {r.json["judges"]["synergy_rubric"]["fingerprint"] for r in (first, second)}
    assert len(fingerprints) == 2


def own_judge(root: Path, body: str) -> Path:
    """A copy of a bundled judge, with `body:` in its file."""
    folder = root / "mine" / "strict_rubric"
    shutil.copytree(ROOT / "judges" / "synergy_rubric", folder)
    file = folder / "judge.yaml"
    file.write_text(file.read_text() + body)
    return folder


def test_the_file_of_a_judge_has_them_and_the_command_line_replaces_them(
    cli: Cli, tmp_path: Path, judged: list[str]
) -> None:
    folder = own_judge(tmp_path, "body: {drop: [temperature], add: {effort: low, deep: {a: [1]}}}\n")
    assert cli("judges", "validate", folder).code == 0
    task = tmp_path / "mine" / "demo" / "task.yaml"
    task.write_text(talk_task("strict_rubric"))
    with judge_server() as server:
        server.reply = strict
        command = [*judged, "--judge", server.spec]
        assert cli(*command, "--out", "a").code == 0
        first = server.asked[0].body
        server.asked.clear()
        assert cli(*command, "--judge-arg", 'body.add={"effort": "high"}', "--out", "b").code == 0
        second = server.asked[0].body
    assert (first["effort"], first["deep"]) == ("low", {"a": [1]})
    assert second["effort"] == "high"
    assert "deep" not in second
    assert "temperature" not in second


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("body: {drop: [seed]}\n", "body.drop: seed is not sent"),
        ("body: {rename: {messages: input}}\n", "body.rename: messages cannot be changed"),
        ("body: {add: {model: other}}\n", "body.add: model cannot be added"),
        ("body: {remove: [temperature]}\n", "unknown key 'remove'"),
        ("body: [temperature]\n", "expected"),
    ],
)
def test_mistakes_in_the_file_of_a_judge(cli: Cli, tmp_path: Path, body: str, words: str) -> None:
    result = cli("judges", "validate", own_judge(tmp_path, body))
    assert result.code == 2
    assert words in result.err
    assert "judge.yaml:" in result.err


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("body.drop=seed", "--judge-arg synergy_rubric body.drop: seed is not sent"),
        ("synergy_rubrik:body.drop=temperature", "Did you mean synergy_rubric"),
        ("validity:body.drop=temperature", "names no model for this judge"),
        ("timeout=9", "a judge takes body.rename, body.drop, body.add"),
        (":body.drop=temperature", "must be KEY=VALUE or NAME:KEY=VALUE"),
        ("synergy_rubric:=temperature", "must be KEY=VALUE or NAME:KEY=VALUE"),
        ("body.drop", "must be NAME=VALUE"),
    ],
)
def test_wrong_arguments_of_judges(cli: Cli, judged: list[str], argument: str, words: str) -> None:
    result = cli(*judged, "--judge", "openai/judge@http://127.0.0.1:9/v1", "--judge-arg", argument)
    assert result.code == 2
    assert words in result.err


def test_a_calibration_takes_them(cli: Cli, tmp_path: Path) -> None:
    rows = [
        {**text_sample(f"r{i}"), "parts": [{"modality": "text", "text": f"Paris {i}"}], "label": i % 3}
        for i in range(4)
    ]
    write_jsonl(tmp_path / "l.jsonl", rows)
    with judge_server() as server:
        server.reply = strict
        command = ["judges", "calibrate", "synergy_rubric", "--labels", "l.jsonl", "--again", "0"]
        command += ["--judge", f"synergy_rubric={server.spec}"]
        stopped = cli(*command)
        assert stopped.code == 2
        option = option_in(stopped.err)
        done = cli(*command, *option)
        assert done.code == 0, done.err
        other = cli(*command, "--judge-arg", "mine:body.drop=temperature")
    assert "the judge that is calibrated is synergy_rubric" in other.err


def test_python_takes_them_too(tmp_path: Path, judged: list[str], cli: Cli) -> None:
    with judge_server() as server:
        server.reply = strict
        run = ea.evaluate(
            f"replay/{tmp_path / 'out.jsonl'}",
            tasks="mine/demo",
            include=[tmp_path / "mine"],
            out=tmp_path / "a",
            judge=server.spec,
            judge_args={"body.drop": ["temperature"], "synergy_rubric:body.add": {"effort": "low"}},
            progress=False,
        )
    assert run.results.tasks["mine/demo"].main.value == pytest.approx(0.7)
    assert {asked.body["effort"] for asked in server.asked} == {"low"}


def test_changes_do_nothing_to_fields_that_are_not_there() -> None:
    changes = BodyChanges({"stop": "stop_sequences"}, ["seed"], {})
    assert changes.applied({"model": "m"}) == {"model": "m"}
    assert changes.applied({"stop": ["x"]}) == {"stop_sequences": ["x"]}
    assert not BodyChanges()
