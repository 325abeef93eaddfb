"""CLIPScore (Hessel et al. 2021) on a CLIP checkpoint of transformers, scaled as in torchmetrics."""

from __future__ import annotations

from typing import Any

from eval_anything import Modality, Response, Sample, Score, TextPart
from eval_anything.media import read_image
from eval_anything.scoring import LocalModel, ScoreFunction, applies, media_of


def make(path: str) -> ScoreFunction:
    """The scorer with the CLIP checkpoint in a folder."""
    clip: LocalModel[Clip] = LocalModel(path, Clip)

    def score(sample: Sample, response: Response) -> dict[str, Score]:
        if not applies(sample, response, Modality.IMAGE):
            return {}
        texts = {"clip_prompt": _prompt(sample)} if _prompt(sample) else {}
        if applies(sample, response, Modality.TEXT):
            texts["clip_text_image"] = response.text
        images = [read_image(part.path) for part in media_of(response, Modality.IMAGE)]
        scores = {}
        for metric, text in texts.items():
            if not images or not text.strip():
                missing = "text" if images else "image"
                scores[metric] = Score(0.0, explanation=f"no {missing}, which is required")
            else:
                with clip.use() as model:
                    values = model.scores(images, text)
                scores[metric] = Score(sum(values) / len(values), details={"images": values})
        return scores

    return score


def _prompt(sample: Sample) -> str:
    """The text of the last message, which is the user's."""
    parts = sample.messages[-1].parts if sample.messages else ()
    return "\n\n".join(part.text for part in parts if isinstance(part, TextPart)).strip()


class Clip:
    """A CLIP checkpoint, loaded; on the GPU if there is one."""

    def __init__(self, path: str) -> None:
        import torch
        from transformers import CLIPModel, CLIPProcessor
        from transformers.utils import logging

        logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        # safetensors only: other files of weights can run code
        model, report = CLIPModel.from_pretrained(
            path, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        if report["missing_keys"]:  # transformers would go on with random weights
            raise ValueError(f"no CLIP checkpoint: {min(report['missing_keys'])} is missing")
        self._model = model.to(device).eval()
        self._processor = CLIPProcessor.from_pretrained(path, local_files_only=True)

    def scores(self, images: list[Any], text: str) -> list[float]:
        """max(100 cos, 0) of each image, pixels (height, width, 3), with a text."""
        import torch

        inputs = self._processor(
            text=[text],
            images=images,
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
        )
        with torch.inference_mode():
            out = self._model(**inputs.to(self._model.device))
        # both embeddings are of length 1, but for rounding
        cosines = (out.image_embeds @ out.text_embeds.T)[:, 0]
        return [float(cosine) for cosine in (100 * cosines).clamp(0, 100)]
