"""Functions of content folders: allowed or not, loaded, and fingerprinted with what they import."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval_anything.errors import UserError, near
from eval_anything.files.places import path_inside


def allow(folder_trusted: bool, allow_code: bool, what: str, path: Path) -> None:
    """Refuses code of a folder that is not bundled, unless the user allowed it."""
    if not folder_trusted and not allow_code:
        raise UserError(
            f"{what} has code of its own ({path}), which is not run unless you allow it: "
            "read it, then add --allow-code"
        )


def load_function(folder: Path, reference: str) -> Callable[..., Any]:
    """`file.py:function` in a folder. UserError if the file does not import or lacks the function."""
    filename, _, name = reference.partition(":")
    path = folder / filename
    identity = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"eval_anything_code_{identity}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} does not import: {type(error).__name__}: {error}") from error
    function: Callable[..., Any] | None = getattr(module, name, None)
    if function is None or not callable(function):
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UserError(f"{path} has no function {name!r}.{near(name, public)}")
    return function


def code_fingerprint(path: Path) -> str:
    """sha256 of a scoring file and of the engine's modules that decide its scores.

    Those are the modules that the file imports, and what these import from their own subpackage
    (`eval_anything.micro.world.perceive` brings the rest of its world). The core, such as the content
    types, is left out: it changes with every release without changing a score.
    """
    source = path.read_bytes()
    digest = hashlib.sha256(source)
    found: dict[str, bytes] = {}
    todo = [name for name in _engine_imports(source) if name != "eval_anything.content"]
    while todo:
        module = todo.pop()
        if module not in found:
            found[module] = _source(module)
            package = module.rpartition(".")[0]
            if package != "eval_anything":
                todo += [n for n in _engine_imports(found[module]) if n.startswith(package + ".")]
    for module in sorted(found):
        digest.update(found[module])
    return digest.hexdigest()


def _source(module: str) -> bytes:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_bytes()


def _engine_imports(source: bytes) -> set[str]:
    """Names of the engine's modules that a source imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in found if name.startswith("eval_anything.") and _is_module(name)}


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


_SCORER = re.compile(r"^[^:]+\.py:[A-Za-z_]\w*$")


def check_code(root: Path, reference: str) -> str | None:
    """What is wrong with `file.py:function`, if anything; the code is read, not run."""
    if not _SCORER.match(reference):
        return f"must be `file.py:function`, not {reference!r}"
    filename, function = reference.split(":")
    try:
        tree = ast.parse(path_inside(root, filename).read_bytes())
    except FileNotFoundError:
        return f"{filename} does not exist in this folder"
    except (OSError, ValueError, SyntaxError) as error:
        return f"{filename}: {error}"
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function not in names:
        return f"{filename} defines no function {function!r}.{near(function, names)}"
    return None
