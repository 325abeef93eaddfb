"""Settings of generation through whole runs: options, presets, checkpoints and tasks; what a server is
sent, what is recorded, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval_anything.evaluation.layers import run_sampling
from eval_anything.evaluation.options import make_options
from eval_anything.evaluation.presets import preset_paths, read_preset
from eval_anything.files.hashing import sha256_of
from eval_anything.models.base import Sampling
from eval_anything.models.openai import ChatModel
from eval_anything.runs.comparable import conditions, unlike
from eval_anything.runs.directory import read_run_file
from tests.support.chat_templates import TEMPLATES
from tests.support.helpers import Cli, Result, answers, make_task, text_sample, write_jsonl
from tests.support.paths import BASELINE
from tests.support.scripted_server import ScriptedServer, fails, says, serve
from tests.support.tiny import tiny_writer

SAMPLES = [text_sample("s0", "First?"), text_sample("s1", "Second?")]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return make_task(tmp_path, "mine/demo", SAMPLES)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serve(lambda number, body: says("Paris. END of it")) as running:
        yield running


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a template that has a variable, and a generation config that samples."""
    template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if enable_thinking is defined and enable_thinking %}hm{% endif %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    path = tiny_writer(tmp_path_factory.mktemp("writer") / "m", ["Paris", "!"], template=template)
    config = json.loads((path / "generation_config.json").read_text())
    config |= {"do_sample": True, "temperature": 0.5, "top_k": 7, "repetition_penalty": 1.1}
    (path / "generation_config.json").write_text(json.dumps(config))
    return path


def run(cli: Cli, model: str, *options: str, out: str = "run") -> Result:
    return cli(
        "run", "--model", model, "--tasks", "mine/demo", "--include", "mine", "--out", out, *options
    )


def settings_of(out: str) -> dict[str, Any]:
    return dict(read_run_file(Path(out)).sampling)


ALL = [
    *("--temperature", "0.6", "--top-p", "0.9", "--top-k", "20", "--min-p", "0.1"),
    *("--repetition-penalty", "1.1", "--presence-penalty", "-0.5", "--frequency-penalty", "0.25"),
    *("--stop", "END", "--max-new-tokens", "9", "--system", "Be brief.", "--reasoning-effort", "low"),
    *("--chat-template-kwargs", "enable_thinking=false", "--extra-body", '{"priority": 3}'),
]


def test_a_server_is_sent_what_is_set_and_nothing_else(
    cli: Cli, mine: Path, server: ScriptedServer
) -> None:
    assert run(cli, server.spec()).code == 0
    assert server.bodies[0].keys() == {"model", "messages", "temperature", "max_tokens", "seed"}
    assert settings_of("run") == {"temperature": 0.0}
    questions = [body["messages"] for body in server.bodies]
    assert run(cli, server.spec(), *ALL, out="all").code == 0
    body = server.bodies[-1]
    assert {name: body[name] for name in body.keys() - {"model", "messages", "seed"}} == {
        "temperature": 0.6,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.25,
        "stop": ["END"],
        "max_tokens": 9,
        "reasoning_effort": "low",
        "chat_template_kwargs": {"enable_thinking": False},
        "priority": 3,
    }
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["messages"][1:] in questions
    recorded = settings_of("all")
    assert recorded["stop"] == ["END"]
    assert recorded["chat_template_kwargs"] == {"enable_thinking": False}
    records = Path("all/mine/demo/records.jsonl").read_text().splitlines()
    assert json.loads(records[0])["parts"][0]["text"] == "Paris."


def test_a_call_with_other_settings_is_refused_and_named(
    cli: Cli, mine: Path, server: ScriptedServer
) -> None:
    assert run(cli, server.spec(), "--temperature", "0.5", "--top-p", "0.9").code == 0
    again = run(cli, server.spec(), "--temperature", "0.5", "--top-k", "5", "--system", "Be brief.")
    assert again.code == 2
    for change in ("top_p 0.9 -> none", "top_k none -> 5", "system none -> Be brief."):
        assert change in again.err
    assert run(cli, server.spec(), "--temperature", "0.5", "--top-p", "0.9").code == 0
    assert run(cli, server.spec(), "--temperature", "0.5", out="other").code == 0
    compared = cli("compare", "run", "other")
    assert compared.code == 2
    assert "top_p 0.9 -> none" in compared.err
    more = run(cli, server.spec(), "--temperature", "0.5", "--max-new-tokens", "3", out="short")
    assert more.code == 0
    assert cli("compare", "other", "short").code == 0  # as two models may differ


def test_settings_in_a_file_of_options(cli: Cli, mine: Path, server: ScriptedServer) -> None:
    Path("prompts").mkdir()
    Path("prompts/system.txt").write_text("Answer in French.\n")
    options = {
        "model": server.spec(),
        "tasks": ["mine/demo"],
        "include": ["../mine"],
        "out": "../run",
        "temperature": 1,
        "min_p": 0.05,
        "system": "system.txt",
        "chat_template_kwargs": {"enable_thinking": True, "other": 1},
    }
    Path("prompts/run.yaml").write_text(yaml.safe_dump(options))
    done = cli("run", "--config", "prompts/run.yaml", "--chat-template-kwargs", "other=2")
    assert done.code == 0, done.err
    assert server.bodies[0]["messages"][0]["content"] == "Answer in French."
    assert settings_of("run")["chat_template_kwargs"] == {"enable_thinking": True, "other": 2}
    assert server.bodies[0]["min_p"] == 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "rai"], "'rai' is not one of processes, ray. Did you mean ray?"),
        (["--sampling", "chekpoint"], "'chekpoint' is not one of checkpoint. Did you mean checkpoint?"),
        (["--top-p", "0"], "'0' is not a number above 0 to 1"),
        (["--top-p", "nan"], "'nan' is not a number"),
        (["--top-k", "-1"], "'-1' is not a whole number from 0 on"),
        (["--min-p", "2"], "'2' is not a share"),
        (["--presence-penalty", "3"], "'3' is not a number from -2 to 2"),
        (["--repetition-penalty", "0"], "'0' is not a number above 0 on"),
        (["--max-new-tokens", "0"], "not a whole number from 1 on"),
        (["--top-p", "0.9"], "--top-p: temperature 0 takes the likeliest token, and top_p 0.9 would do"),
        (["--temperature", "0", "--top-k", "5"], "top_k 5 would do nothing"),
        (["--stop", ""], "stop has an empty text"),
        (["--system", "nowhere.txt"], "--system nowhere.txt: there is no such file"),
        (["--extra-body", "{a}"], "no object of JSON"),
        (["--extra-body", "a=1", "--extra-body", "a=2"], "--extra-body a is given twice"),
        (["--extra-body", "seed=1"], "--extra-body seed: an option of its own decides it"),
        (["--extra-body", "messages=1"], "messages cannot be added"),
        (["--temperature", "1", "--top-p", "1", "--extra-body", "top_p=1"], "--extra-body top_p"),
        (["--max-new-tokens", "5", "--model-arg", "max_tokens=6"], "say the same: keep one"),
        (["--sampling", "checkpoint"], "is no checkpoint with settings of its own"),
        (["--sampling", "model"], "'model' is not one of checkpoint"),
        (["--preset", "qwen3-thinkin"], "Did you mean qwen3-thinking"),
        (["--model-arg", "api=responses", "--stop", "x"], "--stop: openai/tester"),
        (["--model-arg", "api=responses", "--temperature", "1", "--top-k", "5"], "does not take it"),
        (["--model-arg", "api=images", "--temperature", "1"], "--temperature: openai/tester"),
    ],
)
def test_bad_settings_are_refused(
    cli: Cli, mine: Path, server: ScriptedServer, options: list[str], message: str
) -> None:
    result = run(cli, server.spec(), *options)
    assert result.code == 2
    assert message in result.err
    assert server.bodies == []


