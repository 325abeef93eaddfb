"""Loading and batched generation with transformers: what micro and hf models share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def load_causal_lm(source: str | Path, dtype: str) -> Any:
    """A causal language model from safetensors, without any code of the checkpoint, in eval mode."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, dtype=dtype)
    return model.eval()


def generate_ids(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    seeds: Sequence[int],
    temperature: float,
    max_new_tokens: int,
    pad: int,
    stop: Sequence[int],
) -> list[list[int]]:
    """New token ids for each prompt, without the stop token's padding.

    Sampling is by the Gumbel maximum (argmax of logits / T + Gumbel noise is a draw from the
    softmax; Gumbel 1954), with noise from each prompt's own seed: a draw does not depend on its
    batch.
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

    longest = max(map(len, prompts))
    rows = [[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    processors = LogitsProcessorList()
    if temperature > 0:
        processors.append(_gumbel(temperature, seeds))
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        eos_token_id=list(stop),
        use_cache=True,
    )
    with torch.inference_mode():
        output = model.generate(
            input_ids=torch.tensor(rows, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            generation_config=config,
            logits_processor=processors,
        )
    return [_until_stop(row[longest:].tolist(), set(stop)) for row in output]


def _until_stop(ids: list[int], stop: set[int]) -> list[int]:
    end = next((i for i, token in enumerate(ids) if token in stop), None)
    return ids if end is None else ids[: end + 1]


def _gumbel(temperature: float, seeds: Sequence[int]) -> Any:
    import torch

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def add_noise(input_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        noise = torch.stack([torch.rand(logits.shape[-1], generator=g) for g in generators])
        gumbel = -torch.log(-torch.log(noise.clamp_(1e-20, 1 - 1e-7)))
        return logits.float() / temperature + gumbel.to(logits.device)

    return add_noise
