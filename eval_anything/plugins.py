"""What installed packages add to commands, found by their entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from eval_anything.errors import UserError, near

TRAINERS = "eval_anything.trainers"


DATA = "eval_anything.data"


def extension(group: str, name: str, what: str) -> Any:
    """What a package offers in `group` under a name. UserError if there is none, or it does not
    import."""
    entries = {entry.name: entry for entry in sorted(entry_points(group=group), key=lambda e: e.name)}
    if name not in entries:
        known = ", ".join(entries) or "none"
        raise UserError(f"unknown {what} {name!r}.{near(name, entries)} Known: {known}.")
    try:
        return entries[name].load()
    except ImportError as error:
        raise UserError(
            f"the {what} {name!r} ({entries[name].value}) does not import: {error}. If a package is "
            "missing: pip install 'eval-anything[train]'"
        ) from error
