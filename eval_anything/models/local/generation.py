"""Loading and batched generation with transformers, shared by all kinds of checkpoints."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eval_anything.sampling import Sampling

if TYPE_CHECKING:
    import torch


def load_causal_lm(source: str | Path, dtype: str) -> Any:
    """A causal language model from safetensors, without any code of the checkpoint, in eval mode."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, dtype=dtype)
    return model.eval()


def padded(
    prompts: Sequence[Sequence[int]],
    pad: int,
    device: Any = "cpu",
    *,
    padding_side: Literal["left", "right"] = "left",
) -> dict[str, torch.Tensor]:
    """input_ids and attention_mask, int64 (batch, longest), of prompts of different lengths.

    Example:
        >>> padded([[5], [6, 7]], pad=0)["input_ids"].tolist()
        [[0, 5], [6, 7]]
    """
    import torch

    longest = max(map(len, prompts))
    rows, masks = [], []
    for prompt in prompts:
        fill, ones = [pad] * (longest - len(prompt)), [1] * len(prompt)
        zeros = [0] * len(fill)
        rows.append([*fill, *prompt] if padding_side == "left" else [*prompt, *fill])
        masks.append([*zeros, *ones] if padding_side == "left" else [*ones, *zeros])
    return {
        "input_ids": torch.tensor(rows, device=device),
        "attention_mask": torch.tensor(masks, device=device),
    }


def generate_ids(
    model: Any,
    inputs: Mapping[str, Any],
    *,
    seeds: Sequence[int],
    sampling: Sampling,
    max_new_tokens: int,
    pad: int,
    stop: Sequence[int],
    suppress: Sequence[int] = (),
    guidance: float | None = None,
    constraint: Any = None,
    **extra_arguments: Any,
) -> list[list[int]]:
    """New token ids for each row of `inputs`, cut after the stop token.

    Sampling uses the Gumbel-max trick (the argmax of logits / temperature + Gumbel noise is a sample
    from the softmax; Gumbel 1954) with noise from the seed of each prompt, so that a sample does not
    depend on its batch.

    Args:
        model: a model of transformers with `generate`.
        inputs: input_ids (batch, longest), padded on the left, and all else that `generate` takes, such
            as pixels and features of sounds.
        seeds: the seed of each row.
        sampling: temperature, restrictions and penalties, in the order of transformers.
        max_new_tokens: the most new tokens of a row.
        pad: the token id of padding.
        stop: token ids that end a row.
        suppress: token ids that are never sampled, such as the placeholders of media.
        guidance: scale of classifier-free guidance; None leaves it to the checkpoint.
        constraint: a processor that leaves out tokens (`constraint.Grammars.processor`).
        extra_arguments: further arguments of `generate`.
    """
    import torch

    arguments = sampling_arguments(
        seeds, sampling, max_new_tokens, pad, stop, suppress, guidance, constraint
    )
    with torch.inference_mode():
        output = model.generate(**inputs, **arguments, **extra_arguments)
    prompt = inputs["input_ids"]
    length = prompt.shape[1]
    if output.shape[1] < length or not torch.equal(output[:, :length], prompt):
        length = int(model.config.is_encoder_decoder)  # no prompt, but the token that starts a decoder
    return [until_stop(row[length:].tolist(), set(stop)) for row in output]


def sampling_arguments(
    seeds: Sequence[int],
    sampling: Sampling,
    max_new_tokens: int,
    pad: int,
    stop: Sequence[int],
    suppress: Sequence[int] = (),
    guidance: float | None = None,
    constraint: Any = None,
) -> dict[str, Any]:
    """The arguments with which `generate_ids` calls a model's `generate`; the names are as there.

    What is None in the config is that of the checkpoint: its repetition penalty, say.
    """
    from transformers import GenerationConfig, LogitsProcessorList

    from eval_anything.models.local.processors import count_penalties, gumbel_processor, warpers

    penalty = sampling.repetition_penalty
    # Tokens that may not come are left out first, so that restrictions choose among the others.
    processors = LogitsProcessorList([constraint] if constraint is not None else [])
    if sampling.presence_penalty or sampling.frequency_penalty:
        processors.append(count_penalties(sampling))
    processors += warpers(sampling)
    if sampling.temperature > 0:
        processors.append(gumbel_processor(seeds))
    config = GenerationConfig(
        do_sample=False,
        num_beams=1 if sampling.temperature > 0 else None,
        repetition_penalty=float(penalty) if penalty is not None else None,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        eos_token_id=list(stop),
        suppress_tokens=list(suppress) or None,
        guidance_scale=guidance,
        use_cache=True,
    )
    return {"generation_config": config, "logits_processor": processors}


def until_stop(ids: list[int], stop: set[int]) -> list[int]:
    """The ids up to and including the first stop token.

    Example:
        >>> until_stop([5, 2, 7], {2})
        [5, 2]
    """
    end = next((i for i, token in enumerate(ids) if token in stop), None)
    return ids if end is None else ids[: end + 1]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds the random numbers of torch inside the block, and restores their state after it.

    It is for models that sample by themselves (noise of a vocoder, codes of a music model). Such a
    model answers one request at a time, so that an answer does not depend on its batch.
    """
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


SCORES: dict[str, Any] = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "min_length": 0,
    "min_new_tokens": 0,
    "exponential_decay_length_penalty": None,
    "sequence_bias": None,
    "num_beams": 1,
}
"""Keys of a generation config that change every answer of `generate`, greedy ones too, each with the
value that does nothing."""


@contextlib.contextmanager
def plain_softmax(model: Any) -> Iterator[None]:
    """Leaves out inside the block what the checkpoint's generation config does to the scores of tokens:
    a policy is trained on the distribution of its logits alone."""
    config = model.generation_config
    plain = copy.deepcopy(config)
    for name in SCORES:
        setattr(plain, name, None)
    model.generation_config = plain
    try:
        yield
    finally:
        model.generation_config = config
