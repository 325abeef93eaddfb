"""The folder of a training: its checkpoints, evaluations and result.

train.json                      method, settings, data and weights that it began with
checkpoints/checkpoint-<step>/  weights and state for resuming; complete if training.json is in it
log.jsonl                       loss, metrics, learning rate: one line each `logging_steps` steps
runs/<name>/                    evaluations, one run directory each: start, step-<step>
final/                          the trained checkpoint
result.json                     the outcome
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from align_plugins.old_names import Names, rename_keys
from eval_anything.errors import UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.reading import MAX_DOCUMENT, read_file
from eval_anything.files.writing import cannot_write, locked, pretty_json, write_atomically
from eval_anything.runs.resume import differences, refuse_another
from eval_anything.servers.secrets import without_key

NOTE = "training.json"
"""The file beside run.json that says which step of which training the run evaluated."""


_FORMAT = 1


RESUMING = "resuming"
"""The folder in a checkpoint that only resuming needs, where a method has one."""


class Checkpoint(NamedTuple):
    """A complete checkpoint: its step, its folder, and the note from when it was saved."""

    step: int
    path: Path
    note: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of its evaluation; names sort by step."""
        return f"step-{self.step:06d}"

    @property
    def model(self) -> Path:
        """Folder that the evaluation loads."""
        merged = self.path / "merged"
        return merged if merged.is_dir() else self.path


class Workdir:
    """A training's folder that this process has locked."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.checkpoints = self.path / "checkpoints"
        self.runs = self.path / "runs"
        self.final = self.path / "final"
        self.log = self.path / "log.jsonl"
        self.result = self.path / "result.json"
        self.reference = self.path / "reference.npy"

    def complete_checkpoints(self) -> list[Checkpoint]:
        """Checkpoints that were written completely, by step."""
        checkpoints = []
        for path in self.checkpoints.glob(f"checkpoint-*/{NOTE}"):
            content: dict[str, Any] = decode_strict(read_file(path, MAX_DOCUMENT), dict[str, Any])
            checkpoints.append(Checkpoint(int(content["step"]), path.parent, content))
        return sorted(checkpoints, key=lambda checkpoint: checkpoint.step)

    def drop_incomplete(self) -> list[str]:
        """Deletes checkpoints that a kill or a full disk left incomplete; returns their names."""
        complete = {checkpoint.path for checkpoint in self.complete_checkpoints()}
        dropped = [p for p in self.checkpoints.glob("checkpoint-*") if p not in complete]
        for path in dropped:
            shutil.rmtree(path, ignore_errors=True)
        return [path.name for path in dropped]

    def add_to_log(self, entry: Mapping[str, Any]) -> None:
        """Appends a line to the log."""
        try:
            with self.log.open("ab") as file:
                file.write(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            raise cannot_write(self.log, error) from None

    def cut_log(self, step: int) -> None:
        """Deletes the lines after a step, since a resumed training writes them again."""
        if not self.log.is_file():
            return
        lines = []
        for line in self.log.read_bytes().splitlines():
            with contextlib.suppress(msgspec.DecodeError):  # torn by a kill
                if msgspec.json.decode(line)["step"] <= step:
                    lines.append(line + b"\n")
        write_atomically(self.log, b"".join(lines))


def is_main() -> bool:
    """Whether this process, of a training on several devices, is the one that writes files."""
    return os.environ.get("RANK", "0") == "0"


def broadcast_decision(decision: bool) -> bool:
    """The main process's decision, in all processes: none may stop while others wait for it. A
    collective call."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return decision
    decided = [decision]
    torch.distributed.broadcast_object_list(decided, src=0)
    return decided[0]


@contextlib.contextmanager
def open_workdir(path: Path, begun: Mapping[str, Any], old_names: Names) -> Iterator[Workdir]:
    """Opens and locks a training's folder.

    Args:
        path: the folder.
        begun: everything that decides the weights.
        old_names: of settings, which the train.json of an older training may have.

    Raises:
        UserError: the folder holds a training that began differently, or another process uses it.
    """
    work = Workdir(path)
    if not is_main():
        yield work
        return
    about = work.path / "train.json"
    foreign = work.path.is_dir() and [p for p in work.path.iterdir() if p.name != ".lock"]
    if foreign and not about.is_file():
        raise UserError(f"out: {path} holds other files and no train.json: choose another folder")
    with hold_folder(work.path, path):
        text = msgspec.json.encode({"format": _FORMAT, **begun}).decode()
        now = msgspec.json.decode(without_key(text))
        before = msgspec.json.decode(about.read_bytes()) if about.is_file() else {}
        before = rename_keys(before, {f"settings.{old}": new for old, new in old_names.items()})
        if before and (work.complete_checkpoints() or work.result.is_file()):
            unlike = differences(before, now, groups=("settings",))
            refuse_another("training", f"out: {path}", unlike, "another folder with out=DIR")
        elif before != now:
            # Nothing was trained yet: files that were made for other settings are deleted.
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
    """Creates a training's folder and locks it against other processes; `label` is its name in
    messages."""
    if path.is_file():
        raise UserError(f"out: {label} is a file; it should be a folder")
    with locked(path / ".lock", f"out: {label} is in use by another process: wait, or choose another"):
        yield
