"""results.json: the numbers of a run, written and read here alone.

It is rebuilt from the records whenever the command runs. `eval-anything schema results` prints its JSON
schema, which is made from these types. A key with UNSET is absent where it does not apply; the other
defaults are for files of older versions, which lack these keys. Keys of newer versions are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from eval_anything.content import Count, FailureKind, Modality, Usage, check_range
from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import MAX_DOCUMENT, read_file
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.runs.own_files import check_task_names, own_file

FILE_NAME = "results.json"


_MOST_NESTED = 50
"""Aggregates that have others as inputs: each may be a level of calls."""


def _about(text: str) -> Meta:
    return Meta(description=text)


Interval = tuple[float, float]
"""The lower and the upper end of a 95 % interval."""


class JudgeQuality(Struct, frozen=True, kw_only=True):
    """Agreement of a judge with labels: one figure that stands for it, and all the others."""

    metric: Annotated[str, _about("the judge's metric that was compared with labels")]
    figure: Annotated[
        Literal["accuracy", "rho"],
        _about("accuracy on pairs (0..1) or, without pairs, Spearman's rho on grades (-1..1)"),
    ]
    value: Annotated[float, _about("the figure's value")]
    ci95: Annotated[Interval, _about("its 95 % interval; the whole range where none can be told")]
    n: Annotated[Count, _about("how many labels it is from")]
    labels: Annotated[str, _about("the name of the file or set of labels")]
    figures: Annotated[
        dict[str, float | None], _about("every figure by its name, such as kappa; null: undefined")
    ] = {}


class DetectableEffect(Struct, frozen=True, kw_only=True):
    """The smallest difference of two runs that shows with 80 % power at the two-sided 5 % level, in the
    metric's units."""

    seen: Annotated[float | None, _about("as the judge shows it; null: no scatter, or none is known")]
    true: Annotated[
        float | None, _about("the true difference behind it; null: the judge's errors leave no bound")
    ]


class Figure(Struct, frozen=True):
    """A number with its 95 % interval."""

    value: Annotated[float, _about("the estimate")]
    ci95: Annotated[Interval, _about("the 95 % interval; a sample is a cluster of its answers")]


class RepeatsResult(Struct, frozen=True):
    """Variation of several answers to each sample."""

    answers: Annotated[int, _about("answers a sample, at least")]
    within: Annotated[Figure, _about("variance of the answers to one sample, the mean over samples")]
    between: Annotated[Figure, _about("variance of the true means of samples")]
    consistency: Annotated[
        Figure,
        _about(
            "1 less the mean distance of two answers to a sample, in ranges; of 0 and 1: how many agree"
        ),
    ]
    passes: Annotated[
        dict[str, Figure] | UnsetType,
        _about("by j: how often one of j answers is the best there is, unbiased (Chen et al. 2021)"),
    ] = UNSET

    @property
    def words(self) -> str:
        """The figures in a line."""
        figures = {f"pass@{j}": figure for j, figure in (self.passes or {}).items()}
        figures |= {"consistency": self.consistency, "variance within samples": self.within}
        figures |= {"between samples": self.between}
        texts = [f"{n} {f.value:.3f} ({f.ci95[0]:.3f} to {f.ci95[1]:.3f})" for n, f in figures.items()]
        return f"{self.answers} answers a sample: {', '.join(texts)}"


class SameGrade(Struct, frozen=True, kw_only=True):
    """A grade that a judge gave to at least nine in ten of ten or more answers."""

    value: Annotated[float, _about("the grade")]
    count: Annotated[Count, _about("answers that got it")]
    n: Annotated[Count, _about("answers that got a grade")]


class CorrectedResult(Struct, frozen=True, kw_only=True):
    """A judged metric corrected by labels of people (prediction-powered, PPI++): right whatever the bias
    of the judge."""

    value: Annotated[float | None, _about("the corrected mean; null: see `reason`")]
    stderr: Annotated[float | None, _about("its clustered standard error")] = None
    ci95: Annotated[Interval | None, _about("its 95 % interval, inside the range")] = None
    labels: Annotated[Count, _about("samples with a label")]
    annotators: Annotated[list[str], _about("who labelled")]
    agreement: Annotated[
        float | None,
        _about("Krippendorff's alpha (interval) on samples that several labelled; null: there are none"),
    ] = None
    tuning: Annotated[
        float | None, _about("how far the judge is used: 0 labels alone, 1 like a label")
    ] = None
    reason: Annotated[str | UnsetType, _about("the reason why it cannot be corrected")] = UNSET

    def __post_init__(self) -> None:
        if self.value is not None and self.ci95 is None:
            raise ValueError("a corrected metric with a value has a ci95")