def test_a_setting_that_a_server_refuses_is_named_with_its_option(cli: Cli, mine: Path) -> None:
    with serve(lambda n, body: fails(400, "Unsupported parameter: 'top_k'")) as refusing:
        result = run(cli, refusing.spec(), "--temperature", "1", "--top-k", "5")
    assert result.code == 2
    assert "leave out --top-k" in result.err
    with serve(lambda n, body: says("x")) as taking:
        done = run(
            *(cli, taking.spec(), "--temperature", "1", "--top-k", "5"),
            *("--model-arg", "body.drop=top_k"),
            out="dropped",
        )
    assert done.code == 0, done.err
    assert "top_k" not in taking.bodies[0]


def test_saved_outputs_take_no_settings_and_keep_those_of_their_run(
    cli: Cli, mine: Path, server: ScriptedServer
) -> None:
    rows = str(write_jsonl(Path("rows.jsonl"), answers(["s0", "s1"])))
    refused = run(cli, rows, "--temperature", "1", "--top-p", "0.9")
    assert refused.code == 2
    assert "--temperature: the answers of rows.jsonl are there already" in refused.err.replace(
        f"{Path.cwd()}/", ""
    )
    assert run(cli, server.spec(), *ALL).code == 0
    assert cli("score", "--outputs", "run", "--include", "mine").code == 0
    assert cli("score", "--outputs", "run", "--include", "mine", "--out", "copy").code == 0
    assert settings_of("copy") == settings_of("run")
    assert "the answers in run are there already" in run(cli, "run", "--top-k", "3").err


