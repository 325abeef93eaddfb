"""Servers in SPECs: the name of a model, and the address that it is asked at.

An address is the base of the API (`http://host:port/v1`), as the variable OPENAI_BASE_URL has it. Its
query (`?api-version=...`) goes with every request, and so do a user and a password.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from eval_anything.errors import UserError, install
from eval_anything.servers.secrets import HIDDEN, remember_secrets, with_hidden_addresses, without_key

_DEFAULT = "https://api.openai.com/v1"


# An address may be given with this path, as the documents of many servers have it.
_CHAT = "/chat/completions"


_OTHER_ENDPOINTS = ("/completions", "/responses", "/images/generations", "/audio/speech")


# Behind the last @ of a name: an address whose http:// was forgotten or misspelt.
_ADDRESS_LIKE = re.compile(r"localhost\b.*|\[.*|[\w.-]+:\d+(/.*)?|\d+(\.\d+){3}(/.*)?|.*/v\d+/?")


class Server(NamedTuple):
    """A model and the address of its API, with the secrets that the address may have."""

    model: str
    base_url: str

    @property
    def identity(self) -> list[str]:
        """Value that stands for the model's weights and that `sha256_of` can hash: its name and its
        address without secrets, so another key is the same server."""
        return [self.model, with_hidden_addresses(self.base_url)]


class Connection(NamedTuple):
    """An address as requests need it: its base, the query of every request, and the value of the header
    Authorization that its user and password make, None without them."""

    base: str
    query: str
    authorization: str | None


def parse_server(spec: str, option: str) -> Server:
    """The server of a SPEC such as openai/NAME@http://host:port/v1; the name may contain an @, too.

    Without an address it is that of OPENAI_BASE_URL, else OpenAI's.

    Args:
        spec: the SPEC as the user wrote it.
        option: the option that it was given to, for errors.

    Raises:
        UserError: the SPEC is malformed, the package `openai` is not installed, or no key is set.

    Example:
        >>> parse_server("openai/qwen@http://localhost:8000/v1", "--model")
        Server(model='qwen', base_url='http://localhost:8000/v1')
    """
    match = re.fullmatch(r"openai/(.+)@(https?://\S*)", spec, re.IGNORECASE)
    name = match[1] if match else spec.removeprefix("openai/")
    if not spec.startswith("openai/") or (match is None and not _is_name(name)):
        without_user = re.sub(r"@[^@\s]*:[^@\s]*@", f"@{HIDDEN}@", spec)  # http:// may be missing
        raise _hiding(
            f"{option.replace(spec, without_user)}: must be openai/NAME@http://host:port/v1, or "
            f"openai/NAME with OPENAI_BASE_URL set, not {without_user!r}"
        )
    option = without_key(option)
    if importlib.util.find_spec("openai") is None:  # its import takes a second: only when it is used
        raise UserError(f"{option} needs the package openai: {install('openai')}")
    if match is not None:
        return Server(name, _base_of(match[2], option))
    variable = os.environ.get("OPENAI_BASE_URL", "").strip()
    if not variable and not os.environ.get("OPENAI_API_KEY"):
        raise UserError(f"{option}: set OPENAI_API_KEY, or name a server with openai/NAME@URL")
    return Server(name, _base_of(variable, f"{option}: OPENAI_BASE_URL") if variable else _DEFAULT)


def connection(address: str) -> Connection:
    """The parts of an address for requests.

    Example:
        >>> connection("http://host/v1?api-version=2")
        Connection(base='http://host/v1', query='api-version=2', authorization=None)
    """
    url = urlsplit(address)
    user, _, host = url.netloc.rpartition("@")
    encoded = base64.b64encode(unquote(user if ":" in user else f"{user}:").encode()).decode()
    base = urlunsplit((url.scheme, host, url.path, "", ""))
    return Connection(base, url.query, f"Basic {encoded}" if user else None)


def _is_name(text: str) -> bool:
    """Whether a text without an address is the name of a model, and no misspelt address is in it."""
    before, _, after = text.rpartition("@")
    return bool(after) and "://" not in text and not (before and _ADDRESS_LIKE.fullmatch(after))


def _base_of(address: str, option: str) -> str:
    """An address in its one form: that of the API's base, without a slash at the end. UserError if it is
    none."""
    remember_secrets(address)
    try:
        url = urlsplit(address)
        host, _ = url.hostname, url.port  # ValueError for a port that is no number
    except ValueError:
        message = "is no address: a port is a number, and / # ? in a password are written %2F %23 %3F"
        raise _wrong(option, address, message) from None
    if url.scheme not in ("http", "https") or not host:
        raise _wrong(option, address, "is no address: give http://host:port/v1")
    if url.fragment:
        raise _wrong(option, address, "has a #, which no server is sent: leave it out, or write %23")
    path = url.path.rstrip("/")
    path = path.removesuffix(_CHAT)
    for endpoint in _OTHER_ENDPOINTS:
        if path.endswith(endpoint):
            raise _wrong(
                option,
                address,
                f"is the address of one endpoint: leave {endpoint} out (--model-arg api=... chooses it)",
            )
    user, at, host = url.netloc.rpartition("@")
    return urlunsplit((url.scheme, f"{user}{at}{host.lower()}", path.rstrip("/"), url.query, ""))


def _wrong(option: str, address: str, message: str) -> UserError:
    return _hiding(f"{option}: {address} {message}")


def _hiding(message: str) -> UserError:
    """The error about a malformed address, of which everything that may be a user is hidden."""
    return UserError(without_key(re.sub(r"(https?://)\S*@", rf"\1{HIDDEN}@", message)))
