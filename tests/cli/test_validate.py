"""`tasks validate`, `tasks new` and `tasks show`: one clear message, exit code 2, nothing run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.helpers import TASK_YAML, Cli, make_task, text_sample


def test_a_new_task_is_valid_and_listed(cli: Cli, tmp_path: Path) -> None:
    made = cli("tasks", "new", "mine/first_try", "--dir", "tasks")
    assert made.code == 0
    folder = tmp_path / "tasks" / "mine" / "first_try"
    assert f"tasks validate {folder.relative_to(tmp_path)}" in made.out
    checked = cli("tasks", "validate", folder)
    assert (checked.code, checked.out) == (0, "mine/first_try: 1 samples, no mistakes found\n")
    as_json = cli("tasks", "validate", folder, "--json").json
    assert as_json == {"task": "mine/first_try", "samples": 1, "valid": True}
    shown = cli("tasks", "show", "mine/first_try", "--include", "tasks")
    assert "Draw a lighthouse at night." in shown.out
    assert "selection (primary)" in shown.out


def test_a_new_task_does_not_overwrite(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine" / "demo").mkdir(parents=True)
    again = cli("tasks", "new", "mine/demo")
    assert again.code == 2
    assert "is there already" in again.err
    assert list((tmp_path / "mine" / "demo").iterdir()) == []


@pytest.mark.parametrize("name", ["demo", "../x", "a/../../b", "A/b", "a/b/c", "a/", "/etc/x", "-/x"])
def test_a_new_task_has_a_plain_name(cli: Cli, tmp_path: Path, name: str) -> None:
    result = cli("tasks", "new", "--", name)
    assert result.code == 2
    assert "SUITE/TASK" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("yaml", "samples", "words"),
    [
        (TASK_YAML.replace("title", "titel"), None, "task.yaml:2: unknown key 'titel'"),
        (TASK_YAML, ["{"], "samples.jsonl:1: not valid JSON"),
        (TASK_YAML, [], "samples.jsonl: holds no samples"),
        (TASK_YAML, [text_sample("a")] * 2, "samples.jsonl:2: id 'a' is already on line 1"),
        (TASK_YAML.replace("judges: [s", "judges: [x_s"), None, "task.yaml:7: unknown judge"),
        (TASK_YAML.replace("primary: s", "primary: x_s"), None, "task.yaml:8: primary 'x_selection'"),
    ],
)
def test_mistakes_end_with_exit_code_2_and_their_place(
    cli: Cli, tmp_path: Path, yaml: str, samples: list[object] | None, words: str
) -> None:
    folder = make_task(tmp_path, "mine/demo", samples, yaml)  # type: ignore[arg-type]
    for arguments in (
        ["tasks", "validate", folder],
        ["run", "--model", "replay/rows.jsonl", "--tasks", "mine/demo", "--include", "mine"],
    ):
        (tmp_path / "rows.jsonl").write_text("")
        result = cli(*arguments)
        assert result.code == 2
        assert result.out == ""
        assert result.err.startswith("eval-anything: error: ")
        assert f"{folder}/{words}" in result.err
        assert not (tmp_path / "runs").exists()


def test_several_mistakes_are_listed_one_a_line(cli: Cli, tmp_path: Path) -> None:
    folder = make_task(tmp_path, samples=["{", text_sample("a"), text_sample("a"), "[]"])
    result = cli("tasks", "validate", folder)
    assert result.code == 2
    assert len(result.err.strip().splitlines()) == 3


def test_validating_runs_no_code_of_the_folder(cli: Cli, tmp_path: Path) -> None:
    yaml = TASK_YAML + "scorer: score.py:score\nmetrics: {mine: {range: [0, 1]}}\n"
    code = "open('ran', 'w')\ndef score(sample, response):\n    return {}\n"
    folder = make_task(tmp_path, yaml=yaml, score__py=code)
    assert cli("tasks", "validate", folder).code == 0
    assert not (tmp_path / "ran").exists()


def test_a_path_that_is_no_task(cli: Cli, tmp_path: Path) -> None:
    assert "no such folder" in cli("tasks", "validate", "nowhere").err
    result = cli("tasks", "validate", tmp_path)
    assert result.code == 2
    assert "tasks new" in result.err


def test_showing_an_unknown_task(cli: Cli) -> None:
    result = cli("tasks", "show", "open/selectoin")
    assert result.code == 2
    assert "Did you mean open/selection" in result.err


def test_showing_a_task_as_json(cli: Cli) -> None:
    shown = cli("tasks", "show", "open/selection", "--json").json
    assert shown["primary"] == "selection"
    assert shown["n"] == 230
    assert shown["first_sample"]["id"] == "open-sel-01"