def test_a_preset_gives_what_options_leave_open_and_the_run_says_so(
    cli: Cli, mine: Path, server: ScriptedServer
) -> None:
    done = run(cli, server.spec("org/Qwen3-8B"), "--preset", "qwen3-thinking", "--top-k", "5")
    assert done.code == 0
    assert "temperature 0.6, top_p 0.95, min_p 0, max_new_tokens 32768" in done.err
    assert "(preset qwen3-thinking)" in done.err
    assert "top_k 5 (options)" in done.err
    assert "warning" not in done.err
    file = read_run_file(Path("run"))
    assert file.sampling["top_k"] == 5
    assert file.sampling["chat_template_kwargs"] == {"enable_thinking": True}
    assert dict(file.sampling_from or {})["top_p"] == "preset qwen3-thinking"
    greedy = run(cli, server.spec("q"), "--preset", "qwen3-thinking", "--temperature", "0", out="b")
    assert greedy.code == 0
    assert "top_p of preset qwen3-thinking is left out: temperature 0 is greedy" in greedy.err
    assert "warning: --preset qwen3-thinking is for Qwen3" in greedy.err
    limited = run(
        cli, server.spec("qwen3"), "--preset", "qwen3-thinking", "--model-arg", "max_tokens=7", out="c"
    )
    assert "max_tokens is that of --model-arg, not of preset" in limited.err
    assert server.bodies[-1]["max_tokens"] == 7


def test_every_bundled_preset_goes_to_a_server() -> None:
    model = ChatModel("openai/m@http://127.0.0.1:1/v1", {})
    for name in preset_paths():
        options = make_options({"model": model.spec, "preset": name})
        sampling = run_sampling(options, model, {})
        assert sampling.base.values() == {"temperature": 0.0, **read_preset(name).values()}
        assert any(note.startswith("generation: temperature") for note in sampling.notes)


def test_a_preset_for_another_family_is_refused_for_a_checkpoint(
    cli: Cli, mine: Path, writer: Path
) -> None:
    result = run(cli, str(writer), "--preset", "qwen3-thinking")
    assert result.code == 2
    assert "is for Qwen3 in thinking mode (qwen3, qwen3_moe)" in result.err
    assert "eval-anything presets show qwen3-thinking" in result.err
    Path("mine.yaml").write_text("temperature: 0.5\ntop_p: 0.5\nstop: ['!']\n")
    assert run(cli, str(writer), "--preset", "mine.yaml").code == 0
    assert settings_of("run") == {"temperature": 0.5, "top_p": 0.5, "stop": ["!"]}
    Path("bad.yaml").write_text("temperature: 0\ntop_p: 0.5\nfamily: qwen3\n")
    wrong = run(cli, str(writer), "--preset", "bad.yaml")
    assert "bad.yaml:3: unknown key 'family'" in wrong.err
    assert "temperature 0 takes the likeliest token" in wrong.err


def test_bundled_presets_have_a_source_and_are_listed(cli: Cli) -> None:
    presets = {name: read_preset(name) for name in preset_paths()}
    assert len(presets) >= 12
    for name, preset in presets.items():
        assert preset.source.startswith("https://"), name
        assert preset.title, name
        assert preset.families, name
        assert all(pattern == pattern.lower() for pattern in preset.names), name
        assert preset.values(), name
    listed = cli("presets", "list", "--json").json
    assert [row["name"] for row in listed] == list(presets)
    assert "qwen3-thinking" in cli("presets", "list").out
    shown = yaml.safe_load(cli("presets", "show", "qwen3-thinking").out)
    assert shown["chat_template_kwargs"] == {"enable_thinking": True}


