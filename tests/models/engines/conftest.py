"""Servers of models that people really run, started once for all tests of this folder."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.engines import Program, free_port, started
from tests.support.litellm_proxy import Proxy, litellm_proxy
from tests.support.scripted_server import ScriptedServer, says, serve
from tests.support.tiny import tiny_llama
from tests.support.tiny_media import tiny_llava


class Served(NamedTuple):
    """`transformers serve`: its address, checkpoints that it loads when they are asked for, copies of
    them for judges, and its process."""

    url: str
    text: Path
    vision: Path
    judges: dict[str, Path]
    program: Program

    def spec(self, checkpoint: Path) -> str:
        return f"openai/{checkpoint}@{self.url}/v1"


@pytest.fixture(scope="session")
def starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`transformers serve` on the loopback, without a hub, which may not be ready yet."""
    root = tmp_path_factory.mktemp("served")
    text, vision = tiny_llama(root / "llama"), tiny_llava(root / "llava")
    judges = {"text": _terse(text), "vision": _terse(vision)}
    url = f"http://127.0.0.1:{(port := free_port())}"
    transformers = Path(sys.executable).with_name("transformers")
    command = [transformers, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    with started(command, f"{url}/health", root, environment) as server:
        yield Served(url, text, vision, judges, server)


def _terse(checkpoint: Path) -> Path:
    """A copy that stops at every second token: a judge names no bound, and this server has 1,024."""
    copy = shutil.copytree(checkpoint, checkpoint.with_name(f"terse-{checkpoint.name}"))
    path = copy / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "eos_token_id": [*range(0, 400, 2)]}))
    return copy


@pytest.fixture(scope="session")
def served(starting: Served) -> Served:
    """The same, once it is ready."""
    starting.program.wait()
    return starting


@pytest.fixture(scope="session")
def backend() -> Iterator[ScriptedServer]:
    """A scripted server behind the proxy; each test sets its `script`."""
    with serve(lambda number, body: says("Paris")) as server:
        yield server


@pytest.fixture(scope="session")
def proxy(
    starting: Served, backend: ScriptedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A LiteLLM proxy before both, which starts beside the first."""
    folder = tmp_path_factory.mktemp("proxy")
    with litellm_proxy(starting.url, str(starting.text), backend, folder) as proxy:
        yield proxy
