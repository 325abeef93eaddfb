"""Learning from language feedback: its stages one by one, what is reused, what stops it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from align_plugins.data.files import read_rows
from align_plugins.data.rows import Demonstration, Feedback, Preference, parts_key
from align_plugins.experiment.data import FEEDBACK, PROMPTS, cut, make_data
from eval_anything.output.progress import Progress
from tests.support.configs import weights
from tests.support.helpers import Cli, write_jsonl
from tests.support.judge_server import Asked, judge_server
from tests.support.lanes import full
from tests.support.processes import Command
from tests.support.scripted_server import Reply, ScriptedServer, fails, says, serve

ASK = "what should be?"
FEW_PROMPTS = "few-prompts.jsonl"


@pytest.fixture(scope="session")
def feedback_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 preference pairs, 40 critiques, 96 prompts and 40 of these; not to be changed."""
    folder = tmp_path_factory.mktemp("feedback-data")
    make_data(folder, "micro", 40, 96, 0.27, 3, Progress("silent"))
    cut(folder / PROMPTS, 40, folder / FEW_PROMPTS)
    return folder


def settings(folder: Path, rows: Path, /, **more: Any) -> Path:
    """A settings file of a short training of micro from feedback, into `folder`/out."""
    content = {
        "model": "micro",
        "data": str(rows / PROMPTS),
        "out": "out",
        "threads": 1,
        "device": "cpu",
        "critic": {
            "data": str(rows / FEEDBACK),
            "ask": ASK,
            "training": {"num_train_epochs": 2, "learning_rate": 1e-3, "per_device_train_batch_size": 8},
        },
        "dpo": {"learning_rate": 3e-4, "per_device_train_batch_size": 8, "logging_steps": 1},
        **more,
    }
    path = folder / "feedback.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


def stage(out: Path, name: str) -> Path:
    """The one file of rows of a stage."""
    (found,) = (out / "stages").glob(f"{name}-*.jsonl")
    return found


def _text(text: str) -> list[dict[str, str]]:
    return [{"modality": "text", "text": text}]


def _questions(folder: Path, n: int = 6) -> Path:
    rows = [
        {"id": f"q{i}", "messages": [{"role": "user", "parts": _text(f"Question {i}?")}]}
        for i in range(n)
    ]
    return write_jsonl(folder / "questions.jsonl", rows)


# --- on micro --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_stages_of_micro_and_what_is_reused(cli: Cli, tmp_path: Path, feedback_data: Path) -> None:
    path = settings(tmp_path, feedback_data)
    done = cli("train", "feedback", "--config", path, "--json")
    assert done.code == 0, done.err
    out = tmp_path / "out"
    prompts = read_rows(feedback_data / PROMPTS)
    responses = read_rows(stage(out, "responses"))
    critiques = read_rows(stage(out, "critiques"))
    refined = read_rows(stage(out, "refined"))
    pairs = read_rows(stage(out, "pairs"))
    assert 80 <= len(responses) <= len(prompts) == 96
    said = {r.id: r for r in responses}
    for row in critiques:
        assert isinstance(row, Feedback)
        assert row.critique
        first = said[row.id]
        assert isinstance(first, Demonstration)
        assert parts_key(row.response) == parts_key(first.response)
    second = {r.id: r for r in refined}
    for pair in pairs:
        assert isinstance(pair, Preference)
        assert not pair.tie
        row = second[pair.id]
        assert isinstance(row, Feedback)
        assert row.refined is not None
        assert parts_key(pair.chosen) == parts_key(row.refined)
        assert parts_key(pair.rejected) == parts_key(row.response)
    (counted,) = [s["counts"] for s in done.json["stages"] if s["name"] == "pairs"]
    assert counted["kept"] == len(pairs) == done.json["pairs"]
    assert counted["identical"] == len(refined) - len(pairs)
    assert counted["kept"] > 10
    assert (out / "final" / "codec.json").is_file()

    # The same again asks and trains nothing; another rate of DPO is another training on the same pairs.
    before = {p: p.stat().st_mtime_ns for p in (out / "stages").rglob("*") if p.is_file()}
    again = cli("train", "feedback", "--config", path, "--json")
    assert again.json["stages"] == done.json["stages"]
    other = cli("train", "feedback", "--config", path, "dpo.learning_rate=1e-4", "--json")
    assert other.code == 0, other.err
    assert all(p.stat().st_mtime_ns == t for p, t in before.items() if p.name != ".lock")
    assert len(list((out / "stages").glob("dpo-*"))) == 2
    assert len(list((out / "stages").glob("pairs-*.jsonl"))) == 1
    run = cli("run", "--model", out / "final", "--tasks", "selection", "--limit", "4", "--json")
    assert run.code == 0, run.err


