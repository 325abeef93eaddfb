"""Lazy imports for the `__init__.py` of a package: each name is imported at its first use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path


def lazy_names(package: str, file: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Functions `__getattr__` and `__dir__` for a package that imports its names under `TYPE_CHECKING`.

    Type checkers and editors see the imports; at run time each is executed at the first use of its name.

    Args:
        package: `__name__` of the package.
        file: `__file__` of the package.

    Example (in `__init__.py`):
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
    """Module from which an `__init__.py` imports each of its names. The file is parsed, not executed."""
    import ast

    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0
        for alias in node.names
    }
