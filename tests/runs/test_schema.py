"""`eval-anything schema NAME`: the files that this repository and its commands make are as it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from eval_anything.cli.main import main
from eval_anything.cli.schema import schema_of
from eval_anything.content import Usage
from eval_anything.errors import UserError
from eval_anything.files.places import content_folder
from eval_anything.gating.policy import POLICY
from eval_anything.runs.results_file import read_results
from tests.support.helpers import Cli
from tests.support.paths import BASELINE

Errors = Callable[[Any], list[str]]


@pytest.fixture
def errors(cli: Cli) -> Callable[[str], Errors]:
    """Makes a function that lists what is wrong with a value by the schema that the command prints."""

    def errors_of(name: str) -> Errors:
        schema = cli("schema", name).json
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        return lambda value: [error.message for error in validator.iter_errors(value)]

    return errors_of


def yaml_files(folder: str, name: str) -> Iterator[tuple[Path, Any]]:
    for path in sorted(content_folder(folder).rglob(name)):
        yield path, yaml.safe_load(path.read_text("utf-8"))


def test_results_and_records_of_a_run(errors: Callable[[str], Errors], cli: Cli) -> None:
    arguments = ("run", "--model", "micro", "--tasks", "micro/selection,micro/synergy", "--limit", "4")
    results = cli(*arguments, "--out", "run", "--json").json
    assert results["tasks"]["micro/selection"]["groups"]
    assert errors("results")(results) == []
    lines = Path("run/micro/synergy/records.jsonl").read_bytes().splitlines()
    record_errors = errors("records")
    assert [record_errors(json.loads(line)) for line in lines] == [[]] * 4


def test_the_stored_baseline(errors: Callable[[str], Errors]) -> None:
    assert errors("results")(json.loads((BASELINE / "results.json").read_bytes())) == []


@pytest.mark.parametrize(
    ("name", "folder", "file", "least"),
    [("task", "benchmarks", "task.yaml", 20), ("judge", "judges", "judge.yaml", 10)],
)
def test_bundled_files(
    errors: Callable[[str], Errors], name: str, folder: str, file: str, least: int
) -> None:
    errors_in = errors(name)
    checked = {path: errors_in(content) for path, content in yaml_files(folder, file)}
    assert len(checked) >= least
    assert {path: wrong for path, wrong in checked.items() if wrong} == {}


def test_policies(errors: Callable[[str], Errors], cli: Cli) -> None:
    policy_errors = errors("policy")
    assert policy_errors(yaml.safe_load(POLICY)) == []
    for path, content in yaml_files("benchmarks", "policy.yaml"):
        assert policy_errors(content) == [], path
    assert policy_errors({"version": 1, "tasks": {"micro/selection": {"margin": "wide"}}})
    assert cli("gate", "init", "--schema").json == cli("schema", "policy").json


def test_options_of_run(errors: Callable[[str], Errors]) -> None:
    run_errors = errors("run")
    assert run_errors({"model": "micro", "limit": 4, "include": ["mine"], "out": "runs/first"}) == []
    assert run_errors({"model": "micro", "limit": "many"})


def test_a_schema_says_what_a_field_means() -> None:
    metric = schema_of("results")["$defs"]["MetricResult"]
    assert metric["properties"]["n"]["description"].startswith("samples that it applies to")
    assert metric["required"] == [
        *("value", "stderr", "ci95", "n", "failed", "unscored", "better", "range")
    ]


def test_the_help_names_every_schema(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["schema", "--help"])
    names = capsys.readouterr().out
    for name in ("results", "records", "task", "judge", "policy", "run", "preset"):
        assert name in names
        assert schema_of(name)["$defs"]


def test_an_unknown_name(cli: Cli) -> None:
    done = cli("schema", "result")
    assert done.code == 2
    assert "Did you mean results" in done.err
    assert "Known: results, records, task, judge, policy, run" in cli("schema", "xyz").err


# --- reading results.json ------------------------------------------------------------------------


def results_with(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A folder with the baseline's results, changed."""
    results = json.loads((BASELINE / "results.json").read_bytes())
    change(results)
    (tmp_path / "results.json").write_text(json.dumps(results), "utf-8")
    return tmp_path


def test_keys_of_newer_versions_are_ignored_and_those_of_older_ones_may_lack(tmp_path: Path) -> None:
    def change(results: dict[str, Any]) -> None:
        del results["aggregates"]
        results["judges"] = {"j": {"kind": "program", "fingerprint": "0", "available": True}}
        results["cost"] = {"tokens": {"input": 1, "output": 2}, "money": 0.0}
        results["later"] = 1
        results["tasks"]["micro/selection"]["metrics"]["selection"]["later"] = {"than": "this"}

    results = read_results(results_with(tmp_path, change), ["micro/selection"])
    assert results.tasks["micro/selection"].main.n == 100
    assert results.aggregates == {}
    assert results.judges["j"].calibration is None
    assert results.cost is not None
    assert (results.cost.tokens, results.cost.by) == (Usage(1, 2), {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["tasks"].pop("micro/selection"), "lacks micro/selection"),
        (lambda r: r.update(model=1), "Expected `str`"),
        (lambda r: r["tasks"]["micro/selection"].update(primary="x"), "primary metric 'x'"),
        (
            lambda r: r["tasks"]["micro/selection"]["metrics"]["selection"].update(ci95=None),
            "a metric with a value has a ci95",
        ),
    ],
)
def test_damaged_results_are_named(
    change: Callable[[dict[str, Any]], None], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        read_results(results_with(tmp_path, change), ["micro/selection"])
    assert "repeat the command that made the run" in str(caught.value)
