"""Options of `--lm-eval KEY=VALUE`: those of lm_eval's own `simple_evaluate`, under its names."""

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


def read_options(texts: Mapping[str, str]) -> dict[str, Any]:
    """Reads options into their types; lm_eval's defaults apply to the others.

    Raises:
        UserError: there is no such option, or its text is not of the option's type.

    Example:
        >>> read_options({"num_fewshot": "5", "gen_kwargs": "temperature=0.5"})
        {'num_fewshot': 5, 'gen_kwargs': {'temperature': 0.5}}
    """
    return {key: _typed(key, text) for key, text in texts.items()}


def _typed(key: str, text: str) -> Any:
    kind = _KINDS.get(key)
    if kind is None:
        names = ", ".join(_KINDS)
        raise UserError(f"--lm-eval {key}: there is no such option.{near(key, _KINDS)} Known: {names}.")
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
    """Settings of a text like `a=1,b=x`, with values in YAML."""
    import yaml

    settings = {}
    for pair in text.split(","):
        name, equals, setting = pair.partition("=")
        if not equals or not name:
            raise UserError(f"--lm-eval {key}={text}: must be NAME=VALUE,NAME=VALUE")
        settings[name.strip()] = yaml.safe_load(setting)
    return settings
