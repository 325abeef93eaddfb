"""Comparison of settings: may a call resume the run or training that a folder already holds?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from eval_anything.errors import UserError


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], groups: Collection[str] = ()
) -> list[str]:
    """Settings that differ, each as `NAME OLD -> NEW`; those of a mapping one by one, as `KEY.NAME`, or
    as `NAME` alone if the key is among `groups`.

    Example:
        >>> differences({"seed": 0, "sampling": {"t": 0.0}}, {"seed": 0, "sampling": {"t": 0.7}})
        ['sampling.t 0 -> 0.7']
    """
    unlike = []
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if name in groups or (isinstance(old, Mapping) and isinstance(new, Mapping)):
            inner = differences(old or {}, new or {})
            unlike += inner if name in groups else [f"{name}.{words}" for words in inner]
        else:
            unlike.append(f"{name} {shown(old)} -> {shown(new)}")
    return unlike


LONGEST = 60
"""The most characters of a setting in a message."""


def shown(setting: Any) -> str:
    """A setting for people: `none` for None and for an empty text; a long text is cut."""
    if setting is None or setting == "":
        return "none"
    text = f"{setting:g}" if isinstance(setting, float) else " ".join(str(setting).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def refuse_another(kind: str, folder: str, unlike: Sequence[str], elsewhere: str) -> None:
    """UserError if any setting is unlike that of the run or training (`kind`) in a folder; `elsewhere`
    says how to choose another folder."""
    if unlike:
        raise UserError(
            f"{folder} holds a {kind} that is not the same: {'; '.join(unlike)}. "
            f"Choose {elsewhere}, or repeat the {kind} as it was."
        )
