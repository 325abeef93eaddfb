"""The project gates itself: the bundled checkpoint against its stored run, by the action's own steps."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import eval_anything as ea
from tests.support.paths import BASELINE, ROOT
from tests.support.quick_command import quick_command


def run_action(folder: Path, inputs: dict[str, str], commands: dict[str, str]) -> tuple[int, str, str]:
    """Every step of action.yml but the installation, as a runner would: bash with the step's
    environment, where `commands` are found. Returns the last exit code, the summary and the outputs."""
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    given = {k: str(v.get("default", "")) for k, v in action["inputs"].items()} | inputs
    assert not set(inputs) - set(action["inputs"])
    missing = [k for k, v in action["inputs"].items() if v.get("required") and k not in inputs]
    assert not missing
    summary, outputs = folder / "summary.md", folder / "outputs"
    for step in action["runs"]["steps"]:
        if step["name"] == "Install":
            continue
        own = {
            k: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: given[m[1]], v)
            for k, v in step["env"].items()
        }
        environment = {
            **commands,
            **own,
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_OUTPUT": str(outputs),
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(done.stdout, done.stderr)
            break
    return done.returncode, summary.read_text("utf-8"), outputs.read_text("utf-8")


@pytest.fixture
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with quick_command(tmp_path_factory.mktemp("quick")) as environment:
        yield environment


@pytest.mark.slow
def test_the_bundled_checkpoint_is_not_worse_than_its_baseline(
    tmp_path: Path, commands: dict[str, str]
) -> None:
    # `make baseline` renews the stored run, where the tasks or the checkpoint were changed on purpose.
    inputs = {
        "model": "micro",
        "tasks": "micro_quick",
        "policy": "micro",
        "baseline": str(BASELINE),
        "out": "run",
        "run-arguments": "--seed 0 --json",
    }
    code, summary, outputs = run_action(tmp_path, inputs, commands)
    assert code == 0, summary
    assert "eval-anything gate: PASS" in summary or "gate: WARN" in summary
    assert outputs.startswith("verdict=")


@pytest.mark.slow
def test_a_damaged_checkpoint_is_blocked_and_the_report_names_the_modality(
    tmp_path: Path, commands: dict[str, str]
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    damaged = tmp_path / "damaged"
    shutil.copytree(ROOT / "eval_anything" / "micro" / "checkpoint", damaged)
    audio = json.loads((damaged / "codec.json").read_text())["audio"]
    weights = load_file(damaged / "model.safetensors")
    rows = slice(audio["first_id"], audio["first_id"] + audio["codes"])
    table = weights["model.embed_tokens.weight"]  # tied: the head of these codes, too
    noise = torch.randn(table[rows].shape, generator=torch.Generator().manual_seed(0))
    table[rows] += table[rows].std() * noise
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    inputs = {
        "model": str(damaged),
        "tasks": "micro_quick",
        "policy": "micro",
        "baseline": str(BASELINE),
        "out": "run",
        "run-arguments": "--json",
    }
    code, summary, outputs = run_action(tmp_path, inputs, commands)
    assert code == 1, summary
    assert outputs == "verdict=BLOCK\n"
    result = json.loads((tmp_path / "run" / "gate.json").read_text())
    by_name = {task["name"]: task for task in result["against"][0]["tasks"]}
    assert by_name["micro/instruction_following:if_audio"]["verdict"] == "BLOCK"
    most = min(by_name.values(), key=lambda task: task["change"]["difference"])
    assert most["name"] == "micro/instruction_following:if_audio"
    assert "micro/instruction_following:if_audio is worse" in "\n".join(result["reasons"])
    bill = ea.bill(BASELINE, tmp_path / "run")
    assert "audio out" in bill.harmed
    through = {item.name: item.through for item in bill.items if item.verdict == "harmed"}
    assert through.get("image out", "audio out") == "audio out", (
        "pictures lost where sound was wanted, too"
    )
