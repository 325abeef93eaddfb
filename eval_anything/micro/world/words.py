"""Describes scenes in words, and reads attributes from words. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Collection

from eval_anything.micro.world.scenes import VALUES, Clip, Scene, Sound

_WORD = re.compile(r"[a-z0-9]+")


_SYNONYMS = {
    **dict(zip("1234", VALUES["count"], strict=True)),
    "single": "one",
    "center": "centre",
    "medium": "mid",
    "circles": "circle",
    "squares": "square",
    "triangles": "triangle",
}


_ATTRIBUTE_OF = {value: name for name, values in VALUES.items() for value in values}


_TONE_WORDS = {"tone", "tones", "note", "notes", "beep", "beeps", "sound", "sounds"}


_MOVING = {"moving", "moves", "move", "going", "goes", "go", "moved"}


_NEGATIONS = {"not", "no", "never", "without", "isn", "aren"}


def describe(scene: Scene, names: Collection[str] | None = None) -> str:
    """The scene as a noun phrase, such as "a red circle at the top left"; `names` restricts it to some
    attributes, so that a sound may be just "high tones".
    """

    def value(name: str) -> str:
        return str(getattr(scene, name)) if names is None or name in names else ""

    if isinstance(scene, Sound):
        noun = "tone" if value("count") == "one" else "tones"
        return _join(value("count"), value("pitch"), value("contour"), noun)
    head = _join("a", value("colour"), value("shape") or "shape")
    if isinstance(scene, Clip):
        return _join(head, value("motion") and f"moving {value('motion')}")
    row, col = value("row"), value("col")
    if row and col:
        return f"{head} at the {row} {col}"
    if row:
        return f"{head} in the {row} row"
    return _join(head, col and f"in the {col} column")


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)


def normal_words(text: str) -> list[str]:
    """The words of a text in lower case, synonyms and digits replaced by the words of the world."""
    return [_SYNONYMS.get(word, word) for word in _WORD.findall(text.lower())]


def read(text: str) -> dict[str, str | None]:
    """The attributes that a text names, each with its value; None where it names several or negates one.

    "left" and "right" are motions after a verb of motion and columns elsewhere; a count needs a tone to
    count, unless the text is that one word.
    """
    words = normal_words(text)
    values_of: dict[str, set[str]] = {}
    for position, word in enumerate(words):
        name = _ATTRIBUTE_OF.get(word)
        before = words[position - 1] if position else ""
        if word in ("left", "right"):
            name = "motion" if before in _MOVING else "col"
        if (
            name == "count"
            and len(words) > 1
            and not _TONE_WORDS & set(words[position + 1 : position + 4])
        ):
            continue
        if name is not None:
            # A negated value leaves the attribute open, as two different values do.
            values_of.setdefault(name, set()).update((word, "?") if before in _NEGATIONS else (word,))
    return {name: values.pop() if len(values) == 1 else None for name, values in values_of.items()}


def plain(text: str) -> str:
    """A short answer in lower case, with single spaces and without a full stop."""
    text = re.sub(r"\s+", " ", text.lower()).strip(" .!?\"'")
    return re.sub(r"\s+([,.])", r"\1", text)
