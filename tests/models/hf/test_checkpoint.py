"""Checkpoints of transformers, on a real tiny one: answers, batches, seeds, incomplete folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval_anything.tasks.load import folder_at, load_task
from eval_anything.tasks.registry import Registry
from tests.support.helpers import Cli, Result, make_task, medium_sample, png, text_sample
from tests.support.streamed import streamed


def run(cli: Cli, model: str | Path, *more: str | Path) -> Result:
    return cli("run", "--model", model, "--model-arg", "max_new_tokens=8", "--json", *more)


def records(run_: Path, task: str) -> dict[str, dict[str, Any]]:
    lines = (run_ / task / "records.jsonl").read_bytes().splitlines()
    return {row["sample_id"]: row for row in map(json.loads, lines)}


def texts(run_: Path, task: str) -> dict[str, str]:
    """The answers of a run, by sample id."""
    return {i: "".join(p["text"] for p in row["parts"]) for i, row in records(run_, task).items()}


def test_greedy_answers_are_those_of_plain_generation(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tasks = "open/selection,open/synergy"
    result = run(cli, tiny, "--tasks", tasks, "--first", "20", "--out", "run", "--max-failed", "1")
    assert result.code == 0, result.err
    assert {n: t["samples"] for n, t in result.json["tasks"].items()} == {
        "open/selection": 20,
        "open/synergy": 20,
    }
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    for name in ("open/selection", "open/synergy"):
        task = load_task(Registry().folders[name])
        found = records(tmp_path / "run", name)
        for sample in task.samples[:20]:
            text = sample.messages[-1].parts[0].text  # type: ignore[union-attr]
            prompt = tokenizer(f"user: {text}\nassistant:", return_tensors="pt")
            with torch.inference_mode():
                ids = model.generate(**prompt, do_sample=False, max_new_tokens=8)[0]
            new = ids[prompt["input_ids"].shape[1] :]
            record = found[sample.id]
            expected = streamed(tokenizer, new).strip()
            assert "".join(p["text"] for p in record["parts"]) == expected
            assert record["usage"] == {"input": prompt["input_ids"].shape[1], "output": len(new)}
            ended = int(new[-1]) == tokenizer.eos_token_id
            assert record["stop_reason"] == ("stop" if ended else "length")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A task of prompts of different lengths."""
    samples = [text_sample(f"s{i}", "Say it again. " * (1 + i * 5 % 7)) for i in range(10)]
    return make_task(tmp_path, "mine/demo", samples)


def test_sampled_answers_depend_on_the_seed_and_not_on_the_batch(
    cli: Cli, tiny: Path, prompts: Path, tmp_path: Path
) -> None:
    def answers(out: str, *more: str) -> dict[str, str]:
        common = ["--tasks", "mine/demo", "--include", prompts, "--temperature", "1"]
        result = run(cli, tiny, *common, "--out", out, "--max-failed", "1", *more)
        assert result.code == 0, result.err
        return texts(tmp_path / out, "mine/demo")

    first = answers("a", "--model-arg", "batch_size=1")
    assert len(set(first.values())) == 10
    for size in (3, 8, 64):
        assert answers(f"b{size}", "--model-arg", f"batch_size={size}") == first
    assert answers("c", "--concurrency", "4") == first
    other = answers("d", "--seed", "1")
    assert all(other[i] != first[i] for i in first)


def test_repeats_of_a_sample_are_other_draws(
    cli: Cli, tiny: Path, prompts: Path, tmp_path: Path
) -> None:
    common = ["--tasks", "mine/demo", "--include", prompts, "--temperature", "1", "--first", "2"]
    run(cli, tiny, *common, "--repeats", "4", "--out", "run", "--max-failed", "1")
    lines = (tmp_path / "run/mine/demo/records.jsonl").read_bytes().splitlines()
    rows = [json.loads(line) for line in lines]
    assert sorted((r["sample_id"], r["repeat"]) for r in rows) == [
        (i, k) for i in ("s0", "s1") for k in range(4)
    ]
    assert len({json.dumps(r["parts"]) for r in rows}) == 8


def test_a_text_model_fails_samples_with_media(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    samples = [*(text_sample(f"s{i}") for i in range(3)), medium_sample("m", "image", "a.png")]
    make_task(tmp_path, "mine/demo", samples, a__png=png())
    arguments = ["--tasks", "mine/demo", "--include", "mine", "--out", "run"]
    result = run(cli, tiny, *arguments, "--max-failed", "0.25")
    assert result.code == 0, result.err
    failed = records(tmp_path / "run", "mine/demo")["m"]
    assert failed["error"] == {
        "kind": "unsupported_input",
        "message": "this checkpoint takes text; it cannot read image",
    }
    assert failed["scores"]["selection"]["value"] == 0
    selection = result.json["tasks"]["mine/demo"]["metrics"]["selection"]
    assert (selection["n"], selection["failed"], selection["value"]) == (4, 1, 0.75)
    above = cli("run", "--model", tiny, "--model-arg", "max_new_tokens=8", *arguments)
    assert above.code == 1
    assert "the model failed 1 of 4 samples, more than --max-failed 0.1" in above.err


def without(name: str) -> Callable[[Path], object]:
    return lambda path: (path / name).unlink()


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:size])


