"""Rewards of responses: judges, checkpoints of reward models, or a weighted mix of them.

Every reward is a metric of a judge on 0..1, turned so that higher is better; the mix is the weighted
mean of those that apply to the prompt. A failed response of the policy (empty, or a medium that does not
decode) gets the lowest value of every metric, as in an evaluation. If a judge gives no value, the
response has no reward and nothing is learned from it.
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
    share_of_range,
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
        metric: which of its metrics; may be left out if there is only one.
        model: the model behind the judge, as in `--judge NAME=MODEL`.
        checkpoint: folder of a reward model that reads whole responses; the reward is the sigmoid of its
            scalar.
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
    """The reward of a response.

    Attributes:
        value: the mix, 0..1; None if a judge gave no value, or no reward applies.
        parts: each reward that applies, 0..1, by name.
        reason: reason for a missing value.
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
    """The rewards of a training. Creating it reads the files of judges and loads nothing. UserError for
    a judge that does not exist, that needs a model, or whose metric is not named."""

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
        """Name of each reward in logs: judge, judge:metric, or the end of a checkpoint's path."""
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
        """Reward of each response to its sample. ServerError if the server of a judge is unavailable."""
        return self._runner.run(self._score(samples, responses))

    async def _score(self, samples: Sequence[Sample], responses: Sequence[Response]) -> list[Reward]:
        """Rewards of responses, scored in fixed bundles one after another, so that the batches of a
        reward model, and with them the last bits of its outputs, depend only on the order of the
        responses."""
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
            shares[part.name] = share_of_range(score.value, score.range, score.better)
            total += part.weight * shares[part.name]
            weights += part.weight
        if not weights:
            return Reward(None, {}, "no reward applies to this prompt")
        return Reward(total / weights, shares)

    def close(self) -> None:
        """Closes connections to servers."""

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


def sample_of(row: Prompt) -> Sample:
    """Sample for judges. `contract` and `targets` in the row's metadata mean the same as in a task's
    samples; without a contract every modality is allowed. ValueError for a wrong one."""
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
    """Response for judges: the parts of the sampled tokens, or the failure to decode them."""
    stop = "stop" if sampled.ended else "length"
    try:
        parts = policy.decode(sampled.row.response, store)
    except ValueError as error:
        return Response(stop_reason=stop, error=Failure("invalid_output", str(error)))
    return checked(Response(parts=parts, stop_reason=stop))
