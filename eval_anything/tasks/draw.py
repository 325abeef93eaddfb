"""The order in which `--limit` takes a task's samples: every beginning of it is a fair share.

Samples are drawn by stratum, in proportion: by each key of `group_by` in turn, then by the modalities of
answer and question. The draw depends on the task and the ids alone, so that runs of all models and seeds
have the same samples, and those of a smaller limit are among those of a larger one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from eval_anything.files.hashing import seed_of
from eval_anything.tasks.task import Task

_Key = Callable[[int], str]


def drawn(task: Task, numbers: Sequence[int]) -> list[int]:
    """The samples of a task at these places in the order of the draw, by their places."""
    keys = [partial(_group, task, key) for key in task.file.group_by]
    return _draw((task.name,), task.samples.ids, numbers, [*keys, partial(_modalities, task)])


def _draw(
    path: tuple[str, ...], ids: Sequence[str], numbers: Sequence[int], keys: Sequence[_Key]
) -> list[int]:
    """Samples of one stratum, which the path names, in the order of the draw.

    Strata within it are merged: sample j of m samples of a stratum stands at (j + u) / m, where u is a
    fixed random number of the stratum. So a beginning that ends at t has m t samples of it, up to one.
    """
    if not keys:
        return sorted(numbers, key=lambda number: _uniform(*path, ids[number]))
    strata: dict[str, list[int]] = {}
    for number in numbers:
        strata.setdefault(keys[0](number), []).append(number)
    placed: list[tuple[float, str, int]] = []
    for name, members in strata.items():
        start = _uniform(*path, name)
        ordered = _draw((*path, name), ids, members, keys[1:])
        placed += [((j + start) / len(ordered), name, number) for j, number in enumerate(ordered)]
    return [number for _, _, number in sorted(placed, key=lambda place: place[:2])]


def _uniform(*words: str) -> float:
    """A number in [0, 1) that depends on the words alone."""
    return float(seed_of(*words) / 2**63)


def _group(task: Task, key: str, number: int) -> str:
    return task.groups(task.samples.read(number)).get(key, "")


def _modalities(task: Task, number: int) -> str:
    """The modalities that the answer must have, and those of the question."""
    samples = task.samples
    return f"{'+'.join(samples.outputs(number))} of {'+'.join(samples.inputs(number))}"
