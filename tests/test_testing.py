"""`check_model`: our own models pass it, and every promise that a model can break has its message."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import eval_anything as ea
from eval_anything.errors import UserError
from eval_anything.models.agent.grammar import render
from eval_anything.testing import check_model
from tests.support.agent_server import plan
from tests.support.agents import DRAWN, replayed, write_agent
from tests.support.helpers import answers, make_task, png, text_sample, write_jsonl
from tests.support.scripted_server import says, serve
from tests.support.tiny import tiny_llama

MINE: dict[str, Any] = {"tasks": "mine/demo", "include": ["tasks"]}


@pytest.fixture(autouse=True)
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task with four samples of text, in the current directory."""
    monkeypatch.chdir(tmp_path)
    make_task(tmp_path / "tasks", samples=[text_sample(f"s{i}", f"Question {i}?") for i in range(4)])


# --- our own ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_micro_passes() -> None:
    assert len(check_model("micro", tasks="understanding", samples=2)) == 2


@pytest.mark.slow
def test_a_checkpoint_passes(tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "model")
    check_model(f"hf/{path}", samples=2, model_args={"max_new_tokens": "8"}, **MINE)


def test_saved_outputs_pass(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", answers([f"s{i}" for i in range(4)], "Paris"))
    assert [r.text for r in check_model("replay/rows.jsonl", **MINE)] == ["Paris"] * 4


def test_a_model_on_a_server_passes() -> None:
    with serve(lambda number, body: says(str(body["messages"][-1]["content"])[-12:])) as server:
        responses = check_model(server.spec(), concurrency=2, **MINE)
    assert ["Question" in response.text for response in responses] == [True] * 4


def test_an_agent_passes(tmp_path: Path) -> None:
    drawn = [render(plan(text=f"Number {i}.", image=f"{i} cats")) for i in range(4)]
    write_agent(tmp_path, replayed(tmp_path, *drawn), {"image": DRAWN})
    responses = check_model("agent/agent.yaml", **MINE)
    assert [[part.modality for part in response.parts] for response in responses] == [
        [ea.Modality.TEXT, ea.Modality.IMAGE]
    ] * 4


# --- what others get wrong ----------------------------------------------------------------------


class Good(ea.Model):
    """Repeats the question, and a number that is drawn from the seed of the request."""

    name = "good"
    batch_size = 3

    def weights(self) -> str:
        return "1"

    async def generate(self, requests: Sequence[ea.Request], store: ea.MediaStore) -> list[ea.Response]:
        return [self.answer(request, store) for request in requests]

    def answer(self, request: ea.Request, store: ea.MediaStore) -> ea.Response:
        number = random.Random(request.seed).random() if request.sampling.temperature else 0
        return ea.Response((ea.TextPart(f"{request.messages[-1].text} {number}"),))


class Unseeded(Good):
    def answer(self, request: ea.Request, store: ea.MediaStore) -> ea.Response:
        number = random.random() if request.sampling.temperature else 0
        return ea.Response((ea.TextPart(f"{request.messages[-1].text} {number}"),))


class Batched(Good):
    async def generate(self, requests: Sequence[ea.Request], store: ea.MediaStore) -> list[ea.Response]:
        return [ea.Response((ea.TextPart(str(len(requests))),)) for _ in requests]


class Disordered(Good):
    async def generate(self, requests: Sequence[ea.Request], store: ea.MediaStore) -> list[ea.Response]:
        return [self.answer(request, store) for request in reversed(requests)]


class Short(Good):
    async def generate(self, requests: Sequence[ea.Request], store: ea.MediaStore) -> list[ea.Response]:
        return [self.answer(requests[0], store)]


class Texts(Good):
    async def generate(self, requests: Sequence[ea.Request], store: ea.MediaStore) -> Any:
        return ["blue" for _ in requests]


class Broken(Good):
    def answer(self, request: ea.Request, store: ea.MediaStore) -> ea.Response:
        return ea.Response((store.put(png(noise=1)[:200], ea.Modality.IMAGE),))


class Failing(Good):
    def answer(self, request: ea.Request, store: ea.MediaStore) -> ea.Response:
        raise KeyError("no head")


class Random(Good):
    def weights(self) -> str:
        return str(random.random())


class Nameless(Good):
    name = ""


class Empty(Good):
    batch_size = 0


class Listening(Good):
    inputs = ("smell",)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Unseeded, "sample s0, at temperature 1, depends on its batch or on earlier requests"),
        (Batched, "sample s0, at temperature 0, depends on its batch"),
        (Disordered, "depends on its batch"),
        (Short, "was asked for 3 Responses and returned 1"),
        (Texts, r"returned 3 \(str\): it must return one a request"),
        (Broken, "an answer has a medium that cannot be read"),
        (Failing, "no sample is answered. The first: KeyError: 'no head'"),
        (Random, "differs between two instances: no run resumes"),
        (Nameless, "Nameless.name is empty"),
        (Empty, "Empty.batch_size must be at least 1, not 0"),
        (Listening, "Listening.inputs"),
    ],
)
def test_a_broken_promise_is_named(model: type[ea.Model], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_model(model, **MINE)


def test_a_good_model_passes_and_may_answer_differently_if_that_is_said() -> None:
    responses = check_model(Good, **MINE)
    assert [response.text for response in responses] == [f"Question {i}? 0" for i in range(4)]
    check_model(Unseeded, repeatable=False, **MINE)


def test_an_unknown_spec_is_an_error() -> None:
    with pytest.raises(UserError, match="unknown model 'no_such_model'"):
        check_model("no_such_model", **MINE)
