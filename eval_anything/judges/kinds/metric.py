"""Kind `metric`: a published metric that is computed by code in the judge's folder.

In contrast to a program it is not exact. A metric with its own model has a factory, `file.py:make`, in
place of the scoring function: `make(path)` returns this function for the model at a path that the user
names.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from eval_anything.errors import EvalError, UserError
from eval_anything.files.code import load_function
from eval_anything.files.hashing import hash_files, sha256_of
from eval_anything.files.mistakes import Mistakes
from eval_anything.judges.folder import JudgeFolder
from eval_anything.judges.kinds.program import CodeFile, ProgramScorer
from eval_anything.judges.scorer import Scorer
from eval_anything.scoring.functions import ScoreFunction


class MetricScorer(ProgramScorer):
    """Scorer by a function of a folder, or by one that a factory of the folder makes for a model."""

    kind = "metric"
    exact = False


class MetricFile(CodeFile, tag=MetricScorer.kind, frozen=True, kw_only=True):
    """judge.yaml of a metric, which has one of the two keys.

    Attributes:
        scorer: `file.py:function` in the folder: from a sample and a response to scores by metric.
        factory: `file.py:function` that makes such a function from the path in `--judge NAME=PATH`.
    """

    scorer: str | None = None
    factory: str | None = None

    scorer_type = MetricScorer
    model_form: ClassVar[Literal["SPEC", "PATH"]] = "PATH"

    @property
    def needs_model(self) -> bool:
        return self.factory is not None

    def check(self, folder: Path, mistakes: Mistakes) -> None:
        super().check(folder, mistakes)
        if (self.scorer is None) == (self.factory is None):
            mistakes.add(
                "a metric judge needs `scorer:`, or `factory:` if it has a model of its own; not both",
                "kind",
            )

    def make(self, folder: JudgeFolder, model: str | None, allow_code: bool) -> Scorer:
        self.allow(folder, model, allow_code)
        reference = self.scorer or self.factory
        assert reference is not None
        scorer = MetricScorer(folder.name, folder.path, reference, self.metrics)
        if model is not None:
            path = Path(model).expanduser().resolve()
            if not path.exists():
                raise UserError(
                    f"--judge {folder.name}={model}: there is no such folder. This judge needs a "
                    f"checkpoint on this machine; its README says which: {folder.path / 'README.md'}"
                )
            scorer.fingerprint = sha256_of([scorer.fingerprint, _hash_of_model(path)])
            scorer.function = _from_factory(folder.path, reference, path, scorer.fingerprint)
        return scorer


def _hash_of_model(path: Path) -> str:
    """sha256 of the files of a model, without hidden ones, which are notes of a download."""
    if path.is_file():
        return hash_files([path])
    files = [p for p in sorted(path.rglob("*")) if p.is_file()]
    return hash_files([p for p in files if not any(n[0] == "." for n in p.relative_to(path).parts)])


@lru_cache(maxsize=4)
def _from_factory(folder: Path, reference: str, model: Path, fingerprint: str) -> ScoreFunction:
    """Function that a factory makes; cached, so that all tasks of a run share one loaded model."""
    make_function = load_function(folder, reference)
    try:
        function: ScoreFunction = make_function(str(model))
    except EvalError:
        raise
    except Exception as error:
        where = f"{folder / reference.partition(':')[0]} with {model}"
        raise UserError(f"{where} makes no scorer: {type(error).__name__}: {error}") from error
    return function
