"""Kind `reward_model`: scalar heads on a checkpoint of transformers, whose sigmoids are the values.

Metrics named after pairs of modalities (`text_image`) score the two parts of the pair alone, all on one
scale, and `synergy` is their mean. Otherwise metrics are heads of the model on the whole response: a
single metric is the overall head, several have the names of heads. Inputs of the model are made in
`reward/readers.py`; the model is in `reward/head.py` and `reward/classes.py`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from eval_anything.content import MODALITIES, Metric, Modality, Part, Response, Sample, Score, TextPart
from eval_anything.errors import EvalError, UserError
from eval_anything.files.hashing import hash_files, sha256_of
from eval_anything.files.json_text import read_json
from eval_anything.files.mistakes import Mistakes
from eval_anything.files.places import path_inside
from eval_anything.judges.asking import guard
from eval_anything.judges.folder import JudgeFolder
from eval_anything.judges.kind import JudgeFile, check_exists
from eval_anything.judges.kinds.reward.classes import heads_of
from eval_anything.judges.kinds.reward.head import (
    Head,
    HeadRecipe,
    RewardBatcher,
    Scalars,
    hash_of,
    in_pool,
    in_thread,
)
from eval_anything.judges.kinds.reward.readers import (
    NothingShownError,
    Reader,
    RewardQuery,
    UnreadableError,
    names_of,
    reader_of,
)
from eval_anything.judges.scorer import Scorer
from eval_anything.models.local.checkpoint import check_complete, weight_files
from eval_anything.models.replicas.engine import ReplicaEngine

OVERALL = "synergy"
"""Name of the metric that is the mean over the pairs."""


_PAIRS = {f"{first}_{second}": (first, second) for first, second in permutations(MODALITIES, 2)}


class Opinion(NamedTuple):
    """Quality of a response (0..1), None if the judge cannot score it; `scalar` is None if the model was
    not asked."""

    quality: float | None
    reason: str = ""
    scalar: float | None = None


class RewardModelScorer(Scorer):
    """Scorer by a reward model."""

    kind = "reward_model"

    def __init__(
        self,
        folder: JudgeFolder,
        file: RewardModelFile,
        path: Path,
        reader: Reader,
        heads: Mapping[str, int],
    ) -> None:
        self.name = folder.name
        self.metrics = file.metrics
        self._pairs = {name: _PAIRS[name] for name in file.metrics if name in _PAIRS}
        self._heads = heads
        self._sees = reader.sees & set(file.sees)
        self._ask = RewardBatcher(in_thread(Head(path, reader)))
        self._path = path
        self._hash = hash_of(path, reader)
        self.fingerprint = sha256_of([self._hash, file.metrics, sorted(self._sees), guard.VERSION])

    def run_on(self, engine: ReplicaEngine) -> None:
        path = str(self._path.absolute())
        recipe = HeadRecipe(about=f"judge {self.name}", path=path, weights=self._hash)
        self._ask = RewardBatcher(in_pool(engine.pool(recipe, 1)))

    @property
    def weights(self) -> str | None:
        return hash_files(weight_files(self._path))

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        """Sigmoids of the model's scalars, scaled to the ranges of the metrics; the worst score for a
        response without a required modality."""
        if self._pairs:
            return await self._score_pairs(sample, response)
        missing = set(sample.contract.required) - set(response.modalities)
        answer = await self._answer(sample, response.parts, missing)
        return {name: _score(self.metrics[name], _opinion(answer, h)) for name, h in self._heads.items()}

    async def _score_pairs(self, sample: Sample, response: Response) -> dict[str, Score]:
        """Scores of all declared pairs that are required or present, and their mean."""
        required, present = set(sample.contract.required), set(response.modalities)
        applying = {n: p for n, p in self._pairs.items() if set(p) <= required or set(p) <= present}
        answers = await asyncio.gather(
            *(
                self._answer(sample, _parts_of(response, pair), set(pair) - present)
                for pair in applying.values()
            )
        )
        opinions = {name: _opinion(answer, 0) for name, answer in zip(applying, answers, strict=True)}
        scores = {name: _score(self.metrics[name], opinion) for name, opinion in opinions.items()}
        if scores and OVERALL in self.metrics:
            scores[OVERALL] = _score(self.metrics[OVERALL], _mean(opinions))
        return scores

    async def _answer(
        self, sample: Sample, parts: Sequence[Part], missing: set[Modality]
    ) -> Opinion | Scalars:
        """Scalars of the model, or an opinion if the model need not or cannot be asked."""
        if missing:
            return Opinion(0.0, f"no {names_of(missing)}, which is required")
        if not parts:
            return Opinion(0.0, "the response is empty")
        unseen = {part.modality for part in parts} - self._sees
        if unseen:
            return Opinion(None, f"the response has {names_of(unseen)}, which this judge cannot see")
        try:
            return await self._ask(RewardQuery(sample.messages, parts))
        except NothingShownError as error:
            return Opinion(0.0, str(error))
        except UnreadableError as error:
            return Opinion(None, str(error))
        except EvalError:
            raise
        except Exception as error:  # out of memory, a token that the model lacks ...
            return Opinion(None, f"the model failed: {type(error).__name__}: {error}")


class RewardModelFile(JudgeFile, tag=RewardModelScorer.kind, frozen=True, kw_only=True):
    """judge.yaml of a reward model.

    Attributes:
        checkpoint: a folder in the judge's; without it, the user must name one.
    """

    checkpoint: str | None = None

    scorer_type = RewardModelScorer
    model_form: ClassVar[Literal["SPEC", "PATH"]] = "PATH"

    @property
    def needs_model(self) -> bool:
        return self.checkpoint is None

    def check(self, folder: Path, mistakes: Mistakes) -> None:
        super().check(folder, mistakes)
        if self.checkpoint is not None:
            check_exists(folder, self.checkpoint, mistakes, "checkpoint")

    def make(self, folder: JudgeFolder, model: str | None, allow_code: bool) -> Scorer:
        path = self._path(folder, model)
        check_complete(path)
        config = read_json(path / "config.json")
        architectures = config.get("architectures") or [""]
        if not architectures[0].endswith("ForSequenceClassification"):
            raise UserError(
                f"{path} holds {architectures[0] or 'an unnamed model'}, not a reward model: save it "
                "from AutoModelForSequenceClassification with num_labels=1"
            )
        names = heads_of(config)
        reader = reader_of(path)
        _check_metrics(folder, self.metrics, reader, names)
        alone = len(self.metrics) == 1
        heads = {m: names.index(m) if m in names else 0 for m in self.metrics if m in names or alone}
        return RewardModelScorer(folder, self, path, reader, heads)

    def _path(self, folder: JudgeFolder, model: str | None) -> Path:
        """Checkpoint to use: the one that the user names, else the one in the judge's folder."""
        if model is not None:
            path = Path(model)
            if not path.is_dir():
                raise UserError(
                    f"--judge {folder.name}={model}: there is no such folder; a reward model is given "
                    "by the path of its checkpoint"
                )
            return path
        assert self.checkpoint is not None
        try:
            return path_inside(folder.path, self.checkpoint)
        except ValueError as error:
            raise UserError(f"{folder.path / 'judge.yaml'}: checkpoint: {error}") from None


