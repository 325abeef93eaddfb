"""`eval-anything` with weights shared out by FSDP2 among processes on the processor.

PyTorch does that by gloo, but accelerate turns sharding on for accelerators alone. Here its state is
told that processors are some; all else is what runs on GPUs.
"""

from __future__ import annotations

import os
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from align_plugins.training import environment
from eval_anything.cli.main import main

_begin = AcceleratorState.__init__


def _begin_sharded(self: Any, *given: Any, fsdp_plugin: Any = None, **more: Any) -> None:
    _begin(self, *given, fsdp_plugin=fsdp_plugin, **more)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def main_sharded(arguments: list[str]) -> int:
    """`eval-anything` in a process of its own, which is not to be used again."""
    AcceleratorState.__init__ = _begin_sharded
    environment._SHARDING.clear()
    os.environ |= {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
    }
    return main(arguments)
