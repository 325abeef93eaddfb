"""Short answers in words: the choice that a text names."""

from __future__ import annotations

import re
from collections.abc import Sequence


def only_named(text: str, choices: Sequence[str]) -> str | None:
    """The only choice that a text names; None if it names none of them, or several (hedging is wrong).

    Case does not matter. A choice is matched as `stands_in` does.

    Example:
        >>> only_named("It is blue.", ["red", "blue"])
        'blue'
        >>> only_named("Red or blue.", ["red", "blue"]) is None
        True
    """
    lower_text = text.lower()
    choices_in_text = [choice for choice in choices if stands_in(choice.lower(), lower_text)]
    return choices_in_text[0] if len(choices_in_text) == 1 else None


def stands_in(word: str, text: str) -> bool:
    """Whether a text has a word, both in lower case.

    An ASCII word must be a whole word: "one" is not in "stone". Any other, such as one of Chinese
    characters, may be anywhere, since Chinese has no spaces.

    Example:
        >>> stands_in("one", "stone"), stands_in("one", "just one.")
        (False, True)
    """
    if not word.isascii():
        return word in text
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", text) is not None