def test_a_checkpoint_gives_its_own_settings_if_it_is_asked_to(
    cli: Cli, mine: Path, writer: Path
) -> None:
    done = run(cli, str(writer), "--sampling", "checkpoint", "--top-k", "3")
    assert done.code == 0, done.err
    assert "temperature 0.5, repetition_penalty 1.1 (the checkpoint)" in done.err
    assert settings_of("run") == {"temperature": 0.5, "repetition_penalty": 1.1, "top_k": 3}
    plain = run(cli, str(writer), out="plain")
    assert "generation_config.json has repetition_penalty 1.1, which transformers applies" in plain.err
    assert settings_of("plain") == {"temperature": 0.0}
    off = run(cli, str(writer), "--repetition-penalty", "1", out="off")
    assert "which transformers applies" not in off.err


def test_system_prompts_and_variables_of_a_template(
    cli: Cli, mine: Path, writer: Path, tmp_path: Path
) -> None:
    done = run(
        *(cli, str(writer), "--system", "Be brief.", "--chat-template-kwargs", "enable_thinking=true"),
    )
    assert done.code == 0, done.err
    unknown = run(cli, str(writer), "--chat-template-kwargs", "enable_thinkin=true", out="a")
    assert unknown.code == 2
    assert "the chat template of this checkpoint does not read it" in unknown.err
    assert "enable_thinking" in unknown.err
    effort = run(cli, str(writer), "--reasoning-effort", "low", out="b")
    assert "--reasoning-effort: the chat template" in effort.err
    ours = run(cli, str(writer), "--chat-template-kwargs", "add_generation_prompt=false", out="c")
    assert "it is what the engine itself gives" in ours.err
    template = tmp_path / "gemma.jinja"
    template.write_text(TEMPLATES["Gemma 2"].template)
    chosen = ("--model-arg", f"chat_template={template}")
    refused = run(cli, str(writer), *chosen, "--system", "Be brief.", out="d")
    assert refused.code == 2
    assert "has no place for a system prompt" in refused.err
    body = run(cli, str(writer), "--extra-body", "a=1", out="e")
    assert "--extra-body: " in body.err
    assert "does not take it" in body.err


def task_yaml(**more: Any) -> None:
    path = Path("mine/demo/task.yaml")
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **more}))


def test_a_task_has_settings_of_its_own_below_those_of_options(
    cli: Cli, mine: Path, server: ScriptedServer
) -> None:
    make_task(Path.cwd(), "mine/plain", SAMPLES)
    task_yaml(generation={"max_new_tokens": 5, "temperature": 0.4, "stop": ["END"]})
    both = ("run", "--model", server.spec(), "--tasks", "mine/demo,mine/plain", "--include", "mine")
    done = cli(*both, "--out", "run", "--temperature", "0.9")
    assert done.code == 0, done.err
    assert "mine/demo: temperature 0.9, stop" in done.err
    assert {b["max_tokens"] for b in server.bodies} == {5, 1024}
    file = read_run_file(Path("run"))
    assert file.sampling == {"temperature": 0.9}
    assert file.sampling_of("mine/demo") == {"temperature": 0.9, "max_new_tokens": 5, "stop": ["END"]}
    decisive = {"temperature": 0.9, "stop": ["END"]}
    assert file.fingerprints["mine/demo"]["sampling"] == sha256_of(decisive)
    assert conditions(file, "mine/demo")["stop"] == str(["END"])
    task_yaml(generation={"max_new_tokens": 6, "temperature": 0.4, "stop": ["END"]})
    again = cli(*both, "--out", "run", "--temperature", "0.9")
    assert again.code == 2
    assert "mine/demo: max_new_tokens 5 -> 6" in again.err
    rows = [{**row, "task": f"mine/{n}"} for n in ("demo", "plain") for row in answers(["s0", "s1"])]
    write_jsonl(Path("rows.jsonl"), rows)
    replayed = ("run", "--model", "rows.jsonl", "--tasks", "mine/demo,mine/plain", "--include", "mine")
    assert cli(*replayed, "--out", "replayed").code == 0
    task_yaml(generation={"temperature": 0, "top_p": 0.5, "tempo": 1})
    wrong = cli("tasks", "validate", "mine/demo")
    assert "unknown key 'tempo'" in wrong.out + wrong.err


