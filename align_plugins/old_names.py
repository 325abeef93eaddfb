"""Old names of settings, which settings files, the command line and folders of trainings may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from eval_anything.errors import UserError
from eval_anything.files.mistakes import mistake

Names = Mapping[str, str]
"""Dotted names of settings with the dotted names that replace them; both have the same groups."""


def rename_keys(settings: Mapping[str, Any], names: Names, prefix: str = "") -> dict[str, Any]:
    """Copy of nested settings with renamed keys. `prefix` leads to them, such as "lora.".

    Example:
        >>> rename_keys({"lora": {"targets": "all-linear"}}, {"lora.targets": "lora.target_modules"})
        {'lora': {'target_modules': 'all-linear'}}
    """
    return {
        _last_word(names.get(prefix + key, key)): rename_keys(inner, names, f"{prefix}{key}.")
        if isinstance(inner, dict)
        else inner
        for key, inner in settings.items()
    }


class OldNames:
    """Replaces the old names of settings in a file and in changes, and notes which ones there were.

    Args:
        names: old names with the present ones.
        groups: names of groups whose keys are those of another method; each returns the method's old
            names, and is called if the group occurs.
    """

    def __init__(self, names: Names, groups: Mapping[str, Callable[[], Names]]) -> None:
        self._names = dict(names)
        self._groups = dict(groups)
        self._used: dict[str, str] = {}
        self._changed: dict[str, str] = {}

    @property
    def note(self) -> str:
        """A line for people about the old names that occurred; empty if there were none."""
        pairs = ", ".join(f"{old} is now {new}" for old, new in self._used.items())
        return f"note: settings have new names: {pairs}. The old names still work." if pairs else ""

    def rename_in_file(self, path: Path, node: yaml.Node) -> None:
        """Replaces old names in the document of a file. FileProblemsError if one is given with the
        present name."""

        def fail(message: str, line: int) -> UserError:
            return mistake(path, message, line)

        self._rename(node, "", fail)

    def rename_in_change(self, key: str, node: yaml.Node | None) -> str:
        """The present name of a changed key; replaces old names in its value. UserError if a key is
        changed under both of its names."""
        name = self._present(key)
        first = self._changed.setdefault(name, key)
        if first != key:
            raise UserError(_both(key if key != name else first, name))
        if node is not None:
            self._rename(node, f"{name}.", lambda message, _: UserError(f"{key}: {message}"))
        return name

    def _present(self, name: str) -> str:
        """The present name of a setting."""
        for group in [g for g in self._groups if f"{name}.".startswith(f"{g}.")]:
            names = self._groups.pop(group)()
            self._names |= {f"{group}.{old}": f"{group}.{new}" for old, new in names.items()}
        if name in self._names:
            self._used[name] = self._names[name]
        return self._names.get(name, name)

    def _rename(self, node: yaml.Node, prefix: str, fail: Callable[[str, int], UserError]) -> None:
        """Replaces old names in a group, in groups merged into it and in groups inside of it."""
        if not isinstance(node, yaml.MappingNode):
            return
        keys = {key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
        for key, inner in node.value:
            if key.value == "<<":
                for merged in inner.value if isinstance(inner, yaml.SequenceNode) else [inner]:
                    self._rename(merged, prefix, fail)
                continue
            old = f"{prefix}{key.value}"
            name = self._present(old)
            if name != old and _last_word(name) in keys:
                raise fail(_both(old, name), key.start_mark.line + 1)
            if name != old:
                key.value = _last_word(name)
            if any(other.startswith(f"{name}.") for other in (*self._names, *self._groups)):
                self._rename(inner, f"{name}.", fail)


def _last_word(name: str) -> str:
    return name.rpartition(".")[2]


def _both(old: str, name: str) -> str:
    return f"{old} is the old name of {name}, and both are given: keep {name}"
