"""SSIM and PSNR of a response's image against the prompt's, by torchmetrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eval_anything import Modality, Response, Sample, Score
from eval_anything.media import read_image
from eval_anything.scoring import applies, prompt_medium

if TYPE_CHECKING:
    import numpy as np

HIGHEST_DB = 100.0


def similarity(sample: Sample, response: Response) -> dict[str, Score]:
    """Both metrics of image_similarity, for samples with an image in the prompt."""
    reference = prompt_medium(sample, Modality.IMAGE)
    if reference is None or not applies(sample, response, Modality.IMAGE):
        return {}
    part = response.first(Modality.IMAGE)
    if part is None:
        reason = "no image, which is required"
        return {"image_ssim": Score(-1.0, explanation=reason), "image_psnr_db": Score(0.0)}
    import torch  # with torchmetrics it takes seconds: not for samples without images
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    target = read_image(reference.path)
    image = _resized(read_image(part.path), target.shape)
    # torch wants (1, 3, height, width) in 0..1, of an array that it may own
    a, b = (torch.tensor(pixels).permute(2, 0, 1)[None] / 255 for pixels in (image, target))
    ssim = structural_similarity_index_measure(a, b, data_range=1.0)
    psnr = peak_signal_noise_ratio(a, b, data_range=1.0)  # infinite for the same image
    return {
        "image_ssim": Score(min(max(float(ssim), -1.0), 1.0)),
        "image_psnr_db": Score(min(max(float(psnr), 0.0), HIGHEST_DB)),
    }


def _resized(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels brought to a (height, width, 3), bicubic."""
    import numpy as np
    from PIL import Image

    if pixels.shape == shape:
        return pixels
    size = (shape[1], shape[0])
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
