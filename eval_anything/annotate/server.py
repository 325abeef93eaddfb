"""The server of the annotation page: on the loopback interface, for requests with a secret token.

The address contains the random token, which a page of another site cannot guess; a request through a
foreign host name that resolves to this machine (DNS rebinding) is recognized by its Host header and
refused. Only the page's own files, the questions and their media are served; media by sha256, never by
path.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from eval_anything.annotate.session import AnnotatorAnswer, RefusedError, Session
from eval_anything.content import MediaPart
from eval_anything.errors import InfrastructureError, UserError
from eval_anything.files.json_text import decode_strict
from eval_anything.files.places import content_folder
from eval_anything.files.reading import open_file

_HOST = "127.0.0.1"


_LONGEST_BODY = 1_000_000


_PIECE = 1 << 18


_FILES = {
    "": ("annotate/page.html", "text/html; charset=utf-8"),
    "annotate.js": ("annotate/annotate.js", "text/javascript; charset=utf-8"),
    "core.js": ("scripts/core.js", "text/javascript; charset=utf-8"),
    "annotate.css": ("annotate/annotate.css", "text/css; charset=utf-8"),
    "base.css": ("styles/base.css", "text/css; charset=utf-8"),
    "icon.svg": ("styles/icon.svg", "image/svg+xml"),
}


_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types chunks"  # the policy of core.js
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    key: str


class AnnotationServer(ThreadingHTTPServer):
    """Serves one session at `url` until it is shut down. UserError if the port is taken."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128  # connections that wait; with 5 a busy machine refuses some

    def __init__(self, session: Session, port: int = 0) -> None:
        root = content_folder("leaderboard")
        self.session = session
        self.token = secrets.token_urlsafe(24)
        self.files = {name: ((root / path).read_bytes(), mime) for name, (path, mime) in _FILES.items()}
        try:
            super().__init__((_HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UserError(f"--port {port}: {error}: choose another, or leave it out") from None

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{_HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores a browser that disconnects before it has read the reply."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds until a silent connection is closed
    server: AnnotationServer

    def do_GET(self) -> None:
        name = self._name()
        if name is None:
            return
        if name in self.server.files:
            self._send(HTTPStatus.OK, *self.server.files[name])
        elif name == "state":
            self._send_json(HTTPStatus.OK, self.server.session.state())
        elif name.startswith("media/") and name[6:] in self.server.session.media:
            self._send_medium(self.server.session.media[name[6:]])
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def do_POST(self) -> None:
        # Read first: closing a connection with a body in it may lose the reply.
        body = self._body()
        name = self._name() if body is not None else None
        if body is None or name is None:
            return
        session = self.server.session
        actions: dict[str, Callable[[bytes], dict[str, Any]]] = {
            "submit": lambda body: session.submit(decode_strict(body, AnnotatorAnswer)),
            "skip": lambda body: session.skip(decode_strict(body, _Key).key),
            "undo": lambda body: session.undo(),
        }
        if name not in actions:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")
            return
        if self.headers.get_content_type() != "application/json":  # no form of another site sends JSON
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The answer must be JSON.")
            return
        try:
            self._send_json(HTTPStatus.OK, actions[name](body))
        except RefusedError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, f"The answer is not complete: {error}")
        except InfrastructureError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _body(self) -> bytes | None:
        """The body of the request; None if it is missing or too long, after an error reply."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "The answer has no length.")
            return None
        if len(length) > 9 or int(length) > _LONGEST_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The answer is too long.")
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        return body

    def _name(self) -> str | None:
        """The path below the token; None if the request was refused."""
        port = self.server.server_port
        allowed_hosts = {f"{_HOST}:{port}", f"localhost:{port}"}
        hosts = self.headers.get_all("Host") or []
        origin = self.headers.get("Origin")
        if len(hosts) != 1 or hosts[0] not in allowed_hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "This host is not served.")
            return None
        if origin is not None and origin not in {f"http://{host}" for host in allowed_hosts}:
            self._refuse(HTTPStatus.FORBIDDEN, "Another site asks.")
            return None
        _, token, *path_below = f"{self.path}/".split("/", 2)
        if not path_below or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")
            return None
        return self.path[len(token) + 2 :]

    def _send_medium(self, part: MediaPart) -> None:
        """Sends a medium, or the range of its bytes that the request asks for."""
        try:
            size = part.path.stat().st_size
            first, last = _range(self.headers.get("Range"), size)
            with open_file(part.path) as file:
                file.seek(first)
                partial = (first, last) != (0, size - 1)
                self._start(HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK, part.mime)
                if partial:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(last + 1 - first))
                self.end_headers()
                remaining = last + 1 - first
                while remaining and (piece := file.read(min(_PIECE, remaining))):
                    self.wfile.write(piece)
                    remaining -= len(piece)
                self.close_connection |= remaining > 0
        except FileNotFoundError:
            self._refuse(HTTPStatus.GONE, "This medium was deleted.")

    def _send(self, status: HTTPStatus, body: bytes, mime: str) -> None:
        self._start(status, mime)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_json(self, status: HTTPStatus, reply: Any) -> None:
        self._send(status, msgspec.json.encode(reply), "application/json")

    def _start(self, status: HTTPStatus, mime: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", mime)
        for header_name, header in _HEADERS.items():
            self.send_header(header_name, header)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        # Its body may not have been read, so the connection cannot go on.
        self.close_connection = True
        self._send_json(status, {"error": message})

    def version_string(self) -> str:
        return "eval-anything"

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing, because the address contains the token."""


def _range(header: str | None, size: int) -> tuple[int, int]:
    """First and last byte of the requested range; the full range if the header is missing or cannot be
    satisfied, which RFC 9110 (14.2) allows."""
    match = _RANGE.fullmatch(header or "")
    full_range = (0, size - 1)
    if match is None or match[0] == "bytes=-" or max(len(match[1]), len(match[2])) > 18:
        return full_range
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
    return (first, last) if first <= last else full_range
