"""A video processor of transformers, asked which frames it takes and how it scales them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_NOT_OF_SAMPLING = (
    "input_data_format",
    "do_convert_rgb",
    "do_sample_frames",
    "device",
    "video_metadata",
)


class VideoProcessor:
    """The sampler and the scaler of a processor, before it gets any pixels.

    Its method `preprocess` does the same, but needs all frames, which may not fit into memory.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    @property
    def samples(self) -> bool:
        """Whether its config defines a choice of frames."""
        return self._processor.fps is not None or self._processor.num_frames is not None

    def sample(self, about: Mapping[str, Any]) -> list[int]:
        """The indices of the frames that it takes of a clip with this VideoMetadata.

        It takes all of a clip with fewer frames than its config asks for, which most processors refuse,
        and the last one again until there are as many as it puts together.
        """
        from transformers.video_utils import VideoMetadata

        processor, total = self._processor, int(about["total_num_frames"])
        together = getattr(processor, "temporal_patch_size", None) or 1
        names = ("num_frames", "min_frames")
        by_rate = math.ceil(about["duration"] * (processor.fps or 0))
        least = max(together, by_rate, *(getattr(processor, name, None) or 0 for name in names))
        chosen = {n: getattr(processor, n, None) for n in processor.valid_kwargs.__annotations__}
        for name in _NOT_OF_SAMPLING:
            chosen.pop(name, None)
        try:
            indices = processor.sample_frames(metadata=VideoMetadata(**about), **chosen)
            indices = [int(index) for index in indices]
        except (ValueError, ZeroDivisionError):
            if total >= least:
                raise
            indices = list(range(total))
        return indices + indices[-1:] * (together - len(indices))

    def size(self, frames: int, height: int, width: int) -> tuple[int, int] | None:
        """Height and width to which it scales so many frames; None if it does not say.

        It is run on tensors that have shapes and no pixels; of several sizes the largest is returned.
        """
        import torch
        from torch.overrides import TorchFunctionMode

        sizes: list[tuple[int, int]] = []

        class Recorder(TorchFunctionMode):  # type: ignore[misc]
            def __torch_function__(
                self, function: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                kwargs = kwargs or {}
                is_scaling = function is torch.nn.functional.interpolate
                if is_scaling and tuple(args[0].shape[-2:]) == (height, width):
                    sizes.append(tuple(kwargs["size"]))
                return function(*args, **kwargs)

        shapes = torch.empty((frames, 3, height, width), dtype=torch.uint8, device="meta")
        about = {
            "total_num_frames": frames,
            "fps": 1.0,
            "duration": float(frames),
            "frames_indices": list(range(frames)),
        }
        try:
            with Recorder():
                self._processor.preprocess(
                    [shapes], video_metadata=[about], do_sample_frames=False, return_tensors="pt"
                )
        except Exception:  # some steps need pixels; scaling is among the first
            pass
        return max(sizes, key=lambda size: size[0] * size[1], default=None)

    def scaled(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Frames, uint8 (n, height, width, 3), scaled with the processor's own filter."""
        import numpy as np
        import torch
        from transformers.image_utils import SizeDict
        from transformers.video_processing_utils import BaseVideoProcessor

        target = SizeDict(height=size[0], width=size[1])
        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        resample = getattr(self._processor, "resample", None)
        planes = BaseVideoProcessor.resize(self._processor, planes, target, resample=resample)
        return np.ascontiguousarray(planes.permute(0, 2, 3, 1).numpy())
