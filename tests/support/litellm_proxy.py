"""A real LiteLLM proxy: its command and configuration as docs/servers.md gives them, and more models."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.support.engines import environment, free_port, started
from tests.support.pages import File, steps
from tests.support.paths import ROOT
from tests.support.scripted_server import ScriptedServer

PAGE = ROOT / "docs" / "servers.md"

# No list of prices from the network, and nothing of this process, which may have keys.
_ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "DISABLE_ADMIN_UI": "True"}


class Proxy(NamedTuple):
    """A proxy: its address, the key that it takes, ports of models whose servers are down, its log."""

    url: str
    key: str
    down: dict[str, int]
    log: Path

    def spec(self, model: str) -> str:
        return f"openai/{model}@{self.url}/v1"

    def answered(self, status: int) -> int:
        """How many requests for a chat it answered with this status."""
        line = rf'"POST /v1/chat/completions HTTP/1.1" {status}'
        return len(re.findall(line, self.log.read_text("utf-8", "replace")))


def page_configuration() -> tuple[dict[str, Any], list[str]]:
    """The configuration of a proxy on the page, and the command that starts it."""
    [file] = [step for step in steps(PAGE) if isinstance(step, File) and step.path == "proxy.yaml"]
    [command] = re.findall(r"`(litellm --config .*?)`", PAGE.read_text("utf-8"))
    return yaml.safe_load(file.content), shlex.split(command)


@contextmanager
def litellm_proxy(served: str, text: str, backend: ScriptedServer, folder: Path) -> Iterator[Proxy]:
    """A proxy of the page's one model, `tiny`, which `transformers serve` has at `served` under its path
    `text`, and of models for which `backend` answers."""
    configuration, command = page_configuration()
    [model] = configuration["model_list"]
    model["model_name"] = "tiny"
    model["litellm_params"] |= {"model": f"openai/{text}", "api_base": f"{served}/v1"}
    down = {name: free_port() for name in ("down", "down-streamed")}
    configuration["model_list"] += _models(backend.base_url, down)
    configuration["router_settings"] = {
        "optional_pre_call_checks": ["enforce_model_rate_limits"],
        "provider_budget_config": {"mistral": {"budget_limit": 0.05, "time_period": "1d"}},
    }
    path = folder / "proxy.yaml"
    path.write_text(yaml.safe_dump(configuration))
    url = f"http://127.0.0.1:{(port := free_port())}"
    programs = environment("litellm")
    command = [str(programs / command[0]), "--config", str(path), "--host", "127.0.0.1"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), **_ENVIRONMENT}
    key = configuration["general_settings"]["master_key"]
    with started([*command, "--port", str(port)], f"{url}/health/liveliness", folder, environ) as server:
        server.wait()
        yield Proxy(url, key, down, server.log)


def _models(backend: str, down: Mapping[str, int]) -> list[dict[str, Any]]:
    """The other models: what each is at the backend, and what is special about it."""
    parameters: dict[str, dict[str, Any]] = {
        "scripted": {"model": "openai/scripted"},
        "strict": {"model": "openai/strict"},
        "flagging": {"model": "openai/flagging"},
        "dropping": {"model": "openai/dropping", "additional_drop_params": ["seed"]},
        "reasoning": {"model": "openai/gpt-5-mini"},  # LiteLLM itself refuses temperature 0 for it
        "limited": {"model": "openai/limited", "rpm": 4},
        "spent": {
            "model": "mistral/spent",
            "input_cost_per_token": 0.002,
            "output_cost_per_token": 0.002,
        },
    }
    for name, port in down.items():
        parameters[name] = {"model": f"openai/{name}", "api_base": f"http://127.0.0.1:{port}/v1"}
    common = {"api_base": backend, "api_key": "sk-of-the-proxy-alone"}
    return [
        {"model_name": name, "litellm_params": {**common, **own}} for name, own in parameters.items()
    ]
