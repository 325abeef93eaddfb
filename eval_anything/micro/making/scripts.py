"""Draws scripts at random from families and writes them as samples: the tasks of `micro_more`."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from eval_anything.content import FromTurn
from eval_anything.micro.prompts.exchange import UnusableError
from eval_anything.micro.prompts.script import Script, media_name, script_json
from eval_anything.micro.world.render import render
from eval_anything.micro.world.scenes import Scene, is_forbidden

SEED = "micro-test-1"  # not a seed of training, which are called micro-train-N


HELD_OUT_SHARE = 0.22


@dataclass(frozen=True)
class ScriptFamily:
    """Scripts of one kind: `make` fills the paraphrase with this index (0 .. `templates` - 1)."""

    name: str
    templates: int
    make: Callable[[random.Random, int], Script]


FamilyScript = tuple[str, int, Script]
"""A script with the name of its family and the index of its paraphrase."""


class ScriptPlan(NamedTuple):
    """A task: prefix of its ids, its families, and the number of samples that they make in all."""

    prefix: str
    families: tuple[ScriptFamily, ...]
    size: int


def draw_script(family: ScriptFamily, rng: random.Random, held_out: bool, template: int) -> Script:
    """A random script of the family. Raises ValueError if 300 tries give none with this `held_out`."""
    for _ in range(300):
        try:
            script = family.make(rng, template)
        except UnusableError:
            continue
        if script.held_out == held_out and not any(is_forbidden(scene) for scene in script.scenes):
            return script
    raise ValueError(f"family {family.name} has no script with held_out={held_out}")


def draw_scripts(task: str, plan: ScriptPlan) -> list[FamilyScript]:
    """The scripts of a task: families in turn, no questions twice."""
    rng = random.Random(f"{SEED}-{task}")
    streams = [_stream(family, rng) for family in plan.families]
    scripts: list[FamilyScript] = []
    while len(scripts) < plan.size:
        scripts += [next(stream) for stream in streams]
    scripts = scripts[: plan.size]
    # Mixed, so that the first samples are a fair selection.
    random.Random(f"{SEED}-{task}-order").shuffle(scripts)
    return scripts


def _stream(family: ScriptFamily, rng: random.Random) -> Iterator[FamilyScript]:
    """Scripts of a family without end, paraphrases in turn, no questions twice."""
    used: set[tuple[object, ...]] = set()
    turn = 0
    while True:
        template = turn % family.templates
        held_out = rng.random() < HELD_OUT_SHARE
        script = draw_script(family, rng, held_out, template)
        prompts = tuple(step.prompt for step in script.steps)
        if prompts not in used:
            used.add(prompts)
            turn += 1
            yield family.name, template, script


def samples_jsonl(prefix: str, scripts: Sequence[FamilyScript]) -> str:
    """The content of samples.jsonl; `prefix` is that of the ids."""
    rows = (script_json(f"{prefix}-{number:04d}", *script) for number, script in enumerate(scripts, 1))
    return "".join(json.dumps(row) + "\n" for row in rows)


def prompt_scenes(scripts: Sequence[FamilyScript]) -> set[Scene]:
    """Scenes of all media in the questions of these scripts."""
    return {
        part
        for _, _, script in scripts
        for step in script.steps
        for part in step.prompt
        if not isinstance(part, str | FromTurn)
    }


def write_samples(folder: Path, prefix: str, scripts: Sequence[FamilyScript]) -> None:
    """Writes samples.jsonl, and replaces all of media/ by the media of the questions."""
    media = folder / "media"
    media.mkdir(parents=True, exist_ok=True)
    for old in media.iterdir():
        old.unlink()
    for scene in prompt_scenes(scripts):
        (media / media_name(scene)).write_bytes(render(scene).data)
    (folder / "samples.jsonl").write_text(samples_jsonl(prefix, scripts))
