"""Trainings whose checkpoints are among the runs of a site: their steps, and the log beside them.

A run in `<training>/runs/` has a note, training.json, with its training and step: step 0 is the start.
Other runs of checkpoints are known by the names of their folders, such as checkpoint-500.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from eval_anything.content import without_surrogates
from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_json
from eval_anything.files.reading import MAX_DOCUMENT, file_lines, read_file
from eval_anything.leaderboard.charts import Point
from eval_anything.leaderboard.chunks import Chunks
from eval_anything.leaderboard.curves import best_of, log_charts, metric_curve, metric_title
from eval_anything.leaderboard.read_runs import SiteRun
from eval_anything.output.svg import Tree
from eval_anything.runs.own_files import own_file

if TYPE_CHECKING:
    import pandas as pd

    from eval_anything.leaderboard.board import Column


# checkpoint-500 is what transformers writes; step500, step_500 and global_step500 are others' names.
_STEP = re.compile(r"^(.*?)[-_.]?(?:checkpoint|global_step|step)[-_]?(\d+)$", re.IGNORECASE)


_LONGEST_NAME = 200


class Training(NamedTuple):
    """A training: its name, its method ("" if unknown), its runs with their steps by step, its log."""

    name: str
    method: str
    members: list[tuple[int, SiteRun]]
    log: list[dict[str, float]]


class _Note(msgspec.Struct):
    """training.json of a run, as far as a site reads it."""

    step: int
    training: str = ""
    method: str = ""


def trainings_of(entries: Sequence[SiteRun]) -> list[Training]:
    """Trainings with at least two steps among these runs, by name."""
    members: dict[tuple[str, str], list[tuple[int, SiteRun]]] = {}
    notes: dict[tuple[str, str], _Note] = {}
    for entry in entries:
        note = _read_note(entry.path)
        if note is not None:
            key = (str(entry.path.parent), note.training)
            notes[key] = note
            members.setdefault(key, []).append((note.step, entry))
        elif (checkpoint := training_step(entry.file.spec)) is not None:
            training, step = checkpoint
            members.setdefault(("", training), []).append((step, entry))
    trainings = []
    for key, runs in members.items():
        if len({step for step, _ in runs}) < 2:
            continue
        runs.sort(key=lambda member: (member[0], member[1].id))
        folder, name = key
        note = notes.get(key)
        log = read_log(Path(folder).parent) if folder else []
        title = name or (Path(folder).parent.name if folder else "training")
        trainings.append(Training(_clean(title), _clean(note.method) if note else "", runs, log))
    return sorted(trainings, key=lambda t: (t.name, t.members[0][1].id))


def _read_note(run: Path) -> _Note | None:
    """The note of a run; None if there is none that can be read."""
    try:
        note = decode_json(read_file(own_file(run, run / "training.json"), MAX_DOCUMENT), _Note)
    except (OSError, UserError, msgspec.DecodeError):
        return None
    return note if isinstance(note, _Note) and note.step >= 0 else None


def _clean(name: str) -> str:
    return without_surrogates(name)[-_LONGEST_NAME:]


def read_log(training: Path) -> list[dict[str, float]]:
    """Lines of a training's log.jsonl by step, as far as they are numbers; none for what is no folder
    of a training. A line that a kill cut is left out."""
    if not (training / "train.json").is_file():
        return []
    log = []
    try:
        for line in file_lines(training / "log.jsonl"):
            try:
                entry = decode_json(line, dict[str, Any])
            except msgspec.DecodeError:
                continue
            numbers = {name: float(value) for name, value in entry.items() if _is_number(value)}
            if numbers.get("step", -1.0) >= 0:
                log.append(numbers)
    except OSError:
        return []
    return sorted(log, key=lambda entry: entry["step"])


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and math.isfinite(value)


def training_step(spec: str) -> tuple[str, int] | None:
    """Training and step of a checkpoint, by the name of its folder; None for other models.

    Example:
        >>> training_step("hf/out/sft/checkpoint-500")
        ('out/sft', 500)
    """
    path = PurePath(spec.removeprefix("hf/"))
    match = _STEP.match(path.name)
    return (str(path.parent / match[1]), int(match[2])) if match else None


def write_trainings(
    entries: Sequence[SiteRun], cells: pd.DataFrame, columns: Sequence[Column], chunks: Chunks
) -> list[dict[str, Any]]:
    """Writes the charts of each training: the main columns and the quantities of its log over steps.
    Returns the list of trainings for the page."""
    descriptions: list[dict[str, Any]] = []
    for training in trainings_of(entries):
        steps = [float(step) for step, _ in training.members]
        last_step = max([*steps, *(entry["step"] for entry in training.log)])
        metrics = []
        for column in columns:
            if not column.main:
                continue
            points = column_points(column, training, cells)
            if len(points) > 1:
                best = best_of(points, column.better)
                marked = best.marked if best is not None else None
                run = marked.run if marked is not None else ""
                metrics.append([column.key, run, _metric_chart(column, points, last_step)])
        charts = log_charts(training.log, last_step)
        if metrics or charts:
            key = f"trainings/{len(descriptions)}"
            log = [[chart.tree, chart.main] for chart in charts]
            chunks.write(key, {"metrics": metrics, "log": log})
            runs = [[entry.id, step] for step, entry in training.members]
            about = {"name": training.name, "method": training.method}
            descriptions.append({"key": key, **about, "runs": runs})
    return descriptions


def _metric_chart(column: Column, points: Sequence[Point], last_step: float) -> Tree:
    return metric_curve(
        metric_title(column.title, column.key, column.better), points, column.better, last_step
    )


def column_points(column: Column, training: Training, cells: pd.DataFrame) -> list[Point]:
    """The values of a training's checkpoints in a column, of the class that most of them belong to."""
    of_column = cells[(cells["column"] == column.key) & cells["value"].notna()].set_index("run")
    measured = [(step, entry) for step, entry in training.members if entry.id in of_column.index]
    classes = [of_column.loc[entry.id, "group"] for _, entry in measured]
    points = []
    for step, entry in measured:
        row = of_column.loc[entry.id]
        if row["group"] == max(set(classes), key=classes.count):
            value, low, high = row["value"], row["low"], row["high"]
            ends = (value, value) if low != low else (low, high)
            points.append(Point(entry.id, entry.name, float(step), value, *ends))
    return points
