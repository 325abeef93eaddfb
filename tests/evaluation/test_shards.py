"""Shards of a run, and their merge: equal to one process, and nothing is lost whatever is wrong."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval_anything.cli.main import main
from eval_anything.errors import UserError
from eval_anything.evaluation.options import JUDGE_VARIABLE
from eval_anything.evaluation.shards import shard_of
from eval_anything.files.writing import locked
from tests.support.helpers import (
    TASK_YAML,
    Cli,
    answers,
    make_task,
    medium_sample,
    png,
    text_sample,
    write_jsonl,
)
from tests.support.judge_server import GOOD, POOR, Asked, judge_server, talk_task
from tests.support.scripted_server import says, serve

SLURM = {
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_ARRAY_TASK_COUNT": "4",
    "SLURM_ARRAY_TASK_MIN": "0",
    "SLURM_ARRAY_TASK_MAX": "3",
    "SLURM_ARRAY_TASK_STEP": "1",
}
KUBERNETES = {"JOB_COMPLETION_INDEX": "0"}


def slurm(id_: int, count: int, first: int, last: int, step: int | None = 1) -> dict[str, str]:
    numbers = {"ID": id_, "COUNT": count, "MIN": first, "MAX": last, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(n) for name, n in numbers.items() if n is not None}


@pytest.mark.parametrize(
    ("option", "environment", "expected"),
    [
        ("1/1", {}, (1, 1)),
        ("8/8", SLURM, (8, 8)),
        ("auto", slurm(0, 4, 0, 3), (1, 4)),
        ("auto", slurm(3, 4, 0, 3), (4, 4)),
        ("auto", slurm(1, 4, 1, 4), (1, 4)),
        ("auto/4", slurm(4, 4, 1, 4), (4, 4)),
        ("auto", slurm(17, 3, 10, 24, 7), (2, 3)),
        ("auto", slurm(17, 3, 10, 24, None), None),
        ("auto", slurm(5, 1, 5, 5), (1, 1)),
        ("auto/3", {"JOB_COMPLETION_INDEX": "0"}, (1, 3)),
        ("auto/3", {"JOB_COMPLETION_INDEX": "2"}, (3, 3)),
    ],
)
def test_the_shard_of_an_array(
    option: str, environment: dict[str, str], expected: tuple[int, int] | None
) -> None:
    if expected is None:
        with pytest.raises(UserError, match="not evenly spaced"):
            shard_of(option, environment)
    else:
        assert shard_of(option, environment) == expected


@pytest.mark.parametrize(
    ("option", "environment", "words"),
    [
        ("5/4", {}, "counted from 1 to 4"),
        ("0/4", {}, "counted from 1 to 4"),
        ("1/0", {}, "at least one"),
        ("4", {}, "must be I/N"),
        ("-1/4", {}, "must be I/N"),
        ("1/4/2", {}, "must be I/N"),
        ("", {}, "must be I/N"),
        ("1/99999999999", {}, "must be I/N"),
        ("\u0663/4", {}, "must be I/N"),
        ("auto", {}, "no member of a job array"),
        ("auto/4", {}, "no member of a job array"),
        ("auto", KUBERNETES, "use auto/N"),
        ("auto/3", {"JOB_COMPLETION_INDEX": "3"}, "the last is 2"),
        ("auto/3", {"JOB_COMPLETION_INDEX": "x"}, "JOB_COMPLETION_INDEX is 'x'"),
        ("auto/4", SLURM | KUBERNETES, "both Slurm and Kubernetes"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_COUNT is ''"),
        # What failed is repeated: of an array of 8, only these.
        ("auto/8", slurm(3, 2, 3, 7, 4), "this array has 2 tasks, not 8"),
        ("auto", slurm(1, 3, 1, 7), "not evenly spaced"),
        ("auto", slurm(9, 4, 0, 3), "not evenly spaced"),
    ],
)
def test_a_shard_that_is_none(option: str, environment: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        shard_of(option, environment)


def untimed(run: Path) -> dict[str, list[bytes]]:
    """The lines of all logs of a run without what a clock decides."""
    return {
        str(path.relative_to(run)): [
            re.sub(rb'"latency":\{.*?\}', b"", line) for line in path.read_bytes().splitlines()
        ]
        for name in ("records", "canaries")
        for path in sorted(run.rglob(f"{name}.jsonl"))
    }


def results(run: Path) -> bytes:
    """results.json without the directory."""
    content = (run / "results.json").read_bytes()
    return re.sub(rb'\n  "run": ".*"', b"", content)


def media(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in (run / "media").rglob("*.*")
        if path.is_file()
    }


def check_equal(cli: Cli, command: list[str], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, and shards that are merged: the same files. The merge of a run that is one shard puts
    the lines of one process in the order of the plan."""

    def run(out: str, *more: str) -> None:
        monkeypatch.setenv("EVAL_ANYTHING_HOME", str(Path("home") / out))
        done = cli(*command, "--out", out, *more)
        assert done.code == 0, done.err

    run("whole", "--shard", "1/1")
    for number in range(1, count + 1):
        run(f"part-{number}", "--shard", f"{number}/{count}")
    parts = [f"part-{number}" for number in range(count, 0, -1)]  # in any order
    options = ["--include", "mine"] if "--include" in command else []
    options += ["--max-failed", "1"] if "--max-failed" in command else []
    for out, shards in (("one", ["whole"]), ("merged", parts)):
        merged = cli("runs", "merge", out, *shards, *options)
        assert merged.code == 0, merged.err
    whole, one, together = Path("whole"), Path("one"), Path("merged")
    assert results(together) == results(one) == results(whole)
    assert untimed(together) == untimed(one)
    lines = {name: sorted(log) for name, log in untimed(whole).items()}
    assert {name: sorted(log) for name, log in untimed(together).items()} == lines
    assert media(together) == media(whole)
    made = [json.loads((run / "run.json").read_bytes()) for run in (whole, together)]
    del made[0]["shard"]
    for file in made:
        del file["created"], file["command"]
    assert made[0] == made[1]
    again = cli(*command, "--out", "merged", "--json")
    assert again.code == 0, again.err
    assert untimed(together) == untimed(one), "the run goes on, and there is nothing to do"
    assert not [path for path in Path().iterdir() if path.name.endswith(".merging")]