def one_shard_missing(path: Path) -> None:
    (path / "model.safetensors").rename(path / "model-00001-of-00002.safetensors")
    weights = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = {"metadata": {}, "weight_map": weights}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def pickled(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


INCOMPLETE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (without("config.json"), "config.json"),
    "bad config": (cut("config.json", 40), "config.json is not valid JSON"),
    "no weights": (without("model.safetensors"), "model.safetensors is missing"),
    "cut weights": (cut("model.safetensors", 50_000), "model.safetensors is truncated"),
    "cut header": (cut("model.safetensors", 100), "model.safetensors is truncated"),
    "empty weights": (cut("model.safetensors", 0), "model.safetensors is truncated"),
    "missing shard": (one_shard_missing, "model-00002-of-00002.safetensors is missing"),
    "no tokenizer": (without("tokenizer.json"), "tokenizer is missing (tokenizer.json"),
    "only a pickle": (pickled, "pytorch_model.bin is a pickle, which can run code"),
}


@pytest.mark.parametrize("kind", INCOMPLETE)
def test_an_incomplete_checkpoint_is_named_before_anything_runs(
    cli: Cli, tiny: Path, tmp_path: Path, kind: str
) -> None:
    change, words = INCOMPLETE[kind]
    path = shutil.copytree(tiny, tmp_path / "broken")
    change(path)
    for spec in (str(path), f"hf/{path}"):
        result = run(cli, spec, "--tasks", "open/selection", "--out", "run")
        assert result.code == 2
        assert str(path) in result.err
        assert words in result.err
    assert not (tmp_path / "run").exists()


def test_weights_that_do_not_fit_their_config_are_the_users_error(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(tiny, tmp_path / "broken")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"model_type": "no_such_model"}))
    result = run(cli, path, "--tasks", "open/selection", "--out", "run")
    assert result.code == 2
    assert f"{path}: no family of models serves model_type 'no_such_model'" in result.err


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("batchsize=4", "no argument 'batchsize'. Did you mean batch_size?"),
        ("batch_size=many", "--model-arg batch_size=many: must be auto or a whole number"),
        ("batch_size=0", "--model-arg batch_size=0: must be at least 1"),
        ("max_new_tokens=-1", "--model-arg max_new_tokens=-1: must be at least 1"),
        ("trust_remote_code=yes", "--model-arg trust_remote_code=yes: must be true or false"),
        ("output=image", "--model-arg output=image: a checkpoint of type llama answers with text"),
        ("revision=main", "is a path; ids have revisions"),
        ("adapter=nowhere", "nowhere is no adapter of LoRA: adapter_config.json is missing"),
        ("batch_size", "--model-arg batch_size: must be NAME=VALUE"),
        ("=3", "--model-arg =3: must be NAME=VALUE"),
    ],
)
def test_wrong_arguments_of_the_model(cli: Cli, tiny: Path, argument: str, words: str) -> None:
    result = cli("run", "--model", tiny, "--tasks", "open", "--model-arg", argument, "--dry-run")
    assert result.code == 2
    assert words in result.err


def test_a_wrong_device_or_type_is_the_users_error(cli: Cli, tiny: Path) -> None:
    for argument in ("device=toaster", "dtype=float33"):
        result = run(cli, tiny, "--tasks", "open", "--first", "1", "--model-arg", argument)
        assert result.code == 2
        assert "does not load" in result.err


def test_a_template_of_the_task_reaches_the_model(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    from tests.support.helpers import TASK_YAML

    folder = make_task(
        tmp_path,
        "mine/demo",
        [text_sample("s0")],
        TASK_YAML + "template: prompt.j2\n",
        prompt__j2="{{ text }} " + "Think. " * 50,
    )
    plain = make_task(tmp_path, "mine/plain", [text_sample("s0")])
    arguments = ["--tasks", "mine", "--include", "mine", "--out", "run", "--max-failed", "1"]
    assert run(cli, tiny, *arguments).code == 0
    long = records(tmp_path / "run", "mine/demo")["s0"]["usage"]["input"]
    short = records(tmp_path / "run", "mine/plain")["s0"]["usage"]["input"]
    assert long > short + 100
    assert [*load_task(folder_at(folder)).samples] == [*load_task(folder_at(plain)).samples]
