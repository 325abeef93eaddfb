"""Functions of content folders: allowed or not, loaded, and fingerprinted with what they import."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from eval_anything.errors import UserError, near
from eval_anything.files.places import path_inside
from eval_anything.files.reading import MAX_DOCUMENT, read_file
from eval_anything.lazy import homes


def allow(folder_trusted: bool, allow_code: bool, owner: str, path: Path) -> None:
    """UserError for code of a folder that is not bundled, unless the user allowed it.

    `owner` names the task or judge that the code belongs to.
    """
    if not folder_trusted and not allow_code:
        raise UserError(
            f"{owner} has code of its own ({path}), which is not run unless you allow it: "
            "read it, then add --allow-code"
        )


def load_function(folder: Path, reference: str) -> Callable[..., Any]:
    """The function that `file.py:function` names in a folder. UserError if the file does not import or
    lacks the function."""
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


def raised_at(error: BaseException, folder: Path) -> str:
    """`file.py:line` of the last line in a folder that an exception came through; of the last line of
    all if none is in the folder."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    if inside:
        return f"{Path(inside[-1].filename).relative_to(folder)}:{inside[-1].lineno}"
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def code_fingerprint(path: Path) -> str:
    """sha256 of a scoring file and of the engine's modules that decide its scores.

    Those are the modules that define the names which the file imports, and what these import from their
    own package. The core (content types, errors, reading of media) is left out: it changes with releases
    without changing a score.
    """
    source = read_file(path, MAX_DOCUMENT)
    digest = hashlib.sha256(source)
    sources: dict[str, bytes] = {}
    pending = [name for name in _engine_imports(source) if name.split(".")[1] not in _CORE]
    while pending:
        module = pending.pop()
        if module not in sources:
            sources[module] = read_file(_origin(module), MAX_DOCUMENT)
            package = module.rpartition(".")[0]
            if package != "eval_anything":
                imports = _engine_imports(sources[module])
                pending += [name for name in imports if name.startswith(package + ".")]
    for module in sorted(sources):
        digest.update(sources[module])
    return digest.hexdigest()


_CORE = {"content", "errors", "media"}


def _origin(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


@lru_cache
def _engine_imports(source: bytes) -> frozenset[str]:
    """Names of the engine's modules that define what a source imports, anywhere in it."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.update(_home(node.module, alias.name) for alias in node.names)
    return frozenset(n for n in modules if n.startswith("eval_anything.") and is_module(n))


def _home(module: str, name: str) -> str:
    """The module that defines a name of the engine; `module` may only re-export it."""
    if not f"{module}.".startswith("eval_anything."):
        return module
    if is_module(f"{module}.{name}"):
        return f"{module}.{name}"
    origin = _origin(module) if is_module(module) else Path()
    return homes(origin).get(name, module) if origin.name == "__init__.py" else module


def is_module(name: str) -> bool:
    """Whether a module of that name is installed. Imports its package, but not the module itself."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


_SCORER = re.compile(r"^[^:]+\.py:[A-Za-z_]\w*$")


def check_code(root: Path, reference: str) -> str | None:
    """The mistake in `file.py:function`, None if there is none; the code is read, not run."""
    if not _SCORER.match(reference):
        return f"must be `file.py:function`, not {reference!r}"
    filename, function = reference.split(":")
    try:
        names = _functions(read_file(path_inside(root, filename), MAX_DOCUMENT))
    except FileNotFoundError:
        return f"{filename} does not exist in this folder"
    except (OSError, ValueError, SyntaxError) as error:
        return f"{filename}: {error}"
    if function not in names:
        return f"{filename} defines no function {function!r}.{near(function, names)}"
    return None


@lru_cache
def _functions(source: bytes) -> tuple[str, ...]:
    """Names of the functions at the top of a source."""
    return tuple(node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
