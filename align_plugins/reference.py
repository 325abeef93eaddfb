"""Reference log-probabilities, computed once with the start's weights and kept beside the training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from align_plugins.workdir import Workdir, is_main
from eval_anything.content import MODALITIES
from eval_anything.files import write_atomically
from eval_anything.progress import Progress

if TYPE_CHECKING:
    from align_plugins.dpo import DpoTrainer, PairItem


def with_reference(
    trainer: DpoTrainer, items: Sequence[PairItem], work: Workdir, progress: Progress
) -> list[PairItem]:
    """The items with sums of log-probabilities by modality under the model as it is now.

    A training that goes on reads what it began with: train.json has made sure that weights, data and
    settings are the same.
    """
    path = work.reference
    if path.is_file():
        found = np.load(path)
    else:
        progress.say(f"reference: log-probabilities of {2 * len(items)} responses")
        found = _computed(trainer, items)
        if is_main():
            buffer = io.BytesIO()
            np.save(buffer, found)
            write_atomically(path, buffer.getvalue())
    return [
        item._replace(reference=tuple(tuple(side) for side in sums))
        for item, sums in zip(items, found.tolist(), strict=True)
    ]


def _computed(trainer: DpoTrainer, items: Sequence[PairItem]) -> Any:
    """float32 (items, 2, 4). Items of similar length share a batch."""
    import torch

    from align_plugins.engine import to_device

    out = np.zeros((len(items), 2, len(MODALITIES)), np.float32)
    order = sorted(range(len(items)), key=lambda i: trainer.length(items[i]))
    size = trainer.settings.batch_size
    model = trainer.model.eval()
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(trainer.settings.precision)
    with torch.no_grad(), torch.autocast(model.device.type, half, enabled=half is not None):
        for start in range(0, len(order), size):
            group = order[start : start + size]
            batch = to_device(trainer.collate([items[i] for i in group]), model.device)
            sums = trainer.policy.logprobs(batch).sums().cpu().numpy()
            out[group, 0], out[group, 1] = sums[: len(group)], sums[len(group) :]
    return out
