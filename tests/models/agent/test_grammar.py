"""The text grammar of plans: what is rendered is read back; what models do to it keeps its meaning."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eval_anything.content import MODALITIES, Modality
from eval_anything.models.agent.grammar import PLACEHOLDERS, parse, parse_answer, render, template
from eval_anything.models.agent.plan import MOST_ITEMS, ParsedPlan, Plan, PlanError, normal_item
from tests.support.lanes import full

T, I, A, V = MODALITIES  # noqa: E741

# What the grammar gives a meaning to, so that examples hit it.
LOADED = st.sampled_from(
    [
        *(
            "[[text]]",
            "[[/text]]",
            "[image]",
            "[/image]",
            "</image>",
            "**[[audio]]:**",
            "【video】",
            "<video>",
        ),
        *(
            "```",
            "```python",
            "~~~",
            "\\",
            "\\\\[[text]]",
            "None.",
            "N/A",
            "无。",
            "no",
            "</think>",
            "<think>",
        ),
        *(": ", "：", "\n", "\r\n", "\r", " ", "# ", "1. ", "a cat", *PLACEHOLDERS.values()),
    ]
)
CONTENT = st.one_of(
    st.text(st.characters(codec=None), max_size=40),
    st.lists(LOADED | st.text(max_size=3), max_size=8).map("".join),
    st.lists(LOADED, max_size=8).map("\n".join),
)
PLANS = (
    st.lists(st.builds(normal_item, st.sampled_from(MODALITIES), CONTENT), min_size=1, max_size=6)
    .map(lambda items: tuple(one for one in items if one.content))
    .filter(bool)
)


@settings(max_examples=600, deadline=None)
@given(PLANS)
def test_a_rendered_plan_is_read_back(plan: Plan) -> None:
    assert parse(render(plan)) == ParsedPlan(plan)


# --- what models do to it ----------------------------------------------------------------------

WORDS = st.lists(
    st.sampled_from(
        ["a", "white", "lighthouse:", "with", "[three]", "**red**", "boats;", "灯塔。", "10:30", "(v2)."]
    ),
    min_size=2,
    max_size=8,
).map(" ".join)
PLAIN_PLANS = st.lists(
    st.builds(
        normal_item, st.sampled_from(MODALITIES), st.lists(WORDS, min_size=1, max_size=3).map("\n".join)
    ),
    min_size=1,
    max_size=5,
).map(tuple)

HEADER = re.compile(r"^\[\[(\w+)\]\]\n", re.MULTILINE)
CLOSING = re.compile(r"\n\[\[/(\w+)\]\]$", re.MULTILINE)


def _headers(form: str) -> Callable[[str], str]:
    return lambda answer: HEADER.sub(
        lambda m: form.format(m[1], m[1].upper(), m[1].capitalize()), answer
    )


def _closings(form: str) -> Callable[[str], str]:
    return lambda answer: CLOSING.sub(lambda m: form.format(m[1], m[1].upper()), answer)


def _nones(word: str) -> Callable[[str], str]:
    """Adds a section that says "none" for each medium that the plan lacks."""

    def add(answer: str) -> str:
        lacking = [m for m in MODALITIES if f"[[{m}]]" not in answer]
        return answer + "".join(f"\n[[{m}]]\n{word}" for m in lacking)

    return add


NOISE: dict[str, Callable[[str], str]] = {
    "no closing tags": _closings(""),
    "closing tags on the last line": _closings(" [[/{0}]]"),
    "closing tags as of XML": _closings("\n</{0}>"),
    "closing tags in single brackets": _closings("\n[/{1}]"),
    "closing tags in bold": _closings("\n**[[/{0}]]**"),
    "upper case": _headers("[[{1}]]\n"),
    "title case": _headers("[[{2}]]\n"),
    "bold": _headers("**[[{0}]]**\n"),
    "bold with a colon inside": _headers("**[[{0}]]:** "),
    "bold with a colon behind": _headers("**[[{0}]]**: "),
    "code marks": _headers("`[[{0}]]`\n"),
    "headings": _headers("### [[{0}]]\n"),
    "list": _headers("- [[{0}]] "),
    "quote": _headers("> [[{0}]]\n"),
    "colon": _headers("[[{0}]]: "),
    "Chinese colon": _headers("[[{0}]]：\n"),
    "longer names": _headers("[[{2} prompt]]:\n"),
    "numbers": _headers("[[{0} 1]]\n"),
    "single brackets": lambda answer: re.sub(r"\[\[(.+?)\]\]", r"[\1]", answer),
    "Chinese brackets": lambda answer: re.sub(r"\[\[(.+?)\]\]", r"【\1】", answer),
    "blanks": lambda answer: re.sub(r"^(\[\[.*)$", r"\n  \1  \n", answer, flags=re.MULTILINE),
    "line ends of Windows": lambda answer: answer.replace("\n", "\r\n"),
    "words before": lambda answer: f"Sure: here is my answer, as text and image.\n\n{answer}",
    "words between": _closings("\n[[/{0}]]\nNow the next one:"),
    "a code fence around": lambda answer: f"```\n{answer}\n```",
    "a code fence around, and words": lambda answer: f"Here:\n```markdown\n{answer}\n```\nDone.",
    "an echo of the template": lambda answer: f"{template(MODALITIES)}\n\n{answer}",
    "an echo with other words": lambda answer: f"Form:\n{template(MODALITIES)}\nNow I write:\n{answer}",
    "an echo in a fence": lambda answer: f"```\n{template(MODALITIES)}\n```\n{answer}",
    "thinking before": lambda answer: f"<think>\n[[video]]\nmaybe a clip?\n</think>\n\n{answer}",
    "the end of thinking before": lambda answer: f"[[video]] or not?</think>{answer}",
    **{
        f"absent as {word}": _nones(word)
        for word in ("None", "None.", "none", "NONE!", "N/A", "n/a.", "**None**", "(none)", "`None`", "")
    },
    **{f"absent as {w}": _nones(w) for w in ("无", "无。", "不需要。", "Not needed.", "```\nNone\n```")},
}  # fmt: skip


@pytest.mark.engines
@pytest.mark.parametrize("noise", NOISE)
@settings(max_examples=25 if full("engines") else 10, deadline=None)
@given(plan=PLAIN_PLANS)
def test_noise_keeps_the_meaning(noise: str, plan: Plan) -> None:
    assert parse(NOISE[noise](render(plan))).plan == plan


@settings(max_examples=100, deadline=None)
@given(plan=PLAIN_PLANS, seed=st.integers(0, 99))
def test_reordered_sections_are_the_same_sections_in_that_order(plan: Plan, seed: int) -> None:
    shuffled = tuple(random.Random(seed).sample(plan, len(plan)))
    assert parse("\n".join(render((one,)) for one in shuffled)).plan == shuffled


def _unlikely(first: str, then: str) -> bool:
    """Whether no model writes both: other brackets than in its echo, thoughts that do not come first."""
    late_thoughts = "thinking before" in first and ("thinking" in then or "echo" in then)
    fenced_thoughts = first == "the end of thinking before" and "fence" in then
    other_marks = "brackets" in first and "echo" in then
    marked_echo = first == "an echo with other words" and "closing tags" in then
    return late_thoughts or fenced_thoughts or other_marks or marked_echo


@settings(max_examples=150, deadline=None)
@given(plan=PLAIN_PLANS, first=st.sampled_from(sorted(NOISE)), then=st.sampled_from(sorted(NOISE)))
def test_two_kinds_of_noise_never_add_or_lose_a_modality(plan: Plan, first: str, then: str) -> None:
    assume(not _unlikely(first, then))
    answer = NOISE[then](NOISE[first](render(plan)))
    assert {one.modality for one in parse(answer).plan} == {one.modality for one in plan}, answer


READ: dict[str, tuple[str, list[tuple[Modality, str]]]] = {
    "prompt in a fence": ("[[image]]\n```\na cat\n```", [(I, "a cat")]),
    "code stays in its fence": ("[[text]]\n```python\nx = 1\n```", [(T, "```python\nx = 1\n```")]),
    "a settings file in a text": (
        "[[text]]\nWrite:\n```toml\n[[image]]\npath = 1\n```\n[[audio]]\nrain",
        [(T, "Write:\n```toml\n[[image]]\npath = 1\n```"), (A, "rain")],
    ),
    "a web page in a text": (
        "[[text]]\n<video>\n<source src='x'>\n</video>\n[audio]\nbye\n[[/text]]",
        [(T, "<video>\n<source src='x'>\n</video>\n[audio]\nbye")],
    ),
    "a drawing in a text": (
        "[[text]]\n<svg>\n<text>hi</text>\n</svg>\n[[image]]\nx y\n</image>",
        [(T, "<svg>\n<text>hi</text>\n</svg>"), (I, "x y")],
    ),
    "none with a reason": ("[[text]]\nParis.\n[[image]]\nNone: words are enough.", [(T, "Paris.")]),
    "none with a sentence": ("[[text]]\nParis.\n[[audio]]\nNo audio is needed.", [(T, "Paris.")]),
    "none of": ("[[image]]\nNone of the boats is red", [(I, "None of the boats is red")]),
    "no as an answer": ("[[text]]\nNo.\n[[image]]\nno", [(T, "No.")]),
    "two images": ("[[image 1]]\na cat\n[[image 2]]\na dog", [(I, "a cat"), (I, "a dog")]),
    "a link": ("[[text]]\n[text](https://x.org) is here", [(T, "[text](https://x.org) is here")]),
    "a whole line in bold": ("**[[image]] a cat**", [(I, "a cat")]),
    "bold in a text": ("[[text]] **Hi** there", [(T, "**Hi** there")]),
    "all in a fence, with code": (
        "```\n[[text]]\n```python\nx = 1\n```\n[[image]]\na cat\n```\nBye",
        [(T, "```python\nx = 1\n```"), (I, "a cat")],
    ),
    "an open fence": ("[[text]]\n```\nx = 1\n[[image]]\na cat", [(T, "```\nx = 1"), (I, "a cat")]),
    "nothing wanted": ("[[text]]\nNone.\n[[image]]\nN/A", []),
    "thoughts after words": (
        "Sure: an answer.\n\n<think>\n[[video]]\na clip?\n</think>\n\n[[text]]\na a",
        [(T, "a a")],
    ),
    "Mistral's thoughts after words": (
        "Well.\n[THINK][[video]]\na clip[/THINK][[text]]\nhi",
        [(T, "hi")],
    ),
    "a mark inside a section": ("[[text]]\n<think>\nhi\n</think>", [(T, "<think>\nhi\n</think>")]),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_reads(case: str) -> None:
    answer, plan = READ[case]
    assert [(one.modality, one.content) for one in parse(answer).plan] == plan


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("Paris is the capital of France.", "unparsable_plan"),
        ("Text: hello\nImage: a cat", "unparsable_plan"),
        ("", "unparsable_plan"),
        ("🦆" * 300, "unparsable_plan"),
        (template(MODALITIES), "unparsable_plan"),
        ("[[text]]\n**The words that the user reads, in full.**", "unparsable_plan"),
        ("<think>\n[[image]]\na cat", "unparsable_plan"),
        ("```html\n<video>\n</video>\n```", "unparsable_plan"),
        ("```ini\n[image]\nx=1\n```", "unparsable_plan"),
        ("[[image]]\na cat\n" * (MOST_ITEMS + 1), "unparsable_plan"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("I cannot make pictures.", "refusal"),
        ("**Sorry**, I won't do this.", "refusal"),
        ("抱歉，我不能这样做。", "refusal"),
    ],
)
def test_what_is_no_plan(answer: str, kind: str) -> None:
    with pytest.raises(PlanError) as error:
        parse(answer)
    assert error.value.kind == kind


def test_what_stands_outside_is_told() -> None:
    reading = parse("Sure!\n[[image]]\na cat\n[[/image]]\nAnything else?")
    assert reading.outside == "Sure!\nAnything else?"


LONG = {
    "blanks after a name": lambda n: "[[text]]" + " " * n,
    "blanks alone": lambda n: " " * n + "x",
    "blanks after a bold name": lambda n: "**[[text]]" + " " * n + "x",
    "closing tags": lambda n: "[[text]]\nHi\n" + "[[/text]]\n" * n,
    "closing tags of a page": lambda n: "[[text]]\nHi\n" + "</text>\n" * n,
    "open brackets": lambda n: "[[text]]\n" + "[" * n,
    "names": lambda n: "[[text]]\n" * n,
    "fences": lambda n: "[[text]]\nHi\n" + "```\n" * n,
    "list marks": lambda n: "[[text]]\n" + "- " * n,
    "thoughts": lambda n: "<think>" * n + "</think>" * n,
    "quoted marks": lambda n: "`" * n + "</think>" + "`" * n,
}


@pytest.mark.parametrize("build", LONG.values(), ids=LONG)
def test_the_time_is_linear_in_the_length(build: Callable[[int], str]) -> None:
    """In processor time: four times the text takes at most eight times as long, not sixteen."""

    def seconds(n: int) -> float:
        text, tries = build(n), []
        for _ in range(3):
            start = time.process_time()
            with contextlib.suppress(PlanError):
                parse_answer(text)
            tries.append(time.process_time() - start)
        return min(tries)

    assert seconds(40_000) <= 8 * max(seconds(10_000), 0.05)
