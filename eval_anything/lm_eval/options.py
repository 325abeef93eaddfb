"""What `--lm-eval KEY=VALUE` may say: options of lm_eval's own `simple_evaluate`, under its names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval_anything.errors import UserError, near

_KINDS: dict[str, type] = {
    "num_fewshot": int,
    "apply_chat_template": bool,
    "fewshot_as_multiturn": bool,
    "system_instruction": str,
    "gen_kwargs": dict,
    "bootstrap_iters": int,
}


def read_options(given: Mapping[str, str]) -> dict[str, Any]:
    """The options by name, typed; what is not given is left to lm_eval. UserError for what is wrong."""
    return {key: _typed(key, text) for key, text in given.items()}


def _typed(key: str, text: str) -> Any:
    kind = _KINDS.get(key)
    if kind is None:
        known = ", ".join(_KINDS)
        raise UserError(f"--lm-eval {key}: there is no such option.{near(key, _KINDS)} Known: {known}.")
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"--lm-eval {key}={text}: must be true or false")
        return text.lower() == "true"
    if kind is int:
        if not text.isdecimal():
            raise UserError(f"--lm-eval {key}={text}: must be a whole number from 0 on")
        return int(text)
    return _pairs(key, text) if kind is dict else text


def _pairs(key: str, text: str) -> dict[str, Any]:
    """`a=1,b=x` as YAML would read the values."""
    import yaml

    found = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError(f"--lm-eval {key}={text}: must be NAME=VALUE,NAME=VALUE")
        found[name.strip()] = yaml.safe_load(value)
    return found
