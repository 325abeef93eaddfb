"""The folder of a training: its checkpoints, evaluations and result.

train.json                      method, settings, data and weights that it began with
checkpoints/checkpoint-<step>/  weights and state for resuming; complete if training.json is in it
log.jsonl                       loss, metrics, learning rate: one line each `logging_steps` steps
runs/<name>/                    evaluations, one run directory each: start, step-<step>
final/                          the trained checkpoint
result.json                     the outcome
report.html                     curves of the evaluations and of the log
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
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


PAGE = "report.html"
"""The page of a training, in its folder."""


BILL_PAGE = "bill.html"
"""The page of what it cost, beside it."""


LENGTH = ("max_steps", "num_train_epochs")
"""Settings of the length of a training."""


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
    """A training's folder that this process has locked.

    Attributes:
        lengthened: content of a new train.json if the training in the folder had another length.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.checkpoints = self.path / "checkpoints"
        self.runs = self.path / "runs"
        self.final = self.path / "final"
        self.log = self.path / "log.jsonl"
        self.result = self.path / "result.json"
        self.reference = self.path / "reference.npy"
        self.about = self.path / "train.json"
        self.lengthened: dict[str, Any] | None = None

    def lengthen(self) -> None:
        """Begins to make the training longer, which is finished no more."""
        if self.lengthened is not None:
            self.result.unlink(missing_ok=True)
            write_atomically(self.about, pretty_json(self.lengthened))

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
def open_workdir(
    path: Path, begun: Mapping[str, Any], old_names: Names, bound_to_length: str = ""
) -> Iterator[Workdir]:
    """Opens and locks a training's folder.

    Args:
        path: the folder.
        begun: everything that decides the weights.
        old_names: of settings, which the train.json of an older training may have.
        bound_to_length: the setting with which a longer training is another one, if there is one.

    Raises:
        UserError: the folder holds a training that began differently, or another process uses it.
    """
    work = Workdir(path)
    text = msgspec.json.encode({"format": _FORMAT, **begun}).decode()
    now: dict[str, Any] = msgspec.json.decode(without_key(text))
    if not is_main():
        before = _begun_before(work, old_names)
        work.lengthened = now if before and _differs_in_length(before, now) else None
        yield work
        return
    foreign = work.path.is_dir() and [p for p in work.path.iterdir() if p.name != ".lock"]
    if foreign and not work.about.is_file():
        raise UserError(f"out: {path} holds other files and no train.json: choose another folder")
    with hold_folder(work.path, path):
        before = _begun_before(work, old_names)
        if before and (work.complete_checkpoints() or work.result.is_file()):
            unlike = differences(before, now, groups=("settings",))
            if _differs_in_length(before, now):
                _refuse_bound(path, unlike, bound_to_length)
                work.lengthened = now
            else:
                refuse_another("training", f"out: {path}", unlike, "another folder with out=DIR")
        elif before != now:
            # Nothing was trained yet: files that were made for other settings are deleted.
            work.reference.unlink(missing_ok=True)
            shutil.rmtree(work.runs, ignore_errors=True)
            write_atomically(work.about, pretty_json(now))
        try:
            work.checkpoints.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(work.path, error) from None
        yield work


def _begun_before(work: Workdir, old_names: Names) -> dict[str, Any]:
    """Content of train.json with the present names of settings; empty if there is none."""
    before = msgspec.json.decode(work.about.read_bytes()) if work.about.is_file() else {}
    return rename_keys(before, {f"settings.{old}": new for old, new in old_names.items()})


def _differs_in_length(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a training differs from an earlier one in its length, and in nothing else."""
    earlier, settings = before.get("settings", {}), now["settings"]
    lengthened = {**earlier, **{key: settings[key] for key in LENGTH}}
    return earlier != settings and {**before, "settings": lengthened} == now


def _refuse_bound(path: Path, unlike: Sequence[str], bound_to_length: str) -> None:
    """UserError if a setting decides that a training of another length is another one."""
    if bound_to_length:
        raise UserError(
            f"out: {path} holds a training of another length: {'; '.join(unlike)}. With "
            f"{bound_to_length}, its first steps would have been others. Choose another folder with "
            f"out=DIR; model={path / 'final'} begins with the trained weights. Trainings with "
            "lr_scheduler_type: constant can be made longer."
        )


@contextlib.contextmanager
def hold_folder(path: Path, label: Path) -> Iterator[None]:
    """Creates a training's folder and locks it against other processes; `label` is its name in
    messages."""
    if path.is_file():
        raise UserError(f"out: {label} is a file; it should be a folder")
    with locked(path / ".lock", f"out: {label} is in use by another process: wait, or choose another"):
        yield
