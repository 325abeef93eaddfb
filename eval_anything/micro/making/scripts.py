"""Scripts: questions of one or several turns with their right answers, and the samples they become.

The tasks of `micro_more` are made of them; an exchange becomes one of a single turn (`tasks`).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from eval_anything.content import MODALITIES, FromTurn
from eval_anything.micro.prompts.exchange import UnusableError
from eval_anything.micro.world.gold import item_to_json
from eval_anything.micro.world.render import EXTENSIONS, render
from eval_anything.micro.world.things import (
    WORLD_VERSION,
    Item,
    Thing,
    is_forbidden,
    is_held_out,
    modality_of,
)

SEED = "micro-test-1"  # not a seed of training, which are called micro-train-N


HELD_OUT_SHARE = 0.22


class ScriptStep(NamedTuple):
    """One question, its right answer, and whether what was said before is hidden."""

    prompt: tuple[Item | FromTurn, ...]
    answer: tuple[Item, ...]
    fresh: bool = False


@dataclass(frozen=True)
class Script:
    """A sample that is not yet rendered. `about` is what its questions tell of in words; `targets` are
    what its scorer compares with."""

    steps: tuple[ScriptStep, ...]
    about: tuple[Thing, ...]
    targets: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def things(self) -> tuple[Thing, ...]:
        """All that is told of, shown, or part of the right answers."""
        items = (item for step in self.steps for item in (*step.prompt, *step.answer))
        media = (item for item in items if not isinstance(item, str | FromTurn))
        return tuple(dict.fromkeys((*self.about, *media)))

    @property
    def held_out(self) -> bool:
        """Whether any thing is a held-out combination."""
        return any(is_held_out(thing) for thing in self.things)


@dataclass(frozen=True)
class ScriptFamily:
    """Scripts of one kind: `make` fills the paraphrase with this index (0 .. `templates` - 1)."""

    name: str
    templates: int
    make: Callable[[random.Random, int], Script]


Drawn = tuple[str, int, Script]
"""A script with the name of its family and the index of its paraphrase."""


class ScriptPlan(NamedTuple):
    """A task: prefix of its ids, its families, and how many samples they make in all."""

    prefix: str
    families: tuple[ScriptFamily, ...]
    size: int


def draw_script(family: ScriptFamily, rng: random.Random, held_out: bool, template: int) -> Script:
    """A random script of the family; ValueError if many tries give none with this `held_out`."""
    for _ in range(300):
        try:
            script = family.make(rng, template)
        except UnusableError:
            continue
        if script.held_out == held_out and not any(is_forbidden(thing) for thing in script.things):
            return script
    raise ValueError(f"family {family.name} has no script with held_out={held_out}")


def draw_scripts(task: str, plan: ScriptPlan) -> list[Drawn]:
    """The scripts of a task: families in turn, no questions twice."""
    rng = random.Random(f"{SEED}-{task}")
    streams = [_stream(family, rng) for family in plan.families]
    drawn: list[Drawn] = []
    while len(drawn) < plan.size:
        drawn += [next(stream) for stream in streams]
    drawn = drawn[: plan.size]
    # Mixed, so that the first samples are a fair selection.
    random.Random(f"{SEED}-{task}-order").shuffle(drawn)
    return drawn


def _stream(family: ScriptFamily, rng: random.Random) -> Iterator[Drawn]:
    seen: set[tuple[object, ...]] = set()
    turn = 0
    while True:
        template = turn % family.templates
        held_out = rng.random() < HELD_OUT_SHARE
        script = draw_script(family, rng, held_out, template)
        asked = tuple(step.prompt for step in script.steps)
        if asked not in seen:
            seen.add(asked)
            turn += 1
            yield family.name, template, script


def samples_jsonl(prefix: str, drawn: Sequence[Drawn]) -> str:
    """The content of samples.jsonl; `prefix` is that of the ids."""
    rows = (script_json(f"{prefix}-{number:04d}", *row) for number, row in enumerate(drawn, 1))
    return "".join(json.dumps(row) + "\n" for row in rows)


def script_json(identity: str, family: str, template: int, script: Script) -> dict[str, Any]:
    """The line of samples.jsonl of a script.

    Samples that depend on each other have one `source_id`: the family and its scene, or the paraphrase
    where there is none. The contract asks for exactly the modalities of the last right answer.
    """
    first, *later = script.steps
    answers = [[item_to_json(item) for item in step.answer] for step in script.steps]
    outputs = {modality_of(item) for item in script.steps[-1].answer}
    scene = "+".join("-".join(vars(thing).values()) for thing in script.things)
    sample: dict[str, Any] = {
        "id": identity,
        "source_id": f"{family}/{scene or template}",
        "messages": [{"role": "user", "parts": _parts(first)}],
        "contract": {
            "required": [str(m) for m in MODALITIES if m in outputs],
            "allowed": [],
            "forbidden": [str(m) for m in MODALITIES if m not in outputs],
        },
        "targets": {**script.targets, "gold": answers[-1]},
        "metadata": {
            "family": family,
            "template": template,
            **script.metadata,
            "split": "held_out" if script.held_out else "seen",
        },
    }
    if later:
        sample["turns"] = [{"fresh": step.fresh, "parts": _parts(step)} for step in later]
        sample["targets"]["gold_turns"] = answers[:-1]
    return sample


def _parts(step: ScriptStep) -> list[dict[str, Any]]:
    return [_part(item) for item in step.prompt]


def _part(item: Item | FromTurn) -> dict[str, Any]:
    """A part of a message; media lie in media/."""
    if isinstance(item, str):
        return {"modality": "text", "text": item}
    if isinstance(item, FromTurn):
        return {"modality": str(item.modality), "from_turn": item.turn}
    return {"modality": str(item.modality), "path": f"media/{media_name(item)}"}


def media_name(thing: Thing) -> str:
    """The file name of a thing: from its attributes, so that it does not depend on the encoder."""
    digest = hashlib.sha256(f"{WORLD_VERSION} {thing!r}".encode()).hexdigest()
    return f"{digest[:16]}.{EXTENSIONS[thing.modality]}"


def shown_things(drawn: Sequence[Drawn]) -> set[Thing]:
    """What the questions of these scripts show."""
    return {
        item
        for _, _, script in drawn
        for step in script.steps
        for item in step.prompt
        if not isinstance(item, str | FromTurn)
    }


def write_samples(folder: Path, prefix: str, drawn: Sequence[Drawn]) -> None:
    """Writes samples.jsonl, and the things that it shows in place of what is in media/."""
    media = folder / "media"
    media.mkdir(parents=True, exist_ok=True)
    for old in media.iterdir():
        old.unlink()
    for thing in shown_things(drawn):
        (media / media_name(thing)).write_bytes(render(thing).data)
    (folder / "samples.jsonl").write_text(samples_jsonl(prefix, drawn))