@pytest.mark.slow
def test_shards_of_a_local_model_equal_one_process(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["run", "--model", "micro", "--tasks", "micro/selection", "--max-failed", "1"]
    command += ["--limit", "5", "--model-arg", "batch_size=2", "--temperature", "1"]
    check_equal(cli, command, 2, monkeypatch)


def test_shards_of_saved_outputs_equal_one_process(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With failures, media, several answers a sample, groups, and an answer that was asked for again."""
    rows = [medium_sample(f"s{i}", "image", "p.png") | {"metadata": {"half": i % 2}} for i in range(20)]
    make_task(tmp_path, samples=rows, yaml=TASK_YAML + "group_by: [half]\n", p__png=png())
    saved = []
    for repeat in range(2):
        saved += answers([f"s{i}" for i in range(2, 20)], f"answer {repeat}", repeat=repeat)
    for i in range(10):
        (tmp_path / f"{i}.png").write_bytes(png(noise=i))
        saved[i]["parts"].append({"modality": "image", "path": f"{i % 7}.png"})
    write_jsonl(tmp_path / "rows.jsonl", saved)
    command = ["run", "--model", "replay/rows.jsonl", "--tasks", "mine/demo", "--include", "mine"]
    command += ["--concurrency", "3", "--repeats", "2", "--max-failed", "1"]
    check_equal(cli, [*command, "--model-arg", "allow_missing=1"], 4, monkeypatch)
    shutil.rmtree("one")
    retry = [*command, "--model-arg", "allow_missing=1", "--out", "whole", "--shard", "1/1"]
    assert cli(*retry, "--retry-failed").code == 0
    assert cli("runs", "merge", "one", "whole", "--include", "mine").code == 0
    lines = untimed(Path("one"))["mine/demo/records.jsonl"]
    assert len(lines) == 44, "what was asked for again keeps its earlier lines"


def test_shards_of_a_part_of_saved_outputs(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(9)])
    write_jsonl(tmp_path / "rows.jsonl", answers([f"s{i}" for i in range(0, 9, 2)]))
    command = ["run", "--model", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine"]
    command += ["--concurrency", "1", "--model-arg", "only_answered=1"]
    check_equal(cli, command, 10, monkeypatch)  # more shards than batches


def test_shards_of_a_suite_equal_one_process(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its aggregates, and samples that were drawn."""
    write_jsonl(tmp_path / "rows.jsonl", answers(["open-sel-01", "open-sel-02"], task="open/selection"))
    command = ["run", "--model", "rows.jsonl", "--tasks", "open", "--limit", "8", "--concurrency", "3"]
    command += ["--model-arg", "allow_missing=1", "--max-failed", "1"]
    check_equal(cli, command, 2, monkeypatch)
    merged = json.loads(Path("merged/results.json").read_bytes())
    assert merged["aggregates"]


def test_shards_of_a_server_equal_one_process(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a judge on a server, whose verdicts, canaries and costs are shared out."""
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.delenv(JUDGE_VARIABLE, raising=False)
    prices = "date: first\nsource: here\ncurrency: USD\nmodels:\n"
    prices += "  tester: {input: 0.1, output: 0.7}\n  judge: {input: 0.3, output: 1.1}\n"
    for home in ("whole", *(f"part-{i}" for i in (1, 2, 3))):
        (tmp_path / "home" / home).mkdir(parents=True)
        (tmp_path / "home" / home / "prices.yaml").write_text(prices)
    rows = [text_sample(f"s{i}", f"Capital {i}?") for i in range(10)]
    rows[3]["turns"] = [{"parts": [{"modality": "text", "text": "Are you sure?"}]}]
    make_task(tmp_path, samples=rows, yaml=talk_task())

    def verdict(asked: Asked) -> tuple[int, str]:
        return 200, GOOD.replace("7", str(len(asked.answer[0]["text"]) % 9)) if "Paris" in str(
            asked.answer
        ) else POOR

    def reply(number: int, body: dict[str, Any]) -> Any:
        return says("Paris" + "!" * (len(json.dumps(body["messages"])) % 7))

    with judge_server() as judge, serve(reply) as model:
        judge.reply = verdict
        command = ["run", "--model", model.spec(), "--tasks", "mine/demo", "--include", "mine"]
        command += ["--judge", f"synergy_rubric={judge.spec}"]
        monkeypatch.setenv(JUDGE_VARIABLE, "")
        check_equal(cli, command, 3, monkeypatch)
        assert len(model.bodies) == 2 * 11, "each answer is asked for once a run"
        assert len(judge.asked) == 2 * (10 + 2 * 3), "so is each verdict, that on a canary too"
    spent = json.loads((tmp_path / "merged" / "results.json").read_bytes())["cost"]["spent"]
    assert spent["calls"] == 11 + 16
    assert spent["money"] > 0


COMMAND = ["run", "--model", "replay/rows.jsonl", "--tasks", "mine/demo", "--include", "mine"]
COMMAND += ["--concurrency", "2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three shards of a run with media, `a` to `c`; not to be changed."""
    root = tmp_path_factory.mktemp("shards")
    make_task(root, samples=[text_sample(f"s{i}") for i in range(12)])
    rows = answers([f"s{i}" for i in range(12)])
    for i, row in enumerate(rows):
        (root / f"{i}.png").write_bytes(png(noise=i + 1))
        row["parts"].append({"modality": "image", "path": f"{i}.png"})
    write_jsonl(root / "rows.jsonl", rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for number, name in enumerate("abc", start=1):
            assert main([*COMMAND, "--out", name, "--shard", f"{number}/3", "--json"]) == 0
    return root


@pytest.fixture
def shards(made: Path, tmp_path: Path, cli: Cli) -> Cli:
    """The same folder, as the current one, to be changed; merges into `out`."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)

    def merge(*more: str, out: str = "out", names: str = "abc") -> Any:
        return cli("runs", "merge", out, *names, "--include", "mine", *more)

    return merge


def log(name: str = "b") -> Path:
    return Path(name, "mine/demo/records.jsonl")


def change(path: str, **changes: Any) -> None:
    """Changes keys of a JSON file."""
    file = Path(path)
    file.write_text(json.dumps(json.loads(file.read_bytes()) | changes))


def change_record(**changes: Any) -> None:
    """Changes keys of the first record of a shard."""
    first, *lines = log().read_text().splitlines()
    log().write_text("\n".join([json.dumps(json.loads(first) | changes), *lines]) + "\n")


def first_part() -> dict[str, Any]:
    """The medium of the first record of a shard."""
    part: dict[str, Any] = json.loads(log().read_text().splitlines()[0])["parts"][1]
    return part


def replace_medium(path: str) -> None:
    text, medium = json.loads(log().read_text().splitlines()[0])["parts"]
    change_record(parts=[text, medium | {"path": path}])


def link_log() -> None:
    shutil.copy(log(), "private.jsonl")
    log().unlink()
    log().symlink_to(Path("private.jsonl").absolute())


def lock_that_is(make: Callable[[Path], object]) -> Callable[[], None]:
    def prepare() -> None:
        Path("b/.lock").unlink(missing_ok=True)
        make(Path("b/.lock"))

    return prepare


def shard_of_run(**changes: Any) -> Callable[[], None]:
    def prepare() -> None:
        shard = json.loads(Path("b/run.json").read_bytes())["shard"]
        change("b/run.json", shard=shard | changes)

    return prepare


def repeat(*more: str) -> Callable[[], None]:
    """Makes shard `b` anew, with other options."""

    def prepare() -> None:
        shutil.rmtree("b")
        assert main([*COMMAND, "--out", "b", "--shard", "2/3", "--json", *more]) == 0

    return prepare


def other_task() -> None:
    path = Path("mine/demo/samples.jsonl")
    path.write_text(path.read_text().replace("France", "Spain"))


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "another seed": (repeat("--seed", "3"), "shards of different runs: seed 0 -> 3"),
    "another temperature": (
        lambda: change("b/run.json", sampling={"temperature": 0.5}),
        "temperature 0 -> 0.5",
    ),
    "another cut": (repeat("--concurrency", "3"), "requests per batch 2 -> 3"),
    "fewer samples": (repeat("--first", "8"), "samples.mine/demo 12 -> 8"),
    "another name": (repeat("--name", "x"), "model replay-rows -> x"),
    "other shards": (shard_of_run(count=4), "--shard I/3 -> I/4"),
    "another plan": (shard_of_run(plan="0" * 64), "the plan of all batches"),
    "twice": (shard_of_run(number=3), "are both shard 3/3: keep one; 1 of 3 shards are missing (2/3)"),
    "not done": (lambda: change("b/run.json", status="failed"), "its status is failed"),
    "killed": (lambda: change("b/run.json", status="running"), "repeat its command"),
    "not judged": (lambda: change("b/run.json", to_judge=["x"]), "is not done"),
    "no run": (lambda: Path("b/run.json").unlink(), "is not the directory of a run"),
    "a whole run": (lambda: change("b/run.json", shard=None), "run.json cannot be read"),
    "another task": (other_task, "made with other tasks or judges than those here: mine/demo: samples"),
    "damaged": (lambda: change_record(scores=3), "b/mine/demo/records.jsonl:1: damaged record"),
    "records of others": (lambda: shutil.copy(log("a"), log()), "belongs to another shard"),
    "an unknown sample": (lambda: change_record(sample_id="x"), "'x' is not part of the run"),
    "another repeat": (lambda: change_record(repeat=1), "is not part of the run"),
    "no records": (lambda: log().unlink(), "4 answers are on record in no shard; shard 2/3"),
    "a lost medium": (lambda: Path("b", first_part()["path"]).unlink(), "the medium cannot be read"),
    "a changed medium": (
        lambda: Path("b", first_part()["path"]).write_bytes(png()),
        "its content is another",
    ),
    "a medium elsewhere": (lambda: replace_medium("run.json"), "is not where a run keeps it"),
    "a medium outside": (lambda: replace_medium("../rows.jsonl"), "is not where a run keeps it"),
    "a task outside": (lambda: change("b/run.json", tasks=["../mine/demo"]), "outside of the run"),
    "a linked log": (link_log, "a link that leads out of the run"),
    "a pipe": (lambda: (log().unlink(), os.mkfifo(log())), "is no plain file"),
    "a lock that is a pipe": (lock_that_is(os.mkfifo), "is no plain file"),
    "a lock elsewhere": (
        lock_that_is(lambda path: path.symlink_to(Path("rows.jsonl").absolute())),
        "a link that leads out of the run",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_merged(name: str, shards: Cli, made: Path) -> None:
    prepare, words = WRONG[name]
    prepare()
    before = {path: path.read_bytes() for path in Path().glob("[abc]/**/*.json*") if path.is_file()}
    result = shards()
    assert (result.code, words in result.err) == (2, True), result.err
    assert not Path("out").exists()
    assert {path: path.read_bytes() for path in before} == before
    for path in made.iterdir():  # once that is right, the same command goes on
        if path.is_dir():
            shutil.rmtree(path.name, ignore_errors=True)
            shutil.copytree(path, path.name)
    assert shards().code == 0


def test_places_that_a_merge_cannot_have(shards: Cli, cli: Cli) -> None:
    for out, words in (
        ("b", "into itself"),
        ("mine", "is no empty directory"),
        ("rows.jsonl", "no empty"),
    ):
        result = shards(out=out)
        assert (result.code, words in result.err) == (2, True), result.err
    assert cli(*COMMAND, "--out", "out", "--first", "5").code == 0
    other = Path("out/mine/demo/records.jsonl").read_bytes()
    result = shards()
    assert (result.code, "holds another run: samples.mine/demo 5 -> 12" in result.err) == (2, True)
    assert cli(*COMMAND, "--out", "out").code == 0
    lines = Path("out/mine/demo/records.jsonl").read_bytes()
    assert lines.startswith(other)
    result = shards()
    assert result.code in (0, 2)  # one process may have recorded the answers in the order of the plan
    assert Path("out/mine/demo/records.jsonl").read_bytes() == lines


def test_shards_that_are_missing(shards: Cli) -> None:
    result = shards(names="ca")
    assert (result.code, "1 of 3 shards are missing (2/3)" in result.err) == (2, True), result.err
    result = shards(names="abb")
    assert "are both shard 2/3: keep one; 1 of 3 shards are missing (3/3)" in result.err
    assert not Path("out").exists()


def test_a_shard_that_is_running(shards: Cli) -> None:
    with locked(Path("b/.lock"), ""):
        result = shards()
    assert (result.code, "b (shard 2/3) is running: merge it later" in result.err) == (2, True)
    with locked(Path(".out.merging/.lock"), ""):
        result = shards()
    assert (result.code, "out is being merged by another process" in result.err) == (2, True)


def test_merging_again_changes_nothing(shards: Cli, cli: Cli) -> None:
    first = shards("--json")
    assert first.code == 0, first.err
    files = {p: p.read_bytes() for p in Path("out").rglob("*.*") if p.suffix in (".jsonl", ".png")}
    again = shards("--json")
    assert (again.code, again.json) == (0, first.json)
    assert "out has all of these shards already" in shards().err
    # A merged run goes on; what is added stays there.
    assert cli(*COMMAND, "--out", "out", "--repeats", "2", "--model-arg", "x=1").code == 2
    with log("out").open("ab") as file:
        file.write(log("out").read_bytes().splitlines(keepends=True)[0])
    assert shards("--json").json == first.json
    # A shard that goes on after the merge is another run.
    with log("b").open("ab") as file:
        file.write(log("b").read_bytes().splitlines(keepends=True)[0])
    result = shards()
    assert (result.code, "they have gone on since" in result.err) == (2, True)
    for path, content in files.items():
        assert path.read_bytes().startswith(content)


def test_a_shard_is_resumed_as_it_was_begun(shards: Cli, cli: Cli) -> None:
    whole = log().read_bytes()
    log().write_bytes(whole[: len(whole) // 2])
    assert cli(*COMMAND, "--out", "b", "--shard", "2/3").code == 0
    [lines] = untimed(Path("b")).values()
    assert sorted(lines) == sorted(untimed_lines(whole))  # answers are judged two at a time
    for more, words in (
        (["--shard", "3/3"], "--shard 2/3 -> 3/3"),
        (["--shard", "2/4"], "--shard 2/3 -> 2/4"),
        ([], "--shard 2/3 -> none"),
        (["--shard", "2/3", "--concurrency", "5"], "requests per batch 2 -> 5"),
        (
            ["--shard", "2/3", "--repeats", "2", "--model-arg", "allow_missing=1"],
            "the plan of all batches",
        ),
    ):
        result = cli(*COMMAND, "--out", "b", *more)
        assert (result.code, words in result.err) == (2, True), result.err
    result = cli("score", "--outputs", "b", "--include", "mine")
    assert (result.code, "b is shard 2/3 of a run: judge the whole run" in result.err) == (2, True)
    result = cli("run", "--model", "replay/rows.jsonl", "--tasks", "lm_eval/x", "--shard", "1/2")
    assert (result.code, "tasks of lm_eval cannot be cut" in result.err) == (2, True), result.err
    assert shards().code == 0
    result = cli("score", "--outputs", "out", "--include", "mine", "--shard", "1/2")
    assert (result.code, "judged in place as a whole" in result.err) == (2, True)
    assert cli("score", "--outputs", "out", "--include", "mine").code == 0


def untimed_lines(content: bytes) -> list[bytes]:
    return [re.sub(rb'"latency":\{.*?\}', b"", line) for line in content.splitlines()]


def test_the_merge_decides_whether_too_many_failed(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(4)])
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0", "s1"]))
    command = [*COMMAND, "--model-arg", "allow_missing=1", "--shard"]
    for number in (1, 2):
        shard = cli(*command, f"{number}/2")
        assert shard.code == 0, shard.err
        assert f"shard {number} of 2: batches {number}, {number + 2} ... of the run" in shard.err
    merge = ["runs", "merge", "out", *Path("runs").iterdir(), "--include", "mine"]
    result = cli(*merge)
    assert (result.code, "failed 2 of 4 samples" in result.err) == (1, True)
    assert {path.name for path in Path("runs").iterdir()} == {"replay-rows.1-of-2", "replay-rows.2-of-2"}
    merged = cli(
        "runs", "merge", "out", *Path("runs").iterdir(), "--include", "mine", "--max-failed", "1"
    )
    assert merged.code == 0
    page = Path("out/report.html").read_text()
    assert "--shard" not in page
    assert "--out" in page


def test_more_shards_than_files_may_be_open(
    cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell allows 1,024; a run may have as many shards."""
    monkeypatch.chdir(made)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 3, limits[1]))
    try:
        done = cli("runs", "merge", made.parent / "many files", "a", "b", "c", "--include", "mine")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert done.code == 0, done.err


@pytest.fixture(autouse=True)
def no_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may themselves run in a job array."""
    for name in (*SLURM, *KUBERNETES):
        monkeypatch.delenv(name, raising=False)