class MetricResult(Struct, frozen=True, kw_only=True):
    """One metric over the samples of a task that it applies to, or over one group of them.

    `judge`, `calibration` and `mde` are there for judges with a model behind them.
    """

    value: Annotated[
        float | None,
        _about("the mean over samples, in the range; null: no sample is scored, or it is invalid"),
    ]
    stderr: Annotated[
        float | None,
        _about("the clustered standard error of the value; null for fewer than two clusters"),
    ]
    ci95: Annotated[
        Interval | None, _about("the 95 % interval, inside the range; null where there is no value")
    ]
    n: Annotated[Count, _about("samples that it applies to, failed, unscored and skipped ones included")]
    failed: Annotated[Count, _about("samples that the model failed, which score the floor")]
    unscored: Annotated[Count, _about("samples that the judge failed, which are left out of the value")]
    skipped: Annotated[
        int, _about("samples that a server failed and --skip-failing gave up, left out of the value")
    ] = 0
    better: Annotated[Literal["higher", "lower"], _about("the good direction")]
    range: Annotated[Interval, _about("the lowest and the highest possible value")]
    description: Annotated[
        str | UnsetType, _about("what it measures, as its task or judge declares it")
    ] = UNSET
    invalid: Annotated[str | UnsetType, _about("the reason why the value must not be used")] = UNSET
    judge: Annotated[str | UnsetType, _about("the name of the judge")] = UNSET
    calibration: Annotated[
        JudgeQuality | UnsetType | None,
        _about("the judge's quality on this metric; null: it was never measured"),
    ] = UNSET
    mde: Annotated[DetectableEffect | UnsetType, _about("the minimum detectable effect")] = UNSET
    repeats: Annotated[
        RepeatsResult | UnsetType, _about("variation of several answers, where samples have some")
    ] = UNSET
    same: Annotated[
        SameGrade | UnsetType, _about("the grade that the judge gave to nearly every answer")
    ] = UNSET
    corrected: Annotated[
        CorrectedResult | UnsetType, _about("the same metric corrected by labels, if the run has any")
    ] = UNSET

    def __post_init__(self) -> None:
        check_range(self.range)
        if self.value is not None and self.ci95 is None:
            raise ValueError("a metric with a value has a ci95")


class TaskResult(Struct, frozen=True, kw_only=True):
    """All metrics of one task."""

    title: Annotated[str | UnsetType, _about("the task's title, for people")] = UNSET
    description: Annotated[str | UnsetType, _about("what it asks of a model")] = UNSET
    primary: Annotated[str, _about("the name of the metric that stands for the task")]
    metrics: Annotated[dict[str, MetricResult], _about("every metric by its name")]
    groups: Annotated[
        dict[str, dict[str, MetricResult]] | UnsetType,
        _about("the primary metric by a key of the samples' metadata, then by that key's value"),
    ] = UNSET
    samples: Annotated[Count, _about("samples with a record")]
    failed: Annotated[Count, _about("samples that the model failed, in any of their repeats")]
    skipped: Annotated[Count, _about("samples that --skip-failing gave up, in any of their repeats")] = 0

    left_out: Annotated[
        int | UnsetType,
        _about("samples that the run leaves out, as saved outputs do not answer them (--only-answered)"),
    ] = UNSET

    def __post_init__(self) -> None:
        if self.primary not in self.metrics:
            raise ValueError(f"the primary metric {self.primary!r} is not among the metrics")

    @property
    def main(self) -> MetricResult:
        """The primary metric."""
        return self.metrics[self.primary]


class ModalityResult(Struct, frozen=True, kw_only=True):
    """All samples of a run, over its tasks, whose questions have one modality, or whose answers must."""

    samples: Annotated[int, _about("samples with a record to which the primary metric applies")]
    failed: Annotated[int, _about("samples that the model failed")]
    value: Annotated[
        float | None,
        _about(
            "the mean over samples of their tasks' primary metrics, as shares of their ranges: 0 the "
            "worst, 1 the best; null: none is scored"
        ),
    ]


class AggregateResult(Struct, frozen=True, kw_only=True):
    """One number made of several metrics, such as AMG."""

    value: Annotated[float | None, _about("null: one of its inputs has no value")]
    stderr: Annotated[
        float | UnsetType | None, _about("of the bootstrap over clusters; absent without a value")
    ] = UNSET
    ci95: Annotated[Interval | None, _about("the 95 % interval; null where there is no value")]
    formula: Annotated[
        str | None, _about("the name of the formula; null: computed by another program")
    ] = None
    inputs: Annotated[
        dict[str, str],
        _about("the formula's variables: each a metric, suite/task:metric, or an aggregate, suite/name"),
    ] = {}

    def __post_init__(self) -> None:
        if self.value is not None and self.ci95 is None:
            raise ValueError("an aggregate with a value has a ci95")


