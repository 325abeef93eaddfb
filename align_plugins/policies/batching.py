"""Token ids of several rows, and the media that go with them, as one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from align_plugins.policies.base import padded_right
from eval_anything.errors import UserError

if TYPE_CHECKING:
    import torch


def inputs_of(
    rows: Sequence[Sequence[int]], media: Sequence[Mapping[str, Any]], pad: int
) -> dict[str, torch.Tensor]:
    """What a model takes for rows of token ids with the tensors of their media, one mapping a row.

    Padding is on the right, where no real token looks: text alone needs no mask, and attention is faster
    without. UserError for media that cannot share a batch.
    """
    inputs = {"input_ids": padded_right(rows, pad)}
    names = sorted({name for own in media for name in own})
    if names:
        inputs["attention_mask"] = padded_right([[1] * len(row) for row in rows], 0)
    for name in names:
        inputs[name] = _joined(name, media, rows)
    return inputs


def _joined(
    name: str, media: Sequence[Mapping[str, Any]], rows: Sequence[Sequence[int]]
) -> torch.Tensor:
    """One tensor of a batch: kinds of tokens run along the rows, and 0 is text in all the families that
    have them; media stand one after another."""
    import torch

    if name.endswith("token_type_ids"):
        kinds = [own[name][0].tolist() if name in own else [] for own in media]
        return padded_right(
            [[*k, *[0] * (len(row) - len(k))] for k, row in zip(kinds, rows, strict=True)], 0
        )
    try:
        return torch.cat([own[name] for own in media if name in own])
    except RuntimeError as error:
        raise UserError(
            f"the media of this batch differ in size ({name}: {error}): set batch_size: 1 and use "
            "accumulation"
        ) from None
