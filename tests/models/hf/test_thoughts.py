"""Local reasoning models: their thoughts are kept apart and never scored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval_anything.content import Usage
from eval_anything.models.checked import checked
from tests.support.asking import ask, loaded, user
from tests.support.helpers import Cli, make_task, text_sample
from tests.support.tiny import CHAT, tiny_writer

THINKS = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:<think>\n"
HARMONY = ["<|channel|>", "<|message|>", "<|end|>", "<|start|>"]
QUESTION = [user("What is the capital of France?"), user("And of Italy? " * 9)]


@pytest.mark.parametrize(
    ("tokens", "special", "template"),
    [
        (["<think>", "hm", "</think>", "Paris"], [], CHAT),
        (["<think>", "hm", "</think>", "Paris"], ["<think>", "</think>"], CHAT),
        (["hm", "</think>", "Paris"], [], CHAT),
        (["hm", "</think>", "Paris"], ["<think>"], THINKS),
        (["hm", "</think>", "Paris"], [], THINKS),
        (["[THINK]", "hm", "[/THINK]", "Paris"], ["[THINK]", "[/THINK]"], CHAT),
        (["◁think▷", "hm", "◁/think▷", "Paris"], [], CHAT),
        (
            [
                *("<|channel|>", "analysis", "<|message|>", "hm"),
                *("<|end|><|start|>assistant", "<|channel|>final", "<|message|>Paris"),
            ],
            HARMONY,
            CHAT,
        ),
    ],
)
def test_thoughts_are_no_part_of_the_answer(
    tmp_path: Path, tokens: list[str], special: list[str], template: str
) -> None:
    model = loaded(tiny_writer(tmp_path / "model", tokens, special, template))
    for response in ask(model, QUESTION, tmp_path):
        assert response.text == "Paris"
        assert response.details == {"thoughts": "hm"}
        assert (response.stop_reason, response.usage.output) == ("stop", len(tokens) + 1)


@pytest.mark.parametrize(
    ("tokens", "template"),
    [(["<think>", "hm", "what", "Par", "is"], CHAT), (["hm", "what", "Par", "is", "so"], THINKS)],
)
def test_thoughts_that_take_all_tokens_are_an_empty_output_that_says_so(
    tmp_path: Path, tokens: list[str], template: str
) -> None:
    model = loaded(tiny_writer(tmp_path / "model", tokens, [], template), max_new_tokens="4")
    [response] = map(checked, ask(model, QUESTION[:1], tmp_path))
    assert response.parts == ()
    assert response.error is not None
    assert response.error.kind == "empty_output"
    assert "its thoughts took all tokens (finish reason length, 4 tokens)" in response.error.message
    assert "max_new_tokens" in response.error.message
    assert response.details["thoughts"].startswith("hm")


def test_marks_inside_of_an_answer_are_words(tmp_path: Path) -> None:
    model = loaded(tiny_writer(tmp_path / "model", ["Write", "<think>", "hm", "</think>", "first"]))
    [response] = ask(model, QUESTION[:1], tmp_path)
    assert response.text == "Write<think>hm</think>first"
    assert response.details == {}


def test_a_run_scores_the_answer_and_records_the_thoughts(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, samples=[text_sample("s0", "Q0")])
    tiny_writer(tmp_path / "model", ["<think>", "hm", "</think>", "Paris"])
    done = cli("run", "--model", tmp_path / "model", "--tasks", "mine/demo", "--include", "mine",
               "--json", "--out", "r")  # fmt: skip
    assert done.code == 0, done.err
    [row] = [json.loads(line) for line in (tmp_path / "r/mine/demo/records.jsonl").open()]
    assert [part["text"] for part in row["parts"]] == ["Paris"]
    assert row["details"] == {"thoughts": "hm"}


def test_a_continuation_ends_after_the_thoughts(tmp_path: Path) -> None:
    """An ending inside of the thoughts ends nothing, and nothing of them is in the text."""
    import asyncio

    from eval_anything.media import MediaStore
    from eval_anything.models.base import Ending
    from tests.support.asking import requests_of

    path = tiny_writer(tmp_path / "model", ["<think>", "h\n", "m", "</think>", "Paris", "\n", "Rome"])
    text = loaded(path).text()
    assert text is not None
    ending = Ending(("\n",), 12)
    going = text.go_on(requests_of(QUESTION[:1]), ending, MediaStore(tmp_path))
    [response] = asyncio.run(going)
    assert not isinstance(response, Exception)
    assert response.text == "Paris"
    assert response.details == {"thoughts": "h\nm"}
    assert response.usage == Usage(response.usage.input, 6)
