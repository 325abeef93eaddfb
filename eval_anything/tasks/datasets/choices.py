"""Choices of multiple-choice questions as data sets write them: a list, an object, or one text with
letters. Nothing is evaluated as code."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

_LETTERS = "ABCDEF"


_LONGEST = 10_000


def choices(value: Any) -> list[str]:
    """The texts of the choices, in the order of their letters.

    `["a dog", "a cat"]`, `{"A": "a dog", "B": "a cat"}`, `"A. a dog\\nB. a cat"` and a list in a text
    are the same. ValueError if there are not 2 to 6 different ones.
    """
    if isinstance(value, str):
        value = _from_text(value)
    if isinstance(value, Mapping):
        keys = list(_LETTERS[: len(value)])
        if sorted(value) != keys:
            raise ValueError(f"the choices must have the letters {', '.join(keys)}, not {list(value)}")
        value = [value[key] for key in keys]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"the choices are no list of texts: {value!r:.100}")
    labels = [re.match(_label(letter), text) for letter, text in zip(_LETTERS, value, strict=False)]
    if labels and all(labels):
        value = [text[m.end() :] for m, text in zip(labels, value, strict=True) if m is not None]
    texts = [text.strip() for text in value]
    if not 2 <= len(texts) <= len(_LETTERS) or len(set(texts)) < len(texts) or not all(texts):
        raise ValueError(f"there must be 2 to {len(_LETTERS)} different choices, not {texts!r:.100}")
    return texts


def chosen(value: Any, letter: Any) -> str:
    """The text of the choice with that letter. ValueError if there is none."""
    texts = choices(value)
    known = _LETTERS[: len(texts)]
    if not isinstance(letter, str) or len(letter.strip()) != 1 or letter.strip() not in known:
        raise ValueError(f"the answer {letter!r:.60} is none of the letters {', '.join(known)}")
    return texts[known.index(letter.strip())]


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
    starts = []
    at = 0
    for letter in _LETTERS:
        found = re.compile(rf"(?:^|(?<=[\s,;|/])){_label(letter)}").search(text, at)
        if found is None or (letter == "A" and found.start() != 0):
            break
        starts.append(found)
        at = found.end()
    if not starts:
        raise ValueError(f"no choices with letters are in {text!r:.100}")
    ends = [*(match.start() for match in starts[1:]), len(text)]
    return [text[m.end() : end].strip(" \t\r\n,;|/") for m, end in zip(starts, ends, strict=True)]
