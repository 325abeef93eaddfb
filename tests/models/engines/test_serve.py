"""A real server of models, `transformers serve`, as the model's and as the judge's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Response
from eval_anything.evaluation.pipeline import answers_of
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request, Sampling
from eval_anything.models.spec import resolve
from tests.models.engines.conftest import Served
from tests.support.asking import user
from tests.support.helpers import Cli, answers, make_task, medium_sample, png, text_sample, write_jsonl
from tests.support.lanes import full
from tests.support.tiny_gguf import write_gguf

pytestmark = [pytest.mark.slow, pytest.mark.engines]

TASK = """\
version: 1
title: Talk
description: Questions of all kinds.
licence: CC0-1.0
inputs: [text, image]
outputs: [text]
judges: [{judge}]
primary: {primary}
contract: {{required: [text]}}
"""


def _task(root: Path, samples: list[dict[str, Any]], judge: str = "selection_contract") -> None:
    primary = "synergy" if judge == "synergy_rubric" else "selection"
    yaml = TASK.format(judge=judge, primary=primary)
    folder = make_task(root, samples=samples, yaml=yaml)
    (folder / "red.png").write_bytes(png(size=28))
    (folder / "noise.png").write_bytes(png(size=28, noise=3))


def _command(spec: str) -> list[str]:
    run = ["run", "--tasks", "mine/demo", "--include", "mine", "--json"]
    return [*run, "--model", spec, "--model-arg", "max_tokens=16"]


def _texts(run: Path) -> dict[str, str]:
    """What was answered to each sample; no record may have an error."""
    rows = map(json.loads, (run / "mine" / "demo" / "records.jsonl").read_bytes().splitlines())
    found = {}
    for row in rows:
        assert row["error"] is None, row
        [part] = row["parts"]
        assert part["modality"] == "text"
        assert row["usage"]["input"] > 0
        assert row["usage"]["output"] > 0
        found[row["sample_id"]] = part["text"]
    return found


def test_a_served_model_answers_in_text(served: Served, cli: Cli, tmp_path: Path) -> None:
    _task(tmp_path, [text_sample(f"s{i}", f"What is the capital of {i}?") for i in range(4)])
    for out in ("first", "second"):
        done = cli(*_command(served.spec(served.text)), "--out", out)
        assert done.code == 0, done.err
        assert done.json["tasks"]["mine/demo"]["metrics"]["selection"]["n"] == 4
    first = _texts(tmp_path / "first")
    assert all(text.strip() for text in first.values())
    assert _texts(tmp_path / "second") == first, "at temperature 0 an answer is the same again"


def test_a_served_model_sees_images(served: Served, cli: Cli, tmp_path: Path) -> None:
    _task(tmp_path, [medium_sample(name, "image", f"{name}.png") for name in ("red", "noise")])
    done = cli(*_command(served.spec(served.vision)), "--out", "run")
    assert done.code == 0, done.err
    texts = _texts(tmp_path / "run")
    assert texts["red"] != texts["noise"], "the same question about another picture"


@pytest.mark.parametrize("kind", ["text", "vision"] if full("engines") else ["vision"])
def test_a_served_judge_without_sense_leaves_everything_unscored(
    kind: str, served: Served, cli: Cli, tmp_path: Path
) -> None:
    """Random weights give no verdict: the run ends, with all that was answered, and INVALID."""
    ids = [f"s{i}" for i in range(3)]
    _task(tmp_path, [text_sample(i) for i in ids], "synergy_rubric")
    write_jsonl(tmp_path / "out.jsonl", answers(ids))
    judge = f"synergy_rubric={served.spec(served.judges[kind])}"
    command = ["score", "--outputs", "out.jsonl", "--tasks", "mine/demo", "--include", "mine"]
    done = cli(*command, "--judge", judge, "--json", "--out", "run")
    assert done.code == 1, done.err
    metric = done.json["tasks"]["mine/demo"]["metrics"]["synergy"]
    assert (metric["value"], metric["n"], metric["failed"], metric["unscored"]) == (None, 3, 0, 3)
    assert "INVALID: 3 of 3 samples are unscored" in done.err
    rows = (tmp_path / "run/mine/demo/records.jsonl").read_bytes().splitlines()
    for row in map(json.loads, rows):
        assert "no usable verdict" in row["scores"]["synergy"]["explanation"]


def test_a_server_a_folder_and_a_gguf_file_of_one_checkpoint_answer_alike(
    served: Served, tmp_path: Path
) -> None:
    """The same prompts in tokens, the same answers, the same ends. (`</s>` in a question is a control
    token to this server, and words to us.)"""
    prompts = ["What is the capital of France?", "naïve 🙂 2024", " Draw a lighthouse.\n"]
    requests = [
        Request("mine/demo", f"s{i}", 0, user(prompt), Sampling(max_new_tokens=6 + i))
        for i, prompt in enumerate(prompts)
    ]
    store = MediaStore(tmp_path / "media")

    async def answers(model: Model) -> list[Response]:
        model.load()
        try:
            return await answers_of(model, requests, store)
        finally:
            await model.close()

    gguf = write_gguf(served.text, tmp_path / "tiny.gguf")
    specs = (served.spec(served.text), str(served.text), str(gguf))
    server, folder, file = (asyncio.run(answers(resolve(spec, {}))) for spec in specs)
    assert [a.text for a in server] == [a.text for a in folder] == [a.text for a in file]
    assert [a.usage for a in server] == [a.usage for a in folder] == [a.usage for a in file]
    assert [a.stop_reason for a in server] == [a.stop_reason for a in folder]


@pytest.mark.usefixtures("short_pauses")
def test_a_model_that_the_server_does_not_have_leaves_samples_pending(
    served: Served, cli: Cli, tmp_path: Path
) -> None:
    """This server answers 500 for it (5.23, offline), which may pass: no score, and exit 4."""
    _task(tmp_path, [text_sample("s0")])
    done = cli(*_command(f"openai/no-such-model@{served.url}/v1"), "--out", "run")
    assert done.code == 4
    assert "1 samples are pending" in done.err
    assert "no-such-model" in done.err
