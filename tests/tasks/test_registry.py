"""Finding tasks, suites and judges by name, in the bundled folders and in those of the user."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from eval_anything.errors import UserError
from eval_anything.judges.folder import find_judges
from eval_anything.tasks.registry import Registry
from tests.support.helpers import TASK_YAML, Cli, make_task

SUITE = "title: Mine\ndescription: My own.\ntasks: [b, a]\n"
JUDGE = """\
version: 1
kind: program
title: Mine
description: My own.
sees: [text]
scorer: score.py:score
metrics: {mine: {range: [0, 1]}}
"""


def make_judge(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "judge.yaml").write_text(JUDGE)
    (folder / "score.py").write_text("def score(sample, response):\n    return {}\n")
    return folder


def names(*include: Path) -> set[str]:
    """What the includes add to the bundled tasks."""
    return set(Registry(include).folders) - set(Registry().folders)


def test_the_bundled_suites_are_found() -> None:
    registry = Registry()
    assert {"open/selection", "open/synergy", "micro/selection"} <= set(registry.folders)
    assert {"open", "micro", "micro_quick"} <= set(registry.suites)
    assert registry.suite("open").tasks[:2] == ("open/selection", "open/synergy")
    assert all(folder.trusted for folder in registry.folders.values())


def test_include_takes_a_task_a_suite_or_a_folder_of_suites(tmp_path: Path) -> None:
    make_task(tmp_path, "one/a")
    make_task(tmp_path, "one/b")
    make_task(tmp_path, "two/a")
    assert names(tmp_path / "one" / "a") == {"one/a"}
    assert names(tmp_path / "one") == {"one/a", "one/b"}
    assert names(tmp_path) == {"one/a", "one/b", "two/a"}
    assert names(tmp_path / "one", tmp_path / "two") == {"one/a", "one/b", "two/a"}
    assert not Registry([tmp_path]).folders["one/a"].trusted


def test_the_same_folder_may_be_included_twice_and_stays_what_it_is(tmp_path: Path) -> None:
    make_task(tmp_path, "one/a")
    make_judge(tmp_path / "judges", "mine")
    assert names(tmp_path / "one", tmp_path / "one") == {"one/a"}
    assert set(find_judges([tmp_path / "judges", tmp_path / "judges"])) >= {"mine"}
    bundled = Registry().folders["open/selection"].path
    assert Registry([bundled]).folders["open/selection"].trusted
    assert find_judges([bundled.parents[2] / "judges"])["validity"].trusted


def test_hidden_folders_are_not_looked_into(tmp_path: Path) -> None:
    make_task(tmp_path, "one/a")
    make_task(tmp_path, "one/.b")
    make_task(tmp_path, ".two/a")
    make_task(tmp_path, "one/__pycache__")
    assert names(tmp_path) == {"one/a"}


def test_a_folder_of_judges_can_be_included(tmp_path: Path) -> None:
    make_judge(tmp_path, "mine")
    Registry([tmp_path])
    assert find_judges([tmp_path])["mine"].path == tmp_path / "mine"
    assert find_judges([tmp_path / "mine"])["mine"].path == tmp_path / "mine"
    assert not find_judges([tmp_path])["mine"].trusted


def test_names_must_not_collide(tmp_path: Path) -> None:
    make_task(tmp_path / "x", "one/a")
    make_task(tmp_path / "y", "one/a")
    with pytest.raises(UserError, match="two folders are the task one/a"):
        Registry([tmp_path / "x", tmp_path / "y"])
    make_task(tmp_path / "z", "open/selection")
    with pytest.raises(UserError, match="two folders are the task open/selection"):
        Registry([tmp_path / "z"])
    make_judge(tmp_path / "j", "validity")
    with pytest.raises(UserError, match="two folders are the judge validity"):
        find_judges([tmp_path / "j"])
    make_task(tmp_path / "w", "open/mine")
    (tmp_path / "w" / "open" / "suite.yaml").write_text(SUITE)
    with pytest.raises(UserError, match="two folders are the suite open"):
        Registry([tmp_path / "w"])


def test_an_include_must_hold_something(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        Registry([tmp_path / "nowhere"])
    with pytest.raises(UserError, match=r"no task\.yaml or judge\.yaml"):
        Registry([tmp_path])


def test_a_suite_file_gives_order_limit_and_names(tmp_path: Path) -> None:
    make_task(tmp_path, "one/a")
    make_task(tmp_path, "one/b")
    assert Registry([tmp_path]).suite("one").tasks == ("one/a", "one/b")
    (tmp_path / "one" / "suite.yaml").write_text(SUITE + "limit: 3\n")
    suite = Registry([tmp_path]).suite("one")
    assert suite.tasks == ("one/b", "one/a")
    assert suite.limit == 3


def test_a_suite_may_be_a_named_selection_alone(tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    text = "title: Few\ndescription: Few.\ntasks: [open/synergy]\n"
    (tmp_path / "few" / "suite.yaml").write_text(text)
    for include in (tmp_path, tmp_path / "few"):
        assert Registry([include]).suite("few").tasks == ("open/synergy",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SUITE.replace("b, a", "a, bb"), "suite.yaml:3: unknown task 'one/bb'. Did you mean one/b"),
        (SUITE.replace("b, a", "open/selecton"), "Did you mean open/selection"),
        (SUITE.replace("[b, a]", "[]"), "suite.yaml:3: names no tasks"),
        (SUITE + "limit: 0\n", "suite.yaml:4: limit must be at least 1"),
        (SUITE + "aggregate: {}\n", "suite.yaml:4: unknown key 'aggregate'"),
    ],
)
def test_mistakes_in_a_suite_file_are_named(tmp_path: Path, text: str, words: str) -> None:
    make_task(tmp_path, "one/a")
    make_task(tmp_path, "one/b")
    (tmp_path / "one" / "suite.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        Registry([tmp_path]).suite("one")
    assert words in str(error.value)


def test_names_are_looked_up_as_users_write_them(tmp_path: Path) -> None:
    make_task(tmp_path, "one/a")
    make_task(tmp_path, "one/selection")
    registry = Registry([tmp_path])

    def chosen(name: str, suite: str = "open") -> tuple[str, ...]:
        return registry.select([name], suite)[0].tasks

    assert chosen("selection") == ("open/selection",)
    assert chosen("selection", "one") == ("one/selection",)
    assert chosen("one/selection") == ("one/selection",)
    assert chosen("one") == ("one/a", "one/selection")
    assert registry.select([], "one")[0].tasks == ("one/a", "one/selection")
    two = registry.select(["one", "selection"], "open")
    assert [s.tasks for s in two] == [("one/a", "one/selection"), ("open/selection",)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("selecton", "unknown task 'selecton'. Did you mean selection"),
        ("open/selecton", "Did you mean open/selection"),
        ("opem", "Did you mean open"),
        ("a", "suite 'open' has no task 'a', but there is one/a"),
        ("zzzzzzzzzz", "unknown task 'zzzzzzzzzz'. `eval-anything tasks list`"),
    ],
)
def test_unknown_names_get_the_near_ones(tmp_path: Path, name: str, words: str) -> None:
    make_task(tmp_path, "one/a")
    with pytest.raises(UserError) as error:
        Registry([tmp_path]).select([name], "open")
    assert words in str(error.value)


def test_the_list_shows_tasks_and_the_first_mistake_of_broken_ones(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, "one/a")
    make_task(tmp_path, "one/bad", yaml=TASK_YAML.replace("title:", "titel:"))
    rows = {row["name"]: row for row in cli("tasks", "list", "--include", "one", "--json").json}
    assert rows["one/a"]["n"] == 4
    assert rows["one/a"]["judges"] == ["selection_contract"]
    assert "unknown key 'titel'" in rows["one/bad"]["error"]
    assert rows["open/selection"]["n"] == 230
    text = cli("tasks", "list", "--include", "one")
    assert text.code == 0
    assert "one/a" in text.out
    assert "micro_quick: micro/selection" in text.out
    only = cli("tasks", "list", "--suite", "one", "--include", "one", "--json").json
    assert [row["name"] for row in only] == ["one/a", "one/bad"]


# The whole process: start-up, 500 folders, the table. A listing that needs torch takes 3 s alone.
LISTING = """\
import sys
from eval_anything.cli.main import main
code = main(["tasks", "list", "--include", sys.argv[1], "--json"])
heavy = {"torch", "transformers", "numpy", "av", "PIL", "scipy", "jinja2"} & set(sys.modules)
print(sorted(heavy), file=sys.stderr)
sys.exit(code)
"""


PARSING = """\
import sys
from pathlib import Path
import yaml
for path in Path(sys.argv[1]).rglob("task.yaml"):
    yaml.load(path.read_bytes(), yaml.CSafeLoader)
