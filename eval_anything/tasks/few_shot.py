"""Examples of a task: questions with their answers, in front of every question of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from eval_anything.content import Sample
from eval_anything.files.hashing import seed_of
from eval_anything.files.mistakes import Mistakes
from eval_anything.files.places import path_inside
from eval_anything.jsonl import Example, example_from_json, read_lines


class FewShot(Struct, frozen=True, forbid_unknown_fields=True):
    """`few_shot:` in task.yaml.

    Attributes:
        file: JSONL in the task's folder: a line for each example, with `messages` as in samples.jsonl
            and the `response`, a text or parts.
        count: number of examples in front of each question.
        seed: of the draw, which is the same for all questions, models and runs.
        where: metadata that the examples must have, such as {split: train}.
    """

    file: str
    count: Annotated[int, Meta(ge=1)]
    seed: int = 0
    where: dict[str, Any] = {}


def read_examples(
    root: Path, name: str, few_shot: FewShot, samples: Sequence[Sample], mistakes: Mistakes
) -> tuple[Example, ...]:
    """The examples of a task in the order of the draw.

    Args:
        root: folder of the task.
        name: of the task, which the draw depends on.
        few_shot: which examples.
        samples: those of the task; none may be an example too.
        mistakes: gets what is wrong with the file or the declaration.
    """
    try:
        path = path_inside(root, few_shot.file)
        if not path.is_file():
            raise ValueError(f"{few_shot.file} is missing")
    except ValueError as error:
        mistakes.add(f"few_shot: {error}", "few_shot", "file")
        return ()
    reading = Mistakes(path)
    rows = read_lines(path, reading, lambda line, _: example_from_json(line, root))
    questions = {sample.messages for sample in samples}
    pool: dict[str, Example] = {}
    for number, example in rows:
        if example.id in pool:
            reading.add_line(number, f"id {example.id!r} is there twice: rename one")
        elif example.messages in questions:
            reading.add_line(number, f"example {example.id!r} is a sample of the task too: leave it out")
        else:
            pool[example.id] = example
    mistakes.extend(reading)
    suiting = [e for e in pool.values() if few_shot.where.items() <= e.metadata.items()]
    if len(suiting) < few_shot.count and not reading:
        which = f" with {msgspec.json.encode(few_shot.where).decode()}" if few_shot.where else ""
        mistakes.add(
            f"few_shot: {few_shot.file} has {len(suiting)} examples{which}, not {few_shot.count}",
            *("few_shot", "count"),
        )
    ordered = sorted(suiting, key=lambda example: seed_of(few_shot.seed, name, example.id))
    return tuple(ordered[: few_shot.count])
