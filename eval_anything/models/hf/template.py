"""Checks of what a chat template can take: a system prompt, and variables of its own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from eval_anything.errors import UserError, near
from eval_anything.sampling import Sampling

_OURS = frozenset({"messages", "add_generation_prompt"})
_WORD = "zzyzx-7"  # no word of any template


def template_variables(sampling: Sampling) -> dict[str, Any]:
    """The variables that settings give to the chat template."""
    variables = dict(sampling.chat_template_kwargs or {})
    if sampling.reasoning_effort is not None:
        variables["reasoning_effort"] = sampling.reasoning_effort
    return variables


def check_template(template: str | None, tokenizer: Any, sampling: Sampling, in_parts: bool) -> None:
    """UserError if a chat template drops the system prompt, or does not read a variable.

    Args:
        template: as Jinja; None for a model that goes on with plain text.
        tokenizer: renders the template.
        sampling: the settings.
        in_parts: whether the template goes through the parts of a message.
    """
    variables = template_variables(sampling)
    if variables:
        _check_variables(template, tokenizer, variables)
    if sampling.system and template is not None and not _shows_system(template, tokenizer, in_parts):
        raise UserError(
            "--system: the chat template of this checkpoint has no place for a system prompt. Leave it "
            "out, put its text into the questions (`template:` of a task), or give a template that has "
            "the role: --model-arg chat_template=FILE.jinja"
        )


def _check_variables(template: str | None, tokenizer: Any, variables: Mapping[str, Any]) -> None:
    from transformers.utils.chat_template_utils import _get_template_variables

    reserved = inspect.signature(tokenizer.apply_chat_template).parameters.keys() - {
        "tools",
        "documents",
    }
    read = set(_get_template_variables(template))
    for name in variables:
        option = "--reasoning-effort" if name == "reasoning_effort" else f"--chat-template-kwargs {name}"
        if template is None:
            raise UserError(f"{option}: there is no chat template (--model-arg chat_template=none)")
        if name in reserved | _OURS:
            raise UserError(f"{option}: it is what the engine itself gives to the chat template")
        if name not in read:
            names = sorted(read - reserved - _OURS)
            raise UserError(
                f"{option}: the chat template of this checkpoint does not read it.{near(name, names)} "
                f"Variables that it reads: {', '.join(names) or 'none'}"
            )


def _shows_system(template: str, tokenizer: Any, in_parts: bool) -> bool:
    """Whether the words of a system prompt are in what a template renders."""

    def content(text: str) -> Any:
        return [{"type": "text", "text": text}] if in_parts else text

    turns = [
        {"role": "system", "content": content(_WORD)},
        {"role": "user", "content": content("Hello.")},
    ]
    try:
        rendered = tokenizer.apply_chat_template(
            turns, chat_template=template, tokenize=False, add_generation_prompt=True
        )
    except Exception:  # a template may raise anything, for a role that it does not know
        return False
    return _WORD in rendered
