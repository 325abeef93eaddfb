"""Secrets of servers, hidden in everything that is shown or stored.

A secret is the key in OPENAI_API_KEY, and in an address the user (`//user:password@host`) and the
parameters that look like one (`?key=...`, `&sig=...`). Requests use them; names of models, errors,
records, runs, pages and logs have `[key]` in their place.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Any
from urllib.parse import unquote, unquote_plus

HIDDEN = "[key]"


# A shorter key is no secret: local servers are given "none" or "x".
_SHORTEST_KEY = 12


# A shorter secret of an address is hidden in addresses only: in a text it may be any word.
_SHORTEST_WORD = 8


_USER = re.compile(r"""(https?:(?:\\?/){2})[^\s/?#\\"'<>]*@""", re.IGNORECASE)


# A parameter after ?, & (also as &amp; of HTML, or \u0026 of JSON), ; or #.
_PARAMETER = re.compile(
    r"""([?&;#]|\\u0026)([^=?&;#\s\\"'<>]+)=((?:(?!\\u0026)[^&;#\s"'<>])+)""", re.IGNORECASE
)


_SECRET_NAME = re.compile(
    r"(key|token|secret|password|passwd|pwd|pass|signature|sig|sas|hmac|jwt"
    r"|credentials?|auth|authorization|bearer)$|^code$"
)


# The beginnings of keys that servers hand out, and long mixtures of letters and digits.
_SECRET_TEXT = re.compile(
    r"(sk-|sk_|AIza|hf_|gsk_|xai-|ghp_|eyJ)[\w.~-]{8,}"
    r"|(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])(?=\D*\d)[\w~+/=-]{24,}"
)


_words: set[str] = set()


def without_key(text: str) -> str:
    """The text with every secret of a server replaced by `[key]`.

    Example:
        >>> without_key("http://ann:pass@host/v1?api-version=1&key=12345")
        'http://[key]@host/v1?api-version=1&key=[key]'
    """
    text = with_hidden_addresses(text)
    key = os.environ.get("OPENAI_API_KEY", "")
    words = _words | {key} if len(key) >= _SHORTEST_KEY else _words
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, HIDDEN)
    return text


def with_hidden_addresses(text: str) -> str:
    """The text with the secrets in its addresses replaced, whatever else this process knows."""
    return _PARAMETER.sub(_hide, _USER.sub(rf"\1{HIDDEN}@", text))


def remember_secrets(address: str) -> None:
    """Has the secrets of an address hidden in every text from now on: a server may repeat them."""
    for match in _PARAMETER.finditer(address):
        if _is_secret(match):
            _remember(match[3])
    user = re.match(r"https?://([^/?#]*)@", address, re.IGNORECASE)
    if user:
        name, _, password = user[1].partition(":")
        _remember(password or name)


def hide_in_logs(*names: str) -> None:
    """Hides secrets in what the loggers of these names say, such as the addresses of requests."""
    for name in names:
        logger = logging.getLogger(name)
        if _hide_in_record not in logger.filters:
            logger.addFilter(_hide_in_record)


def _hide_in_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = without_key(record.getMessage()), ()
    return True


def _remember(word: str) -> None:
    _words.update(w for w in (word, unquote(word), unquote_plus(word)) if len(w) >= _SHORTEST_WORD)


def _is_secret(parameter: re.Match[str]) -> bool:
    name = re.sub(r"[^a-z]", "", unquote(parameter[2]).lower().removeprefix("amp;"))
    return (
        _SECRET_NAME.search(name) is not None
        or _SECRET_TEXT.fullmatch(unquote(parameter[3])) is not None
    )


def _hide(parameter: re.Match[str]) -> Any:
    return f"{parameter[1]}{parameter[2]}={HIDDEN}" if _is_secret(parameter) else parameter[0]
