"""Samples of two runs, paired: those with a value of a metric in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from eval_anything.content import Modality
from eval_anything.runs.directory import Outline


class PairedSample(NamedTuple):
    """A sample with a value in both runs: means over repeats, its cluster, id and groups, and the
    modalities of its question and of the answer that it asks for (empty: neither record has them)."""

    base: float
    candidate: float
    cluster: str
    sample_id: str
    groups: Mapping[str, str]
    inputs: tuple[Modality, ...] = ()
    outputs: tuple[Modality, ...] = ()


def pair(
    base: Sequence[Outline], candidate: Sequence[Outline], metric: str
) -> tuple[list[PairedSample], int]:
    """Samples with a value of the metric in both runs, and the number of those with one in one run."""
    base_values, candidate_values = by_sample(base, metric), by_sample(candidate, metric)
    rows = []
    for key, (values, outline) in base_values.items():
        if key in candidate_values:
            other_values, other = candidate_values[key]
            newer = outline if outline.inputs else other  # an older version did not record modalities
            about = outline.source_id, outline.sample_id, outline.groups
            rows.append(
                PairedSample(mean_of(values), mean_of(other_values), *about, newer.inputs, newer.outputs)
            )
    return rows, len(base_values) + len(candidate_values) - 2 * len(rows)


def by_sample(
    outlines: Sequence[Outline], metric: str
) -> dict[tuple[str, str], tuple[list[float], Outline]]:
    """Values over repeats by (sample id, item): a sample whose item has changed is another one."""
    scored: dict[tuple[str, str], tuple[list[float], Outline]] = {}
    for outline in outlines:
        score = outline.scores.get(metric)
        if score is not None and score.value is not None:
            scored.setdefault((outline.sample_id, outline.item), ([], outline))[0].append(score.value)
    return scored


def mean_of(values: Sequence[float]) -> float:
    """The mean of some values."""
    return sum(values) / len(values)
