"""Data of the micro world for training, made once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from align_plugins.data import contamination
from align_plugins.evaluation import checkpoints
from align_plugins.experiment.micro_data import (
    DEMONSTRATIONS,
    PAIRS,
    demonstrations,
    pairs,
    write_demonstrations,
    write_pairs,
)
from eval_anything.files.places import content_folder
from eval_anything.tasks.load import load_task
from eval_anything.tasks.task import Task, TaskFolder
from tests.support.processes import Command


@pytest.fixture(autouse=True, scope="session")
def bundled_tasks_read_once() -> Iterator[None]:
    """Every training looks for its prompts in all tasks, and no test changes the bundled ones."""
    bundled = content_folder("benchmarks")
    once = cache(load_task)

    def load(folder: TaskFolder, data: Sequence[Path] = ()) -> Task:
        unchanging = folder.path.is_relative_to(bundled) and (folder.path / "samples.jsonl").is_file()
        return once(folder) if unchanging else load_task(folder, data=data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contamination, "load_task", load)
        yield


@pytest.fixture
def forked_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations of checkpoints begin with the heavy packages imported. What their process is and
    how it ends is for test_evaluation.py."""

    def start(command: list[str], env: dict[str, str], stderr: IO[bytes], **more: Any) -> Command:
        _python, _option, program, _parent, *arguments = command
        assert program == "align_plugins.evaluation.process"
        return Command(arguments, Path(stderr.name), environment=env)

    known = SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(checkpoints, "subprocess", known)


@pytest.fixture(scope="session")
def micro_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 48 preference pairs and 48 demonstrations; not to be changed."""
    folder = tmp_path_factory.mktemp("micro-data")
    write_pairs(folder / PAIRS, pairs(48, 1))
    write_demonstrations(folder / DEMONSTRATIONS, demonstrations(48, 1))
    return folder