def test_settings_of_a_task_are_exported_for_lm_eval(cli: Cli, mine: Path) -> None:
    task_yaml(generation={"stop": ["END"], "max_new_tokens": 5, "temperature": 0.5, "top_p": 0.9})
    words = ("tasks", "export", "lm_eval", "mine/demo", "--include", "mine")
    done = cli(*words, "--out", "out")
    assert done.code == 0, done.err
    [file] = Path("out").rglob("*.yaml")
    kwargs = yaml.safe_load(file.read_text().partition("custom_dataset")[0])["generation_kwargs"]
    assert kwargs == {
        **{"until": ["END"], "max_gen_toks": 5, "do_sample": True},
        **{"temperature": 0.5, "top_p": 0.9},
    }
    task_yaml(generation={"system": "Be brief."})
    refused = cli(*words, "--out", "other")
    assert refused.code == 2
    assert "its generation has system, which lm_eval lacks" in refused.err


def test_examples_stand_in_front_of_every_question_and_are_part_of_the_task(
    cli: Cli, mine: Path, server: ScriptedServer
) -> None:
    rows = [
        {**text_sample(f"e{i}", f"Example {i}?"), "response": f"Answer {i}.", "metadata": {"split": s}}
        for i, s in enumerate(["train", "train", "dev", "train"])
    ]
    write_jsonl(mine / "examples.jsonl", rows)
    without = read_fingerprints(cli, server, "none")
    task_yaml(few_shot={"file": "examples.jsonl", "count": 2, "where": {"split": "train"}})
    with_two = read_fingerprints(cli, server, "two")
    messages = server.bodies[-1]["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "user", "assistant", "user"]
    assert (
        messages[0]["content"].replace("Example", "Answer").replace("?", ".") == messages[1]["content"]
    )
    assert messages[:4] == server.bodies[-2]["messages"][:4]
    assert "few_shot" not in without
    assert unlike(without, with_two) == ["few_shot"]
    with_system = run(cli, server.spec(), "--system", "Be brief.", out="three")
    assert with_system.code == 0
    assert server.bodies[-1]["messages"][0]["role"] == "system"
    assert server.bodies[-1]["messages"][1:5] == messages[:4]


def read_fingerprints(cli: Cli, server: ScriptedServer, out: str) -> dict[str, str]:
    assert run(cli, server.spec(), out=out).code == 0
    return conditions(read_run_file(Path(out)), "mine/demo")


@pytest.mark.parametrize(
    ("few_shot", "message"),
    [
        ({"file": "none.jsonl", "count": 1}, "none.jsonl is missing"),
        ({"file": "../../x.jsonl", "count": 1}, "leads outside"),
        ({"file": "examples.jsonl", "count": 3}, "has 1 examples, not 3"),
        ({"file": "examples.jsonl", "count": 0}, "expected `int` >= 1"),
        ({"file": "shared.jsonl", "count": 1}, "is a sample of the task too"),
        ({"file": "bad.jsonl", "count": 1}, "bad.jsonl:1: the response is empty"),
        ({"file": "examples.jsonl", "count": 1, "where": {"split": "no"}}, "has 0 examples with"),
    ],
)
def test_wrong_examples_are_named(cli: Cli, mine: Path, few_shot: dict[str, Any], message: str) -> None:
    write_jsonl(mine / "examples.jsonl", [{**text_sample("e0", "Example?"), "response": "Yes."}])
    write_jsonl(mine / "shared.jsonl", [{**text_sample("e0", "First?"), "response": "Yes."}])
    write_jsonl(mine / "bad.jsonl", [{**text_sample("e0", "Example?"), "response": ""}])
    task_yaml(few_shot=few_shot)
    result = cli("tasks", "validate", "mine/demo")
    assert result.code == 2
    assert message in result.out + result.err


def test_runs_of_before_have_the_same_fingerprints() -> None:
    file = read_run_file(BASELINE)
    assert file.sampling == Sampling().recorded()
    for task, parts in file.fingerprints.items():
        assert parts["sampling"] == sha256_of(Sampling().decisive()), task
        assert conditions(file, task)["temperature"] == "0"
