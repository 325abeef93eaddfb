"""Agents: their files, and runs with them from end to end."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from eval_anything.errors import UserError
from eval_anything.models.agent.grammar import render
from eval_anything.models.agent.plan import Plan
from tests.support.agent_server import plan, planner
from tests.support.agents import DRAWN, agent, need_espeak, replayed, write_agent
from tests.support.helpers import Cli, make_task, png, text_sample
from tests.support.paths import ROOT
from tests.support.scripted_server import fails, raw, serve

MISTAKES = {
    "unknown key": (
        "model: X\nsistem: hi\ngenerators: {image: {kind: drawn}}",
        [":2:", "'sistem'", "Did you mean system"],
    ),
    "unknown setting": (
        "model: X\ngenerators:\n  image:\n    kind: drawn\n    sise: 64\n",
        [":5:", "'sise'", "Did you mean size"],
    ),
    "unknown kind": ("model: X\ngenerators:\n  image:\n    kind: comand\n", [":4:", "mean command"]),
    "unknown medium": ("model: X\ngenerators:\n  imag: {kind: drawn}\n", [":3:", "'imag'", "image"]),
    "wrong type": ("model: X\ngenerators: {image: {kind: drawn, size: big}}", [":2:", "size"]),
    "wrong value": ("model: X\ngenerators: {image: {kind: drawn, size: 63}}", [":2:", "even number"]),
    "no model": ("generators: {image: {kind: drawn}}", ["'model' is missing"]),
    "no generators": ("model: X\n", ["`generators` is missing"]),
    "empty generators": ("model: X\ngenerators: {}\n", [":2:", "`generators` is missing"]),
    "unknown form": ("model: X\nform: xml\ngenerators: {image: {kind: drawn}}", [":2:", "xml"]),
    "no program": (
        "model: X\ngenerators: {audio: {kind: command, command: [no-such-program], stdin: true}}",
        ["generators.audio", "no program 'no-such-program'"],
    ),
    "unknown placeholder": (
        "model: X\ngenerators:\n  audio: {kind: command, command: [cat, '{promt}']}",
        [":3:", "{promt}", "Did you mean prompt"],
    ),
    "prompt as an option": (
        "model: X\ngenerators:\n  audio: {kind: command, command: [cat, '{prompt}']}",
        [":3:", '"--" before'],
    ),
    "no way for the prompt": (
        "model: X\ngenerators:\n  audio: {kind: command, command: [cat]}",
        [":3:", "{prompt}", "stdin: true"],
    ),
    "not a chat model": ("model: micro\ngenerators: {image: {kind: drawn}}", ["micro is no chat model"]),
    "no such model": ("model: hf/./nowhere\ngenerators: {image: {kind: drawn}}", ["model: "]),
    "form without a server": (
        "model: X\nform: json\ngenerators: {image: {kind: drawn}}",
        ["form: json does not work with replay/"],
    ),
    "sound by diffusers": (
        "model: X\ngenerators: {audio: {kind: diffusers, pipeline: x}}",
        ["generators.audio", "makes images"],
    ),
    "no pipeline": ("model: X\ngenerators: {image: {kind: diffusers, pipeline: .}}", ["model_index"]),
    "a model's mistake": (
        "model: X\ngenerators: {image: {model: micro, arguments: {bach_size: 1}}}",
        ["generators.image", "'bach_size'", "batch_size"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_the_file_are_named(mistake: str, tmp_path: Path) -> None:
    text, said = MISTAKES[mistake]
    file = tmp_path / "agent.yaml"
    file.write_text(text.replace("model: X", f"model: {replayed(tmp_path, 'x')}"))
    with pytest.raises(UserError) as error:
        agent(file)
    for part in (str(file), *said):
        assert part in str(error.value)


def test_an_agent_is_no_chat_model_of_an_agent(tmp_path: Path) -> None:
    write_agent(tmp_path, replayed(tmp_path, "x"))
    with pytest.raises(UserError, match="is no chat model"):
        agent(write_agent(tmp_path / "outer", "../agent.yaml"))


def test_a_spec_without_a_file(cli: Cli) -> None:
    result = cli("run", "--model", "agent/none.yaml", "--tasks", "open/selection")
    assert result.code == 2
    assert "there is no such file" in result.err


SCRIPT = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"


def test_weights_cover_all_that_makes_the_answers(tmp_path: Path, tiny: Path) -> None:
    chat = tmp_path / "chat"
    shutil.copytree(tiny, chat)
    (tmp_path / "show.py").write_text(SCRIPT)
    script = ["{folder}/show.py", "--", "{prompt}"]
    generators: dict[str, Any] = {"image": {"kind": "command", "command": [sys.executable, *script]}}

    def weights(**more: Any) -> str:
        return agent(write_agent(tmp_path, "chat", generators, **more)).weights()

    found = [weights(), weights(system="Only pictures."), weights(form="text")]
    generators["image"]["about"] = "a photo"
    found.append(weights())
    (tmp_path / "show.py").write_text(SCRIPT + "\n")
    found.append(weights())
    generators["audio"] = DRAWN
    found.append(weights())
    weight = bytearray((chat / "model.safetensors").read_bytes())
    weight[-1] ^= 1
    (chat / "model.safetensors").write_bytes(weight)
    found.append(weights())
    assert len(set(found)) == len(found)
    assert weights() == found[-1]


# --- what scores the floor ---------------------------------------------------------------------

FLOORS = {
    "garbage": ("qwrtz", "unparsable_plan"),
    "a refusal": ("I'm sorry, I can't do that.", "refusal"),
    "no media asked, but without sections": ("Paris is the capital.", "unparsable_plan"),
    "no generator": ("[[text]]\nParis.\n[[video]]\na city\n", "generator_failed"),
    "nothing wanted": ("[[text]]\nNone.\n[[image]]\nNone.", "empty_output"),
}


@pytest.mark.parametrize("case", FLOORS)
def test_what_is_no_answer_earns_no_votes(case: str, cli: Cli, tmp_path: Path) -> None:
    """A task for which text is the right choice, so that a fall back to text would score 1."""
    said, kind = FLOORS[case]
    make_task(tmp_path / "tasks", samples=[text_sample("s0")])
    write_agent(tmp_path, replayed(tmp_path, said), {"image": DRAWN})
    command = ["run", "--model", "agent/agent.yaml", "--tasks", "mine/demo", "--include", "tasks"]
    result = cli(*command, "--out", "out", "--json")
    assert result.code == 1
    assert result.json["tasks"]["mine/demo"]["metrics"]["selection"]["value"] == 0
    [record] = _records(tmp_path / "out", "mine/demo")
    assert record["error"]["kind"] == kind
    if kind in ("unparsable_plan", "refusal"):
        assert record["details"]["outside"] == said, "the answer is kept"


def _records(run: Path, task: str) -> list[dict[str, Any]]:
    lines = (run / task / "records.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_generator_that_fails_costs_the_sample_and_keeps_the_other_parts(
    cli: Cli, tmp_path: Path
) -> None:
    make_task(tmp_path / "tasks", samples=[text_sample(f"s{i}") for i in range(2)])
    broken = {"kind": "command", "command": ["false"], "stdin": True}
    said = [render(plan(text="Paris.", image="a city", audio="bells")), render(plan(text="Rome."))]
    write_agent(tmp_path, replayed(tmp_path, *said), {"image": DRAWN, "audio": broken})
    command = ["run", "--model", "agent.yaml", "--tasks", "mine/demo", "--include", "tasks"]
    result = cli(*command, "--out", "out", "--json")
    assert result.code == 1, "half of the samples failed"
    assert result.json["tasks"]["mine/demo"]["metrics"]["selection"]["n"] == 2
    failed, good = sorted(_records(tmp_path / "out", "mine/demo"), key=lambda r: r["sample_id"])
    assert (good["error"], good["scores"]["selection"]["value"]) == (None, 1)
    assert failed["scores"]["selection"]["value"] == 0
    assert [part["modality"] for part in failed["parts"]] == ["text", "image"]
    assert failed["error"]["kind"] == "generator_failed"
    assert "audio: false ended with 1" in failed["error"]["message"]
    assert "false ended with 1" in failed["details"]["plan"][2]["error"]


def test_a_generator_whose_server_is_away_leaves_the_sample_pending(
    cli: Cli, tmp_path: Path, short_pauses: None
) -> None:
    import base64

    broken = True

    def script(number: int, body: dict[str, Any]) -> Any:
        picture = json.dumps({"data": [{"b64_json": base64.b64encode(png()).decode()}]}).encode()
        return fails(503) if broken else raw(picture)

    make_task(tmp_path / "tasks", samples=[text_sample(f"s{i}") for i in range(2)])
    said = [render(plan(text="Paris.", image="a city")), render(plan(text="Rome."))]
    with serve(script) as server:
        pictures = {"model": server.spec("painter"), "arguments": {"api": "images"}}
        write_agent(tmp_path, replayed(tmp_path, *said), {"image": pictures}, arguments={})
        command = ["run", "--model", "agent.yaml", "--tasks", "mine/demo", "--include", "tasks"]
        result = cli(*command, "--out", "out", "--json")
        assert result.code == 4
        broken = False
        result = cli(*command, "--out", "out", "--json")
    assert result.code == 0, result.err
    records = {r["sample_id"]: r for r in _records(tmp_path / "out", "mine/demo")}
    assert [p["modality"] for p in records["s0"]["parts"]] == ["text", "image"]
    assert server.bodies[-1]["prompt"] == "a city"


def test_a_budget_needs_the_price_of_every_generator(cli: Cli, tmp_path: Path) -> None:
    pictures = {"model": "openai/painter@http://127.0.0.1:9/v1", "arguments": {"api": "images"}}
    write_agent(tmp_path, "openai/gpt-4o-mini@http://127.0.0.1:9/v1", {"image": pictures})
    result = cli("run", "--model", "agent.yaml", "--tasks", "open/selection", "--budget", "1")
    assert result.code == 2
    assert "'painter'" in result.err


# --- from end to end ---------------------------------------------------------------------------


def _choices() -> dict[str, Plan]:
    """For each prompt of open/selection a plan that keeps its contract."""
    contents = {
        "text": "Some words.",
        "image": "two blue stars",
        "audio": "Good morning.",
        "video": "a red ball",
    }
    plans = {}
    for line in (ROOT / "benchmarks/open/selection/samples.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        wanted = row["contract"]["required"] or ["text"]
        plans[row["messages"][0]["parts"][0]["text"]] = plan(**{m: contents[m] for m in wanted})
    return plans


@pytest.mark.slow
@pytest.mark.parametrize("tools", ["works", "ignored"])
def test_a_run_on_the_open_prompts(tools: Any, cli: Cli, tmp_path: Path) -> None:
    need_espeak()
    speak = {"kind": "command", "command": ["espeak-ng", "--stdin", "-w", "{out}"], "stdin": True}
    with serve(planner(_choices(), tools)) as server:
        write_agent(tmp_path / "agent", server.spec(), {"image": DRAWN, "audio": speak, "video": DRAWN})
        command = ["run", "--model", "agent/agent/agent.yaml", "--tasks", "open/selection"]
        result = cli(*command, "--first", "20", "--out", "out", "--json")
    assert result.code == 0, result.err
    metrics = result.json["tasks"]["open/selection"]["metrics"]
    assert metrics["selection"]["value"] == 1
    assert metrics["selection"]["n"] == 20
    assert server.most_at_once > 1
    page = (tmp_path / "out/report.html").read_text("utf-8")
    for name in ("<img", "<audio", "<video"):
        assert name in page
    assert {path.suffix for path in (tmp_path / "out/media").rglob("*.*")} == {".png", ".wav", ".mp4"}
    for record in _records(tmp_path / "out", "open/selection"):
        assert record["details"]["form"] == ("tools" if tools == "works" else "json")
        assert len(record["details"]["plan"]) == len(record["parts"])


def always_says(path: Path, tiny: Path, answer: str) -> Path:
    """The tiny checkpoint with weights that give this answer to whatever it is asked.

    The answer is one token. Its layers add nothing, so that a next token depends on the last one only:
    the answer follows all others, and the end follows the answer.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.add_tokens([answer])
    model = AutoModelForCausalLM.from_pretrained(tiny)
    model.resize_token_embeddings(len(tokenizer))
    token = tokenizer.convert_tokens_to_ids(answer)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        given, asked = model.model.embed_tokens.weight, model.lm_head.weight
        for weight in (given, asked):
            weight.zero_()
        given[:, 0], given[token, 0], given[token, 1] = 1, 0, 1
        asked[token, 0] = asked[tokenizer.eos_token_id, 1] = 1
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_a_local_text_checkpoint_with_generators(cli: Cli, tmp_path: Path, tiny: Path) -> None:
    always_says(tmp_path / "agents/chat", tiny, "[[text]]\nA cat.\n[[image]]\na red circle")
    make_task(tmp_path / "tasks", samples=[text_sample(f"s{i}") for i in range(5)])
    write_agent(tmp_path / "agents", "chat", {"image": DRAWN}, system="Answer.", form="text")
    command = ["run", "--model", "agents/agent.yaml", "--tasks", "mine/demo", "--include", "tasks"]
    result = cli(*command, "--out", "out", "--json")
    assert result.code == 0, result.err
    for record in _records(tmp_path / "out", "mine/demo"):
        assert record["error"] is None, record
        assert [part["modality"] for part in record["parts"]] == ["text", "image"]
        assert record["details"]["form"] == "text"


def test_a_judged_run_keeps_the_prompts(cli: Cli, tmp_path: Path) -> None:
    """Scored again from the run, the records say the same."""
    make_task(tmp_path / "tasks", samples=[text_sample("s0")])
    write_agent(tmp_path, replayed(tmp_path, render(plan(image="a cat"))), {"image": DRAWN})
    tasks = ["--tasks", "mine/demo", "--include", "tasks"]
    assert cli("run", "--model", "agent.yaml", *tasks, "--out", "one", "--json").code == 0
    assert cli("score", "--outputs", "one", *tasks, "--out", "two", "--json").code == 0
    [one], [two] = _records(tmp_path / "one", "mine/demo"), _records(tmp_path / "two", "mine/demo")
    assert one["details"] == two["details"]
    assert one["details"]["plan"] == [{"modality": "image", "prompt": "a cat"}]
