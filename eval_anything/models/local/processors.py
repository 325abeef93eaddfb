"""Processors of the scores of tokens: penalties, restrictions, and the noise with which the likeliest
token is a sample.

Their order is that of transformers: repetition penalty, the other penalties, temperature, top_k, top_p,
min_p. All work on the rows of a batch at once, and on each as if it were alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from eval_anything.sampling import Sampling


def warpers(sampling: Sampling) -> list[Any]:
    """The processors that divide by the temperature and leave out unlikely tokens; none at 0."""
    if not sampling.temperature > 0:
        return []
    processors: list[Any] = [TemperatureLogitsWarper(float(sampling.temperature))]
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p is not None and sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        processors.append(MinPLogitsWarper(sampling.min_p))
    return processors


def count_penalties(sampling: Sampling) -> Any:
    """A processor for the penalties of OpenAI's API, on the tokens of the answer alone; the tokens at
    its first call are the prompt."""
    start: list[int] = []

    def penalise(input_ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        if not start:
            start.append(input_ids.shape[1])
        return penalised(logits, input_ids[:, start[0] :], sampling)

    return penalise


def penalised(logits: torch.Tensor, answers: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Logits (rows, vocabulary) less the presence penalty for each token that is in the answer so far,
    and less the frequency penalty for each time that it is.

    Args:
        logits: of the next token.
        answers: token ids of the answers so far, int64 (rows, tokens).
        sampling: the penalties.
    """
    counts = torch.zeros_like(logits).scatter_add_(
        1, answers, torch.ones_like(answers, dtype=logits.dtype)
    )
    presence, frequency = sampling.presence_penalty or 0.0, sampling.frequency_penalty or 0.0
    return logits - presence * (counts > 0) - frequency * counts


def gumbel_processor(seeds: Sequence[int]) -> Any:
    """A processor that adds noise of each row's seed, so that the argmax is a sample."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return lambda input_ids, logits: logits + gumbel_noise(logits, generators)


def gumbel_noise(logits: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Gumbel noise (rows, vocabulary) for logits of this shape, one generator for each row."""
    noise = torch.stack([torch.rand(logits.shape[-1], generator=g) for g in generators])
    return (-torch.log(-torch.log(noise.clamp_(1e-20, 1 - 1e-7)))).to(logits.device)
