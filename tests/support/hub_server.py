"""A loopback server with the endpoints of the Hugging Face hub that a download uses, faults included."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from contextlib import AbstractContextManager
from typing import Any

from tests.support.loopback import LoopbackServer, QuietHandler, running

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(LoopbackServer):
    """One data set. `cut` maps a file to how many bytes a request for it gets before the connection
    breaks, for so many requests; `wrong` holds files that come with other bytes of the same length, for
    so many requests; `large` are kept in Git LFS."""

    def __init__(self, repo: str, files: dict[str, bytes], large: set[str]) -> None:
        super().__init__(_Handler)
        self.repo = repo
        self.files = files
        self.large = large
        self.cut: dict[str, list[int]] = {}
        self.wrong: dict[str, int] = {}
        self.status = 200
        self.got: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def etag(self, name: str) -> str:
        data = self.files[name]
        if name in self.large:
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def info(self) -> dict[str, Any]:
        files = []
        for name, data in self.files.items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": self.etag(name)}
            if name in self.large:
                entry["blobId"] = "f" * 40  # of the pointer
                entry["lfs"] = {"sha256": self.etag(name), "size": len(data), "pointerSize": 130}
            files.append(entry)
        return {"id": self.repo, "sha": COMMIT, "private": False, "siblings": files}

    def tree(self) -> list[dict[str, Any]]:
        entries = []
        for name, data in self.files.items():
            entry: dict[str, Any] = {
                "type": "file",
                "path": name,
                "size": len(data),
                "oid": self.etag(name),
            }
            if name in self.large:
                entry["oid"] = "f" * 40
                entry["lfs"] = {"oid": self.etag(name), "size": len(data), "pointerSize": 130}
            entries.append(entry)
        return entries


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        server = self.server
        path = self.path.partition("?")[0]
        if server.status != 200:
            return self._send(server.status, b'{"error": "no"}')
        if path in (
            f"/api/datasets/{server.repo}",
            f"/api/datasets/{server.repo}/revision/main",
            f"/api/datasets/{server.repo}/revision/{COMMIT}",
        ):
            return self._send(200, json.dumps(server.info()).encode())
        if path == f"/api/datasets/{server.repo}/tree/{COMMIT}":
            return self._send(200, json.dumps(server.tree()).encode())
        return self._file(body=True)

    def _file(self, body: bool) -> None:
        server = self.server
        found = re.fullmatch(rf"/datasets/{server.repo}/resolve/{COMMIT}/(.+)", self.path)
        if found is None or found[1] not in server.files:
            return self._send(404, b'{"error": "Not found"}')
        name = found[1]
        data = server.files[name]
        headers = {"ETag": f'"{server.etag(name)}"', "X-Repo-Commit": COMMIT}
        headers["X-Linked-Size"] = str(len(data))
        headers["Accept-Ranges"] = "bytes"
        if not body:
            return self._send(200, data, headers, body=False)
        wanted = self.headers.get("Range", "")
        server.got.append((name, wanted))
        if server.wrong.get(name, 0) > 0:
            server.wrong[name] -= 1
            data = bytes(255 - byte for byte in data)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0  # type: ignore[index]
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        cuts = server.cut.get(name)
        return self._send(
            206 if wanted else 200, data[start:], headers, most=cuts.pop(0) if cuts else None
        )

    def _send(
        self,
        status: int,
        data: bytes,
        headers: dict[str, str] | None = None,
        body: bool = True,
        most: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {"content-type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if not body:
            return
        self.wfile.write(data if most is None else data[:most])
        if most is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True


def hub_server(repo: str, files: dict[str, bytes], large: set[str]) -> AbstractContextManager[HubServer]:
    """A running server, stopped at the end."""
    return running(HubServer(repo, files, large))
