"""What is learned of an answer with the chat templates of well-known families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from align_plugins.losses.sft import sft_loss
from align_plugins.policies import policy_of
from eval_anything.answer_text import answer_text
from eval_anything.content import Message, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from tests.support.asking import ask, loaded, user
from tests.support.chat_templates import TEMPLATES, table, tiny_checkpoint, tiny_policies
from tests.support.families import asked
from tests.support.paths import ROOT

IM = TEMPLATES["ChatML (Qwen2.5)"]


def said(*turns: str) -> tuple[Message, ...]:
    """A conversation of these turns, the first and the last of the user."""
    return tuple(
        Message("assistant" if place % 2 else "user", (TextPart(text),))
        for place, text in enumerate(turns)
    )


def learned(policy: Any, messages: Sequence[Message], answer: str) -> str:
    """The tokens that are learned of an answer, as text."""
    row = policy.encode(messages, (TextPart(answer),))
    stops = [place for place, token in enumerate(row.response) if token in policy._family.stop]
    assert stops == [len(row.response) - 1]  # generation ends with the end, and nowhere before
    return str(policy._family.tokenizer.decode(row.response))


def asked_with(policy: Any, messages: Sequence[Message]) -> str:
    """The prompt that is learned with an answer, which is that of generation."""
    prompt = policy.encode(messages, (TextPart("hi"),)).prompt
    return str(policy._family.tokenizer.decode(prompt))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("templates")


@pytest.fixture(scope="module")
def policies(folder: Path) -> dict[str, Any]:
    """A policy for each template."""
    return tiny_policies(folder)


Make = Callable[..., Any]


@pytest.fixture
def make(policies: Any, folder: Path, tmp_path: Path) -> Make:
    """Makes the policy of a template."""

    def made(template: str) -> Any:
        chat = IM._replace(template=template)
        policy = policy_of(str(tiny_checkpoint(tmp_path / "model", folder / "weights", chat)))
        policy.load()
        return policy

    return made


each_template = pytest.mark.parametrize("name", TEMPLATES)


ANSWERS = (
    *("hi", "a", "<", "|", ".", "think", "assistant", "user", "model", "What?", "xAnswerX", "final"),
    *("</s>", "<|im_end|>", "<s>[INST] x [/INST]", "<end_of_turn>", "e\u0301 \u00df \u4f60\u597d 🦆"),
)


@each_template
def test_the_answer_and_its_end_are_learned(policies: Any, name: str) -> None:
    chat = TEMPLATES[name]
    for answer in ANSWERS:
        assert learned(policies[name], asked(TextPart("What?")), answer) == chat.head + answer + chat.end


@each_template
def test_blanks_are_learned_as_the_template_writes_them(policies: Any, name: str) -> None:
    chat = TEMPLATES[name]
    for answer in ("", "\n", " hi ", "\n\nhi\n"):
        text = learned(policies[name], asked(TextPart("What?")), answer)
        inner = text.removeprefix(chat.head).removesuffix(chat.end)
        assert text == chat.head + inner + chat.end
        assert inner.strip() == answer.strip()
        if name.startswith(("ChatML", "Phi", "Zephyr", "Mistral v7", "gpt-oss")):  # as it is
            assert inner == answer


@each_template
def test_generation_asks_with_the_prompt_that_is_learned(policies: Any, name: str) -> None:
    from eval_anything.models.base import Request, Sampling

    chat, policy = TEMPLATES[name], policies[name]
    for messages in (
        said("What?"),
        said("a", "a", "a"),
        said("hi", "<think>\nHm\n</think>\n\nhi", "hi"),
    ):
        row = policy.encode(messages, (TextPart("a"),))
        assert row.prompt == policy._family.prompt(Request("", "", 0, messages, Sampling())).data
        assert asked_with(policy, messages).endswith(chat.ends_with)
        assert learned(policy, messages, "a") == chat.head + "a" + chat.end


@each_template
def test_a_system_message_is_asked_with_or_refused(policies: Any, name: str) -> None:
    chat, policy = TEMPLATES[name], policies[name]
    messages = (Message("system", (TextPart("Be brief."),)), *said("What?", "hi", "Why?"))
    if not chat.system:
        with pytest.raises(ValueError, match="refuses this conversation: System role not supported"):
            policy.encode(messages, (TextPart("hi"),))
        return
    assert "Be brief." in asked_with(policy, messages)
    assert learned(policy, messages, "hi") == chat.head + "hi" + chat.end


@each_template
def test_the_answer_is_read_back(policies: Any, name: str, tmp_path: Path) -> None:
    policy, store = policies[name], MediaStore(tmp_path)
    for answer in ("hi", "a <b> c", "assistant"):
        row = policy.encode(asked(TextPart("What?")), (TextPart(answer),))
        assert policy.decode(row.response, store) == (TextPart(answer),)


@pytest.mark.parametrize(
    ("name", "answer", "right"),
    [
        ("Qwen3", "<think>\nHm.\n</think>\n\nhi", "<think>\nHm.\n</think>\n\nhi<|im_end|>"),
        ("Qwen3-Thinking", "<think>\nHm.\n</think>\n\nhi", "Hm.\n</think>\n\nhi<|im_end|>"),
        ("DeepSeek-R1", "<think>Hm.</think>hi", "Hm.</think>hi<｜end▁of▁sentence｜>"),  # noqa: RUF001
        ("ChatML (Qwen2.5)", "<think>Hm.</think>hi", "<think>Hm.</think>hi<|im_end|>"),
    ],
)
def test_thoughts_of_an_answer_are_learned(
    policies: Any, tmp_path: Path, name: str, answer: str, right: str
) -> None:
    policy = policies[name]
    assert learned(policy, asked(TextPart("What?")), answer) == right
    row = policy.encode(asked(TextPart("What?")), (TextPart(answer),))
    assert policy.decode(row.response, MediaStore(tmp_path)) == (TextPart("hi"),)


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        ("Qwen3", "Close with </think> then", "leaves the answer out or changes its text"),
        ("gpt-oss (Harmony)", "<|channel|>final", "refuses this conversation: channel tags"),
        ("DeepSeek-R1", "[THINK]Hm[/THINK]hi", "opens thoughts with <think>, the answer with another"),
    ],
)
def test_an_answer_that_the_template_changes_is_refused(
    policies: Any, name: str, answer: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        policies[name].encode(asked(TextPart("What?")), (TextPart(answer),))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ m.content | upper }}", "changes its text"),
        ("{{ m.content }} {{ m.content }}", "repeats it"),
        ("{% if m.role == 'user' %}{{ m.content }}{% endif %}", "leaves the answer out"),
        ("<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n", "its prompt lacks it"),
        ("{{ m.role }}: {{ m.content }}\n", "its prompt lacks it"),
        ("{{ 'bot: ' if m.role == 'assistant' }}{{ m.content }}\n", "something else before an answer"),
        ("{{ raise_exception('not for chats') }}", "refuses this conversation: not for chats"),
        ("{{ m.content }}<|channel|>analysis<|message|>", "which no answer can follow"),
    ],
)
def test_a_template_without_a_place_for_answers_is_refused_at_once(
    make: Make, template: str, message: str
) -> None:
    opening = "{% if add_generation_prompt %}ai: {% endif %}" if "bot" in template else ""
    with pytest.raises(UserError, match=message):
        make("{% for m in messages %}" + template + "{% endfor %}" + opening).learned_example()


@pytest.mark.parametrize("name", ["Qwen3", "gpt-oss (Harmony)"])
def test_after_150_steps_an_evaluation_gets_the_answers(
    policies: Any, tmp_path: Path, name: str
) -> None:
    """Batches and losses are those of `sft`; test_short_answers.py does it by the command."""
    from torch.optim import AdamW

    policy: Any = policy_of(policies[name].spec)
    policy.load()
    answers = {"What is it?": "hi", "And this?": "a", "Name one.": "<", "Who?": "| <|im_end|>"}
    rows = [policy.encode(asked(TextPart(q)), (TextPart(a),)) for q, a in answers.items()]
    batch = policy.collate(rows)
    optimiser = AdamW(policy.model.parameters(), lr=1e-2, fused=True)
    for _ in range(150):
        optimiser.zero_grad()
        sft_loss(policy.logprobs(batch)).backward()
        optimiser.step()
    prompts = [user(question) for question in answers]
    written = policy.respond(prompts, [0] * len(rows), temperature=0.0, max_new_tokens=32)
    assert [one.ids for one in written] == [row.response for row in rows]
    policy.model.save_pretrained(tmp_path / "model")
    policy.save_beside(tmp_path / "model")
    model = loaded(tmp_path / "model", max_new_tokens="32")
    assert [r.text for r in ask(model, prompts, tmp_path)] == [
        answer_text(answer) for answer in answers.values()
    ]


def test_the_example_says_what_is_learned(policies: Any) -> None:
    assert policies["Zephyr"].learned_example() == "learned of the answer 'Hello': 'Hello</s>'"
    assert policies["Qwen3"].learned_example() == (
        r"learned of the answer 'Hello': '<think>\n\n</think>\n\nHello<|im_end|>' "
        r"('<think>\n\n</think>\n\n' is not in the prompt, so the model writes it)"
    )


def test_the_table_in_the_docs_is_that_of_the_templates(policies: Any) -> None:
    page = (ROOT / "docs" / "chat_templates.md").read_text("utf-8")
    assert page.endswith(f"|---|---|---|---|---|\n{table(policies)}\n")
