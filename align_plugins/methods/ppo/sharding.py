"""Models whose weights are sharded among processes (FSDP2), and the unsharded copy that samples.

Processes sample different numbers of tokens, so they cannot wait for each other's shards at each token.
Each keeps a full copy of the weights beside its shards of weights, gradients and optimiser states, and
updates the copy after each round. The copy is also the model that is saved, and the reference without
adapters.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from eval_anything.errors import UserError

_COPIES = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether weights are sharded. UserError for a kind of sharding that ppo does not support."""
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
    """Copies the trained weights of a sharded model into a full copy of it, in all processes."""
    with torch.no_grad():
        pairs = zip(full_model.parameters(), sharded.parameters(), strict=True)
        for weight, shards in pairs:
            if weight.requires_grad:
                weight.copy_(shards.full_tensor())
