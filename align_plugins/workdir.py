"""The folder of a training: what runs, its checkpoints, its evaluations, what came of it.

train.json                      method, settings, data and weights that it began with
checkpoints/checkpoint-<step>/  weights and what resuming needs; whole if training.json is in it
log.jsonl                       loss, figures, rate: one line each `log_every` steps
runs/<name>/                    evaluations, one run directory each: start, step-<step>
final/                          the trained checkpoint
result.json                     what came of it
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from eval_anything.errors import UserError
from eval_anything.files.writing import cannot_write, locked, pretty_json, write_atomically
from eval_anything.runs.resume import differences, refuse_another

NOTE = "training.json"
"""Beside run.json: which step of which training the run measured."""


_FORMAT = 1


RESUMING = "resuming"
"""The folder in a checkpoint that only going on needs, where a method has one."""


class Checkpoint(NamedTuple):
    """A whole checkpoint: its step, its folder, and what was noted when it was saved."""

    step: int
    path: Path
    note: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of its evaluation; names sort as steps do."""
        return f"step-{self.step:06d}"

    @property
    def model(self) -> Path:
        """Where the evaluation finds it."""
        merged = self.path / "merged"
        return merged if merged.is_dir() else self.path


class Workdir:
    """A training's folder that this process holds."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.checkpoints = self.path / "checkpoints"
        self.runs = self.path / "runs"
        self.final = self.path / "final"
        self.log = self.path / "log.jsonl"
        self.result = self.path / "result.json"
        self.reference = self.path / "reference.npy"

    def complete_checkpoints(self) -> list[Checkpoint]:
        """The checkpoints that were written to their end, by step."""
        checkpoints = []
        for path in self.checkpoints.glob(f"checkpoint-*/{NOTE}"):
            content: dict[str, Any] = msgspec.json.decode(path.read_bytes())
            checkpoints.append(Checkpoint(int(content["step"]), path.parent, content))
        return sorted(checkpoints, key=lambda checkpoint: checkpoint.step)

    def drop_incomplete(self) -> list[str]:
        """Deletes what a kill or a full disk left of checkpoints; their names."""
        complete = {checkpoint.path for checkpoint in self.complete_checkpoints()}
        dropped = [p for p in self.checkpoints.glob("checkpoint-*") if p not in complete]
        for path in dropped:
            shutil.rmtree(path, ignore_errors=True)
        return [path.name for path in dropped]

    def add_to_log(self, entry: Mapping[str, Any]) -> None:
        """Appends one line."""
        try:
            with self.log.open("ab") as file:
                file.write(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            raise cannot_write(self.log, error) from None

    def cut_log(self, step: int) -> None:
        """Takes out the lines after a step: a training that goes on from there writes them again."""
        if not self.log.is_file():
            return
        lines = []
        for line in self.log.read_bytes().splitlines():
            with contextlib.suppress(msgspec.DecodeError):  # torn by a kill
                if msgspec.json.decode(line)["step"] <= step:
                    lines.append(line + b"\n")
        write_atomically(self.log, b"".join(lines))


def is_main() -> bool:
    """Whether this process, of a training on several devices, is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


def broadcast_decision(decision: bool) -> bool:
    """What the main process decided, in all processes: none may stop while others wait for it."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return decision
    decided = [decision]
    torch.distributed.broadcast_object_list(decided, src=0)
    return decided[0]


@contextlib.contextmanager
def open_workdir(path: Path, begun: Mapping[str, Any]) -> Iterator[Workdir]:
    """Takes hold of a training's folder. `begun` says what decides its weights: UserError if the folder
    holds a training that began otherwise, or another process is at it."""
    work = Workdir(path)
    if not is_main():
        yield work
        return
    about = work.path / "train.json"
    foreign = work.path.is_dir() and [p for p in work.path.iterdir() if p.name != ".lock"]
    if foreign and not about.is_file():
        raise UserError(f"out: {path} holds other files and no train.json: choose another folder")
    with hold_folder(work.path, path):
        now = msgspec.json.decode(msgspec.json.encode({"format": _FORMAT, **begun}))
        if about.is_file() and (work.complete_checkpoints() or work.result.is_file()):
            unlike = differences(msgspec.json.decode(about.read_bytes()), now, groups=("settings",))
            refuse_another("training", f"out: {path}", unlike, "another folder with out=DIR")
        elif not about.is_file() or msgspec.json.decode(about.read_bytes()) != now:
            # Nothing was trained yet, so nothing binds: what was made for other settings goes.
            work.reference.unlink(missing_ok=True)
            shutil.rmtree(work.runs, ignore_errors=True)
            write_atomically(about, pretty_json(now))
        try:
            work.checkpoints.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(work.path, error) from None
        yield work


@contextlib.contextmanager
def hold_folder(path: Path, label: Path) -> Iterator[None]:
    """Makes a training's folder and keeps other processes out; `named` is what the user calls it."""
    if path.is_file():
        raise UserError(f"out: {label} is a file; it should be a folder")
    with held(path / ".lock", f"out: {label} is in use by another process: wait, or choose another"):
        yield
