"""Rewards of responses: any judge by its name, a reward model's checkpoint, or a mix of several.

Every reward is a metric of a judge on 0..1, turned so that up is good; the mix is their weighted mean
over those that apply to the prompt. A response that the policy failed at (nothing in it, a medium that
does not decode) gets the floor of every metric, as in an evaluation. Where a judge gives no value,
nothing is known of the response and nothing is learned from it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from align_plugins.data.rows import Prompt
from align_plugins.policies.base import Policy
from align_plugins.training.sampling import Sampled
from eval_anything.content import (
    ANYTHING,
    MODALITIES,
    Contract,
    Failure,
    Metric,
    Response,
    Sample,
    Score,
)
from eval_anything.errors import UserError, near
from eval_anything.judges.assemble import make_judge
from eval_anything.judges.folder import JudgeFolder, find_judges, judge_named
from eval_anything.judges.kinds.reward_model import RewardModelFile
from eval_anything.judges.scorer import Scorer, score_response
from eval_anything.media import MediaStore
from eval_anything.models.checked import checked
from eval_anything.servers.prices import Spending

_AT_ONCE = 64  # responses that are scored at the same time


class RewardSource(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the rewards: a judge, or the checkpoint of a reward model.

    Attributes:
        judge: its name.
        metric: which of its metrics; may be left out if there is one.
        model: the model behind the judge, as in `--judge NAME=MODEL`.
        checkpoint: the folder of a reward model that reads whole responses: the sigmoid of its scalar.
        weight: in the mix, above 0.
    """

    judge: str | None = None
    metric: str | None = None
    model: str | None = None
    checkpoint: str | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if (self.judge is None) == (self.checkpoint is None):
            raise ValueError("a reward is a judge or a checkpoint: give one of the two")
        if self.checkpoint is not None and (self.metric is not None or self.model is not None):
            raise ValueError("a checkpoint has neither metric nor model: those are for a judge")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError("the weight of a reward must be above 0")


class Reward(NamedTuple):
    """What a response is worth.

    Attributes:
        value: the mix, 0..1; None if a judge gave no value, or no reward applies.
        parts: each reward alone by name, 0..1, of those that apply.
        reason: why there is no value.
    """

    value: float | None
    parts: dict[str, float]
    reason: str = ""


class _Part(NamedTuple):
    name: str
    scorer: Scorer
    metric: str
    weight: float


class Rewards:
    """The rewards of a training. Making it reads judges' files and loads nothing. UserError for a judge
    that is not there, that needs a model, or whose metric is not named."""

    def __init__(
        self, sources: Sequence[RewardSource], include: Sequence[str] = (), allow_code: bool = False
    ) -> None:
        judges = find_judges([Path(path) for path in include])
        self._parts = [_part(source, judges, allow_code) for source in sources]
        names = [part.name for part in self._parts]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"rewards: {twice} is given twice: add its weights, or take another metric")
        self._runner = asyncio.Runner()
        spending = Spending()
        for part in self._parts:
            part.scorer.spending = spending

    @property
    def names(self) -> list[str]:
        """What each reward is called in logs: its judge, judge:metric, or the end of a checkpoint's
        path."""
        return [part.name for part in self._parts]

    def gives(self, scorer: Scorer) -> bool:
        """Whether one of the rewards is this judge: the same code, rubric and model, or the same weights
        of a reward model."""
        weights = scorer.weights
        return any(
            part.scorer.fingerprint == scorer.fingerprint
            or (weights is not None and part.scorer.weights == weights)
            for part in self._parts
        )

    def score(self, samples: Sequence[Sample], responses: Sequence[Response]) -> list[Reward]:
        """The reward of each response to its sample. ServerError if a judge's server is away."""
        return self._runner.run(self._score(samples, responses))

    async def _score(self, samples: Sequence[Sample], responses: Sequence[Response]) -> list[Reward]:
        """One bundle after another: what shares a batch of a reward model, and so the last bits of what
        it gives, then depends on nothing but the order."""
        pairs = list(zip(samples, responses, strict=True))
        rewards: list[Reward] = []
        for start in range(0, len(pairs), _AT_ONCE):
            bundle = pairs[start : start + _AT_ONCE]
            rewards += await asyncio.gather(*(self._reward(*pair) for pair in bundle))
        return rewards

    async def _reward(self, sample: Sample, response: Response) -> Reward:
        shares: dict[str, float] = {}
        total = weights = 0.0
        for part in self._parts:
            score = (await score_response([part.scorer], sample, response)).get(part.metric)
            if score is None:  # it does not apply to this prompt
                continue
            if score.value is None:
                return Reward(None, {}, f"{part.name}: {score.explanation}")
            shares[part.name] = _share(score)
            total += part.weight * shares[part.name]
            weights += part.weight
        if not weights:
            return Reward(None, {}, "no reward applies to this prompt")
        return Reward(total / weights, shares)

    def close(self) -> None:
        """Ends connections to servers."""

        async def close() -> None:
            for part in self._parts:
                await part.scorer.close()

        self._runner.run(close())
        self._runner.close()


