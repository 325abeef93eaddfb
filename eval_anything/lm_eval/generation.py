"""The `generation_kwargs` of a task of lm_eval, as what our models understand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from eval_anything.errors import UserError
from eval_anything.models.base import Ending

DEFAULT_NEW_TOKENS = 256
"""As HFLM's."""


# lm_eval takes the first of these that is given.
_MOST = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


_READ = {*_MOST, "until", "do_sample", "temperature"}


# What else may be there without changing anything; and what changes nothing for greedy answers.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "num_beams": (1,),
    "repetition_penalty": (1, 1.0),
    "num_return_sequences": (1,),
}


_OF_SAMPLING: dict[str, tuple[Any, ...]] = {
    "top_p": (1, 1.0, None),
    "top_k": (0, -1, None),
    "min_p": (0, None),
    "typical_p": (1, 1.0, None),
}


class Generation(NamedTuple):
    """How an answer is drawn, and where it ends; temperature 0 is greedy."""

    ending: Ending
    temperature: float


def read_generation(given: Mapping[str, Any], task: str) -> Generation:
    """The settings of a request. UserError for what our models would not do."""
    until = given.get("until") or []
    until = [until] if isinstance(until, str) else [str(text) for text in until]
    most = next((given[key] for key in _MOST if given.get(key) is not None), DEFAULT_NEW_TOKENS)
    temperature = float(given.get("temperature") or 0.0)
    sample = given.get("do_sample")
    if sample is False:
        temperature = 0.0
    if sample and not temperature:
        raise UserError(f"{task}: generation_kwargs has do_sample without a temperature above 0")
    for key, value in given.items():
        allowed = _NEUTRAL.get(key) or _OF_SAMPLING.get(key)
        if key in _READ or (key in _OF_SAMPLING and not temperature):
            continue
        if allowed is None or value not in allowed:
            raise UserError(
                f"{task}: generation_kwargs has {key}={value!r}, which our models do not do. Leave it "
                f"out of the task, or override it: --lm-eval gen_kwargs=temperature=0"
            )
    return Generation(Ending(tuple(until), int(most)), temperature)
