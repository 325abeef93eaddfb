"""Things and gold answers in the JSON of a sample's targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval_anything.content import Modality, Sample
from eval_anything.micro.world.things import Item, attributes_of, make_thing


def item_to_json(item: Item) -> dict[str, Any]:
    """A text or thing as JSON."""
    if isinstance(item, str):
        return {"modality": "text", "text": item}
    return {"modality": str(item.modality), "attributes": attributes_of(item)}


def item_from_json(data: Mapping[str, Any]) -> Item:
    """The inverse of `item_to_json`; ValueError or KeyError if it is none."""
    if data["modality"] == "text":
        return str(data["text"])
    return make_thing(Modality(data["modality"]), data["attributes"])


def gold_items(sample: Sample) -> tuple[Item, ...]:
    """The right answer of a sample of the micro tasks, not rendered."""
    return tuple(item_from_json(data) for data in sample.targets["gold"])
