"""Files of stages, and whether a stage is finished.

<stages>/<name>-<hash>.jsonl   rows that the stage made, in the form of training data
<stages>/<name>-<hash>.json    its inputs, counts, seconds: written last
<stages>/<name>-<hash>/        working folder: a run, or the folder of a training
<stages>/media/                media that are not in this folder already

The hash covers everything that decides a stage. With the same inputs a stage is found again, with others
there is another one beside it, and nothing is deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from align_plugins.data.files import read_rows, write_rows
from align_plugins.data.rows import RESPONSES, R, Row, rows_of
from eval_anything.content import MediaPart, Message, Part
from eval_anything.files.hashing import sha256_of
from eval_anything.files.writing import locked, pretty_json, write_atomically
from eval_anything.media import MediaStore
from eval_anything.output.progress import Progress

Counts = dict[str, Any]


class StageOutput(NamedTuple):
    """The rows of a stage, and the note on it."""

    name: str
    key: str
    path: Path
    rows: Sequence[Any]
    note: Mapping[str, Any]

    @property
    def line(self) -> str:
        """The stage as a line for people."""
        counts = self.note["counts"]
        numbers = ", ".join(
            f"{count} {key.replace('_', ' ')}" for key, count in counts.items() if isinstance(count, int)
        )
        reason = counts.get("first_failure")
        details = "".join(
            [f"; {numbers}" if numbers else "", f" (the first: {reason})" if reason else ""]
        )
        return f"{self.name}: {len(self.rows)} rows{details}"


class Stages:
    """The stages of one or several trainings in a folder."""

    def __init__(self, root: Path, progress: Progress) -> None:
        self.root = root.resolve()
        self.made: list[StageOutput] = []
        self._progress = progress
        self._store = MediaStore(self.root / "media")

    def folder(self, name: str, inputs: Mapping[str, Any]) -> Path:
        """Working folder of a stage with these inputs."""
        return self.root / f"{name}-{sha256_of(inputs)[:12]}"

    def rows(
        self,
        name: str,
        inputs: Mapping[str, Any],
        kind: type[R],
        make: Callable[[Path], tuple[Iterable[Row], Counts]],
    ) -> list[R]:
        """Rows of a stage; `make` makes them in the stage's working folder unless they exist.

        Args:
            name: of the stage.
            inputs: everything that decides the rows.
            kind: type of the rows.
            make: makes the rows and their counts in a folder.
        """
        folder = self.folder(name, inputs)
        path, about = folder.with_name(f"{folder.name}.jsonl"), folder.with_name(f"{folder.name}.json")
        lock = folder.with_name(f".{folder.name}.lock")
        message = f"waits for another process that makes {folder}"
        with locked(lock, message, self._progress.say):
            if not about.is_file():
                begun = time.monotonic()
                rows, counts = make(folder)
                write_rows(path, map(self._with_local_media, rows))
                seconds = round(time.monotonic() - begun, 3)
                note = {"stage": name, "inputs": inputs, "counts": counts, "seconds": seconds}
                write_atomically(about, pretty_json(note))
        note = msgspec.json.decode(about.read_bytes())
        typed_rows = rows_of(read_rows(path), kind, path, "feedback") if path.stat().st_size else []
        stage = StageOutput(name, folder.name, path, typed_rows, note)
        self.made.append(stage)
        self._progress.say(stage.line)
        return typed_rows

    def _with_local_media(self, row: Row) -> Row:
        """The row with its media in this folder, so that a file in it can refer to them."""

        def parts_of(parts: Sequence[Part]) -> tuple[Part, ...]:
            return tuple(
                self._store.put(part.path.read_bytes(), part.modality)
                if isinstance(part, MediaPart) and not part.path.is_relative_to(self.root)
                else part
                for part in parts
            )

        responses = {name: getattr(row, name, None) for name in RESPONSES}
        return msgspec.structs.replace(
            row,
            messages=tuple(Message(m.role, parts_of(m.parts)) for m in row.messages),
            **{name: parts_of(parts) for name, parts in responses.items() if parts is not None},
        )
