"""The run directory: kills at any byte, damage, locks, resuming, other settings, a full disk."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Modality, Record, Score, TextPart
from eval_anything.errors import UserError
from eval_anything.runs.directory import Run, RunFile, open_run, read_run, records_path
from tests.support.helpers import (
    RECORD_FIELDS,
    TASK_YAML,
    Cli,
    Result,
    answers,
    make_task,
    png,
    text_sample,
    write_jsonl,
)
from tests.support.processes import Command
from tests.support.tiny import tiny_llama

TASK = "mine/demo"
FILE = RunFile(1, "m", "m", "0" * 64, {}, {}, 0, 1, [TASK], {TASK: 3}, {}, {}, [], "now", "running")


def keep(old: RunFile | None) -> RunFile:
    return old or FILE


def record(run: Run, id_: str, text: str = "ü \u2028 \n \U0001f600") -> Record:
    medium = run.store.put(png(), Modality.IMAGE)
    scores = {"mine": Score(0.5, "judge", explanation="because")}
    fields = {**RECORD_FIELDS, "sample_id": id_}
    return Record(**fields, scores=scores, parts=(TextPart(text), medium))


# --- the log ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_last_line_torn_at_any_byte_is_cut_off_and_done_again(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", keep) as run:
        records = [record(run, id_) for id_ in "abc"]
        for each in records:
            run.append(TASK, each)
    path = records_path(tmp_path / "run", TASK)
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    assert len(whole) - start > 200
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        assert read_run(tmp_path / "run", TASK) == records[:2]
        with open_run(tmp_path / "run", keep) as run:
            assert read_run(run.path, TASK) == records[:2]
            run.append(TASK, records[2])
        assert path.read_bytes() == whole
    path.write_bytes(whole[: start // 4])  # the first line, torn
    with open_run(tmp_path / "run", keep) as run:
        assert read_run(run.path, TASK) == []


def test_the_last_line_of_a_sample_wins(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", keep) as run:
        for id_, text in (("a", "one"), ("b", "two"), ("a", "three")):
            run.append(TASK, record(run, id_, text))
        found = read_run(run.path, TASK)
    assert [(r.sample_id, r.parts[0]) for r in found] == [
        ("a", TextPart("three")),
        ("b", TextPart("two")),
    ]


def test_a_run_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with (
        open_run(tmp_path / "run", keep),
        pytest.raises(UserError, match="in use by another process"),
        open_run(tmp_path / "run", keep),
    ):
        pass
    with open_run(tmp_path / "run", keep):
        pass


def test_a_folder_of_something_else_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="holds other files"), open_run(tmp_path / "run", keep):
        pass
    with (
        pytest.raises(UserError, match="is a file"),
        open_run(tmp_path / "run" / "thesis.tex", keep),
    ):
        pass
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_an_empty_folder_and_one_killed_at_its_start_are_fine(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / ".run.json.123.456").write_text("{")
    with open_run(tmp_path / "run", keep):
        pass
    assert json.loads((tmp_path / "run" / "run.json").read_text())["model"] == "m"


# --- the command --------------------------------------------------------------------------------

IDS = [f"s{i}" for i in range(6)]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """Two tasks of six samples, and rows that answer all."""
    rows = []
    for name in ("mine/demo", "mine/more"):
        make_task(tmp_path, name, [text_sample(i) for i in IDS])
        rows += answers(IDS, task=name)
    write_jsonl(tmp_path / "rows.jsonl", rows)
    return tmp_path / "run"


def score(cli: Cli, *more: str | Path, tasks: str = TASK) -> Result:
    arguments = ["--outputs", "rows.jsonl", "--tasks", tasks, "--include", "mine", "--out", "run"]
    return cli("score", *arguments, "--json", *more)


def test_a_torn_line_changes_nothing_in_the_end(cli: Cli, demo: Path) -> None:
    first = score(cli)
    path = records_path(demo, TASK)
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for end in (0, 1, start - 1, start, start + 1, len(whole) - 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        again = score(cli)
        assert again.code == 0, again.err
        assert again.json == first.json
        assert sorted(path.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_a_damaged_line_in_the_middle_is_named(cli: Cli, demo: Path) -> None:
    assert score(cli).code == 0
    path = records_path(demo, TASK)
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (b"garbage\n", lines[2][:50] + b"\n", b"\n", lines[2].replace(b'"s', b'"\xff', 1)):
        path.write_bytes(b"".join([*lines[:2], damaged, *lines[3:]]))
        result = score(cli)
        assert result.code == 2
        assert f"{path}:3: damaged record" in result.err
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))  # what the message says helps
    assert score(cli).code == 0


def test_a_damaged_run_file_is_named(cli: Cli, demo: Path) -> None:
    assert score(cli).code == 0
    (demo / "run.json").write_text("{")
    result = score(cli)
    assert result.code == 2
    assert "run.json cannot be read" in result.err


def test_a_run_in_use_is_refused(cli: Cli, demo: Path) -> None:
    assert score(cli).code == 0
    holder = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(demo / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        result = score(cli)
        process.communicate(b"\n")
    assert result.code == 2
    assert "in use by another process" in result.err
    assert score(cli).code == 0


def test_more_samples_repeats_and_tasks_extend_a_run(cli: Cli, demo: Path) -> None:
    path, more = records_path(demo, TASK), records_path(demo, "mine/more")
    lengths = []
    for arguments, tasks in (
        (["--limit", "2"], TASK),
        (["--limit", "4"], TASK),
        (["--limit", "1"], TASK),  # less than there is: nothing is thrown away
        (["--limit", "1"], "mine/more"),
        ([], TASK),
    ):
        before = path.read_bytes() if path.exists() else b""
        result = score(cli, *arguments, tasks=tasks)
        assert result.code == 0, result.err
        assert path.read_bytes().startswith(before)
        lengths.append(len(path.read_bytes().splitlines()))
    assert lengths == [2, 4, 4, 4, 6]
    assert len(more.read_bytes().splitlines()) == 1
    assert set(json.loads((demo / "results.json").read_text())["tasks"]) == {TASK, "mine/more"}
    assert json.loads((demo / "run.json").read_text())["counts"] == {TASK: 6, "mine/more": 1}


def test_what_a_run_holds_must_stay_in_reach(cli: Cli, demo: Path) -> None:
    assert score(cli, tasks=TASK).code == 0
    result = cli("score", "--outputs", "rows.jsonl", "--tasks", "open/selection", "--out", "run")
    assert result.code == 2
    assert f"also holds {TASK}: give the --include" in result.err


def test_a_finished_run_is_the_same_again(cli: Cli, demo: Path) -> None:
    first = score(cli)
    results = (demo / "results.json").read_bytes()
    records = records_path(demo, TASK).read_bytes()
    again = score(cli)
    assert again == first
    assert (demo / "results.json").read_bytes() == results
    assert json.loads(first.out) == json.loads(results)
    assert records_path(demo, TASK).read_bytes() == records
    assert json.loads((demo / "run.json").read_text())["status"] == "done"


def test_results_are_made_from_the_records_alone(cli: Cli, demo: Path) -> None:
    first = score(cli)
    (demo / "results.json").write_text("lost")
    assert score(cli).json == first.json


LIMITED = """\
import resource, sys
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from eval_anything.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def test_a_full_disk_is_exit_code_4_and_the_run_goes_on_later(
    cli: Cli, tmp_path: Path, demo: Path
) -> None:
    arguments = ["score", "--outputs", "rows.jsonl", "--include", "mine", "--tasks", TASK, "--json"]
    undisturbed = cli(*arguments, "--out", "whole").json
    records = records_path(tmp_path / "whole", TASK).read_bytes()
    run_file = (tmp_path / "whole" / "run.json").stat().st_size
    size = run_file + 100  # run.json fits, all records together do not
    assert size < len(records)
    full = subprocess.run(  # Python ignores SIGXFSZ: a write beyond the limit is an OSError
        [sys.executable, "-c", LIMITED, str(size), *arguments, "--out", "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 4, full.stderr
    assert full.stdout == ""
    assert f"cannot write {records_path(demo, TASK)}: File too large" in full.stderr
    assert "Traceback" not in full.stderr
    kept = records_path(demo, TASK).read_bytes()
    assert kept.endswith(b"\n")
    assert 0 < len(kept.splitlines()) < 6
    again = cli(*arguments, "--out", "run")
    assert again.code == 0
    assert again.json | {"run": ""} == undisturbed | {"run": ""}
    assert records_path(demo, TASK).read_bytes().startswith(kept)


# --- a model ------------------------------------------------------------------------------------


def run(cli: Cli, tiny: Path, *more: str | Path) -> Result:
    common = ["--include", "mine", "--out", "run", "--max-failed", "1", "--json"]
    return cli("run", "--model", tiny, "--model-arg", "max_new_tokens=4", *common, *more)


@pytest.fixture
def begun(cli: Cli, tiny: Path, demo: Path) -> Path:
    """A run of the tiny model on three samples."""
    result = run(cli, tiny, "--tasks", TASK, "--limit", "3")
    assert result.code == 0, result.err
    return demo


def test_a_model_is_asked_only_what_is_not_on_record(cli: Cli, tiny: Path, begun: Path) -> None:
    path = records_path(begun, TASK)
    before = path.read_bytes()
    assert run(cli, tiny, "--tasks", "mine", "--limit", "5").code == 0
    after = path.read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == 5
    assert len(records_path(begun, "mine/more").read_bytes().splitlines()) == 5


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--seed", "1"], "seed 0 -> 1. Choose"),
        (["--temperature", "0.7"], "temperature 0 -> 0.7. Choose"),
        (["--model-arg", "batch_size=2"], "batch_size auto -> 2. Choose"),
    ],
)
def test_other_settings_are_refused_by_name(
    cli: Cli, tiny: Path, begun: Path, more: list[str], words: str
) -> None:
    before = {p: p.read_bytes() for p in begun.rglob("*") if p.is_file()}
    result = run(cli, tiny, "--tasks", TASK, *more)
    assert result.code == 2
    assert "holds a run that is not the same: " + words in result.err
    assert "--out" in result.err
    assert {p: p.read_bytes() for p in begun.rglob("*") if p.is_file()} == before


