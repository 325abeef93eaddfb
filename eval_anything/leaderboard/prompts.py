"""Prompts of the samples, read from the tasks, because records hold only answers.

A prompt is looked up by the record's `item`, the sha256 of the model's input: for a task that has
changed since the run, the page shows no prompt rather than a wrong one.
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
from eval_anything.leaderboard.media import FILES, Media
from eval_anything.leaderboard.parts import Texts, part_for_page
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry
from eval_anything.tasks.task import Task

ITEM = 16
"""Length of the prefix of an item's sha256 that identifies it on pages."""


class TurnPrompt(NamedTuple):
    """Messages of one turn as (role, parts). `FromTurn` stands for an earlier answer of the model; in a
    `fresh` turn the model sees no other part of the conversation."""

    messages: tuple[tuple[str, tuple[Part | FromTurn, ...]], ...]
    fresh: bool = False


class Prompts:
    """Prompts of the bundled tasks and of those in included folders."""

    def __init__(self, include: Sequence[Path] = ()) -> None:
        self._registry = Registry(include)
        self._judges = JudgeMetrics(find_judges(include))
        self._task_and_prompts = lru_cache(maxsize=None)(self._read)

    def task(self, name: str) -> Task | None:
        """The task of this name; None if it is neither bundled nor in an included folder."""
        return self._task_and_prompts(name)[0]

    def inputs(self, name: str, item_id: str) -> tuple[Modality, ...]:
        """Modalities in a prompt, by the first `ITEM` characters of its sha256; () if it is unknown."""
        present = {part.modality for part in _parts(self._task_and_prompts(name)[1].get(item_id, ()))}
        return tuple(m for m in Modality if m in present)

    def digest(self, names: Iterable[str]) -> str:
        """A sha256 that changes when the prompts of these tasks do."""
        tasks = [self.task(name) for name in names]
        return sha256_of([t.parts_of_fingerprint if t is not None else None for t in tasks])

    def _read(self, name: str) -> tuple[Task | None, Mapping[str, tuple[TurnPrompt, ...]]]:
        folder = self._registry.folders.get(name)
        if folder is None:
            return None, {}
        task = load_task(folder, self._judges)
        return task, {task.item(s)[:ITEM]: _turn_prompts(task, s) for s in task.samples}

    def write(
        self, name: str, key: str, items: set[str], media: Media, chunks: Chunks
    ) -> tuple[int, list[str], list[str]]:
        """Writes the prompts of these items as chunks `<key>`, which maps an item to the number of its
        chunk, and `<key>-<k>`.

        Returns:
            The number of prompts, the keys of the chunks, the paths of the media files used.
        """
        _, prompts_of_task = self._task_and_prompts(name)
        prompts = {item_id: turns for item_id, turns in prompts_of_task.items() if item_id in items}
        media_parts = [
            p for turns in prompts.values() for p in _parts(turns) if isinstance(p, MediaPart)
        ]
        media.add(media_parts)
        texts = Texts(chunks)
        page_prompts = [
            [item_id, [_turn_for_page(turn, media, texts) for turn in turns]]
            for item_id, turns in sorted(prompts.items())
        ]
        chunk_of: dict[str, int] = {}
        keys = [key]
        for k, batch in enumerate(split(page_prompts)):
            keys.append(f"{key}-{k}")
            rows: dict[str, Any] = {str(item_id): turns for item_id, turns in batch}
            chunks.write(keys[-1], rows)
            chunk_of |= dict.fromkeys(rows, k)
        chunks.write(key, chunk_of)
        described = [media.for_page(part) for part in media_parts]
        files = {fields[name] for fields in described for name in FILES if name in fields}
        return len(prompts), sorted({*keys, *texts.keys}), sorted(files)


def _turn_prompts(task: Task, sample: Sample) -> tuple[TurnPrompt, ...]:
    first = TurnPrompt(tuple((m.role, m.parts) for m in task.messages(sample)))
    return (first, *(TurnPrompt((("user", turn.parts),), turn.fresh) for turn in sample.turns))


def _parts(turns: Iterable[TurnPrompt]) -> Iterator[Part | FromTurn]:
    return (part for turn in turns for _, parts in turn.messages for part in parts)


def _turn_for_page(prompt: TurnPrompt, media: Media, texts: Texts) -> dict[str, Any]:
    """{"asked": [[role, parts], ...], "fresh"}; a part of an earlier answer is {"m", "from": turn}."""
    messages = []
    for role, parts in prompt.messages:
        page_parts = [
            {"m": part.modality, "from": part.turn}
            if isinstance(part, FromTurn)
            else part_for_page(part, media, texts)
            for part in parts
        ]
        messages.append([role, page_parts])
    return {"asked": messages, "fresh": prompt.fresh}
