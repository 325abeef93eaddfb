"""The check of a response before it is scored: its media exist, can be read and have the right type."""

from __future__ import annotations

import msgspec

from eval_anything.content import Failure, MediaPart, Response, TextPart
from eval_anything.media import MediaError, check_decodes


def checked(response: Response) -> Response:
    """The response without empty texts, with an error if it has no parts or a medium is broken.

    Example:
        >>> checked(Response((TextPart(" "),))).error.kind
        'empty_output'
    """
    parts = tuple(p for p in response.parts if not (isinstance(p, TextPart) and not p.text.strip()))
    error = response.error
    if error is None and not parts:
        error = Failure("empty_output", _empty(response))
    if error is None:
        for medium in (part for part in parts if isinstance(part, MediaPart)):
            try:
                check_decodes(medium)
            except MediaError as broken:
                reason = str(broken).replace(str(medium.path), f"the {medium.modality}")
                error = Failure("invalid_output", reason)
                break
    return msgspec.structs.replace(response, parts=parts, error=error)


def _empty(response: Response) -> str:
    """The message on an empty response: why the model ended it, and after how many tokens."""
    facts = []
    if response.stop_reason is not None:
        facts.append(f"finish reason {response.stop_reason}")
    if response.usage.output is not None:
        facts.append(f"{response.usage.output} tokens")
    return f"the response is empty ({', '.join(facts)})" if facts else "the response is empty"
