"""`eval-anything doctor`: the abilities of this installation, and the packages that would add more."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import textwrap
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from eval_anything import plugins
from eval_anything.cli.printing import show
from eval_anything.errors import Exit, install
from eval_anything.output.tables import table
from eval_anything.version import __version__

# The purpose of each optional group of packages that is for users; its packages are read from the
# installation.
_ENABLES = {
    "openai": "models and judges on OpenAI-compatible servers (openai/NAME@URL)",
    "hf": "large checkpoints, adapters, the hub, data sets (`tasks fetch`), images by diffusers",
    "constrained": "agents whose chat model is a small checkpoint: plans held to their JSON schema",
    "heif": "pictures in HEIC, as phones write them",
    "metrics": "judges of kind metric: sound, pitch, similarity, word error rate",
    "train": "`eval-anything train`: LoRA, several devices",
    "lm_eval": "tasks of lm-evaluation-harness (--tasks lm_eval/NAME)",
    "vllm": "checkpoints run by vLLM in process (vllm/PATH); in an environment of its own",
    "test": "`make test`: the project's own tests",
}


_WIDTH = 100


_KEYS = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HF_TOKEN")


def doctor(options: Namespace) -> Exit:
    """Prints versions, devices, keys (whether they are set, never their values) and extras."""
    report: dict[str, Any] = {
        "eval-anything": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _requirements()[""]},
        "devices": _devices(),
        "keys": {name: name in os.environ for name in _KEYS},
        "extras": _extras(),
        "plugins": [plugin._asdict() for plugin in plugins.of_other_packages()],
    }
    keys = (f"{name} {'set' if is_set else 'not set'}" for name, is_set in report["keys"].items())
    extras = report["extras"].items()
    missing = {name: extra["missing"] for name, extra in extras if extra["missing"]}
    rows = [
        [name, "incomplete" if name in missing else "installed", extra["enables"]]
        for name, extra in extras
    ]
    lines = [
        f"eval-anything {__version__}, Python {report['python']}, {report['platform']}\n",
        table(["package", "version"], [[n, v or "MISSING"] for n, v in report["packages"].items()]),
        f"\ndevices: {', '.join(report['devices'])}",
        f"keys: {', '.join(keys)}\n",
        table(["extra", "state", "enables"], rows),
    ]
    if missing:
        lines += ["", *(_wrapped(f"missing for {n}: {', '.join(p)}") for n, p in missing.items())]
        lines.append(f"{install(next(iter(missing)))} adds what is missing; `all` is all but `test`")
    if added := report["plugins"]:
        rows = [
            [p["noun"], p["name"], p["package"], "unusable" if p["problem"] else "usable"] for p in added
        ]
        lines += ["", table(["plugin", "name", "package", "state"], rows)]
        lines += [_wrapped(f"{p['name']}: {p['problem']}") for p in added if p["problem"]]
    return show(options, report, *lines)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_long_words=False)


def _requirements() -> dict[str, list[str]]:
    """Names of required packages by extra; the plain ones under the empty name."""
    groups: dict[str, list[str]] = {"": []}
    for line in requires("eval-anything") or []:
        name = re.split(r"[\s<>=!~;\[(]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        groups.setdefault(extra[1] if extra else "", []).append(name)
    return groups


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _extras() -> dict[str, Any]:
    requirements = _requirements()
    return {
        name: {
            "missing": [p for p in requirements.get(name, ()) if _version(p) is None],
            "enables": about,
        }
        for name, about in _ENABLES.items()
    }


def _devices() -> list[str]:
    """The CPU, and the GPUs that torch sees, in a process of its own: importing torch may crash."""
    devices = [f"cpu ({os.cpu_count()} cores)"]
    code = (
        "import torch\n"
        "for i in range(torch.cuda.device_count()): print(torch.cuda.get_device_name(i))\n"
        "if torch.backends.mps.is_available(): print('mps')"
    )
    try:
        process = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
        )
        devices += process.stdout.split("\n")[:-1]
    except subprocess.SubprocessError:
        devices.append("torch does not import: reinstall it")
    return devices
