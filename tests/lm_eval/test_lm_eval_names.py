"""The names of lm-evaluation-harness's tasks are found without importing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval_anything.errors import UserError
from eval_anything.lm_eval import names
from tests.support.helpers import Cli
from tests.support.lm_eval_tasks import question, write_tasks, write_yaml


@pytest.mark.parametrize(
    "name", ["arc_easy", "ai2_arc", "mmlu_stem", "leaderboard_bbh", "scrolls_qasper"]
)
def test_lm_eval_finds_the_same_in_the_files(name: str) -> None:
    """A task, a tag, groups with groups in them, a task that is code."""
    from lm_eval.tasks import TaskManager

    entries = names.index()
    files = names.files_of([name], entries)
    folders = sorted({str(file.parent) for file in files})
    manager = TaskManager(include_path=folders, include_defaults=False)
    assert name in manager.all_tasks
    for found, entry in manager.task_index.items():
        assert entries[found].kind == entry.kind.name.lower().removeprefix("py_")
        if entry.yaml_path is not None:
            assert entries[found].paths == (Path(entry.yaml_path),)


def test_there_are_thousands() -> None:
    entries = names.index()
    assert len(entries) > 10_000
    assert entries["mmlu"].kind == "group"
    assert len(names.files_of(["mmlu"], entries)) >= 57


def test_own_folders_are_found_and_may_not_repeat_a_name(tmp_path: Path) -> None:
    own = write_tasks(tmp_path / "own", [question(0)])
    entries = names.index([own])
    assert entries["own_choice"].kind == "task"
    assert entries["own_tag"].kind == "tag"
    assert [p.name for p in names.files_of(["own_group"], entries)] == [
        "own_choice.yaml",
        "own_cloze.yaml",
        "own_group.yaml",
    ]
    other = tmp_path / "other"
    other.mkdir()
    write_yaml(other / "again.yaml", {"task": "arc_easy"})
    with pytest.raises(UserError, match=r"again.yaml is called 'arc_easy', as is .*Rename it"):
        names.index([other])


def test_what_a_file_includes_counts_as_its_code(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("doc_to_text: !function evil.f\ntag: [shared]\n")
    (tmp_path / "task.yaml").write_text("include: base.yaml\ntask: innocent  # really\n")
    entries = names.index([tmp_path])
    assert entries["innocent"].kind == "task"
    assert entries["shared"].paths == (tmp_path / "task.yaml",)
    assert names.with_code(names.files_of(["innocent"], entries)) == tmp_path / "task.yaml"


def test_a_broken_file_is_no_task(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_bytes(b"task: \xff\xfe\n")
    (tmp_path / "two.yaml").write_text("task:\n")
    (tmp_path / "three.yaml").write_text("- task: inside\n")
    assert not names.has_tasks(tmp_path)


def test_the_command_lists_and_shows_names(cli: Cli) -> None:
    listed = cli("tasks", "list", "--suite", "lm_eval")
    assert listed.code == 0
    assert {"lm_eval/arc_easy", "lm_eval/mmlu  (group)"} <= set(listed.out.splitlines())
    shown = cli("tasks", "show", "lm_eval/arc_easy", "--json")
    assert shown.json["kind"] == "task"
    assert shown.json["files"][0].endswith("arc/arc_easy.yaml")
    assert cli("tasks", "show", "lm_eval/arc_easi").code == 2
    exported = cli("tasks", "export", "lm_eval", "micro/understanding", "--out", "there", "--json")
    assert exported.json["micro/understanding"]["task"] == "eval_anything_micro_understanding"
