"""Front doors of packages: each name is imported, from where it is defined, when it is first used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path


def lazy_names(package: str, file: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose `__init__.py` imports its names for type checkers.

    Checkers and editors see the imports; at run time each is carried out at its name's first use.

    Example:
        if TYPE_CHECKING:
            from eval_anything.content import Score as Score

        __getattr__, __dir__ = lazy_names(__name__, __file__)
    """

    def get(name: str) -> object:
        module = homes(Path(file)).get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        loaded = getattr(import_module(module), name)
        setattr(sys.modules[package], name, loaded)
        return loaded

    return get, lambda: sorted(homes(Path(file)))


@cache
def homes(file: Path) -> dict[str, str]:
    """The module from which a package's `__init__.py` imports each of its names; the file is not run."""
    import ast

    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0
        for alias in node.names
    }
