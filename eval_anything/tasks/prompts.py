"""Prompts as files: what a model is to be asked, and a file for its answers.

    prompts.jsonl    a line for each sample: its task and id, the messages as a model gets them, its
                     further turns, and the modalities that an answer must and may have
    answers.jsonl    a line for each sample, without an answer
    media/           the media of the prompts

Targets and metadata stay in the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from eval_anything.content import FromTurn, Modality, Part, Sample, TextPart
from eval_anything.errors import UserError
from eval_anything.files.writing import write_atomically
from eval_anything.jsonl import parts_to_json
from eval_anything.media import MediaStore
from eval_anything.tasks.task import Task

PROMPTS, ANSWERS = "prompts.jsonl", "answers.jsonl"


def export_prompts(chosen: Iterable[tuple[Task, Sequence[Sample]]], out: Path) -> None:
    """Writes the prompts of samples of tasks into a folder, which must be new or empty.

    UserError for a folder that has files: they may be answers.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} holds files, perhaps answers: choose another folder")
    store = MediaStore(out / "media")
    prompts, answers = [], []
    for task, samples in chosen:
        for sample in samples:
            key = {"task": task.name, "id": sample.id}
            prompts.append({**key, **_prompt(task, sample, store, out)})
            answers.append({**key, **_no_answer(sample)})
    write_atomically(out / PROMPTS, _lines(prompts))
    write_atomically(out / ANSWERS, _lines(answers))


def _lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _prompt(task: Task, sample: Sample, store: MediaStore, out: Path) -> dict[str, Any]:
    """The messages, turns and contract of a sample, with its media in the store."""

    def parts_of(parts: Sequence[Part | FromTurn]) -> list[Any]:
        return [
            {"modality": part.modality, "from_turn": part.turn}
            if isinstance(part, FromTurn)
            else parts_to_json([part if isinstance(part, TextPart) else store.keep(part)], out)[0]
            for part in parts
        ]

    messages = [{"role": m.role, "parts": parts_of(m.parts)} for m in task.messages(sample)]
    prompt: dict[str, Any] = {"messages": messages}
    if sample.turns:
        prompt["turns"] = [{"fresh": turn.fresh, "parts": parts_of(turn.parts)} for turn in sample.turns]
    return {**prompt, "required": sample.contract.required, "allowed": sample.contract.allowed}


def _no_answer(sample: Sample) -> dict[str, Any]:
    """The keys of a row for the answer: `response` where it is a text, else `parts`."""
    turns: dict[str, Any] = {"turns": [""] * len(sample.turns)} if sample.turns else {}
    is_text = set(sample.contract.required) <= {Modality.TEXT}
    return {**turns, "response" if is_text else "parts": None}
