"""What the samples asked: records hold answers alone, so the tasks are read for their prompts.

A prompt is found by the record's `item`, the sha256 of what the model was given: a task that has
changed since shows no wrong prompts, but none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from eval_anything.content import MediaPart, Message, Modality
from eval_anything.judges import find_judges
from eval_anything.leaderboard.chunks import Chunks, split
from eval_anything.leaderboard.media import Media
from eval_anything.leaderboard.parts import Texts, shown_part
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry
from eval_anything.tasks.task import Task, sha256_of

ITEM = 16
"""How much of an item's sha256 pages know it by."""


class Prompts:
    """The prompts of all tasks in reach."""

    def __init__(self, include: Sequence[Path] = ()) -> None:
        self._registry = Registry(include)
        self._judges = find_judges(include)
        self._of = lru_cache(maxsize=None)(self._read)

    def task(self, name: str) -> Task | None:
        """A task that is in reach."""
        return self._of(name)[0]

    def inputs(self, name: str, item: str) -> tuple[Modality, ...]:
        """The modalities that a prompt has, by the item's short sha256; empty if it is not known."""
        messages = self._of(name)[1].get(item, ())
        found = {part.modality for message in messages for part in message.parts}
        return tuple(m for m in Modality if m in found)

    def digest(self, names: Iterable[str]) -> str:
        """Changes when these tasks' prompts do."""
        tasks = [self.task(name) for name in names]
        return sha256_of([t.parts_of_fingerprint if t is not None else None for t in tasks])

    def _read(self, name: str) -> tuple[Task | None, Mapping[str, tuple[Message, ...]]]:
        folder = self._registry.folders.get(name)
        if folder is None:
            return None, {}
        task = load_task(folder, self._judges)
        return task, {task.item(s)[:ITEM]: task.messages(s) for s in task.samples}

    def write(
        self, name: str, key: str, items: set[str], media: Media, chunks: Chunks
    ) -> tuple[int, list[str], list[str]]:
        """Writes the prompts of these items as chunks `<key>`, which maps an item to the number of its
        chunk, and `<key>-<k>`. How many are known, the keys, and the files of media."""
        known = {item: found for item, found in self._of(name)[1].items() if item in items}
        parts = [p for messages in known.values() for m in messages for p in m.parts]
        media.add(p for p in parts if isinstance(p, MediaPart))
        texts = Texts(chunks)
        shown = [
            [item, [[m.role, [shown_part(p, media, texts) for p in m.parts]] for m in messages]]
            for item, messages in sorted(known.items())
        ]
        places: dict[str, int] = {}
        keys = [key]
        for k, part in enumerate(split(shown)):
            keys.append(f"{key}-{k}")
            rows: dict[str, Any] = {str(item): messages for item, messages in part}
            chunks.write(keys[-1], rows)
            places |= dict.fromkeys(rows, k)
        chunks.write(key, places)
        described = [media.shown(p) for p in parts if isinstance(p, MediaPart)]
        files = {d[name] for d in described for name in ("f", "th") if name in d}
        return len(known), sorted({*keys, *texts.keys}), sorted(files)
