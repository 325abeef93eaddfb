"""A script is one or several questions with their right answers, not yet rendered; it becomes a sample.

An exchange becomes a script of one step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from eval_anything.content import MODALITIES, FromTurn
from eval_anything.micro.prompts.exchange import Exchange
from eval_anything.micro.world.gold import part_to_json
from eval_anything.micro.world.render import EXTENSIONS
from eval_anything.micro.world.scenes import (
    WORLD_VERSION,
    Scene,
    SymbolicPart,
    is_held_out,
    modality_of,
)


class ScriptStep(NamedTuple):
    """One question and its right answer; `fresh` hides the turns before it from the model."""

    prompt: tuple[SymbolicPart | FromTurn, ...]
    answer: tuple[SymbolicPart, ...]
    fresh: bool = False


@dataclass(frozen=True)
class Script:
    """A sample that is not yet rendered.

    about: scenes that its questions describe in words.
    targets: what its scorer compares with.
    """

    steps: tuple[ScriptStep, ...]
    about: tuple[Scene, ...]
    targets: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """All scenes that are described, shown, or part of the right answers."""
        parts = (part for step in self.steps for part in (*step.prompt, *step.answer))
        media = (part for part in parts if not isinstance(part, str | FromTurn))
        return tuple(dict.fromkeys((*self.about, *media)))

    @property
    def held_out(self) -> bool:
        """Whether any scene is a held-out combination."""
        return any(is_held_out(scene) for scene in self.scenes)


def script_of(exchange: Exchange) -> Script:
    """The exchange as a script of one step."""
    targets: dict[str, Any] = {
        str(m): dict(exchange.targets[m]) for m in MODALITIES if m in exchange.targets
    }
    if exchange.accepted:
        targets["answers"] = list(exchange.accepted)
    if exchange.choices:
        targets["choices"] = list(exchange.choices)
    metadata = {"dimension": exchange.dimension} if exchange.dimension else {}
    return Script((ScriptStep(exchange.prompt, exchange.answer),), (), targets, metadata)


def sample_json(exchange: Exchange, identity: str) -> dict[str, Any]:
    """The line of samples.jsonl of an exchange."""
    return script_json(identity, exchange.family, exchange.template, script_of(exchange))


def script_json(identity: str, family: str, template: int, script: Script) -> dict[str, Any]:
    """The line of samples.jsonl of a script.

    Samples that depend on each other have one `source_id`: the family and its scenes, or the paraphrase
    where there are none. The contract asks for exactly the modalities of the last right answer.
    """
    first, *later = script.steps
    answers = [[part_to_json(part) for part in step.answer] for step in script.steps]
    outputs = {modality_of(part) for part in script.steps[-1].answer}
    scenes = "+".join("-".join(vars(scene).values()) for scene in script.scenes)
    sample: dict[str, Any] = {
        "id": identity,
        "source_id": f"{family}/{scenes or template}",
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
    return [_part(part) for part in step.prompt]


def _part(part: SymbolicPart | FromTurn) -> dict[str, Any]:
    """A part of a message; media lie in media/."""
    if isinstance(part, str):
        return {"modality": "text", "text": part}
    if isinstance(part, FromTurn):
        return {"modality": str(part.modality), "from_turn": part.turn}
    return {"modality": str(part.modality), "path": f"media/{media_name(part)}"}


def media_name(scene: Scene) -> str:
    """The file name of a scene: from its attributes, so that it does not depend on the encoder."""
    digest = hashlib.sha256(f"{WORLD_VERSION} {scene!r}".encode()).hexdigest()
    return f"{digest[:16]}.{EXTENSIONS[scene.modality]}"
