"""Comparison of settings: may a call resume the run or training that a folder already holds?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from eval_anything.errors import UserError


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], groups: Collection[str] = ()
) -> list[str]:
    """Fields that differ, each as `NAME (VALUE there, VALUE now)`; those of a group one by one."""
    unlike = []
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if name in groups:
            unlike += differences(old or {}, new or {})
        else:
            unlike.append(f"{name} ({old} there, {new} now)")
    return unlike


def refuse_another(kind: str, folder: str, unlike: Sequence[str], elsewhere: str) -> None:
    """UserError if any setting is unlike that of the run or training (`kind`) in a folder; `elsewhere`
    says how to choose another folder."""
    if unlike:
        raise UserError(
            f"{folder} holds a {kind} that is not the same: {'; '.join(unlike)}. "
            f"Choose {elsewhere}, or repeat the {kind} as it was."
        )