@pytest.mark.slow
def test_a_stage_may_be_given(cli: Cli, tmp_path: Path, feedback_data: Path) -> None:
    """Critiques that people wrote take the place of responses and critic; pairs that of all."""
    path = settings(
        tmp_path, feedback_data, critic={}, given={"critiques": str(feedback_data / FEEDBACK)}
    )
    done = cli("train", "feedback", "--config", path, "then=pairs", "--json")
    assert done.code == 0, done.err
    assert [s["name"] for s in done.json["stages"]] == ["refined", "pairs"]
    pairs = done.json["final"]
    path = settings(tmp_path, feedback_data, critic={}, given={"pairs": pairs}, most=8, out="other")
    done = cli("train", "feedback", "--config", path, "--json")
    assert done.code == 0, done.err
    assert done.json["pairs"] == 8
    assert done.json["step"] == 1


@pytest.mark.slow
def test_the_control_draws_again_from_the_prompt_alone(
    cli: Cli, tmp_path: Path, feedback_data: Path
) -> None:
    path = settings(tmp_path, feedback_data, critic={}, critique="none")
    done = cli("train", "feedback", "--config", path, "then=pairs", "--json")
    assert done.code == 0, done.err
    assert [s["name"] for s in done.json["stages"]] == ["responses", "refined", "pairs"]
    refined = read_rows(stage(tmp_path / "out", "refined"))
    same = [
        r
        for r in refined
        if isinstance(r, Feedback) and parts_key(r.response) == parts_key(r.refined or ())
    ]
    assert 0 < len(same) < len(refined)  # drawn anew, from the same distribution
    run = next((tmp_path / "out" / "stages").glob("refined-*/run.json"))
    assert json.loads(run.read_bytes())["sampling"] == {"temperature": 1.0}


@pytest.mark.chaos
@pytest.mark.slow
def test_killed_it_comes_to_the_same(cli: Cli, tmp_path: Path, feedback_data: Path) -> None:
    prompts = feedback_data / (PROMPTS if full("chaos") else FEW_PROMPTS)
    batches = {"model_args": {"batch_size": "8"}}
    path = settings(tmp_path, feedback_data, data=str(prompts), sample=batches)
    whole = cli("train", "feedback", "--config", path, f"out={tmp_path / 'whole'}", "--json")
    assert whole.code == 0, whole.err
    out = tmp_path / "out"
    begun: tuple[Callable[[], bool], ...] = (
        lambda: any(p.stat().st_size > 4000 for p in out.glob("stages/responses-*/**/records.jsonl")),
        lambda: any(out.glob("stages/dpo-*/log.jsonl")),
    )
    for there in begun if full("chaos") else begun[-1:]:
        training = Command(["train", "feedback", "--config", path], tmp_path / "errors")
        while training.poll() is None and not there():
            time.sleep(0.01)
        training.kill()
    done = cli("train", "feedback", "--config", path, "--json")
    assert done.code == 0, done.err
    expected, found = weights(tmp_path / "whole" / "final"), weights(out / "final")
    assert all((tensor == found[name]).all() for name, tensor in expected.items())
    texts = [stage(folder, "pairs").read_text() for folder in (tmp_path / "whole", out)]
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_a_full_disk_is_said_and_mended(cli: Cli, tmp_path: Path, feedback_data: Path) -> None:
    """No file may be larger than 8 kB: the records of the first stage are."""
    path = settings(tmp_path, feedback_data, critic={}, critique="none")
    arguments, errors = ["train", "feedback", "--config", path, "then=pairs"], tmp_path / "errors"
    status = Command(arguments, errors, largest_file=8 * 1024).wait()
    said = errors.read_text()
    assert status == 4, said
    assert "cannot write" in said
    assert "run the same command again" in said
    assert cli("train", "feedback", "--config", path, "then=pairs").code == 0


