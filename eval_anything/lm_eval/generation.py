"""Reads the `generation_kwargs` of a task of lm_eval into settings of our models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from eval_anything.errors import UserError
from eval_anything.models.base import Ending
from eval_anything.sampling import PENALTIES, RESTRICTIONS, GenerationSettings, Sampling

DEFAULT_NEW_TOKENS = 256
"""Largest number of new tokens where a task sets none: the default of lm_eval's HFLM."""


# lm_eval uses the first of these keys that is set.
_MAX_TOKENS_KEYS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


_READ = {*_MAX_TOKENS_KEYS, "until", "do_sample", "temperature", *RESTRICTIONS, *PENALTIES}


# Values of further keys that change nothing; and values that change nothing for greedy answers.
_NEUTRAL: dict[str, tuple[Any, ...]] = {"num_beams": (1,), "num_return_sequences": (1,)}


_OF_SAMPLING: dict[str, tuple[Any, ...]] = {"typical_p": (1, 1.0, None)}


class Generation(NamedTuple):
    """Settings of a request: the ending of the answer, and the sampling, without its seed."""

    ending: Ending
    sampling: Sampling


def read_generation(settings: Mapping[str, Any], task: str) -> Generation:
    """Reads the generation_kwargs of `task`. UserError for settings that our models do not have.

    Example:
        >>> read_generation({"until": ["\\n"], "max_gen_toks": 32}, "arc").sampling.temperature
        0.0
    """
    until = settings.get("until") or []
    until = [until] if isinstance(until, str) else [str(text) for text in until]
    limits = (settings[key] for key in _MAX_TOKENS_KEYS if settings.get(key) is not None)
    max_tokens = next(limits, DEFAULT_NEW_TOKENS)
    temperature = float(settings.get("temperature") or 0.0)
    do_sample = settings.get("do_sample")
    if do_sample is False:
        temperature = 0.0
    if do_sample and not temperature:
        raise UserError(f"{task}: generation_kwargs has do_sample without a temperature above 0")
    for key, setting in settings.items():
        allowed = _NEUTRAL.get(key) or _OF_SAMPLING.get(key)
        if key in _READ or (key in _OF_SAMPLING and not temperature):
            continue
        if allowed is None or setting not in allowed:
            raise UserError(
                f"{task}: generation_kwargs has {key}={setting!r}, which our models do not do. Leave it "
                f"out of the task, or override it: --lm-eval gen_kwargs=temperature=0"
            )
    return Generation(Ending(tuple(until), int(max_tokens)), _sampling(settings, temperature, task))


def _sampling(settings: Mapping[str, Any], temperature: float, task: str) -> Sampling:
    """The sampling of a request; restrictions of greedy answers do nothing, as in lm_eval."""
    values = {name: settings[name] for name in PENALTIES if settings.get(name) is not None}
    if temperature:
        values |= {name: settings[name] for name in RESTRICTIONS if settings.get(name) is not None}
    if values.get("top_k") == -1:
        values["top_k"] = 0
    try:
        checked = msgspec.convert({**values, "temperature": temperature}, GenerationSettings)
    except msgspec.ValidationError as error:
        raise UserError(f"{task}: generation_kwargs: {error}") from None
    return Sampling(**checked.values())
