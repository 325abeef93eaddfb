"""Locks and seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval_anything.errors import UserError
from eval_anything.files.hashing import seed_of
from eval_anything.files.writing import clear_temporaries, take_lock


def test_a_lock_refuses_or_waits(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with path.open("ab") as first, path.open("ab") as second:
        take_lock(first, "in use")
        with pytest.raises(UserError, match="in use"):
            take_lock(second, "in use")
        messages = []

        def release(message: str) -> None:
            messages.append(message)
            first.close()

        take_lock(second, "waits for another", release)
        assert messages == ["waits for another"]


def test_seeds_are_the_same_for_ever() -> None:
    """Numbers that runs on record were made with."""
    assert seed_of(7, "a/b", "s1", 2) == 2918858032186024270
    assert seed_of("7", "a/b", "s1", "2") == seed_of(7, "a/b", "s1", 2)
    assert seed_of(7, 12) != seed_of(71, 2)
    assert 0 <= seed_of() < 2**63


def test_what_a_kill_left_is_cleared(tmp_path: Path) -> None:
    for name in (".run.json.12.345", ".a.12", "a.12.34", ".lock", ".x.a.1.b"):
        (tmp_path / name).touch()
    (tmp_path / ".folder.1.2").mkdir()
    clear_temporaries(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".a.12", ".folder.1.2", ".lock", ".x.a.1.b", "a.12.34"]
    clear_temporaries(tmp_path / "missing")
