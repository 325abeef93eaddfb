"""The checks of a response: its texts follow the one rule; its media are in the store, exist, can be
read and have the right type."""

from __future__ import annotations

import msgspec

from eval_anything.answer_text import answer_text
from eval_anything.content import Failure, MediaPart, Response, TextPart
from eval_anything.media import MediaError, MediaStore, check_decodes
from eval_anything.thoughts import nothing_but


def with_answer_texts(response: Response) -> Response:
    """The response with the texts of its parts by the rule of `answer_text`.

    Example:
        >>> with_answer_texts(Response((TextPart(" Paris\\n"),))).text
        'Paris'
    """
    parts = tuple(
        TextPart(answer_text(part.text)) if isinstance(part, TextPart) else part
        for part in response.parts
    )
    return response if parts == response.parts else msgspec.structs.replace(response, parts=parts)


def kept(response: Response, store: MediaStore) -> Response:
    """The response with all media in a store, copied there from other folders; with an error if one of
    them is not what it should be."""
    try:
        parts = tuple(p if isinstance(p, TextPart) else store.keep(p) for p in response.parts)
    except MediaError as error:
        return Response(error=Failure("invalid_output", str(error)))
    return response if parts == response.parts else msgspec.structs.replace(response, parts=parts)


def checked(response: Response) -> Response:
    """The response without empty texts, with an error if it has no parts or a medium is broken.

    Example:
        >>> checked(Response((TextPart(" "),))).error.kind
        'empty_output'
    """
    parts = tuple(p for p in response.parts if not (isinstance(p, TextPart) and not p.text.strip()))
    error = response.error
    if error is None and not parts:
        thoughts = bool(response.details.get("thoughts"))
        reason = nothing_but(thoughts, response.stop_reason, response.usage.output)
        error = Failure("empty_output", reason)
    if error is None:
        for medium in (part for part in parts if isinstance(part, MediaPart)):
            try:
                check_decodes(medium)
            except MediaError as broken:
                reason = str(broken).replace(str(medium.path), f"the {medium.modality}")
                error = Failure("invalid_output", reason)
                break
    return msgspec.structs.replace(response, parts=parts, error=error)
