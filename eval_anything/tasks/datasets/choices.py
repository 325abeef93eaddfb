"""Choices of multiple-choice questions as data sets write them: a list, an object, or one text with
labels. Nothing is evaluated as code.

In one text, labels that begin lines decide (`A.`, `b)`, `(3)`, `4:`). Labels inside a line are read only
if those of that form are an unbroken sequence and nothing else: then no other reading exists.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

MOST_CHOICES = 26


_UPPER = string.ascii_uppercase


_SEQUENCES = {
    "[A-Z]": tuple(_UPPER),
    "[a-z]": tuple(string.ascii_lowercase),
    "[1-9][0-9]?": tuple(map(str, range(1, MOST_CHOICES + 1))),
}
"""The labels in their order, by the pattern of one."""


_STYLES = (r"\({}\)[.:：]?", r"{}\s?\.\)?", r"{}\s?\)", r"{}\s?[:：]\)?")


_LONGEST = 10_000


class _Labelled(NamedTuple):
    """Texts of choices, and the labels that they have; without labels, the letters from A on."""

    texts: list[str]
    labels: Sequence[str]


def choices(raw: Any) -> list[str]:
    """The texts of the choices, in the order of their labels.

    ValueError if there are not 2 to 26 different ones, or if one text cannot be split in a single way.

    Example:
        >>> choices(["a dog", "a cat"]) == choices({"A": "a dog", "B": "a cat"})
        True
        >>> choices("A. a dog  B. a cat")
        ['a dog', 'a cat']
        >>> choices("(1) vitamin B. is good\\n(2) vitamin C. is good")
        ['vitamin B. is good', 'vitamin C. is good']
    """
    return _labelled(raw).texts


def chosen(raw: Any, label: Any) -> str:
    """The text of the choice with that label, such as a letter. ValueError if there is none.

    Example:
        >>> chosen(["a dog", "a cat"], "B")
        'a cat'
    """
    texts, labels = _labelled(raw)
    word = str(label).strip() if isinstance(label, str | int) else ""
    same_letters = {name.lower(): text for name, text in zip(labels, texts, strict=True)}
    if word.lower() not in same_letters:
        raise ValueError(f"the answer {label!r:.60} is none of the letters {', '.join(labels)}")
    return same_letters[word.lower()]


def _labelled(raw: Any) -> _Labelled:
    if isinstance(raw, str):
        raw = _from_text(raw)
    labels: Sequence[str] | None = None
    if isinstance(raw, _Labelled):
        raw, labels = raw
    elif isinstance(raw, Mapping):
        labels = _keys(raw)
        raw = [raw[label] for label in labels]
    if not isinstance(raw, list) or not all(isinstance(text, str) for text in raw):
        raise ValueError(f"the choices are no list of texts: {raw!r:.100}")
    if labels is None:
        raw, labels = _without_labels(raw)
    texts = [text.strip() for text in raw]
    if not 2 <= len(texts) <= MOST_CHOICES or len(set(texts)) < len(texts) or not all(texts):
        raise ValueError(f"there must be 2 to {MOST_CHOICES} different choices, not {texts!r:.100}")
    return _Labelled(texts, labels)


def _keys(raw: Mapping[Any, Any]) -> Sequence[str]:
    """The keys of an object in their order."""
    for sequence in _SEQUENCES.values():
        if set(raw) == set(sequence[: len(raw)]) and raw:
            return sequence[: len(raw)]
    expected = ", ".join(_UPPER[: len(raw)])
    raise ValueError(f"the choices must have the letters {expected}, not {list(raw)!r:.200}")


def _without_labels(texts: list[str]) -> _Labelled:
    """The texts of a list without the labels that all of them begin with, if they do."""
    for pattern, sequence in _SEQUENCES.items():
        for style in _STYLES:
            label = _label(pattern, style)
            matches = [label.match(text.strip()) for text in texts]
            labels = [match[1] for match in matches if match is not None]
            if texts and tuple(labels) == sequence[: len(texts)]:
                bare = [t.strip()[m.end() :] for t, m in zip(texts, matches, strict=True) if m]
                return _Labelled(bare, sequence[: len(texts)])
    return _Labelled(texts, _UPPER[: len(texts)])


def _label(pattern: str, style: str) -> re.Pattern[str]:
    """A label and the blanks after it; no digit follows, which would make it a number such as 1.5."""
    return re.compile(style.format(f"({pattern})") + r"(?!\d)[^\S\n]*")


def _from_text(text: str) -> Any:
    if len(text) > _LONGEST:
        raise ValueError(f"the choices are {len(text):,} characters long")
    text = text.strip()
    if text[:1] in ("[", "{"):
        try:
            return ast.literal_eval(text)  # of literals alone: calls and names are refused
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise ValueError(f"the choices are no list: {text!r:.100}") from None
    for pattern, sequence in _SEQUENCES.items():
        for style in _STYLES:
            label = _label(pattern, style)
            first = label.match(text)
            if first is not None and first[1] == sequence[0]:
                lines = _matches(rf"^[^\S\n]*(?:{_any_style(pattern)})", text)
                if len(lines) > 1 and _labels_of(lines) == sequence[: len(lines)]:
                    return _split(text, lines, sequence, "\n")
                blank = r"(?<=\s)" if first[0][-1:].isspace() else ""
                inside = _matches(f"{_BEFORE}{label.pattern}{blank}", text)
                return _split(text, inside, sequence, r"\s")
    raise ValueError(f"no choices with letters are in {text!r:.100}")


_BEFORE = r"(?<![^\s,;|/])"
"""Before a label inside a line: the beginning, a blank or a separator."""


def _matches(pattern: str, text: str) -> list[re.Match[str]]:
    return list(re.finditer(pattern, text, re.MULTILINE))


def _any_style(pattern: str) -> str:
    return "|".join(_label(pattern, style).pattern for style in _STYLES)


def _labels_of(matches: Sequence[re.Match[str]]) -> tuple[str, ...]:
    return tuple(next(group for group in match.groups() if group) for match in matches)


def _split(text: str, matches: list[re.Match[str]], sequence: Sequence[str], before: str) -> _Labelled:
    """Texts between the labels. ValueError if they are no unbroken sequence, or if the last choice seems
    to have the next label in another form, after what matches `before`."""
    labels = _labels_of(matches)
    following = "".join(sequence[len(labels) : len(labels) + 1])
    line, inside = rf"\n\s*\(?{following}(?!\w)", rf"{before}\(?{following}\s?[.):：]"
    last = text[matches[-1].end() :]
    next_label = following and re.search(rf"{line}|{inside}", last)
    if labels != sequence[: len(labels)] or (next_label and len(labels) > 1):
        label_list = ", ".join((*labels, following) if next_label else labels)
        raise ValueError(
            f"the choices cannot be split at their labels, which are {label_list} in this order: "
            f"write one choice a line, all with labels of one form, or a list: {text!r:.200}"
        )
    ends = [*(match.start() for match in matches[1:]), len(text)]
    texts = [_trimmed(text[m.end() : end]) for m, end in zip(matches, ends, strict=True)]
    return _Labelled(texts, sequence[: len(labels)])


def _trimmed(text: str) -> str:
    """A choice without the separators around it."""
    return text.strip().rstrip(",;|/").lstrip(",;|").strip()
