"""Choices of multiple-choice questions as data sets write them: a list, an object, or one text with
letters. Nothing is evaluated as code."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

_LETTERS = "ABCDEF"


_LONGEST = 10_000


def choices(raw: Any) -> list[str]:
    """The texts of the choices, in the order of their letters. ValueError if there are not 2 to 6
    different ones.

    Example:
        >>> choices(["a dog", "a cat"]) == choices({"A": "a dog", "B": "a cat"})
        True
        >>> choices("A. a dog  B. a cat")
        ['a dog', 'a cat']
    """
    if isinstance(raw, str):
        raw = _from_text(raw)
    if isinstance(raw, Mapping):
        keys = list(_LETTERS[: len(raw)])
        if sorted(raw) != keys:
            raise ValueError(f"the choices must have the letters {', '.join(keys)}, not {list(raw)}")
        raw = [raw[key] for key in keys]
    if not isinstance(raw, list) or not all(isinstance(text, str) for text in raw):
        raise ValueError(f"the choices are no list of texts: {raw!r:.100}")
    labels = [re.match(_label(letter), text) for letter, text in zip(_LETTERS, raw, strict=False)]
    if labels and all(labels):
        raw = [text[m.end() :] for m, text in zip(labels, raw, strict=True) if m is not None]
    texts = [text.strip() for text in raw]
    if not 2 <= len(texts) <= len(_LETTERS) or len(set(texts)) < len(texts) or not all(texts):
        raise ValueError(f"there must be 2 to {len(_LETTERS)} different choices, not {texts!r:.100}")
    return texts


def chosen(raw: Any, letter: Any) -> str:
    """The text of the choice with that letter. ValueError if there is no such letter.

    Example:
        >>> chosen(["a dog", "a cat"], "B")
        'a cat'
    """
    texts = choices(raw)
    letters = _LETTERS[: len(texts)]
    if not isinstance(letter, str) or len(letter.strip()) != 1 or letter.strip() not in letters:
        raise ValueError(f"the answer {letter!r:.60} is none of the letters {', '.join(letters)}")
    return texts[letters.index(letter.strip())]


def _label(letter: str) -> str:
    return rf"\s*\(?{letter}\s*[.):：]\)?\s*"


def _from_text(text: str) -> Any:
    if len(text) > _LONGEST:
        raise ValueError(f"the choices are {len(text):,} characters long")
    if text.strip()[:1] in ("[", "{"):
        try:
            return ast.literal_eval(text.strip())  # of literals alone: calls and names are refused
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise ValueError(f"the choices are no list: {text!r:.100}") from None
    return _by_letters(text.strip())


def _by_letters(text: str) -> list[str]:
    """The texts between `A.`, `B.` and so on, each of which begins the text or follows a separator."""
    labels = []
    at = 0
    for letter in _LETTERS:
        label = re.compile(rf"(?:^|(?<=[\s,;|/])){_label(letter)}").search(text, at)
        if label is None or (letter == "A" and label.start() != 0):
            break
        labels.append(label)
        at = label.end()
    if not labels:
        raise ValueError(f"no choices with letters are in {text!r:.100}")
    ends = [*(match.start() for match in labels[1:]), len(text)]
    return [text[m.end() : end].strip(" \t\r\n,;|/") for m, end in zip(labels, ends, strict=True)]
