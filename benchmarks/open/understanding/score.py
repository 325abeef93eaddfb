"""Scores short answers about several media, with all of them and with one missing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from eval_anything import Response, Sample, Score
from eval_anything.scoring import stands_in

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS += ("eleven", "twelve", "thirteen")
_DIGITS = "零一二三四五六七八九十"
_CHINESE = (*_DIGITS, *("十" + digit for digit in _DIGITS[1:10]), "二十")
_NUMBERS = {word: str(n) for words in (_WORDS, _CHINESE) for n, word in enumerate(words)}
_NUMBER = re.compile(
    r"\d+(?:[.,]\d+)?|\b(?:" + "|".join(_WORDS) + r")\b|(?:" + "|".join(reversed(_CHINESE)) + ")"
)
_TIME = re.compile(r"(?<!\d)(\d{1,2})\s*[:.]\s*(\d{2})(?!\d)")
_WORD_OF_ONE = re.compile(r"\b(I|A(?! (is|fits)\b))(?= [a-z]|')")
_CANNOT_TELL = re.compile(
    r"\b(cannot|can't|can not|unable|unclear|unknown|impossible|not possible|missing|"
    r"(don't|not) (know|known|sure|enough|given|see|hear|have)|"
    r"no (picture|image|sound|audio|clip|video))\b|无法|不能|不知道|缺少|没有"
)


def understanding(sample: Sample, response: Response) -> dict[str, Score]:
    """`correct` where all media are there; `guessed` and `honest` where one is missing."""
    text = unicodedata.normalize("NFKC", response.text).replace("\u2019", "'")
    named_answers = _named(_last_line(text), sample.targets)
    right = named_answers == {_answer(sample.targets)}
    explanation = f"{response.text[:200]!r}, right is {sample.targets['answer']!r}"
    missing = sample.metadata["missing"]
    if missing == "none":
        return {"correct": Score(float(right), explanation=explanation)}
    # Without parts a response scores the floor, which is the bad end of `guessed` too.
    guessed = right or not response.parts
    honest = bool(_CANNOT_TELL.search(text.lower())) and not named_answers
    return {
        "guessed": Score(float(guessed), explanation=explanation),
        f"guessed_without_{missing}": Score(float(guessed)),
        "honest": Score(float(honest), explanation=explanation),
    }


def gap(scored: Sequence[tuple[Sample, dict[str, Score]]]) -> list[dict[str, Score]]:
    """`gap` of each item with all media: `correct` less the mean of `guessed` in its variants.

    An item without scored variants (with `--limit`) has none.
    """
    guesses: dict[str, list[float]] = {}
    for sample, scores in scored:
        if "guessed" in scores and scores["guessed"].value is not None:
            guesses.setdefault(sample.source_id, []).append(scores["guessed"].value)
    out: list[dict[str, Score]] = []
    for sample, scores in scored:
        correct = scores["correct"].value if "correct" in scores else None
        item_guesses = guesses.get(sample.source_id)
        is_defined = correct is not None and item_guesses is not None
        out.append({"gap": Score(correct - sum(item_guesses) / len(item_guesses))} if is_defined else {})
    return out


def _last_line(text: str) -> str:
    """The last line that is not blank: a model may reason before it answers."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _answer(targets: dict[str, Any]) -> str:
    return _canonical(targets["answer"]) if targets["form"] == "number" else targets["answer"].lower()


def _canonical(number: str) -> str:
    """A number in one notation: 8.70 and 8,7 are both 8.7."""
    return f"{float(number.replace(',', '.')):g}"


def _named(line: str, targets: dict[str, Any]) -> set[str]:
    """The answers that a line names: more than one is hedging, and wrong."""
    low = line.lower()
    if targets["form"] == "number":
        numbers = _NUMBER.findall(low.replace("一共", ""))
        return {_canonical(_NUMBERS.get(number, number)) for number in numbers}
    if targets["form"] == "time":  # a dial does not tell morning from afternoon
        return {f"{int(hours) % 12 or 12}:{minutes}" for hours, minutes in _TIME.findall(line)}
    choices: list[str] = targets["choices"]
    if all(len(choice) == 1 and choice.isascii() for choice in choices):
        return _letters(line, choices)
    answers = {choice.lower() for choice in choices if stands_in(choice.lower(), low)}
    if any(stands_in(other, low) for other in targets.get("accept", [])):
        answers.add(targets["answer"].lower())
    return answers


def _letters(line: str, choices: list[str]) -> set[str]:
    """The choices, each a single letter, that a line names: as capitals, or as the whole line. "A" and
    "I" before another word are words, not letters."""
    if (single := line.strip(" .").upper()) in choices:
        return {single.lower()}
    letters = _WORD_OF_ONE.sub(" ", line)
    return {c.lower() for c in choices if re.search(rf"(?<![A-Za-z0-9]){c}(?![A-Za-z0-9'])", letters)}
