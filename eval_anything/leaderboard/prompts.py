"""What the samples asked: records hold answers alone, so the tasks are read for their prompts.

A prompt is found by the record's `item`, the sha256 of what the model was given: a task that has
changed since shows no wrong prompts, but none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from eval_anything.content import FromTurn, MediaPart, Modality, Part, Sample
from eval_anything.files.hashing import sha256_of
from eval_anything.judges.folder import find_judges
from eval_anything.judges.registry import JudgeMetrics
from eval_anything.leaderboard.chunks import Chunks, split
from eval_anything.leaderboard.media import Media
from eval_anything.leaderboard.parts import Texts, shown_part
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry
from eval_anything.tasks.task import Task

ITEM = 16
"""How much of an item's sha256 pages know it by."""


class TurnPrompt(NamedTuple):
    """What one turn asks: (role, parts) of its messages. `FromTurn` stands for what the model gave
    before; in a `fresh` turn it is shown nothing else of that."""

    messages: tuple[tuple[str, tuple[Part | FromTurn, ...]], ...]
    fresh: bool = False


class Prompts:
    """The prompts of all tasks in reach."""

    def __init__(self, include: Sequence[Path] = ()) -> None:
        self._registry = Registry(include)
        self._judges = JudgeMetrics(find_judges(include))
        self._of = lru_cache(maxsize=None)(self._read)

    def task(self, name: str) -> Task | None:
        """A task that is in reach."""
        return self._of(name)[0]

    def inputs(self, name: str, item: str) -> tuple[Modality, ...]:
        """The modalities that a prompt has, by the item's short sha256; empty if it is not known."""
        found = {part.modality for part in _parts(self._of(name)[1].get(item, ()))}
        return tuple(m for m in Modality if m in found)

    def digest(self, names: Iterable[str]) -> str:
        """Changes when these tasks' prompts do."""
        tasks = [self.task(name) for name in names]
        return sha256_of([t.parts_of_fingerprint if t is not None else None for t in tasks])

    def _read(self, name: str) -> tuple[Task | None, Mapping[str, tuple[TurnPrompt, ...]]]:
        folder = self._registry.folders.get(name)
        if folder is None:
            return None, {}
        task = load_task(folder, self._judges)
        return task, {task.item(s)[:ITEM]: _questions(task, s) for s in task.samples}

    def write(
        self, name: str, key: str, items: set[str], media: Media, chunks: Chunks
    ) -> tuple[int, list[str], list[str]]:
        """Writes the prompts of these items as chunks `<key>`, which maps an item to the number of its
        chunk, and `<key>-<k>`. How many are known, the keys, and the files of media."""
        known = {item: found for item, found in self._of(name)[1].items() if item in items}
        shown_media = [p for q in known.values() for p in _parts(q) if isinstance(p, MediaPart)]
        media.add(shown_media)
        texts = Texts(chunks)
        shown = [
            [item, [_shown(question, media, texts) for question in questions]]
            for item, questions in sorted(known.items())
        ]
        places: dict[str, int] = {}
        keys = [key]
        for k, part in enumerate(split(shown)):
            keys.append(f"{key}-{k}")
            rows: dict[str, Any] = {str(item): questions for item, questions in part}
            chunks.write(keys[-1], rows)
            places |= dict.fromkeys(rows, k)
        chunks.write(key, places)
        described = [media.shown(part) for part in shown_media]
        files = {d[name] for d in described for name in ("f", "th") if name in d}
        return len(known), sorted({*keys, *texts.keys}), sorted(files)


def _questions(task: Task, sample: Sample) -> tuple[TurnPrompt, ...]:
    first = TurnPrompt(tuple((m.role, m.parts) for m in task.messages(sample)))
    return (first, *(TurnPrompt((("user", turn.parts),), turn.fresh) for turn in sample.turns))


def _parts(questions: Iterable[TurnPrompt]) -> Iterator[Part | FromTurn]:
    return (part for question in questions for _, parts in question.messages for part in parts)


def _shown(question: TurnPrompt, media: Media, texts: Texts) -> dict[str, Any]:
    """{"asked": [[role, parts], ...], "fresh"}; a part of an earlier answer is {"m", "from": turn}."""
    asked = []
    for role, parts in question.messages:
        shown = [
            {"m": part.modality, "from": part.turn}
            if isinstance(part, FromTurn)
            else shown_part(part, media, texts)
            for part in parts
        ]
        asked.append([role, shown])
    return {"asked": asked, "fresh": question.fresh}
