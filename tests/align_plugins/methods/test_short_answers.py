"""Short answers are learned exactly with the templates of well-known families, by sft and by dpo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from align_plugins.data.rows import Demonstration
from align_plugins.methods.sft import answers_of
from eval_anything.answer_text import answer_text
from eval_anything.content import Message, TextPart
from tests.support.asking import ask, loaded, user
from tests.support.chat_templates import TEMPLATES, tiny_checkpoint, tiny_weights
from tests.support.configs import config
from tests.support.helpers import Cli, write_jsonl
from tests.support.lanes import full, only_in
from tests.support.tiny import tiny_llama, tiny_tokenizer

ANSWERS = {"What is it?": "hi", "And this?": "a", "Name one.": "<", "Which?": "think", "Who?": "| </s>"}
SHOWN = [answer_text(answer) for answer in ANSWERS.values()]
TAUGHT = {
    "learning_rate": 1e-2, "lr_scheduler_type": "constant", "per_device_train_batch_size": 8,
    "max_steps": 150, "logging_steps": 50,
}  # fmt: skip


def turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"modality": "text", "text": text}]}


def row(turns: Sequence[str], **responses: str) -> dict[str, Any]:
    """A row of a conversation, the first turn of which is the user's, with responses by field."""
    messages = [turn("assistant" if n % 2 else "user", text) for n, text in enumerate(turns)]
    return {
        "messages": messages,
        **{name: turn("", text)["parts"] for name, text in responses.items()},
    }


def demonstrations(folder: Path, answers: Mapping[str, str] = ANSWERS) -> Path:
    rows = [row([question], response=answer) for question, answer in answers.items()]
    return write_jsonl(folder / "rows.jsonl", rows)


def told(path: Path, questions: Sequence[str], store: Path, **arguments: str) -> list[str]:
    """What the checkpoint answers to each question."""
    return [r.text for r in ask(loaded(path, **arguments), [user(q) for q in questions], store)]


@pytest.mark.slow
@pytest.mark.learning
@pytest.mark.parametrize("name", TEMPLATES if full("learning") else ["GLM-4.5"])
def test_a_short_answer_is_given_as_it_was_learned(cli: Cli, tmp_path: Path, name: str) -> None:
    weights = tiny_weights(tmp_path / "weights")
    model = tiny_checkpoint(tmp_path / "model", weights, TEMPLATES[name])
    path = config(tmp_path, demonstrations(tmp_path), model=str(model), **TAUGHT)
    done = cli("train", "sft", "--config", path)
    assert done.code == 0, done.err
    assert "learned of the answer 'Hello'" in done.err
    final = tmp_path / "out" / "final"
    assert told(final, list(ANSWERS), tmp_path) == SHOWN


@pytest.mark.slow
@only_in("learning")
@pytest.mark.learning
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_short_answer_is_preferred(cli: Cli, tmp_path: Path, name: str) -> None:
    weights = tiny_weights(tmp_path / "weights")
    model = tiny_checkpoint(tmp_path / "model", weights, TEMPLATES[name])
    rows = [row([q], chosen=answer, rejected="no") for q, answer in ANSWERS.items()]
    more = {**TAUGHT, "nll_weight": 1.0, "beta": 0.1}
    path = config(tmp_path, write_jsonl(tmp_path / "rows.jsonl", rows), model=str(model), **more)
    done = cli("train", "dpo", "--config", path)
    assert done.code == 0, done.err
    assert told(tmp_path / "out" / "final", list(ANSWERS), tmp_path) == SHOWN


def test_each_answer_of_a_conversation_is_one_to_what_is_before_it() -> None:
    messages = tuple(
        Message(role, (TextPart(text),))
        for role, text in (
            ("system", "Be brief."), ("assistant", "Hello."), ("user", "a"), ("assistant", "a"),
            ("assistant", "b"), ("user", "a"), ("assistant", "a"), ("user", "c"),
        )
    )  # fmt: skip
    row = Demonstration(id="d", messages=messages, source_id="s", response=(TextPart("e"),))
    answers = [(len(a.messages), a.response, a.id) for a in answers_of(row)]
    assert answers == [(n, (TextPart(text),), "d") for n, text in ((3, "a"), (6, "a"), (8, "e"))]


@pytest.mark.slow
def test_the_answers_of_a_conversation_are_learned_by_choice(cli: Cli, tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path / "weights")
    model = tiny_checkpoint(tmp_path / "model", weights, TEMPLATES["Qwen3"])
    rows = [row(["What is it?", "hi", "And this?"], response="a"), row(["Who?"], response="me")]
    path = config(tmp_path, write_jsonl(tmp_path / "rows.jsonl", rows), model=str(model), **TAUGHT)
    done = cli("train", "sft", "--config", path, "max_steps=1")
    assert done.code == 0, done.err
    assert "learn: last: 1 of 2 rows have several answers, 3 in all; the last of each" in done.err
    assert "sft: 2 rows" in done.err
    done = cli("train", "sft", "--config", path, "learn=all", "out=all")
    assert done.code == 0, done.err
    assert "learn: all: 1 of 2 rows have several answers, 3 in all; each is learned" in done.err
    assert "sft: 3 rows" in done.err
    assert told(tmp_path / "all" / "final", ["What is it?", "Who?"], tmp_path) == ["hi", "me"]


@pytest.mark.slow
def test_a_base_model_goes_on_with_text_though_its_tokenizer_ends_it(cli: Cli, tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    model = tiny_llama(tmp_path / "model")
    (model / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer = tiny_tokenizer()
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.save_pretrained(model)
    path = config(tmp_path, demonstrations(tmp_path), model=str(model), **TAUGHT)
    refused = cli("train", "sft", "--config", path)
    assert refused.code == 2
    assert "chat_template: none" in refused.err
    done = cli("train", "sft", "--config", path, "chat_template=none")
    assert done.code == 0, done.err
    final = tmp_path / "out" / "final"
    assert told(final, list(ANSWERS), tmp_path, chat_template="none") == SHOWN


def test_a_row_that_the_template_refuses_is_named(cli: Cli, tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path / "weights")
    model = tiny_checkpoint(tmp_path / "model", weights, TEMPLATES["Gemma 2"])
    rows = [row(["Who?"], response="me"), row(["Who?"], response="me") | {"id": "second"}]
    rows[1]["messages"].insert(0, turn("system", "Be brief."))
    path = config(tmp_path, write_jsonl(tmp_path / "rows.jsonl", rows), model=str(model))
    done = cli("train", "sft", "--config", path)
    assert done.code == 2
    assert "row 'second': the chat template refuses this conversation: System role not" in done.err
