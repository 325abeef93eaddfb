"""Rows of training data whose prompt is in a benchmark: a score on prompts that were trained on measures
nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from align_plugins.data.files import read_rows
from align_plugins.data.rows import R, Row, prompt_key, rows_of
from eval_anything.errors import UserError
from eval_anything.tasks.datasets.find import MissingDataError
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry


class BenchmarkPrompts(NamedTuple):
    """Prompts of all available benchmarks, each `prompt_key` with its `task: sample id`, and the names
    of the tasks that could not be read because their data are missing."""

    prompts: dict[str, str]
    unread: list[str]


class Hit(NamedTuple):
    """A row whose prompt is in a benchmark: its id, and `task: sample id`."""

    row: str
    sample: str


def benchmark_prompts(
    include: Sequence[Path] = (), data_folders: Sequence[Path] = ()
) -> BenchmarkPrompts:
    """Reads the prompts of all available tasks, both as the samples have them and as the task's template
    renders them."""
    prompts: dict[str, str] = {}
    unread = []
    for name, folder in Registry(include).folders.items():
        try:
            task = load_task(folder, data=data_folders)
        except MissingDataError:
            unread.append(name)
            continue
        except UserError as error:
            unread.append(f"{name} ({str(error).splitlines()[0]})")
            continue
        for sample in task.samples:
            location = f"{name}: {sample.id}"
            prompts.setdefault(prompt_key(sample.messages), location)
            prompts.setdefault(prompt_key(task.messages(sample)), location)
    return BenchmarkPrompts(prompts, unread)


def hits(rows: Iterable[Row], benchmarks: BenchmarkPrompts) -> list[Hit]:
    """Rows whose prompt is in a benchmark: equal text (ignoring white space and letter case) and equal
    media."""
    matches = []
    for row in rows:
        location = benchmarks.prompts.get(prompt_key(row.messages))
        if location is not None:
            matches.append(Hit(row.id, location))
    return matches


def read_clean_rows(
    path: Path, kind: type[R], consumer: str, benchmarks: BenchmarkPrompts | None
) -> list[R]:
    """Rows of a file, all of one kind.

    Args:
        path: file of rows.
        kind: type that every row must have.
        consumer: name of the method or stage that reads them, for error messages.
        benchmarks: prompts that must not occur; None allows them.

    Raises:
        UserError: a row has a prompt of a benchmark.
        FileProblemsError: the file has mistakes, or a row of another kind.
    """
    rows = rows_of(read_rows(path), kind, path, consumer)
    matches = hits(rows, benchmarks) if benchmarks is not None else []
    if matches:
        raise UserError(
            f"{path}: {len(matches)} of {len(rows)} rows have a prompt that is in a benchmark, first "
            f"row {matches[0].row!r} ({matches[0].sample}): take them out (`eval-anything data check "
            f"{path}` lists them), or set allow_contamination: true and do not report that benchmark"
        )
    return rows
