"""For torchvision beside a torch of another build: declares the operators that the compiled part of
torchvision would, so that it imports; its transforms of images are plain torch. A process that has this
folder on its PYTHONPATH runs it when it starts, and so do those that it starts."""

from __future__ import annotations

import torch

_LIBRARY = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, _name):
        _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