"""


def cpu_seconds(code: str, folder: Path) -> tuple[float, subprocess.CompletedProcess[str]]:
    """CPU seconds of a process that runs `code` on the folder, and how it ended."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, check=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done


def test_five_hundred_folders_are_listed_without_torch_in_little_more_than_their_parsing(
    tmp_path: Path,
) -> None:
    """0.45 s on one quiet core: a ratio, since a busy one needs more CPU for the same work."""
    for i in range(500):
        make_task(tmp_path, f"suite{i % 10}/task{i}")
    ratios = []
    for _ in range(3):
        parsing, _ended = cpu_seconds(PARSING, tmp_path)
        listing, done = cpu_seconds(LISTING, tmp_path)
        assert len(json.loads(done.stdout)) >= 500
        assert done.stderr.strip() == "[]"
        ratios.append(listing / parsing)
    assert min(ratios) < 3.5, ratios


def test_a_group_is_a_name_for_some_tasks_of_its_suite(tmp_path: Path) -> None:
    for name in ("mine/a", "mine/b", "mine/c"):
        make_task(tmp_path, name)
    yaml = "title: Mine\ndescription: My own.\ntasks: [c, a, b]\ngroups: {few: [a, c]}\n"
    (tmp_path / "mine" / "suite.yaml").write_text(yaml)
    registry = Registry([tmp_path])
    assert [s.tasks for s in registry.select(["mine/few"], "open")] == [("mine/a", "mine/c")]
    assert [s.tasks for s in registry.select(["few"], "mine")] == [("mine/a", "mine/c")]
    assert "mine/few" in registry.groups
    with pytest.raises(UserError, match="Did you mean mine/few"):
        registry.select(["mine/fev"], "open")


def test_groups_that_say_nothing_or_something_else_are_named(tmp_path: Path) -> None:
    for name in ("mine/a", "other/b"):
        make_task(tmp_path, name)
    head = "title: Mine\ndescription: My own.\ntasks: [a]\n"
    groups = "groups:\n  a: [a]\n  none: []\n  far: [other/b]\n"
    (tmp_path / "mine" / "suite.yaml").write_text(head + groups)
    with pytest.raises(UserError) as caught:
        Registry([tmp_path]).suite("mine")
    message = str(caught.value)
    assert "suite.yaml:5: 'a' is a task already: rename the group" in message
    assert "suite.yaml:6: group 'none' names no tasks" in message
    assert "suite.yaml:7: 'other/b' is no task of this suite" in message
