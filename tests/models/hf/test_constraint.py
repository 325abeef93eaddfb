"""Answers held to a JSON schema, in the tokens of real tiny checkpoints whose weights make no sense."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import torch

from eval_anything.content import Message, Modality, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.agent.instructions import AgentInstructions, plan_schema
from eval_anything.models.agent.plan_parser import read_json
from eval_anything.models.base import Request, Sampling
from eval_anything.models.hf import TransformersModel
from eval_anything.models.local import constraint
from eval_anything.models.local.constraint import Grammars
from tests.support.agents import agent, answers, request, write_agent
from tests.support.missing import missing
from tests.support.tiny import tiny_tokenizer

SCHEMA = plan_schema(AgentInstructions("", {Modality.IMAGE: "a picture"}, (), 2, 5))
END = 2


@pytest.fixture(autouse=True)
def _library(request: pytest.FixtureRequest) -> None:
    if "without_the_library" not in request.node.name and find_spec("llguidance") is None:
        missing("llguidance is not installed: pip install '.[constrained]'")


@pytest.fixture(scope="module")
def thinker() -> Any:
    """A tokenizer with the marks of thoughts, which are no special tokens, as in Qwen's."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<think>", "</think>"])
    return tokenizer


@pytest.fixture
def checkpoint(tiny: Path) -> TransformersModel:
    model = TransformersModel(str(tiny), tiny, {"max_new_tokens": "120"})
    model.load()
    return model


Scores = Callable[[int], torch.Tensor]


def written(grammars: Grammars, opened: Sequence[bool | None], scores: Scores, most: int) -> list[Any]:
    """Token ids of greedy answers to prompts of one token, from the scores at each step."""
    ids = torch.full((len(opened), 1), 5)
    process = grammars.processor([SCHEMA] * len(opened), opened)
    for step in range(most):
        chosen = process(ids, scores(step)).argmax(1)
        ended = [END in row[1:].tolist() for row in ids]
        chosen = torch.where(torch.tensor(ended), END, chosen)
        ids = torch.cat([ids, chosen[:, None]], 1)
    return [row[1:].tolist() for row in ids]


def noise(rows: int, size: int) -> Scores:
    generator = torch.Generator().manual_seed(0)
    return lambda step: torch.randn(rows, size, generator=generator)


def test_random_scores_make_an_answer_of_the_schema() -> None:
    tokenizer = tiny_tokenizer()
    grammars = Grammars(tokenizer, [END], "here")
    # More scores than tokens, as where a checkpoint's embeddings are padded.
    rows = written(grammars, [None] * 20, noise(20, len(tokenizer) + 7), 90)
    for ids in rows:
        assert END in ids
        text = tokenizer.decode(ids[: ids.index(END)])
        jsonschema.validate(json.loads(text), dict(SCHEMA))
        assert all(1 <= len(part["content"]) <= 5 for part in json.loads(text)["parts"])


def test_thoughts_are_free(thinker: Any) -> None:
    grammars = Grammars(thinker, [END], "here")
    opening, closing = (thinker.convert_tokens_to_ids(mark) for mark in ("<think>", "</think>"))
    draw = noise(3, len(thinker))

    def scores(step: int) -> torch.Tensor:
        logits = draw(step)
        logits[:, END] = -50.0
        if step == 0:  # the first begins to think by itself, the second was begun by its prompt
            logits[:, opening] = torch.tensor([50.0, 0.0, -50.0])
        if step == 6:
            logits[:, closing] = 50.0
        return logits

    rows = written(grammars, [None, True, None], scores, 100)
    for ids in rows[:2]:
        assert ids[6] == closing
        answer = thinker.decode(ids[7 : ids.index(END)])
        jsonschema.validate(json.loads(answer), dict(SCHEMA))
    assert closing not in rows[2]
    assert read_json(thinker.decode(rows[2][: rows[2].index(END)])).plan


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_answers_are_held_and_do_not_depend_on_their_batch(
    checkpoint: TransformersModel, temperature: float, tmp_path: Path
) -> None:
    def ask(*asked: Request) -> list[str]:
        return [r.text for r in asyncio.run(checkpoint.generate(asked, MediaStore(tmp_path)))]

    sampling = Sampling(temperature, max_new_tokens=90)
    free = [
        Request("t", str(i), 0, (Message("user", (TextPart("hi" * i),)),), sampling) for i in (1, 2, 3)
    ]
    held = [msgspec.structs.replace(r, schema=SCHEMA) for r in free]
    alone = [ask(r)[0] for r in held]
    for text in alone:
        jsonschema.validate(json.loads(text), dict(SCHEMA))
    mixed = ask(held[0], free[1], held[2])
    assert mixed == [alone[0], ask(free[1])[0], alone[2]]


def test_an_agent_of_a_senseless_checkpoint_plans(tiny: Path, tmp_path: Path) -> None:
    file = write_agent(
        tmp_path, str(tiny), most_parts=2, most_characters=8, arguments={"max_new_tokens": 150}
    )
    responses = answers(file, request(), request("What is this?", "s1"))
    assert [response.error for response in responses] == [None, None]
    assert all(response.details["form"] == "json" and response.parts for response in responses)
    model = agent(file)
    assert model.arguments["form"] == "json"
    assert "held to their JSON schema" in model.check_sampling(Sampling())[-1]


def test_a_schema_that_the_library_refuses(checkpoint: TransformersModel) -> None:
    with pytest.raises(UserError, match=r"llguidance refuses the JSON schema: .*look-around"):
        checkpoint.check_schema({"type": "string", "pattern": "(?<=a)b"})


def test_a_tokenizer_that_the_library_cannot_read() -> None:
    class Slow:
        added_tokens_decoder: dict[int, Any] = {}

    with pytest.raises(UserError, match="here: llguidance cannot read its tokenizer"):
        Grammars(Slow(), [END], "here")


def test_an_agent_without_the_library(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sections of text in place of the schema, and the run says so; a schema that was asked for is
    refused, with the command that installs what lacks."""
    monkeypatch.setattr(constraint, "find_spec", lambda name: None)
    model = agent(write_agent(tmp_path, str(tiny)))
    assert model.arguments["form"] == "text"
    [note] = model.check_sampling(Sampling())
    assert "pip install '.[constrained]'" in note
    with pytest.raises(UserError, match=r"form: json does not work.*llguidance"):
        agent(write_agent(tmp_path, str(tiny), form="json"))
    with pytest.raises(UserError, match="form: tools does not work"):
        agent(write_agent(tmp_path, str(tiny), form="tools"))
