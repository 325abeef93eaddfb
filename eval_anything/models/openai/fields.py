"""Fields of a request's body for settings of generation, at each endpoint.

The names are those of OpenAI's API; `top_k`, `min_p`, `repetition_penalty` and `chat_template_kwargs`
are fields that vLLM and SGLang add to it. A field that is not set is not sent: the server decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from eval_anything.errors import UserError
from eval_anything.models.openai.settings import ServerSettings, sent_fields
from eval_anything.sampling import GenerationSettings, Sampling
from eval_anything.servers.body import BodyChanges

MOST_STOPS = 4
"""Texts that end an answer and are sent; OpenAI's servers refuse more."""


_SENT_AS_THEY_ARE = (
    *("top_p", "presence_penalty", "frequency_penalty", "reasoning_effort"),
    *("top_k", "min_p", "repetition_penalty", "chat_template_kwargs"),
)


SETTINGS: Mapping[str, frozenset[str]] = {
    "chat": frozenset(GenerationSettings.__struct_fields__),
    "responses": frozenset(
        {"temperature", "top_p", "max_new_tokens", "system", "reasoning_effort", "extra_body"}
    ),
    "images": frozenset({"extra_body"}),
    "speech": frozenset({"extra_body"}),
    "videos": frozenset({"extra_body"}),
}
"""Names of the settings that each endpoint takes."""


def chat_fields(sampling: Sampling, settings: ServerSettings) -> dict[str, Any]:
    """The fields of a chat completion's body.

    Example:
        >>> chat_fields(Sampling(0.6, top_k=20, max_new_tokens=8), ServerSettings())
        {'temperature': 0.6, 'max_tokens': 8, 'top_k': 20}
    """
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_new_tokens or settings.max_tokens,
    }
    values = sampling.values()
    fields |= {name: values[name] for name in _SENT_AS_THEY_ARE if name in values}
    if sampling.stop:
        fields["stop"] = list(sampling.stop[:MOST_STOPS])
    return fields | (sampling.extra_body or {})


def response_fields(sampling: Sampling, settings: ServerSettings) -> dict[str, Any]:
    """The fields of a request to the Responses API."""
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "max_output_tokens": sampling.max_new_tokens or settings.max_tokens,
    }
    if sampling.top_p is not None:
        fields["top_p"] = sampling.top_p
    if sampling.reasoning_effort is not None:
        fields["reasoning"] = {"effort": sampling.reasoning_effort}
    return fields | (sampling.extra_body or {})


_BY_OTHERS = ("seed", "store", "modalities", "audio", "stream_options")


def check_extra_body(sampling: Sampling, settings: ServerSettings) -> None:
    """UserError for a field of `extra_body` that something else decides."""
    extra = sampling.extra_body or {}
    fields_of = {"chat": chat_fields, "responses": response_fields}.get(settings.api)
    without = msgspec.structs.replace(sampling, extra_body=None)
    decided = () if fields_of is None else fields_of(without, settings)
    for name in extra:
        if name in decided or name in _BY_OTHERS:
            raise UserError(f"--extra-body {name}: an option of its own decides it: use that")
        if name in settings.body.add or name in settings.body.drop or name in settings.body.rename:
            raise UserError(f"--extra-body {name}: --model-arg body. names it too: keep one")
    for _, problem in BodyChanges(add=extra).problems(sent_fields(settings)):
        raise UserError(f"--extra-body: {problem}")
