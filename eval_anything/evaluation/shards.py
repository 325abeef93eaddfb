"""Shards: a run cut into parts that several processes or machines answer, each into its own directory.

Every process plans the whole run and takes every n-th batch of it, so nothing has to be agreed on:
batches depend on the samples, the settings and the batch size of the model alone. The sha256 of the plan
is in run.json of each shard, and a merge compares them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from eval_anything.errors import UserError

_MOST = 2**31


def shard_of(option: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """The number of a shard, from 1, and the number of all shards.

    Args:
        option: the value of `--shard`: I/N; or `auto` or `auto/N` for those of the job array that this
            process belongs to.
        environment: variables of the environment.

    Raises:
        UserError: there is no such shard, or the environment does not say which one it is.

    Example:
        >>> shard_of("2/4", {})
        (2, 4)
        >>> shard_of("auto/4", {"JOB_COMPLETION_INDEX": "1"})
        (2, 4)
    """
    match = re.fullmatch(r"(\d{1,10}|auto)(?:/(\d{1,10}))?", option, re.ASCII)
    if match is None or (match[1] != "auto" and match[2] is None):
        raise UserError(f"--shard {option}: must be I/N, such as 2/8, or auto, or auto/N")
    count = None if match[2] is None else int(match[2])
    if count is not None and not 1 <= count <= _MOST:
        raise UserError(f"--shard {option}: there must be at least one shard, and at most {_MOST}")
    if match[1] == "auto":
        return _of_array(option, count, environment)
    number = int(match[1])
    if count is None or not 1 <= number <= count:
        raise UserError(f"--shard {option}: shards are counted from 1 to {count}")
    return number, count


def _of_array(option: str, count: int | None, environment: Mapping[str, str]) -> tuple[int, int]:
    """The shard of this member of a job array of Slurm, or of an indexed job of Kubernetes."""
    slurm = "SLURM_ARRAY_TASK_ID" in environment
    kubernetes = "JOB_COMPLETION_INDEX" in environment
    if slurm and kubernetes:
        raise UserError(f"--shard {option}: both Slurm and Kubernetes number this process: use I/N")
    if slurm:
        return _of_slurm(option, count, environment)
    if not kubernetes:
        raise UserError(
            f"--shard {option}: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set: this is no "
            "member of a job array. Use I/N"
        )
    if count is None:
        raise UserError("--shard auto: Kubernetes does not say how many pods a job has: use auto/N")
    index = _whole("JOB_COMPLETION_INDEX", environment)
    if index >= count:
        raise UserError(
            f"--shard {option}: JOB_COMPLETION_INDEX is {index}, and the last is {count - 1}"
        )
    return index + 1, count


def _of_slurm(option: str, count: int | None, environment: Mapping[str, str]) -> tuple[int, int]:
    """The place of SLURM_ARRAY_TASK_ID in its array, whose ids may begin anywhere and have a step.

    An array with gaps, or of fewer tasks than shards, as one that repeats what failed, does not tell.
    """
    id_, tasks, first, last = (
        _whole(f"SLURM_ARRAY_TASK_{name}", environment) for name in ("ID", "COUNT", "MIN", "MAX")
    )
    number = count or tasks
    by_hand = f"Name the shard: --shard I/{number}, with an I from 1 that SLURM_ARRAY_TASK_ID tells"
    if tasks != number:
        raise UserError(f"--shard {option}: this array has {tasks} tasks, not {number}. {by_hand}")
    step = _whole("SLURM_ARRAY_TASK_STEP", {"SLURM_ARRAY_TASK_STEP": "1", **environment})
    index, remainder = divmod(id_ - first, max(1, step))
    if last - first != step * (tasks - 1) or remainder or not 0 <= index < tasks:
        ids = f"the {tasks} ids of this array, {first} to {last}"
        raise UserError(f"--shard {option}: {ids}, are not evenly spaced. {by_hand}")
    return index + 1, tasks


def _whole(name: str, environment: Mapping[str, str]) -> int:
    text = environment.get(name, "")
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII):
        raise UserError(f"--shard auto: {name} is {text!r}, and should be a whole number: use I/N")
    return int(text)