class JudgeResult(Struct, frozen=True, kw_only=True):
    """One judge of the run."""

    kind: Annotated[str, _about("the kind of judge, such as program or rubric")]
    fingerprint: Annotated[str, _about("sha256 (hex) of all that decides its scores")]
    available: Annotated[bool, _about("whether it could score: false if its model is missing")]
    calibration: Annotated[
        JudgeQuality | Literal["exact"] | None,
        _about("its quality; exact: a program; null: it was never measured"),
    ] = None


class CostShare(Struct, frozen=True, kw_only=True):
    """Tokens and money of the model, or of one judge."""

    tokens: Usage
    money: Annotated[float | None, _about("0 for what runs here; null: the price is unknown")]


class RequestCost(Struct, frozen=True, kw_only=True):
    """All that a run spent on servers, with answers that could not be used and were asked for again."""

    calls: Annotated[Count, _about("requests that were answered")]
    tokens: Usage
    money: Annotated[float | None, _about("null: a price is unknown")]


class RunCost(Struct, frozen=True, kw_only=True):
    """Tokens and money of a run: of the answers and scores on record, and `spent`.

    Where `tokens` are `estimated`, a server reported no usage for some of them.
    """

    tokens: Annotated[Usage, _about("of the model alone")] = Usage()
    money: Annotated[float | None, _about("of the model and all judges; null: a price is unknown")]
    currency: Annotated[str, _about("such as USD")] = ""
    prices: Annotated[str, _about("the date of the prices")] = ""
    by: Annotated[dict[str, CostShare], _about("the model by its name, judges by `judge NAME`")] = {}
    spent: Annotated[
        RequestCost | UnsetType, _about("of all requests to servers; absent if there were none")
    ] = UNSET


class Reason(Struct, frozen=True, kw_only=True):
    """One reason why samples failed, were skipped, are unscored or are pending. Reasons that differ only
    in ids, numbers, hashes, addresses and paths are one."""

    outcome: Annotated[
        Literal["failed", "skipped", "unscored", "pending"],
        _about("failed: the model; unscored: the judge; skipped and pending: a server"),
    ]
    kind: Annotated[FailureKind | UnsetType, _about("the kind of failure of the model")] = UNSET
    judge: Annotated[str | UnsetType, _about("the judge that gave no score")] = UNSET
    count: Annotated[Count, _about("samples with this reason")]
    message: Annotated[str, _about("the reason in its most frequent wording")]
    samples: Annotated[list[str], _about("the first 20 of the samples, as suite/task:id")]

    @property
    def text(self) -> str:
        """The reason in one line, with its kind or judge."""
        label = self.outcome if self.kind is UNSET else self.kind
        by = f" by {self.judge}" if self.judge is not UNSET else ""
        return f"{label}{by}: {self.message}"


class Results(Struct, frozen=True, kw_only=True):
    """results.json: all numbers of a run."""

    model: Annotated[str, _about("the name of the model")]
    tasks: Annotated[dict[str, TaskResult], _about("every task by its full name, suite/task")]
    aggregates: Annotated[dict[str, AggregateResult], _about("by full name, suite/name")] = {}
    modalities: Annotated[
        dict[Literal["inputs", "outputs"], dict[Modality, ModalityResult]],
        _about(
            "by modality of the question, and by modality that the answer must have; no external tasks"
        ),
    ] = {}
    judges: Annotated[dict[str, JudgeResult], _about("every judge of the tasks by its name")] = {}
    cost: Annotated[RunCost | None, _about("null: not known")] = None
    pending: Annotated[
        Count, _about("samples that a server failed: the same command asks them again")
    ] = 0
    reasons: Annotated[
        list[Reason],
        _about("the most frequent reasons of samples without a usable answer or score, at most 100"),
    ] = []
    run: Annotated[str, _about("the directory in which the run was made")] = ""
    max_failed: Annotated[
        float, Meta(ge=0, le=1, description="--max-failed: the share of failed samples that is accepted")
    ] = 0.1

    def __post_init__(self) -> None:
        nested = sum(any(":" not in i for i in a.inputs.values()) for a in self.aggregates.values())
        if nested > _MOST_NESTED:
            raise ValueError(f"more than {_MOST_NESTED} aggregates are made of aggregates")


def write_results(run: Path, results: Results) -> None:
    """Writes results.json into the directory of a run. InfrastructureError if the disk fails."""
    write_atomically(run / FILE_NAME, pretty_json(results))


def read_results(run: Path, tasks: Iterable[str] = ()) -> Results:
    """results.json of the directory of a run, which must hold these tasks.

    UserError if it is missing, damaged, or lacks a task.
    """
    path = run / FILE_NAME
    again = "repeat the command that made the run: its records are kept"
    try:
        results = decode_strict(read_file(own_file(run, path), MAX_DOCUMENT), Results)
    except FileNotFoundError:
        raise UserError(f"{run} has no {FILE_NAME}: {again}") from None
    except (ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} cannot be read as results ({reason}): {again}") from None
    check_task_names(results.tasks, path)
    missing = [task for task in tasks if task not in results.tasks]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: {again}")
    return results
