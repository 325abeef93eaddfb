"""Kind `program`: exact scores by code, `file.py:function` in a task's or judge's folder.

The function gets a sample and a response and returns `{metric: Score}`. It runs in threads, for several
samples at the same time. Code of folders that are not bundled runs only if the user allows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from eval_anything.content import MODALITIES, Contract, Metric, Response, Sample, Score
from eval_anything.errors import EvalError, UserError, install
from eval_anything.files.code import (
    allow,
    check_code,
    code_fingerprint,
    is_module,
    load_function,
    raised_at,
)
from eval_anything.files.json_text import check_nesting
from eval_anything.files.mistakes import Mistakes, mistake
from eval_anything.judges.folder import JudgeFolder
from eval_anything.judges.kind import JudgeFile, check_exists
from eval_anything.judges.scorer import Scorer, score_response
from eval_anything.scoring.functions import ScoreFunction


class ProgramScorer(Scorer):
    """Scorer by a function of a folder."""

    kind = "program"
    judged = False
    exact = True

    def __init__(self, name: str, folder: Path, reference: str, metrics: Mapping[str, Metric]) -> None:
        self.name = name
        self._folder = folder
        self.metrics = metrics
        self.fingerprint = code_fingerprint(folder / reference.partition(":")[0])
        self.function: ScoreFunction = load_function(folder, reference)

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        """Scores of the function; if it raises, scores without a value and the exception as reason."""
        return await asyncio.to_thread(self._score, sample, response)

    def _score(self, sample: Sample, response: Response) -> dict[str, Score]:
        try:
            raw_scores = self.function(sample, response)
            scores = {n: s if isinstance(s, Score) else Score(s) for n, s in raw_scores.items()}
            undeclared = [name for name in scores if name not in self.metrics]
            check_nesting(msgspec.json.encode(msgspec.convert(scores, dict[str, Score])))  # recordable?
        except EvalError:  # it is not about this one response, so it ends the run
            raise
        except Exception as error:
            last = f"{type(error).__name__}: {error} ({raised_at(error, self._folder)})"
            reason = f"the scorer of {self.name} failed on this response: {last}"
            return {name: Score(None, explanation=reason) for name in self._applying(sample)}
        if undeclared:
            return self.unscored(f"{self.name} gave {undeclared[0]!r}, which `metrics` does not declare")
        return scores

    def _applying(self, sample: Sample) -> Collection[str]:
        """Metrics that apply to a sample, for a response on which the function failed."""
        try:
            return [n for n in self.function(sample, Response()) if n in self.metrics]
        except Exception:  # it fails on the sample itself: which metrics apply is not known
            return self.metrics


class CodeFile(JudgeFile, frozen=True, kw_only=True):
    """Common keys of judge.yaml for judges that are code.

    Attributes:
        packages: modules that the code imports and that are no dependencies of eval-anything.
    """

    packages: list[str] = []

    def check(self, folder: Path, mistakes: Mistakes) -> None:
        super().check(folder, mistakes)
        for key in ("scorer", "factory"):
            reference = getattr(self, key, None)
            if reference is not None and check_exists(folder, reference, mistakes, key):
                message = check_code(folder, reference)
                if message is not None:
                    mistakes.add(f"{key}: {message}", key)

    def allow(self, folder: JudgeFolder, model: str | None, allow_code: bool) -> None:
        """Raises UserError for code that is not allowed, for missing packages, and for a model that the
        judge does not take."""
        allow(folder.trusted, allow_code, f"judge {folder.name}", folder.path)
        missing = [name for name in self.packages if not is_module(name)]
        if missing:
            remedy = install("metrics") if folder.trusted else f"pip install {' '.join(missing)}"
            raise UserError(
                f"judge {folder.name} needs {', '.join(missing)}, not installed here: {remedy}"
            )
        if model is not None and not self.needs_model:
            raise UserError(f"--judge {folder.name}: this {self.kind} takes no model")

    def tried(self, folder: JudgeFolder) -> str:
        """Imports the code and calls it with a sample and a response without content; a sentence on the
        outcome. FileProblemsError for what no sample can make right."""
        scorer = self.make(folder, None, allow_code=True)
        assert isinstance(scorer, ProgramScorer)
        if self.needs_model:
            return "its code imports; it is called with a model alone"
        called = "called with a sample and a response without content, its code"
        try:
            scorer.function(_EMPTY, Response())
        except EvalError:
            raise
        except Exception as error:
            at = raised_at(error, folder.path)
            return (
                f"{called} raises {type(error).__name__}: {error} ({at}). That is no mistake if all "
                "samples have what it reads"
            )
        scores = asyncio.run(score_response([scorer], _EMPTY, Response()))
        for score in scores.values():
            if score.value is None and score.explanation:
                raise mistake(folder.path / "judge.yaml", f"{called}: {score.explanation}")
        values = ", ".join(f"{name} {score.value}" for name, score in scores.items())
        return f"{called} gives {values or 'nothing: no metric applies'}"


_EMPTY = Sample("empty", (), Contract(allowed=MODALITIES))


class ProgramFile(CodeFile, tag=ProgramScorer.kind, frozen=True, kw_only=True):
    """judge.yaml of a program.

    Attributes:
        scorer: `file.py:function` in the folder: from a sample and a response to scores by metric.
    """

    scorer: str

    scorer_type = ProgramScorer

    def make(self, folder: JudgeFolder, model: str | None, allow_code: bool) -> Scorer:
        self.allow(folder, model, allow_code)
        return ProgramScorer(folder.name, folder.path, self.scorer, self.metrics)