def _check_metrics(
    folder: JudgeFolder, metrics: Mapping[str, Metric], reader: Reader, heads: Sequence[str]
) -> None:
    """Raises UserError unless the metrics are pairs and perhaps their mean, or one metric, or heads."""
    where = folder.path / "judge.yaml"
    pairs = [name for name in metrics if name in _PAIRS]
    further = [name for name in metrics if name not in _PAIRS]
    if pairs and any(name != OVERALL for name in further):
        raise UserError(f"{where}: beside pairs of modalities there is only {OVERALL!r}: {further}")
    if not pairs and len(further) > 1 and not set(further) <= set(heads):
        if len(heads) > 1:
            raise UserError(
                f"{where}: this reward model has the heads {', '.join(heads)}; metrics must be among "
                f"them, not {', '.join(name for name in further if name not in heads)}"
            )
        raise UserError(
            f"{where}: a reward model gives one number: one metric, or pairs such as text_image, "
            f"not {', '.join(further)}"
        )
    unseen = next((name for name in pairs if not reader.sees >= set(_PAIRS[name])), None)
    if unseen is not None:
        raise UserError(f"judge {folder.name}: {reader.about} cannot see the pair {unseen}")


def _parts_of(response: Response, pair: tuple[Modality, Modality]) -> list[Part]:
    """Parts of two modalities, in this order: all text as one part, or the first medium."""
    parts: list[Part] = []
    for modality in pair:
        medium = response.first(modality)
        if medium is not None:
            parts.append(medium)
        elif modality in response.modalities:
            parts.append(TextPart(response.text))
    return parts


def _opinion(answer: Opinion | Scalars, head: int) -> Opinion:
    """Opinion of one head of the model."""
    if isinstance(answer, Opinion):
        return answer
    scalar = answer[head]
    if not math.isfinite(scalar):
        return Opinion(None, f"the model gave {scalar}")
    return Opinion(0.5 * (1 + math.tanh(scalar / 2)), scalar=scalar)  # the sigmoid, never too large


def _mean(opinions: Mapping[str, Opinion]) -> Opinion:
    """Mean of the opinions on pairs; without a quality if one of them has none."""
    unclear = [name for name, opinion in opinions.items() if opinion.quality is None]
    if unclear:
        return Opinion(None, f"no value for {', '.join(unclear)}")
    quality = math.fsum(opinion.quality or 0.0 for opinion in opinions.values()) / len(opinions)
    return Opinion(quality, f"mean over {', '.join(opinions)}")


def _score(metric: Metric, opinion: Opinion) -> Score:
    """Score of an opinion in the metric's range. Values are rounded, since the last bits depend on the
    composition of the batch."""
    if opinion.quality is None:
        return Score(None, explanation=opinion.reason)
    if opinion.quality == 0.0:
        return Score(metric.worst, explanation=opinion.reason)
    low, high = metric.range
    share = opinion.quality if metric.better == "higher" else 1 - opinion.quality
    details = {} if opinion.scalar is None else {"scalar": round(opinion.scalar, 6)}
    rounded = min(high, max(low, round(low + share * (high - low), 6)))
    return Score(rounded, explanation=opinion.reason, details=details)
