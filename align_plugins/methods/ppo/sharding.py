"""A model whose weights are shared out among processes (FSDP2), and the whole one that answers.

Processes answer with different numbers of tokens, so none can wait for the others' shards at each token.
Each keeps all weights once, beside its share of weights, gradients and optimiser states, and takes them
over after each round. The same whole model is what is saved, and the reference below adapters.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from eval_anything.errors import UserError

_COPIES = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether weights are shared out. UserError for a way to do so that ppo does not know."""
    if accelerator.distributed_type in _COPIES:
        return False
    if accelerator.distributed_type == DistributedType.FSDP and accelerator.is_fsdp2:
        return True
    raise UserError(
        "ppo runs with a copy of the model on each device or with FSDP2, not with "
        f"{accelerator.distributed_type.value} as it is set: choose data parallelism, or FSDP and "
        "`fsdp_version: 2`, in the configuration of accelerate"
    )


def copy_weights(full_model: Any, sharded: Any) -> None:
    """Copies the trained weights of a sharded model into a whole one like it, in all processes."""
    with torch.no_grad():
        pairs = zip(full_model.parameters(), sharded.parameters(), strict=True)
        for weight, shards in pairs:
            if weight.requires_grad:
                weight.copy_(shards.full_tensor())
