"""Short answers in words: which of some choices a text names."""

from __future__ import annotations

import re
from collections.abc import Sequence


def only_named(text: str, choices: Sequence[str]) -> str | None:
    """The one choice that a text names; None if it names none of them, or several: hedging is wrong.

    Case does not matter. A choice of letters and digits counts as a whole word ("one" is not in
    "stone"), one of Chinese characters wherever it stands, since Chinese has no spaces.
    """
    low = text.lower()
    found = [choice for choice in choices if stands_in(choice.lower(), low)]
    return found[0] if len(found) == 1 else None


def stands_in(word: str, text: str) -> bool:
    """Whether a word stands in a text, both in lower case, apart from other letters and digits; one of
    Chinese characters may stand anywhere."""
    if not word.isascii():
        return word in text
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", text) is not None
