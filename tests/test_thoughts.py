"""Thoughts before an answer: every family's marks, with and without their opening, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_anything.thoughts import SplitText, nothing_but, opens_thoughts, split_thoughts

PAIRS = [
    ("<think>", "</think>"),
    ("<think>\n", "\n</think>\n\n"),
    ("\n<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    (
        "<|start|>assistant<|channel|>analysis<|message|>",
        "<|start|>assistant<|channel|>final<|message|>",
    ),
    ("analysis", "assistantfinal"),
]


@pytest.mark.parametrize(("opening", "closing"), PAIRS)
def test_thoughts_are_no_part_of_the_answer(opening: str, closing: str) -> None:
    assert split_thoughts(f"{opening}The capital?{closing}Paris") == SplitText("Paris", "The capital?")


@pytest.mark.parametrize(("opening", "closing"), PAIRS[:-1])
def test_thoughts_that_never_end_leave_no_answer(opening: str, closing: str) -> None:
    split = split_thoughts(f"{opening}The capital? It is Par")
    assert split == SplitText("", "The capital? It is Par", unfinished=True)


@pytest.mark.parametrize("closing", ["</think>", "[/THINK]", "◁/think▷", "</seed:think>"])
@pytest.mark.parametrize("opened", [None, True])
def test_the_opening_mark_may_be_in_the_prompt(closing: str, opened: bool | None) -> None:
    text = f"The capital?\n{closing}\n\nParis"
    assert split_thoughts(text, opened) == SplitText("Paris", "The capital?")


READ: dict[str, tuple[str, str, str]] = {
    "nothing thought": ("<think>\n\n</think>\n\nParis", "Paris", ""),
    "nothing thought, the opening in the prompt": ("</think>\n\nParis", "Paris", ""),
    "twice": ("<think>one</think>\n<think>two</think>\nParis", "Paris", "one\n\ntwo"),
    "thoughts about marks": (
        "<think>The tag `</think>` ends it.</think>Use it.",
        "Use it.",
        "The tag `</think>` ends it.",
    ),
    "an answer about marks": ("<think>hm</think>Write </think> then", "Write </think> then", "hm"),
    "a comment": (
        "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>4",
        "4",
        "I look.",
    ),
    "no thoughts in harmony": ("<|channel|>final<|message|>Paris<|return|>", "Paris", ""),
    "blanks before the answer": ("<think>a</think>\n\n  Paris\n", "Paris\n", "a"),
}


@pytest.mark.parametrize("case", READ)
def test_reads(case: str) -> None:
    text, answer, thoughts = READ[case]
    assert split_thoughts(text) == SplitText(answer, thoughts)


WORDS = {
    "plain": "Paris",
    "in the middle": "A model writes <think>hm</think> first.",
    "in a span of code": "Close it with `</think>` and answer.",
    "in longer code": "Write `x </think> y` there.",
    "in quotation marks": 'Close it with "</think>" and answer.',
    "in a block of code": "```html\n<think>\nhm\n</think>\n```\nThat is all.",
    "code first": "```\nhm</think>\n```",
    "the opening alone": "Thoughts begin with <think>.",
    "other tags": "<b>bold</b> <answer>4</answer>",
    "analysis": "analysis of the final results",
    "nothing": "",
    "blanks": "  \n",
}


@pytest.mark.parametrize("case", WORDS)
def test_marks_elsewhere_are_words(case: str) -> None:
    assert split_thoughts(WORDS[case]) == SplitText(WORDS[case])


def test_a_server_that_told_thoughts_apart_leaves_no_closing_mark_alone() -> None:
    assert split_thoughts("Write </think> then", opened=False).answer == "Write </think> then"
    assert split_thoughts("</think>\nParis", opened=False).answer == "Paris"
    assert split_thoughts("<think>hm</think>Paris", opened=False) == SplitText("Paris", "hm")


def test_a_prompt_that_opened_thoughts() -> None:
    assert split_thoughts("hm, what", opened=True) == SplitText("", "hm, what", unfinished=True)
    harmony = "hm<|end|><|start|>assistant<|channel|>final<|message|>Paris"
    assert split_thoughts(harmony, opened=True) == SplitText("Paris", "hm")
    assert opens_thoughts("<|assistant|>\n<think>\n")
    assert opens_thoughts("<|start|>assistant<|channel|>analysis<|message|>")
    assert not opens_thoughts("<|assistant|>\n<think>\n\n</think>\n\n")
    assert not opens_thoughts("What is <think> for?")


@given(st.text(st.sampled_from('ab<think>/[]THINK◁▷|`\n" '), max_size=60))
def test_any_text_is_read(text: str) -> None:
    for opened in (None, True, False):
        split = split_thoughts(text, opened)
        assert len(split.answer) + len(split.thoughts) <= len(text)
        assert not (split.unfinished and split.answer)


def test_a_text_of_marks_alone_takes_no_time() -> None:
    split_thoughts("</think>`" * 100_000)
    split_thoughts("<think>" + "`</think>" * 100_000)
    split_thoughts("<think>a</think>" * 2_000)


def test_what_is_said_of_an_empty_answer() -> None:
    assert nothing_but(False, None, None) == "the response is empty"
    cut = nothing_but(True, "length", 512)
    assert "thoughts took all tokens (finish reason length, 512 tokens)" in cut
    assert "max_tokens" in cut
    assert nothing_but(True, "stop", 9) == (
        "the response is empty: there are only thoughts (finish reason stop, 9 tokens)"
    )
