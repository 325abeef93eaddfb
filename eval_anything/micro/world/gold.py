"""Parts of right answers in the JSON of a sample's targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval_anything.content import Modality, Sample
from eval_anything.micro.world.scenes import SymbolicPart, attributes_of, make_scene


def part_to_json(part: SymbolicPart) -> dict[str, Any]:
    """JSON of a text (`text`) or of a scene (`attributes`), each with its `modality`."""
    if isinstance(part, str):
        return {"modality": "text", "text": part}
    return {"modality": str(part.modality), "attributes": attributes_of(part)}


def part_from_json(document: Mapping[str, Any]) -> SymbolicPart:
    """The inverse of `part_to_json`; ValueError or KeyError if the document is none."""
    if document["modality"] == "text":
        return str(document["text"])
    return make_scene(Modality(document["modality"]), document["attributes"])


def gold_items(sample: Sample) -> tuple[SymbolicPart, ...]:
    """Texts and scenes of the right answer to a sample of the micro tasks, in order."""
    return tuple(part_from_json(document) for document in sample.targets["gold"])
