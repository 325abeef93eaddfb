"""`eval-anything run --tasks lm_eval/...`: tasks of lm-evaluation-harness beside our own, in one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import Cli, make_task
from tests.support.judge_server import POOR, judge_server, talk_task
from tests.support.lm_eval_tasks import question, write_tasks, write_yaml
from tests.support.scripted_server import fails, says, serve

_QUICK = ("--lm-eval", "bootstrap_iters=100", "--json")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets are not cached among the user's."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_tasks(tmp_path / "own", [question(i) for i in range(10)])


def records(run: Path, task: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / task / "records.jsonl").read_bytes().splitlines()]


@pytest.mark.slow
def test_a_run_with_tasks_of_both_kinds(cli: Cli, tiny: Path, own: Path, tmp_path: Path) -> None:
    make_task(
        tmp_path / "ours", "mine/demo", yaml=talk_task("selection_contract, synergy_rubric", "selection")
    )
    tasks = "mine/demo,lm_eval/own_group,lm_eval/own_text,lm_eval/own_answer"
    command = ("run", "--model", tiny, "--tasks", tasks, "--include", own, "--include", "ours")
    done = cli(*command, "--limit", "6", "--model-arg", "max_new_tokens=4", "--out", "run", *_QUICK)
    assert done.code == 0, done.err
    results = done.json
    assert list(results["tasks"]) == [
        "mine/demo",
        *(f"lm_eval/{name}" for name in ("own_choice", "own_cloze", "own_text", "own_answer")),
    ]
    run = tmp_path / "run"
    for task, result in results["tasks"].items():
        assert result["samples"] == (4 if task == "mine/demo" else 6) == len(records(run, task))
        for metric in (m for name, m in result["metrics"].items() if name != "synergy"):
            assert metric["ci95"][0] <= metric["value"] <= metric["ci95"][1]
    choice = results["tasks"]["lm_eval/own_choice"]
    theirs = json.loads((run / "lm_eval/own_choice/lm_eval.json").read_bytes())["lm_eval"]
    assert choice["primary"] == "acc"
    assert choice["metrics"]["acc"]["value"] == theirs["results"]["acc,none"]
    assert choice["metrics"]["acc"]["stderr"] == theirs["results"]["acc_stderr,none"]
    values = [r["scores"]["acc"]["value"] for r in records(run, "lm_eval/own_choice")]
    assert choice["metrics"]["acc"]["value"] == pytest.approx(sum(values) / 6)
    assert set(results["tasks"]["lm_eval/own_answer"]["metrics"]) == {
        "exact_match,letter",
        "exact_match,whole",
    }
    assert results["tasks"]["lm_eval/own_text"]["metrics"]["word_perplexity"]["better"] == "lower"
    group = results["aggregates"]["lm_eval/own_group:acc"]
    cloze = results["tasks"]["lm_eval/own_cloze"]["metrics"]["acc"]["value"]
    assert group["value"] == pytest.approx((choice["metrics"]["acc"]["value"] + cloze) / 2)
    parts = json.loads((run / "run.json").read_bytes())["fingerprints"]["lm_eval/own_choice"]
    assert {"version", "config", "num_fewshot", "documents", "options", "lm_eval"} <= set(parts)
    assert parts["num_fewshot"] == "2"
    assert cli("compare", run, run, "--json").code == 0

    again = cli(*command, "--limit", "6", "--model-arg", "max_new_tokens=4", "--out", "run", *_QUICK)
    assert again.json == results
    assert "by lm_eval" not in again.err
    # A judge that comes later scores our task in place; those of lm_eval stay as they are.
    with judge_server() as judge:
        judge.reply = lambda asked: (200, POOR)
        options = ("--include", own, "--include", "ours", "--judge", judge.spec)
        judged = cli("score", "--outputs", "run", *options, *_QUICK)
    assert judged.code == 0, judged.err
    assert judged.json["tasks"]["mine/demo"]["metrics"]["synergy"]["value"] == 0.0
    assert judged.json["tasks"]["mine/demo"]["metrics"].keys() > {"selection"}
    for part in ("tasks", "aggregates"):
        for name in results[part].keys() - {"mine/demo"}:
            assert judged.json[part][name] == results[part][name]
    shown = cli(*command, "--limit", "8", "--out", "other", "--dry-run")
    assert shown.code == 0
    assert "lm_eval/own_choice        8" in shown.out
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(cli: Cli, tiny: Path, own: Path, tmp_path: Path) -> None:
    command = ("run", "--model", tiny, "--tasks", "lm_eval/own_choice", "--include", own)
    whole = cli(*command, "--model-arg", "batch_size=2", "--out", "whole", *_QUICK)
    assert whole.code == 0, whole.err
    folder = tmp_path / "whole/lm_eval/own_choice"
    answers, lines = folder / "answers.jsonl", folder / "records.jsonl"
    before = answers.read_bytes(), sorted(lines.read_bytes().splitlines())
    assert len(before[0].splitlines()) == 40

    # As a kill in the middle of the second window of 16 requests leaves it.
    answers.write_bytes(b"".join(before[0].splitlines(keepends=True)[:20]) + b'{"key": "ab')
    (folder / "lm_eval.json").unlink()
    lines.unlink()
    again = cli(*command, "--model-arg", "batch_size=2", "--out", "whole", *_QUICK)
    assert again.json == whole.json
    assert answers.read_bytes() == before[0]
    assert sorted(lines.read_bytes().splitlines()) == before[1]

    # As a kill while the records are written leaves it.
    (folder / "lm_eval.json").unlink()
    data = lines.read_bytes()
    lines.write_bytes(data[: len(data) // 2])
    again = cli(*command, "--model-arg", "batch_size=2", "--out", "whole", *_QUICK)
    assert again.json == whole.json
    assert sorted(lines.read_bytes().splitlines()) == before[1]

    more = cli(*command, "--model-arg", "batch_size=2", "--out", "whole", "--limit", "10", *_QUICK)
    assert more.json == whole.json
    answers.write_bytes(b"nothing\n" + before[0])
    (folder / "lm_eval.json").unlink()
    damaged = cli(*command, "--model-arg", "batch_size=2", "--out", "whole", *_QUICK)
    assert damaged.code == 2
    assert "answers.jsonl:1: damaged" in damaged.err


def test_labels_out_of_range_are_said(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    wrong = [{**question(i), "answer": 4 + i % 2} for i in range(3)]
    own = write_tasks(tmp_path / "own", [question(8), *wrong])
    command = ("run", "--model", tiny, "--tasks", "lm_eval/own_choice", "--include", own)
    options = ("--out", "run", *_QUICK, "--lm-eval", "num_fewshot=0")
    done = cli(*command, *options)
    assert done.code == 0, done.err
    (line,) = [line for line in done.err.splitlines() if "Label index" in line]
    assert "eval-anything: lm_eval/own_choice: lm_eval warns, 3 times, first: Label index was" in line
    assert "What is the" in line  # the first document
    assert "aggregation is not" not in done.err
    assert cli(*command, *options).json == done.json


def test_another_config_is_another_task(cli: Cli, tiny: Path, own: Path) -> None:
    command = ("run", "--model", tiny, "--tasks", "lm_eval/own_choice", "--limit", "2")
    assert cli(*command, "--include", own, "--out", "run", *_QUICK).code == 0
    path = own / "own_choice.yaml"
    path.write_text(path.read_text().replace("Answer:", "Solution:"))
    changed = cli(*command, "--include", own, "--out", "run", *_QUICK)
    assert changed.code == 2
    assert "lm_eval/own_choice: config" in changed.err
    path.write_text(path.read_text().replace("Solution:", "Answer:"))
    shots = cli(*command, "--include", own, "--out", "run", *_QUICK, "--lm-eval", "num_fewshot=1")
    assert shots.code == 2
    assert "num_fewshot, options" in shots.err


def test_a_server_generates_and_a_fault_leaves_the_rest_pending(
    cli: Cli, own: Path, tmp_path: Path, short_pauses: None
) -> None:
    with serve(lambda n, body: says(" Paris\nis nice") if n <= 4 else fails(500)) as server:
        command = ("run", "--model", server.spec(), "--tasks", "lm_eval/own_answer", "--include", own)
        options = ("--out", "run", "--concurrency", "1", *_QUICK)
        first = cli(*command, *options)
        assert first.code == 4, first.err
        assert "10 samples are pending" in first.err
        assert first.json["tasks"] == {}
        asked = [body["messages"] for body in server.bodies[:4]]
        assert server.bodies[0]["stop"] == ["\n", "e"]
        assert server.bodies[0]["max_tokens"] == 12
        assert server.bodies[0]["temperature"] == 0
        server.script = lambda n, body: says(" Paris\nis nice")
        server.bodies.clear()
        second = cli(*command, *options)
        assert second.code == 0, second.err
        assert len(server.bodies) == 6
        assert all(body["messages"] not in asked for body in server.bodies)
    found = records(tmp_path / "run", "lm_eval/own_answer")
    assert [r["parts"] for r in found] == 10 * [[{"modality": "text", "text": " Paris"}]]
    assert found[0]["usage"] == {"input": 11, "output": 7}
    assert second.json["cost"]["tokens"] == {"input": 110, "output": 70}


def test_a_server_gets_conversations_with_a_chat_template(cli: Cli, own: Path) -> None:
    with serve(lambda n, body: says("P")) as server:
        command = ("run", "--model", server.spec(), "--tasks", "lm_eval/own_answer", "--include", own)
        chat = ("--lm-eval", "apply_chat_template=true", "--lm-eval", "system_instruction=Be brief.")
        assert cli(*command, *chat, "--limit", "1", *_QUICK).code == 0
        turns = server.bodies[0]["messages"]
    assert turns[0] == {"role": "system", "content": "Be brief."}
    assert turns[1]["role"] == "user"
    assert turns[1]["content"].startswith("Q: What is the lighthouse of 0?")


def test_a_request_that_a_server_refuses_is_the_models_failure(cli: Cli, own: Path) -> None:
    with serve(lambda n, body: fails(400) if n == 1 else says("P")) as server:
        command = ("run", "--model", server.spec(), "--tasks", "lm_eval/own_answer", "--include", own)
        done = cli(*command, "--limit", "3", *_QUICK)
    assert done.code == 1
    assert done.json["tasks"]["lm_eval/own_answer"]["failed"] == 1
    assert "failed 1 of 3" in done.err


def test_what_a_server_refuses_to_all_requests_is_no_failure_of_the_model(
    cli: Cli, own: Path, tmp_path: Path
) -> None:
    refusing = True
    script = lambda n, body: fails(400, "no such field") if refusing else says("P")  # noqa: E731
    with serve(script) as server:
        command = ("run", "--model", server.spec(), "--tasks", "lm_eval/own_answer", "--include", own)
        stopped = cli(*command, "--limit", "3", *_QUICK, "--out", tmp_path / "run")
        assert stopped.code == 2
        assert "no such field" in stopped.err
        refusing = False
        done = cli(*command, "--limit", "3", *_QUICK, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert done.json["tasks"]["lm_eval/own_answer"]["failed"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "lm_eval/arc_easi"], "no task 'arc_easi'. Did you mean arc_easy"),
        (["--tasks", "lm_eval"], "--tasks lm_eval: name some of its tasks"),
        (["--tasks", "lm_eval/own_text", "--lm-eval", "shots=1"], "--lm-eval shots: there is no such"),
        (["--tasks", "lm_eval/own_text", "--lm-eval", "num_fewshot=x"], "must be a whole number"),
        (
            ["--tasks", "lm_eval/own_text", "--repeats", "2"],
            "--repeats: tasks of lm_eval define their own repeats",
        ),
        (["--tasks", "micro/selection", "--lm-eval", "num_fewshot=1"], "no task of lm_eval is run"),
        (
            [
                *("--tasks", "lm_eval/own_answer"),
                *("--lm-eval", "gen_kwargs=do_sample=true,temperature=1,typical_p=0.5"),
            ],
            "generation_kwargs has typical_p=0.5, which our models do not do",
        ),
        (
            ["--tasks", "lm_eval/own_answer", "--temperature", "1"],
            "--temperature: tasks of other tools have settings of their own",
        ),
        (
            ["--tasks", "lm_eval/own_answer", "--lm-eval", "gen_kwargs=max_gen_toks=4000"],
            "4000 new tokens do not fit into the 2048 positions",
        ),
    ],
)
def test_wrong_input(arguments: list[str], message: str, cli: Cli, tiny: Path, own: Path) -> None:
    done = cli("run", "--model", tiny, "--include", own, *arguments)
    assert done.code == 2
    assert message in done.err


def test_models_that_cannot_are_refused(cli: Cli, own: Path, tmp_path: Path) -> None:
    (tmp_path / "outputs.jsonl").write_text("")
    replay = cli("run", "--model", "outputs.jsonl", "--tasks", "lm_eval/own_text", "--include", own)
    assert replay.code == 2
    assert "cannot run tasks of lm_eval" in replay.err
    with serve(lambda n, body: says("x")) as server:
        command = ("run", "--model", server.spec(), "--tasks", "lm_eval/own_choice", "--include", own)
        scored = cli(*command)
        assert not server.bodies
    assert scored.code == 2
    assert "asks for log-likelihoods (multiple_choice)" in scored.err


def test_code_of_an_included_folder_runs_only_if_allowed(
    cli: Cli, tiny: Path, own: Path, tmp_path: Path
) -> None:
    marks = tmp_path / "ran"
    (own / "evil.py").write_text(f"open({str(marks)!r}, 'w').close()\ndef f(doc): return 'x'\n")
    path = own / "own_choice.yaml"
    plain = path.read_text()
    path.write_text(plain.replace("doc_to_choice: choices", "doc_to_text: !function evil.f"))
    command = ("run", "--model", tiny, "--tasks", "lm_eval/own_choice", "--include", own, "--dry-run")
    done = cli(*command)
    assert done.code == 2
    assert "--allow-code" in done.err
    assert not marks.exists()
    template = "{{ cycler.__init__.__globals__.os.mkdir('" + str(marks) + "') }}{{question}}"
    (own / "own_choice.yaml").unlink()
    (own / "own_group.yaml").unlink()
    write_yaml(
        own / "own_choice.yaml",
        {
            "task": "own_choice",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(own / "documents.jsonl")}},
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": template,
            "doc_to_target": "x",
        },
    )
    done = cli(*command)
    assert done.code == 2
    assert "is unsafe" in done.err
    assert not marks.exists()


def test_without_the_hub_it_is_said_so(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "eval-anything"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [script, "run", "--model", "micro", "--tasks", "lm_eval/arc_easy", "--out", "run"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 4, done.stderr
    assert "lm_eval/arc_easy: its data set cannot be downloaded" in done.stderr
    assert not (tmp_path / "run").exists()


def test_without_the_package_it_is_said_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from eval_anything.lm_eval import names

    monkeypatch.setattr(names, "find_spec", lambda name: None)
    done = cli("run", "--model", "micro", "--tasks", "lm_eval/arc_easy")
    assert done.code == 2
    assert "pip install '.[lm_eval]'" in done.err
