"""The files of docs/clusters.md: what they run works, and their form is the one that clusters take."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from eval_anything.cli.arguments import parser_for
from eval_anything.cli.fields import fields_from
from eval_anything.evaluation.options import make_options
from tests.support.helpers import Cli, answers, write_jsonl
from tests.support.missing import missing
from tests.support.pages import File, steps
from tests.support.paths import ROOT
from tests.support.quick_command import quick_command

FILES = {s.path: s.content for s in steps(ROOT / "docs/clusters.md") if isinstance(s, File)}
TASK = "open/selection"
IDS = [json.loads(line)["id"] for line in (ROOT / f"benchmarks/{TASK}/samples.jsonl").open()]


def manifest(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(FILES[name])
    return document


@pytest.mark.slow
def test_the_script_of_slurm(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each task of an array of two runs it with the variables that Slurm sets."""
    write_jsonl(tmp_path / "rows.jsonl", answers(IDS))
    script = FILES["eval.sbatch"].replace("--array=1-8", "--array=1-2").replace("ID/8", "ID/2")
    merge = "eval-anything runs merge runs/whole runs/parts/*"
    assert merge in (ROOT / "docs/clusters.md").read_text("utf-8")
    with quick_command(tmp_path_factory.mktemp("quick")) as environment:
        variables = {**environment, "MODEL": "replay/rows.jsonl", "TASKS": TASK}
        for command, id_ in ((script, "2"), (script, "1"), (merge, "")):
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env={**variables, "SLURM_ARRAY_TASK_ID": id_},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "runs/whole/results.json").read_bytes())
    assert results["tasks"][TASK]["samples"] == len(IDS)


def test_the_jobs_of_kubernetes(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pod runs its arguments with its index; then the other job merges."""
    write_jsonl(tmp_path / "rows.jsonl", answers(IDS))
    job = manifest("eval-job.yaml")["spec"]
    container = job["template"]["spec"]["containers"][0]
    assert container["command"] == ["eval-anything"]
    for index in range(job["completions"]):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", str(index))
        places = {
            "$(JOB_COMPLETION_INDEX)": str(index),
            "=/models/current": "=replay/rows.jsonl",
            "=open": f"={TASK}",
            "/runs": str(tmp_path / "runs"),
        }
        words = container["args"]
        for old, new in places.items():
            words = [word.replace(old, new) for word in words]
        done = cli(*words, "--concurrency", "3")
        assert done.code == 0, done.err
    merging = manifest("merge-job.yaml")["spec"]["template"]["spec"]["containers"][0]
    *shell, command = merging["command"]
    assert shell == ["sh", "-c"]
    program, *words = command.replace("/runs", str(tmp_path / "runs")).split()
    assert (program, words.pop()) == ("eval-anything", str(tmp_path / "runs/parts/*"))
    merged = cli(*words, *(tmp_path / "runs/parts").iterdir(), "--json")
    assert merged.json["tasks"][TASK]["samples"] == len(IDS)


@pytest.mark.parametrize("name", ["eval-job.yaml", "merge-job.yaml"])
def test_the_form_of_the_jobs(name: str) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        missing("kubernetes-validate is not installed: pip install kubernetes-validate")
    import kubernetes_validate

    kubernetes_validate.validate(manifest(name), "1.33", strict=True)


# The fields of ray.io/v1 in KubeRay (ray-operator/apis/ray/v1/rayjob_types.go, raycluster_types.go); the
# templates of pods are checked as pods.
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_COUNT = {"type": "integer", "minimum": 0}
_GROUP = {"rayStartParams": _TEXTS, "template": {"type": "object"}}
RAY_JOB = {
    "type": "object",
    "required": ["entrypoint", "rayClusterSpec"],
    "additionalProperties": False,
    "properties": {
        "entrypoint": {"type": "string"},
        "shutdownAfterJobFinishes": {"type": "boolean"},
        "backoffLimit": _COUNT,
        "ttlSecondsAfterFinished": _COUNT,
        "activeDeadlineSeconds": _COUNT,
        "submissionMode": {"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
        "runtimeEnvYAML": {"type": "string"},
        "rayClusterSpec": {
            "type": "object",
            "required": ["headGroupSpec"],
            "additionalProperties": False,
            "properties": {
                "rayVersion": {"type": "string"},
                "enableInTreeAutoscaling": {"type": "boolean"},
                "headGroupSpec": {
                    "type": "object",
                    "required": ["rayStartParams", "template"],
                    "additionalProperties": False,
                    "properties": {**_GROUP, "serviceType": {"type": "string"}},
                },
                "workerGroupSpecs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": [
                            *("groupName", "minReplicas", "maxReplicas"),
                            *("rayStartParams", "template"),
                        ],
                        "additionalProperties": False,
                        "properties": {
                            **_GROUP,
                            "groupName": {"type": "string"},
                            "replicas": _COUNT,
                            "minReplicas": _COUNT,
                            "maxReplicas": _COUNT,
                            "numOfHosts": _COUNT,
                        },
                    },
                },
            },
        },
    },
}


def test_the_job_of_kuberay() -> None:
    """Its form, its pods, and a command that asks for what the pods have."""
    document = manifest("eval-rayjob.yaml")
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayJob")
    jsonschema.validate(document["spec"], RAY_JOB)
    cluster = document["spec"]["rayClusterSpec"]
    [workers] = cluster["workerGroupSpecs"]
    if importlib.util.find_spec("kubernetes_validate") is None:
        missing("kubernetes-validate is not installed: pip install kubernetes-validate")
    import kubernetes_validate

    for group in (cluster["headGroupSpec"], workers):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group["template"]}
        kubernetes_validate.validate(pod, "1.33", strict=True)
    program, *words = document["spec"]["entrypoint"].split()
    assert program == "eval-anything"
    options = make_options(fields_from(parser_for(words).parse_args(words)))
    assert (options.engine, options.address) == ("ray", "auto")
    assert options.replicas == workers["minReplicas"]


def test_the_command_for_ray() -> None:
    page = (ROOT / "docs/clusters.md").read_text("utf-8")
    [line] = [line for line in page.splitlines() if line.startswith("eval-anything") and "ray" in line]
    words = line.split()[1:]
    options = make_options(fields_from(parser_for(words).parse_args(words)))
    assert (options.engine, options.address, options.replicas) == ("ray", "auto", 16)