def _part(source: RewardSource, judges: dict[str, JudgeFolder], allow_code: bool) -> _Part:
    if source.checkpoint is not None:
        path = Path(source.checkpoint)
        if not path.is_dir():
            raise UserError(f"rewards: {path} is no folder: a checkpoint is what `train reward` wrote")
        file = RewardModelFile(
            version=1,
            title="",
            description="",
            metrics={"reward": Metric(range=(0.0, 1.0))},
            sees=list(MODALITIES),
        )
        name = "/".join(path.resolve().parts[-2:])
        scorer = file.make(JudgeFolder(name, path, True), str(path), False)
        return _Part(name, scorer, "reward", source.weight)
    assert source.judge is not None
    scorer = make_judge(judge_named(source.judge, judges), allow_code, source.model)
    if scorer.compares:
        raise UserError(f"rewards: {source.judge} compares two runs, and gives no response a value")
    if not scorer.available:
        raise UserError(f"rewards: {source.judge} needs a model: add `model: SPEC` to it")
    metric = source.metric
    if metric is None and len(scorer.metrics) > 1:
        names = ", ".join(scorer.metrics)
        raise UserError(f"rewards: {source.judge} has several metrics: add `metric:`, one of {names}")
    if metric is not None and metric not in scorer.metrics:
        hint = near(metric, scorer.metrics) or f" It has {', '.join(scorer.metrics)}."
        raise UserError(f"rewards: {source.judge} has no metric {metric!r}.{hint}")
    chosen = metric if metric is not None else next(iter(scorer.metrics))
    name = source.judge if metric is None else f"{source.judge}:{metric}"
    return _Part(name, scorer, chosen, source.weight)


def _share(score: Score) -> float:
    """The value of a score on its range, 0..1, up is good."""
    assert score.value is not None
    low, high = score.range
    share = (score.value - low) / (high - low)
    return share if score.better == "higher" else 1 - share


def sample_of(row: Prompt) -> Sample:
    """A prompt as judges take it. `contract` and `targets` of its metadata are what a task's samples
    have under these names; without a contract every modality is allowed. ValueError for a wrong one."""
    metadata = dict(row.metadata)
    contract = ANYTHING
    try:
        if "contract" in metadata:
            contract = msgspec.convert(metadata.pop("contract"), Contract)
        targets = msgspec.convert(metadata.pop("targets", {}), dict[str, object])
    except msgspec.ValidationError as error:
        raise ValueError(f"its metadata has a contract or targets that are none: {error}") from None
    return Sample(row.id, row.messages, contract, targets, metadata, row.source_id)


def response_of(policy: Policy, sampled: Sampled, store: MediaStore) -> Response:
    """What a judge sees of sampled tokens: their parts, or why there are none."""
    stop = "stop" if sampled.ended else "length"
    try:
        parts = policy.decode(sampled.row.response, store)
    except ValueError as error:
        return Response(stop_reason=stop, error=Failure("invalid_output", str(error)))
    return checked(Response(parts=parts, stop_reason=stop))
