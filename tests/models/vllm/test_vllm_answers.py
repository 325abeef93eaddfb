"""Answers of vLLM beside those of transformers, for the same checkpoint in the same process."""

from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Message, Modality, Response, TextPart
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request, Sampling
from eval_anything.models.hf import TransformersModel
from eval_anything.models.vllm import VllmModel
from tests.support.helpers import png
from tests.support.tiny import tiny_llama
from tests.support.tiny_media import tiny_llava

pytestmark = [pytest.mark.slow, pytest.mark.engines]

NEW = 24
QUESTIONS = [f"What is the capital of France, and why {i}?" + " and" * (3 * i) for i in range(12)]


@pytest.fixture(scope="module", autouse=True)
def _engine() -> None:
    """Skips where there is no vLLM, in CI too: it has an environment of its own."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed in this environment (docs/models.md, vLLM)")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """Both engines with EVAL_ANYTHING_CHECKPOINT, or with a tiny Llama."""
    path = Path(os.environ.get("EVAL_ANYTHING_CHECKPOINT", ""))
    if not (path / "config.json").is_file():
        path = tiny_llama(tmp_path_factory.mktemp("llama") / "tiny")
    shared = {"max_new_tokens": str(NEW), "dtype": "float32"}
    loaded = {
        "hf": TransformersModel.from_spec(str(path), path, shared),
        "vllm": VllmModel.from_spec(
            f"vllm/{path}", path, {**shared, "enforce_eager": "true", "max_model_len": "1024"}
        ),
    }
    for model in loaded.values():
        model.load()
    return loaded


def ask(model: Model, folder: Path, sampling: Sampling, questions: Any = QUESTIONS) -> list[Response]:
    asked = [
        Request("t", str(i), 0, (Message("user", (TextPart(q),)),), sampling)
        for i, q in enumerate(questions)
    ]
    return asyncio.run(model.generate(asked, MediaStore(folder)))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(repetition_penalty=1.3),
        Sampling(presence_penalty=0.7, frequency_penalty=0.4),
        Sampling(stop=["a"]),
        Sampling(max_new_tokens=5, system="Be brief."),
    ],
    ids=["plain", "repetition", "counts", "stop", "short"],
)
def test_greedy_answers_are_those_of_transformers(
    models: dict[str, Model], sampling: Sampling, tmp_path: Path
) -> None:
    ours, theirs = (ask(models[name], tmp_path, sampling) for name in ("hf", "vllm"))
    assert [r.usage.input for r in ours] == [r.usage.input for r in theirs]
    equal = sum(
        (a.text, a.stop_reason) == (b.text, b.stop_reason) for a, b in zip(ours, theirs, strict=True)
    )
    print(f"{sampling.kind}: {equal} of {len(ours)} equal")
    # Sums of another order may turn the choice between two tokens that are close.
    assert equal >= len(ours) - 1, [(a.text, b.text) for a, b in zip(ours, theirs, strict=True)]


def test_draws_depend_on_the_seed_of_their_sample_alone(
    models: dict[str, Model], tmp_path: Path
) -> None:
    sampling = Sampling(0.9, seed=3, top_k=50)
    together = [r.text for r in ask(models["vllm"], tmp_path, sampling)]
    assert [r.text for r in ask(models["vllm"], tmp_path, sampling, QUESTIONS[:3])] == together[:3]
    assert [r.text for r in ask(models["vllm"], tmp_path, Sampling(0.9, seed=4, top_k=50))] != together


def test_images(tmp_path: Path) -> None:
    path = tiny_llava(tmp_path / "llava")
    part = MediaStore(tmp_path / "store").put(png(size=28), Modality.IMAGE)
    request = Request("t", "s", 0, (Message("user", (part, TextPart("What?"))),), Sampling())
    shared = {"max_new_tokens": "8", "dtype": "float32"}
    answers = []
    for cls, more in ((TransformersModel, {}), (VllmModel, {"enforce_eager": "true"})):
        model = cls.from_spec(str(path), path, {**shared, **more})
        model.load()
        [response] = asyncio.run(model.generate([request], MediaStore(tmp_path / "media")))
        assert response.error is None, response.error
        answers.append((response.usage.input, response.text))
    assert answers[0] == answers[1]