# --- critics, refiners and judges that are servers -------------------------------------------------


def _said(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Role and text of every message."""

    def text(content: Any) -> str:
        return content if isinstance(content, str) else " ".join(p.get("text", "") for p in content)

    return [(m["role"], text(m["content"])) for m in body["messages"]]


def tutor(number: int, body: dict[str, Any]) -> Reply:
    """Answers poorly at first, criticises when asked to, and better once it is told what is wrong."""
    *before, (_, last) = _said(body)
    if last == "What is wrong?":
        return says("all is well" if "3?" in before[0][1] else f"Say more of {before[0][1]}")
    if "Say more" in last:
        return says("a much longer answer" if "4?" not in last else "poor")
    return says("poor")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serve(tutor) as running:
        yield running


def served(folder: Path, spec: str, **more: Any) -> Path:
    """Settings under which a server answers, criticises and refines."""
    critic = {"ask": "What is wrong?", "fine": "All is  well"}
    return settings(
        folder,
        folder,
        data=str(_questions(folder)),
        model=spec,
        critic=critic,
        then="pairs",
        allow_contamination=True,
        **more,
    )


@pytest.mark.parametrize("shown", [True, False])
def test_a_server_is_asked_in_this_form(
    shown: bool, cli: Cli, tmp_path: Path, server: ScriptedServer
) -> None:
    path = served(tmp_path, server.spec(), refine={"shown": shown, "ask": "Answer again."})
    done = cli("train", "feedback", "--config", path, "--json")
    assert done.code == 0, done.err
    asked = [_said(body) for body in server.bodies]
    assert [("user", "Question 0?")] in asked
    assert [("user", "Question 0?"), ("assistant", "poor"), ("user", "What is wrong?")] in asked
    told = "Say more of Question 0? Answer again."
    if shown:
        assert [("user", "Question 0?"), ("assistant", "poor"), ("user", told)] in asked
    else:
        assert any(len(m) == 1 and m[0][1].split() == f"Question 0? {told}".split() for m in asked)
    counts = {s["name"]: s["counts"] for s in done.json["stages"]}
    assert counts["critiques"]["different"] == 6
    assert counts["refined"]["asked"] == 5  # the third question was answered well
    assert counts["pairs"]["identical"] == 1  # the fourth came out the same
    pairs = read_rows(Path(done.json["final"]))
    assert sorted(pair.id for pair in pairs) == ["q0", "q1", "q2", "q5"]
    assert all(p.metadata["critique"].startswith("Say more") for p in pairs)


def test_the_critic_says_which_refined_answers_are_better(
    cli: Cli, tmp_path: Path, server: ScriptedServer
) -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        *before, (_, last) = _said(body)
        if last == "What is wrong?" and before[-1][1] == "a much longer answer":
            return says("all is well" if "1?" in before[0][1] else "still wrong")
        return tutor(number, body)

    server.script = script
    path = served(tmp_path, server.spec(), filter={"judge": "critic"})
    done = cli("train", "feedback", "--config", path, "--json")
    assert done.code == 0, done.err
    counts = done.json["stages"][-1]["counts"]
    assert (counts["kept"], counts["not_better"], counts["identical"]) == (1, 3, 1)
    assert [pair.id for pair in read_rows(Path(done.json["final"]))] == ["q1"]


def test_a_pairwise_judge_must_prefer_the_refined_answer(
    cli: Cli, tmp_path: Path, server: ScriptedServer
) -> None:
    def reply(asked: Asked) -> tuple[int, str]:
        texts = [part["text"] for part in asked.content]
        end = next(i for i, text in enumerate(texts) if text.startswith("--- end answer"))
        longer = "first" if any("longer" in text for text in texts[:end]) else "second"
        wrong = any("Question 5?" in text for text in texts)
        better = {"first": "second", "second": "first"}[longer] if wrong else longer
        return 200, json.dumps({"mark": "@MARK@", "explanation": "because", "better": better})

    with judge_server() as judge:
        judge.reply = reply
        path = served(tmp_path, server.spec(), filter={"judge": f"synergy_pairwise={judge.spec}"})
        done = cli("train", "feedback", "--config", path, "--json")
    assert done.code == 0, done.err
    counts = done.json["stages"][-1]["counts"]
    assert (counts["kept"], counts["not_better"]) == (3, 1)


def test_a_judge_gives_critiques_and_values(cli: Cli, tmp_path: Path, server: ScriptedServer) -> None:
    """The explanations of a rubric are critiques; of another its values say what is better."""

    def reply(asked: Asked) -> tuple[int, str]:
        text = " ".join(part["text"] for part in asked.content)
        grade = 8 if "longer" in text and "Question 0?" not in text else 4
        said = {"mark": "@MARK@", "explanation": "Say more of it.", "grades": {"flawless": grade}}
        return 200, json.dumps(said)

    with judge_server() as judge:
        judge.reply = reply
        named = f"critique={judge.spec}"
        path = served(tmp_path, server.spec(), filter={"judge": named, "least": 0.1})
        text = path.read_text().replace("ask: What is wrong?", f"judge: {named}")
        path.write_text(text.replace("  fine: All is  well\n", ""))
        done = cli("train", "feedback", "--config", path, "--json")
    assert done.code == 0, done.err
    pairs = read_rows(Path(done.json["final"]))
    assert {p.metadata["critique"] for p in pairs} == {"Say more of it."}
    assert sorted(p.id for p in pairs) == ["q1", "q2", "q3", "q4", "q5"]
    assert done.json["stages"][-1]["counts"]["not_better"] == 1


def test_a_server_that_is_away_leaves_the_rest_for_the_next_call(
    cli: Cli, tmp_path: Path, server: ScriptedServer, short_pauses: None
) -> None:
    def broken(number: int, body: dict[str, Any]) -> Reply:
        return fails(500) if _said(body) == [("user", "Question 2?")] else tutor(number, body)

    server.script = broken
    path = served(tmp_path, server.spec())
    done = cli("train", "feedback", "--config", path)
    assert done.code == 4
    assert "1 answers wait for a server" in done.err
    server.script = tutor
    server.bodies.clear()
    done = cli("train", "feedback", "--config", path, "--json")
    assert done.code == 0, done.err
    first = [m for m in map(_said, server.bodies) if len(m) == 1]
    assert first == [[("user", "Question 2?")]]


def test_a_critic_that_says_the_same_of_all_is_warned_of(
    cli: Cli, tmp_path: Path, server: ScriptedServer
) -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        wrong = _said(body)[-1][1] == "What is wrong?"
        return says("Say more.") if wrong else tutor(number, body)

    server.script = script
    path = served(tmp_path, server.spec())
    _questions(tmp_path, 12)
    done = cli("train", "feedback", "--config", path)
    assert done.code == 0, done.err
    assert "the critic says the same of 12 of 12 responses ('Say more.')" in done.err
    assert done.out.count("warning: the critic") == 1


def test_nothing_left_after_filtering_tells_the_counts(
    cli: Cli, tmp_path: Path, server: ScriptedServer
) -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        return says("Say more." if _said(body)[-1][1] == "What is wrong?" else "poor")

    server.script = script
    done = cli("train", "feedback", "--config", served(tmp_path, server.spec()))
    assert done.code == 2
    assert "no pairs are left to learn from" in done.err
    assert "6 refined, 6 identical, 0 unjudged, 0 not better, 0 kept" in done.err


# --- what is refused before anything runs ----------------------------------------------------------


def test_unknown_keys_have_near_names(cli: Cli, tmp_path: Path) -> None:
    data = _questions(tmp_path)
    for more, said in (
        ({"dpo": {"betta": 1}}, "dpo.betta: unknown key. Did you mean beta?"),
        ({"dpo": {"out": "x"}}, "dpo.out: unknown key."),
        ({"dpo": {"beta": -1}}, "dpo: beta must be above 0"),
        ({"critick": {}}, "critick"),
        ({"refine": {"show": False}}, "shown"),
        ({"filter": {"judge": "critic"}, "critic": {}}, "needs critic.fine"),
        ({"critic": {"judge": "a=b", "model": "micro"}}, "either a judge, or a model"),
        ({"given": {"pairs": "a", "refined": "b"}}, "one file is enough"),
        ({"data": []}, "name a file of prompts"),
        ({"sample": {"temperature": -1}}, "must not be below 0"),
        ({"sample": {"generation": {"top_p": 2}}}, "<= 1"),
        ({"sample": {"generation": {"temperature": 1}}}, "the temperature is sample.temperature"),
        ({"critic": {"generation": {"top_k": 5}}}, "critic.generation: temperature 0 takes"),
        ({"then": "grpo"}, "grpo"),
    ):
        path = settings(tmp_path, tmp_path, **{"data": str(data), "critic": {}, **more})
        done = cli("train", "feedback", "--config", path)
        assert done.code == 2, said
        assert said in done.err
    path = settings(tmp_path, tmp_path, data=str(data), critic={})
    done = cli("train", "feedback", "--config", path, "dpo.betta=1")
    assert done.code == 2
    assert "Did you mean beta?" in done.err
    assert not (tmp_path / "out").exists()


def test_rows_without_what_is_needed_are_named(cli: Cli, tmp_path: Path, server: ScriptedServer) -> None:
    data = _questions(tmp_path)
    path = settings(tmp_path, tmp_path, data=str(data), critic={"data": str(data)})
    done = cli("train", "feedback", "--config", path)
    assert done.code == 2
    assert "row 'q0' is a prompt, and a critic needs feedbacks" in done.err
    row = {"messages": [{"role": "user", "parts": _text("Why?")}], "response": _text("Because.")}
    refined = write_jsonl(tmp_path / "refined.jsonl", [{**row, "refined": _text("It is so.")}])
    path = settings(tmp_path, tmp_path, data=str(data), critic={"data": str(refined)}, out="other")
    done = cli("train", "feedback", "--config", path)
    assert done.code == 2
    assert "no row of" in done.err
    assert "has a critique" in done.err


def test_judges_and_metrics_must_be_there(cli: Cli, tmp_path: Path, server: ScriptedServer) -> None:
    for judge, said in (
        ({"judge": "critiqe=x"}, "Did you mean critique"),
        ({"judge": "synergy_pairwise"}, "needs a model: write synergy_pairwise=SPEC"),
        ({"judge": "validity", "metric": "valid"}, "validity has no 'valid', but valid_output"),
    ):
        done = cli("train", "feedback", "--config", served(tmp_path, server.spec(), filter=judge))
        assert done.code == 2
        assert said in done.err


def test_prompts_of_benchmarks_are_refused(cli: Cli, tmp_path: Path, server: ScriptedServer) -> None:
    from eval_anything.files.places import content_folder

    source = content_folder("benchmarks") / "open/selection/samples.jsonl"
    sample = json.loads(source.read_text("utf-8").splitlines()[0])
    path = served(tmp_path, server.spec())
    write_jsonl(tmp_path / "questions.jsonl", [{"messages": sample["messages"]}])
    done = cli("train", "feedback", "--config", path, "allow_contamination=false")
    assert done.code == 2
    assert "have a prompt that is in a benchmark" in done.err
    assert not server.bodies


def test_two_at_once_are_refused(cli: Cli, tmp_path: Path, server: ScriptedServer) -> None:
    import fcntl

    path = served(tmp_path, server.spec())
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = cli("train", "feedback", "--config", path)
    assert done.code == 2
    assert "in use by another process" in done.err
