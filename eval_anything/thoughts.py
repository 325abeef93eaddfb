"""Thoughts of reasoning models, told apart from their answers.

A model thinks before it answers, between marks of its family. A server with a parser for that family
sends both apart; others, and local checkpoints, leave marks and thoughts in the text. Some chat
templates write the opening mark into the prompt, and then the text has only the closing one.

Marks count only at the start of an answer. Elsewhere, as in code or in a quotation, they are its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

_PAIRS = {
    "<think>": "</think>",  # DeepSeek, Qwen, GLM, MiniMax, Phi, Nemotron and most others
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",  # Gemini, EXAONE
    "<seed:think>": "</seed:think>",  # Seed
    "[THINK]": "[/THINK]",  # Mistral
    "◁think▷": "◁/think▷",  # Kimi
    "<|START_THINKING|>": "<|END_THINKING|>",  # Command
    "<|begin_of_thought|>": "<|end_of_thought|>",  # OpenThinker
    "<longcat_think>": "</longcat_think>",
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    "<|channel>thought": "<channel|>",  # Gemma
}


# Harmony (gpt-oss): an answer is a list of messages, each in the channel analysis, commentary or final.
_HARMONY = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>")


_ANALYSIS = "<|channel|>analysis<|message|>"


_CHANNEL = re.compile(r"(?:<\|start\|>assistant)?<\|channel\|>(\w+)[^<]*<\|message\|>")


_HARMONY_ENDS = re.compile(r"<\|(?:end|return|call)\|>")


# The same without its control tokens, which a server or a tokenizer may have skipped.
_BARE_HARMONY = re.compile(r"\s*analysis(.+?)assistantfinal(.*)", re.DOTALL)


_OPENINGS = "|".join(map(re.escape, sorted(_PAIRS, key=len, reverse=True)))


_OPENING = re.compile(rf"\s*({_OPENINGS})")


_CLOSING = re.compile("|".join(map(re.escape, _PAIRS.values())))


_OPEN_AT_END = re.compile(rf"(?:{_OPENINGS}|<\|channel\|>analysis(?:<\|message\|>)?)\s*$")


# Around the answer itself, in families that mark it too.
_AROUND_ANSWER = re.compile(r"^\s*<\|START_RESPONSE\|>|<\|END_RESPONSE\|>\s*$")


_QUOTES = {"`": "`", "'": "'", '"': '"', "“": "”", "«": "»"}


_MOST_MARKS = 64  # closing marks in one text that are looked at


class SplitText(NamedTuple):
    """A text without its thoughts, the thoughts, and whether these never ended."""

    answer: str
    thoughts: str = ""
    unfinished: bool = False


def split_thoughts(text: str, opened: bool | None = None) -> SplitText:
    """The answer in a text, and the thoughts before it.

    Args:
        text: all that a model wrote.
        opened: whether the prompt ended with an opening mark; None if that is not known, and then a
            closing mark alone says so.

    Example:
        >>> split_thoughts("<think>The capital?</think>Paris")
        SplitText(answer='Paris', thoughts='The capital?', unfinished=False)
        >>> split_thoughts("The capital?</think>Paris").answer
        'Paris'
        >>> split_thoughts("<think> opens the thoughts, and then").unfinished
        True
        >>> split_thoughts("Thoughts begin with <think>.").thoughts
        ''
    """
    if opened and "<|channel|>" in text and not _HARMONY.match(text):
        text = _ANALYSIS + text
    if _HARMONY.match(text):
        return _of_channels(text)
    bare = _BARE_HARMONY.fullmatch(text)
    if bare is not None:
        return SplitText(bare[2].strip(), bare[1].strip())
    thoughts: list[str] = []
    end = 0
    if not begins_with_mark(text):
        closing = _closing_alone(text, opened)
        if closing is None:
            return SplitText("", text.strip(), unfinished=True) if opened else SplitText(text)
        thoughts.append(text[: closing.start()].strip())
        end = closing.end()
    while (start := _OPENING.match(text, end)) is not None:
        closing = _end_of(_PAIRS[start[1]], text, start.end())
        if closing is None:
            thoughts.append(text[start.end() :].strip())
            return SplitText("", _joined(thoughts), unfinished=True)
        thoughts.append(text[start.end() : closing.start()].strip())
        end = closing.end()
    return SplitText(_AROUND_ANSWER.sub("", text[end:]).lstrip(), _joined(thoughts))


def opens_thoughts(prompt: str) -> bool:
    """Whether a prompt, or its end, leaves the model in its thoughts.

    Example:
        >>> opens_thoughts("<|im_start|>assistant\\n<think>\\n")
        True
        >>> opens_thoughts("<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n")
        False
    """
    return bool(open_mark(prompt))


def open_mark(prompt: str) -> str:
    """The mark by which a prompt, or its end, leaves the model in its thoughts; empty if it does not.

    Example:
        >>> open_mark("<|im_start|>assistant\\n<think>\\n")
        '<think>'
    """
    end = _OPEN_AT_END.search(prompt)
    return end[0].rstrip() if end is not None else ""


def closing_mark(opening: str) -> str | None:
    """The mark that ends the thoughts which a mark has opened; None for a channel of Harmony, whose
    messages end otherwise.

    Example:
        >>> closing_mark("[THINK]")
        '[/THINK]'
    """
    return _PAIRS.get(opening)


def begins_with_mark(text: str) -> bool:
    """Whether a text begins with a mark that opens thoughts.

    Example:
        >>> begins_with_mark("<think>The capital?"), begins_with_mark("Use <think>.")
        (True, False)
    """
    return _OPENING.match(text) is not None


def closes_thoughts(text: str) -> bool:
    """Whether there is a mark in a text that ends thoughts."""
    return _CLOSING.search(text) is not None


def marks_among(tokens: Iterable[str]) -> frozenset[str]:
    """The control tokens of a tokenizer that are marks of thoughts or a part of one, which must not be
    skipped in decoding. Those of Harmony are where there are channels: elsewhere `<|end|>` ends a turn.

    Example:
        >>> sorted(marks_among(["[THINK]", "<|im_end|>", "<|end|>"]))
        ['[THINK]']
        >>> sorted(marks_among(["<|channel|>", "<|end|>"]))
        ['<|channel|>', '<|end|>']
    """
    marks = _MARK_TOKENS.intersection(tokens)
    return marks if "<|channel|>" in marks else marks - _HARMONY_TOKENS


_HARMONY_TOKENS = {"<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|call|>"}


_MARK_TOKENS = frozenset({*_PAIRS, *_PAIRS.values(), "<|channel>", *_HARMONY_TOKENS})


def nothing_but(thoughts: bool, stop_reason: str | None, tokens: int | None) -> str:
    """The reason why there is no answer: whether there are thoughts, why they ended, after how much.

    Example:
        >>> nothing_but(False, "stop", 7)
        'the response is empty (finish reason stop, 7 tokens)'
    """
    notes = [f"finish reason {stop_reason}"] if stop_reason else []
    notes += [f"{tokens} tokens"] if tokens is not None else []
    about = f" ({', '.join(notes)})" if notes else ""
    if not thoughts:
        return f"the response is empty{about}"
    if stop_reason != "length":
        return f"the response is empty: there are only thoughts{about}"
    return (
        f"the response is empty: its thoughts took all tokens{about}. Allow more: max_tokens of a "
        "server, max_new_tokens of a local checkpoint"
    )


def _of_channels(text: str) -> SplitText:
    """The messages of the channel final, or the thoughts of all others if there is none yet."""
    headers = list(_CHANNEL.finditer(text))
    answers: list[str] = []
    thoughts: list[str] = []
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        body = text[header.end() : following.start() if following else len(text)]
        end = _HARMONY_ENDS.search(body)
        body = body[: end.start()] if end else body
        (answers if header[1] == "final" else thoughts).append(body.strip())
    return SplitText("".join(answers), _joined(thoughts), unfinished=not answers)


def _closing_alone(text: str, opened: bool | None) -> re.Match[str] | None:
    """The closing mark of thoughts whose opening is in the prompt; None if all of the text is answer."""
    for closing in islice(_CLOSING.finditer(text), _MOST_MARKS):
        before = text[: closing.start()]
        if opened is False and before.strip():
            return None
        if opened:
            return _end_of(closing[0], text, 0) or closing
        if not _quoted(text, closing):
            opening = next(mark for mark, end in _PAIRS.items() if end == closing[0])
            return None if opening in before else closing
    return None


def _end_of(mark: str, text: str, start: int) -> re.Match[str] | None:
    """The first closing mark that the thoughts do not quote, or else the first one."""
    closings = list(islice(re.compile(re.escape(mark)).finditer(text, start), _MOST_MARKS))
    return next((c for c in closings if not _quoted(text, c, start)), next(iter(closings), None))


def _quoted(text: str, mark: re.Match[str], start: int = 0) -> bool:
    """Whether a mark is between quotation marks, in a span of code or in a block of code."""
    before = text[start : mark.start()]
    line = before[before.rfind("\n") + 1 :]
    if text[mark.end() : mark.end() + 1] == _QUOTES.get(before[-1:]):
        return True
    return line.count("`") % 2 == 1 or len(re.findall("^ {0,3}```", before, re.MULTILINE)) % 2 == 1


def _joined(thoughts: list[str]) -> str:
    return "\n\n".join(filter(None, thoughts))
