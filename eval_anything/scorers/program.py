"""Kinds `program` and `metric`: scores by code, `file.py:function` in a task's or judge's folder.

The function gets a sample and a response and returns `{metric: Score}`. It runs in a thread and is
called for several samples at once. Code of folders that are not bundled runs only if allowed. The
two kinds differ in what they claim: a program is exact, a metric is somebody's published measure.

A metric with a model of its own has a factory, `file.py:make`, in place of the function: `make(path)`
returns the function, for the model at the path that the user names.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from eval_anything.content import Response, Sample, Score
from eval_anything.errors import EvalError, UserError, near
from eval_anything.judges import JudgeFile, JudgeFolder
from eval_anything.models.base import hash_files
from eval_anything.scorers.base import Scorer
from eval_anything.tasks.task import Metric, sha256_of

ScoreFunction = Callable[[Sample, Response], Mapping[str, Score | float | None]]
ControlFunction = Callable[[Sequence[tuple[Sample, dict[str, Score]]]], list[dict[str, Score]]]


class ProgramScorer(Scorer):
    """A function from a folder as a scorer; with a model, the function that a factory makes for it."""

    def __init__(
        self,
        name: str,
        folder: Path,
        reference: str,
        metrics: Mapping[str, Metric],
        kind: str = "program",
        model: Path | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.metrics = metrics
        self.fingerprint = code_fingerprint(folder / reference.partition(":")[0])
        if model is None:
            self._function: ScoreFunction = load_function(folder, reference)
        else:
            self.fingerprint = sha256_of([self.fingerprint, _hash_of_model(model)])
            self._function = _from_factory(folder, reference, model, self.fingerprint)

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        return await asyncio.to_thread(self._score, sample, response)

    def _score(self, sample: Sample, response: Response) -> dict[str, Score]:
        try:
            given = self._function(sample, response)
            scores = {n: s if isinstance(s, Score) else Score(s) for n, s in given.items()}
            undeclared = [name for name in scores if name not in self.metrics]
            msgspec.json.encode(msgspec.convert(scores, dict[str, Score]))  # can it be recorded?
        except EvalError:  # nothing about this one response: it ends the run
            raise
        except Exception as error:
            where = f"{type(error).__name__}: {error}"
            reason = f"the scorer of {self.name} failed on this response: {where}"
            return {name: Score(None, explanation=reason) for name in self._applying(sample)}
        if undeclared:
            return self.unscored(f"{self.name} gave {undeclared[0]!r}, which `metrics` does not declare")
        return scores

    def _applying(self, sample: Sample) -> Collection[str]:
        """The metrics that apply to a sample, after the scorer failed on a response to it."""
        try:
            return [n for n in self._function(sample, Response()) if n in self.metrics]
        except Exception:  # it fails on the sample itself, so nobody can tell
            return self.metrics


def make(folder: JudgeFolder, file: JudgeFile, model: str | None, allow_code: bool) -> Scorer:
    """The scorer of a judge folder of kind program or metric."""
    allow(folder.trusted, allow_code, f"judge {folder.name}", folder.path)
    _check_packages(folder, file.packages or ())
    if file.factory is None:
        if model is not None:
            raise UserError(f"--judge {folder.name}: this {file.kind} takes no model")
        assert file.scorer is not None
        return ProgramScorer(folder.name, folder.path, file.scorer, file.metrics, file.kind)
    assert model is not None
    path = Path(model).expanduser()
    if not path.exists():
        raise UserError(
            f"--judge {folder.name}={model}: there is no such folder. This judge needs a checkpoint "
            f"on this machine; its README says which: {folder.path / 'README.md'}"
        )
    return ProgramScorer(folder.name, folder.path, file.factory, file.metrics, file.kind, path.resolve())


def _check_packages(folder: JudgeFolder, packages: Sequence[str]) -> None:
    """UserError if the code of a judge could not import what it needs."""
    missing = [name for name in packages if not _is_module(name)]
    if missing:
        what = "'eval-anything[metrics]'" if folder.trusted else " ".join(missing)
        raise UserError(
            f"judge {folder.name} needs {', '.join(missing)}, not installed here: pip install {what}"
        )


def _hash_of_model(path: Path) -> str:
    """sha256 over the files of a model, hidden ones (a download's notes) left out."""
    if path.is_file():
        return hash_files([path])
    files = [p for p in sorted(path.rglob("*")) if p.is_file()]
    return hash_files([p for p in files if not any(n[0] == "." for n in p.relative_to(path).parts)])


@lru_cache(maxsize=4)
def _from_factory(folder: Path, reference: str, model: Path, fingerprint: str) -> ScoreFunction:
    """What a factory makes; kept, so that all tasks of a run share one loaded model."""
    make_function = load_function(folder, reference)
    try:
        function: ScoreFunction = make_function(str(model))
    except EvalError:
        raise
    except Exception as error:
        where = f"{folder / reference.partition(':')[0]} with {model}"
        raise UserError(f"{where} makes no scorer: {type(error).__name__}: {error}") from error
    return function


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
    (`eval_anything.micro.perceive` brings the rest of its world). The core, such as the content
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