def test_other_weights_are_refused(cli: Cli, tiny: Path, begun: Path, tmp_path: Path) -> None:
    result = run(cli, tiny_llama(tmp_path / "tiny", seed=1), "--tasks", TASK)
    assert result.code == 2
    assert "not the same: the model's weights " in result.err


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("task.yaml", TASK_YAML.replace("version: 1", "version: 2"), "mine/demo: version"),
        ("samples.jsonl", json.dumps(text_sample("s0", "Why?")) + "\n", "mine/demo: samples"),
    ],
)
def test_another_task_is_refused(
    cli: Cli, tiny: Path, begun: Path, tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / "mine" / "demo" / name).write_text(text)
    result = run(cli, tiny, "--tasks", TASK)
    assert result.code == 2
    assert words in result.err


def test_a_run_without_a_record_binds_nobody(cli: Cli, tiny: Path, demo: Path) -> None:
    wrong = run(cli, tiny, "--tasks", "mine/more", "--model-arg", "device=toaster")
    assert wrong.code == 2
    assert "does not load" in wrong.err
    right = run(cli, tiny, "--tasks", TASK, "--limit", "1")
    assert right.code == 0, right.err
    assert list(right.json["tasks"]) == [TASK]


FINISHED = """\
import sys
from eval_anything.cli.main import main
code = main(sys.argv[1:])
print(sorted({"torch", "transformers"} & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def test_a_finished_run_is_shown_again_without_loading_anything(
    cli: Cli, tiny: Path, begun: Path, tmp_path: Path
) -> None:
    arguments = ["run", "--model", str(tiny), "--model-arg", "max_new_tokens=4", "--tasks", TASK]
    arguments += ["--include", "mine", "--limit", "3", "--out", "run", "--max-failed", "1", "--json"]
    again = subprocess.run(
        [sys.executable, "-c", FINISHED, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert again.stderr.splitlines()[-1] == "[]"
    assert json.loads(again.stdout) == json.loads((begun / "results.json").read_text())


def comparable(results: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in results.items() if k != "run"}


@pytest.mark.slow
def test_ctrl_c_is_exit_code_5_and_the_run_goes_on_to_the_same_end(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    make_task(tmp_path, TASK, [text_sample(f"s{i}") for i in range(12)])
    arguments = ["run", "--model", str(tiny), "--tasks", TASK, "--include", "mine", "--json"]
    arguments += ["--model-arg", "batch_size=1", "--model-arg", "max_new_tokens=60"]
    arguments += ["--temperature", "1", "--max-failed", "1"]
    path = records_path(tmp_path / "run", TASK)
    output, errors = tmp_path / "output", tmp_path / "errors"
    process = Command([*arguments, "--out", "run"], errors, output)
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_bytes().count(b"\n") >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.signal(signal.SIGINT)
    status, err = process.wait(60), errors.read_text()
    assert status == 5, err
    assert output.read_text() == ""
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "stopped"
    kept = path.read_bytes()
    assert 2 <= kept.count(b"\n") < 12
    resumed = cli(*arguments, "--out", "run")
    undisturbed = cli(*arguments, "--out", "whole")
    assert (resumed.code, undisturbed.code) == (0, 0)
    assert path.read_bytes().startswith(kept)
    assert comparable(resumed.json) == comparable(undisturbed.json)

    def parts(file: Path) -> dict[str, Any]:
        rows = [json.loads(line) for line in file.read_bytes().splitlines()]
        return {row["sample_id"]: (row["parts"], row["usage"]) for row in rows}

    assert parts(path) == parts(records_path(tmp_path / "whole", TASK))
