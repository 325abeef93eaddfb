"""`hf/ID`, from a hub on loopback that serves what the real one's client asks for."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "c" * 40


class Hub(BaseHTTPRequestHandler):
    """Files of folders as repositories `org/<folder>`, all at one commit."""

    root: Path

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = [*self.path.partition("?")[0].strip("/").split("/"), "", "", ""]
        api = path[:2] == ["api", "models"]
        folder = self.root / (path[3] if api else path[1])
        file = folder / path[4]
        found = None
        if api and path[4] in ("", "revision") and folder.is_dir():
            files = [{"rfilename": file.name} for file in folder.glob("*")]
            about = {"id": f"org/{folder.name}", "sha": COMMIT, "siblings": files}
            found = json.dumps(about).encode()
        elif path[2] == "resolve" and file.is_file():
            found = file.read_bytes()
        self.send_response(404 if found is None else 200)
        if found is None:
            known = folder.is_dir() and folder != self.root
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            found = b""
        self.send_header("ETag", f'"{hashlib.sha256(found).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        if body:
            self.wfile.write(found)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    root = tmp_path / "hub"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHub", (Hub,), {"root": root}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", root
    server.shutdown()
    server.server_close()


def run(
    url: str, spec: str, cwd: Path, *more: str, offline: bool = False
) -> subprocess.CompletedProcess[str]:
    """The command line with that hub, which the client reads when it is imported."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": url, "HF_HOME": str(cwd / "cache"), "HF_HUB_DISABLE_XET": "1"}
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    command = [sys.executable, "-m", "eval_anything", "run", "--model", spec, "--first", "2"]
    command += ["--tasks", "open/selection", "--model-arg", "max_new_tokens=4", "--max-failed", "1"]
    command += ["--json", *more]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_an_id_of_the_hub(hub: tuple[str, Path], tiny: Path, tmp_path: Path) -> None:
    url, root = hub
    (root / "tiny").symlink_to(tiny)
    done = run(url, "hf/org/tiny", tmp_path, "--out", "run")
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "run" / "run.json").read_text())
    assert written["model"] == "org--tiny"
    assert written["weights"] == hashlib.sha256(f"org/tiny@{COMMIT}".encode()).hexdigest()


@pytest.mark.slow
def test_what_the_hub_does_not_have(hub: tuple[str, Path], tiny: Path, tmp_path: Path) -> None:
    url, root = hub
    unknown = run(url, "hf/org/nothing", tmp_path)
    assert unknown.returncode == 2, unknown.stderr
    assert "--model hf/org/nothing: no such folder, and the hub has no checkpoint" in unknown.stderr
    (root / "pickled").mkdir()
    for file in tiny.iterdir():
        name = "pytorch_model.bin" if file.suffix == ".safetensors" else file.name
        (root / "pickled" / name).write_bytes(file.read_bytes())
    pickled = run(url, "hf/org/pickled", tmp_path)
    assert pickled.returncode == 2, pickled.stderr
    assert "--model hf/org/pickled: no weights as safetensors; a pickle can run code" in pickled.stderr
    assert "save_pretrained(NEW)" in pickled.stderr
    away = run(url, "hf/org/tiny", tmp_path, offline=True)
    assert away.returncode == 2, away.stderr
    assert "give a local path" in away.stderr
