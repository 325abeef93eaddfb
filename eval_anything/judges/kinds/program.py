"""Kinds `program` and `metric`: scores by code, `file.py:function` in a task's or judge's folder.

The function gets a sample and a response and returns `{metric: Score}`. It runs in a thread and is
called for several samples at once. Code of folders that are not bundled runs only if allowed. The
two kinds differ in what they claim: a program is exact, a metric is somebody's published measure.

A metric with a model of its own has a factory, `file.py:make`, in place of the function: `make(path)`
returns the function, for the model at the path that the user names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from eval_anything.content import Metric, Response, Sample, Score
from eval_anything.errors import EvalError, UserError
from eval_anything.files.code import allow, code_fingerprint, is_module, load_function
from eval_anything.files.hashing import hash_files, sha256_of
from eval_anything.judges.folder import JudgeFile, JudgeFolder
from eval_anything.judges.scorer import Scorer
from eval_anything.scoring.functions import ScoreFunction


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
    missing = [name for name in packages if not is_module(name)]
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
