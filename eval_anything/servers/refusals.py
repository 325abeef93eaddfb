"""The meaning of a server's refusal or failure: whose it is, by status, codes and words of the body.

A status alone says little: 403 is a key without rights, a flagged prompt or an empty account; 400 is all
of that and a parameter that the server does not have; and 404 is a model that is not there, or one that
takes no images. The order of the rules in `_kind` decides.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import StrEnum
from typing import Any, NamedTuple

from eval_anything.content import Failure
from eval_anything.servers import refusal_words as words_of
from eval_anything.servers.error_bodies import ErrorBody, read_error
from eval_anything.servers.refusal_words import plain


class RefusalKind(StrEnum):
    """The party that a refusal or failure is of, and so what happens."""

    ACCOUNT = "account"
    """Key, rights, money or region: the run stops, and nothing is recorded."""
    MISSING = "missing"
    """The server has no such model or path: the run stops, and nothing is recorded."""
    CONTENT = "content"
    """A policy refuses the content of this request: the sample fails with `refusal`."""
    MODALITY = "modality"
    """The model takes no such medium: the sample fails with `unsupported_input` if it has a medium."""
    PARAMETER = "parameter"
    """A field of the request, which the user sets: as REQUEST, but a message can name the option."""
    REQUEST = "request"
    """Anything else about the request: the sample fails, unless every request is refused (`trial`)."""
    SLOW_DOWN = "slow down"
    """Too many requests: tried again after a pause."""
    PASSING = "passing"
    """A failure of the server: tried again, then the sample is pending."""


class SentRequest(NamedTuple):
    """The parts of a request that its refusal may name: the model, the path, the fields of the body."""

    model: str = ""
    path: str = ""
    fields: Collection[str] = ()


NO_REQUEST = SentRequest()
"""For errors of which nothing else is known."""


class Refusal(NamedTuple):
    """A refusal or failure as a server reports it.

    Attributes:
        kind: whose it is.
        status: the HTTP status, or the one that an error inside of a reply of status 200 names.
        words: the server's message on one line.
        parameter: the field of the request that it names; None if it names none.
        of_output: whether it is about media that the model shall make, not about media that it reads.
        begun: whether the server had begun to answer.
    """

    kind: RefusalKind
    status: int | None
    words: str
    parameter: str | None = None
    of_output: bool = False
    begun: bool = False

    @property
    def stops(self) -> bool:
        """Whether the run stops, whatever succeeded before."""
        return self.kind in (RefusalKind.ACCOUNT, RefusalKind.MISSING)

    def is_of_every_request(self, media: bool) -> bool:
        """Whether all requests may be refused alike, for one that has media or not: it names neither
        content nor a modality of the sample."""
        if self.begun or (media and self.status in _OF_MEDIA):
            return False
        if self.kind is RefusalKind.MODALITY:
            return self.of_output and not media
        return self.kind in (RefusalKind.PARAMETER, RefusalKind.REQUEST)

    def failure(self, message: str, media: bool) -> Failure:
        """The failure of a sample whose request, with media or without, was refused."""
        if self.kind is RefusalKind.CONTENT:
            return Failure("refusal", message)
        unsupported = self.kind is RefusalKind.MODALITY or (
            self.kind is RefusalKind.REQUEST and self.status in _MAY_REFUSE_MEDIA
        )
        return Failure("unsupported_input" if media and unsupported else "model_error", message)


# Statuses with which servers refuse media, also without a word about them.
_MAY_REFUSE_MEDIA = (400, 413, 415, 422)


# The same, with no other meaning where a request has media: too large, or of an unsupported type.
_OF_MEDIA = (413, 415)


_PASSING = (408, 409, 425)


# Fields of the body that hold the sample, not an option of the user.
_OF_THE_SAMPLE = {"model", "messages", "input", "prompt", "images", "audios", "videos", "contents"}


def read_refusal(status: int | None, body: Any, sent: SentRequest = NO_REQUEST) -> Refusal:
    """Reads a refusal or failure.

    Args:
        status: the HTTP status; None for an error inside of a reply of status 200, which may name one.
        body: the decoded body, or its text.
        sent: the request, whose model and path are no words of the server.

    Example:
        >>> read_refusal(403, {"error": {"message": "Your input was flagged"}}).kind
        <RefusalKind.CONTENT: 'content'>
    """
    error = read_error(body)
    if status is None:
        status = next((int(c) for c in error.codes.split() if re.fullmatch(r"[1-5]\d\d", c)), None)
    parameter = _parameter(error.field, _without(error.words, sent), sent.fields)
    words = error.words or " ".join(c for c in error.codes.split() if not c.isdigit()) or "nothing more"
    text = plain(_without(f"{error.codes} | {error.words} | {error.field}", sent))
    kind = _kind(status, error, text, parameter)
    return Refusal(kind, status, words, parameter, words_of.OF_OUTPUT.search(text) is not None)


def _kind(status: int | None, error: ErrorBody, text: str, parameter: str | None) -> RefusalKind:
    codes = plain(error.codes)
    if status == 429 or (status is None and re.search(r"rate ?limit", codes)):
        return RefusalKind.ACCOUNT if _is_of_the_account(text) else RefusalKind.SLOW_DOWN
    if status not in (401, 402, 407) and words_of.CONTENT_CODES.search(codes):
        return RefusalKind.CONTENT
    if _is_passing(status, codes):
        if (words_of.CERTAIN if status else words_of.ACCOUNT).search(text):
            return RefusalKind.ACCOUNT
        flagged = status is None and words_of.CONTENT.search(text)
        return RefusalKind.CONTENT if flagged else RefusalKind.PASSING
    if status in (401, 402, 407):
        return RefusalKind.ACCOUNT
    if words_of.ACCOUNT.search(text):
        return RefusalKind.ACCOUNT
    if words_of.CONTENT.search(text):
        return RefusalKind.CONTENT
    if words_of.MISSING.search(text):
        return RefusalKind.MISSING
    if status in (404, 410):
        if parameter is not None or re.search(r"\bparameters?\b", text):
            return RefusalKind.PARAMETER
        return RefusalKind.MODALITY if words_of.MODALITY.search(text) else RefusalKind.MISSING
    if status == 403 and not (words_of.MODALITY.search(text) or words_of.TOO_LONG.search(text)):
        return RefusalKind.ACCOUNT
    if parameter is not None:
        return RefusalKind.PARAMETER
    if words_of.MODALITY.search(text):
        return RefusalKind.MODALITY
    return RefusalKind.MISSING if error.field == "model" else RefusalKind.REQUEST


def _is_of_the_account(text: str) -> bool:
    """Whether a 429 says that money is used up; pauses do not help then."""
    if re.search(r"insufficient (user )?quota", text):
        return True
    if words_of.QUOTA_OF_A_RATE.search(text):
        return False
    return bool(words_of.CERTAIN.search(text) or re.search(r"exceeded your current quota", text))


def _is_passing(status: int | None, codes: str) -> bool:
    """Whether another attempt may succeed; without a status, by the codes: none, or one of a server."""
    if status is not None:
        return status >= 500 or status in _PASSING
    says_nothing = all(code.isdigit() or code == "error" for code in codes.split())
    return says_nothing or words_of.PASSING_CODES.search(codes) is not None


def _parameter(field: str, words: str, fields: Collection[str]) -> str | None:
    """The option among the fields of a request that an error names, None if it names none."""
    outermost = re.split(r"[.\[]", field)[0]
    if outermost and outermost not in _OF_THE_SAMPLE:
        return outermost
    options = [name for name in fields if name not in _OF_THE_SAMPLE]
    for option in options:  # many are common words, so they count where they are quoted
        if re.search(rf"[`'\"]{re.escape(option)}\b", words):
            return option
    marked = [o for o in options if "_" in o or o in ("temperature", "seed", "modalities")]
    return next((o for o in marked if re.search(rf"\b{re.escape(o)}\b", words)), None)


def _without(text: str, sent: SentRequest) -> str:
    """The text without the name of the model and the path."""
    for name in filter(None, (sent.model, sent.path)):
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", " ", text)
    return text
