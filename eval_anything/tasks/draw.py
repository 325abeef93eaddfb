"""The order in which `--limit` takes a task's samples: every beginning of it is a fair share.

Samples are drawn by stratum, in proportion: by each key of `group_by` in turn, then by the modalities of
answer and question. The draw depends on the task and the ids alone, so that runs of all models and seeds
have the same samples, and those of a smaller limit are among those of a larger one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from eval_anything.content import Sample
from eval_anything.files.hashing import seed_of
from eval_anything.tasks.task import Task
from eval_anything.tasks.where import inputs_of, outputs_of

_Key = Callable[[Sample], str]


def drawn(task: Task, samples: Sequence[Sample]) -> list[Sample]:
    """These samples of a task in the order of the draw."""
    keys = [partial(_group, task, key) for key in task.file.group_by]
    return _draw((task.name,), samples, [*keys, _modalities])


def _draw(path: tuple[str, ...], samples: Sequence[Sample], keys: Sequence[_Key]) -> list[Sample]:
    """Samples of one stratum, which the path names, in the order of the draw.

    Strata within it are merged: sample j of m samples of a stratum stands at (j + u) / m, where u is a
    fixed random number of the stratum. So a beginning that ends at t has m t samples of it, up to one.
    """
    if not keys:
        return sorted(samples, key=lambda sample: _uniform(*path, sample.id))
    strata: dict[str, list[Sample]] = {}
    for sample in samples:
        strata.setdefault(keys[0](sample), []).append(sample)
    placed: list[tuple[float, str, Sample]] = []
    for name, members in strata.items():
        start = _uniform(*path, name)
        ordered = _draw((*path, name), members, keys[1:])
        placed += [((j + start) / len(ordered), name, sample) for j, sample in enumerate(ordered)]
    return [sample for _, _, sample in sorted(placed, key=lambda place: place[:2])]


def _uniform(*words: str) -> float:
    """A number in [0, 1) that depends on the words alone."""
    return float(seed_of(*words) / 2**63)


def _group(task: Task, key: str, sample: Sample) -> str:
    return task.groups(sample).get(key, "")


def _modalities(sample: Sample) -> str:
    """The modalities that the answer must have, and those of the question."""
    return f"{'+'.join(outputs_of(sample))} of {'+'.join(inputs_of(sample))}"
