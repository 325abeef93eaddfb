"""`eval-anything annotate`: real requests to the real server, and what becomes of the answers."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from align_plugins.data.files import read_rows
from align_plugins.data.rows import Feedback, Preference
from eval_anything.annotate.export import export
from eval_anything.annotate.log import latest_answers, read_annotations
from eval_anything.content import Response, TextPart
from eval_anything.errors import UserError
from eval_anything.judges.scorer import score_response
from eval_anything.tasks.load import folder_at, load_task
from tests.support.annotating import annotated_task, saved_answers, serving
from tests.support.helpers import Cli, bundled_judge, make_task, text_sample, write_jsonl
from tests.support.labelled import make_judge_folder


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return annotated_task(tmp_path / "tasks")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "labels" / "mine.jsonl"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return saved_answers(tmp_path / "good", "good", "well 9 done")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    return saved_answers(tmp_path / "bad", "bad", "poorly 1")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


# --- votes ---------------------------------------------------------------------------------------


def test_votes_become_shares_that_a_task_scores_with(task: Path, log: Path, cli: Cli) -> None:
    votes = {"ann": ["text"], "bo": ["audio", "text"], "cy": ["text", "audio"], "di": ["video"]}
    for name, vote in votes.items():
        with serving(task, log, annotator=name) as client:
            while (question := client.state()["question"]) is not None:
                assert client.submit(key=question["key"], vote=vote).status == 200
    assert cli("annotate", "--export", log).code == 0
    rows = {row["id"]: row for row in rows_of(log.with_name("mine.votes.jsonl"))}
    assert set(rows) == {"s0", "s1", "s2"}
    assert rows["s1"]["targets"] == {"votes": {"ta": 0.5, "t": 0.25, "v": 0.25}}
    assert rows["s1"]["metadata"]["annotators"] == ["ann", "bo", "cy", "di"]
    # merged as docs/annotate.md says
    samples = rows_of(task / "samples.jsonl")
    for sample in samples:
        sample.setdefault("targets", {}).update(rows[sample["id"]]["targets"])
    write_jsonl(task / "samples.jsonl", samples)
    merged = load_task(folder_at(task)).by_id["s1"]
    judge = bundled_judge("selection_contract")
    scores = asyncio.run(score_response([judge], merged, Response((TextPart("x"),))))
    assert scores["vote_share"].value == 0.25


def test_each_answer_says_who_when_and_about_what(task: Path, log: Path) -> None:
    with serving(task, log) as client:
        client.submit(vote=["text"])
    (annotation,) = read_annotations(log)
    loaded = load_task(folder_at(task))
    assert annotation.annotator == "ann"
    assert annotation.time.endswith("+00:00")
    assert annotation.item == loaded.item(loaded.by_id[annotation.sample_id])


# --- preferences ---------------------------------------------------------------------------------


def test_sides_are_shuffled_on_the_page_and_not_in_the_record(
    task: Path, log: Path, good: Path, bad: Path
) -> None:
    first = set()
    for name in ("ann", "bo", "cy"):
        with serving(task, log, [good], bad, name) as client:
            while (question := client.state()["question"]) is not None:
                assert "good" not in json.dumps(question)  # blind: no names of runs
                sides = [response[0]["text"] for response in question["responses"]]
                chosen = "first" if sides[0].startswith("well") else "second"
                first.add(chosen)
                assert client.submit(preferred=chosen).status == 200
    assert first == {"first", "second"}
    found = latest_answers(read_annotations(log))
    assert [a.preferred for a in found] == ["a"] * 9
    assert {a.shown_first for a in found} == {"a", "b"}


def test_labels_go_straight_into_calibration(
    task: Path, log: Path, good: Path, bad: Path, tmp_path: Path, cli: Cli
) -> None:
    """With a judge by code that reads the first digit: it agrees with the annotators."""
    for name in ("ann", "bo"):
        with serving(task, log, [good], bad, name) as client:
            for _ in range(3):
                sides = client.state()["question"]["responses"]
                client.submit(preferred="first" if "9" in sides[0][0]["text"] else "second")
        for outputs, grade in ((good, 5), (bad, 2)):
            with serving(task, log, [outputs], None, name) as client:
                for _ in range(3):
                    client.submit(grade=grade, critique="  more <b>detail</b>  ")
    assert set(export(log)) == {"labels", "pairs", "feedback"}
    make_judge_folder(tmp_path / "judges")
    labels = log.with_name("mine.labels.jsonl")
    measured = cli(
        *("judges", "calibrate", "digit", "--include", tmp_path / "judges", "--allow-code"),
        *("--labels", labels, "--json"),
    )
    assert measured.code == 0, measured.err
    assert measured.json["pairs"]["n"] == 6
    assert measured.json["pairs"]["figures"]["accuracy"]["value"] == 1
    assert measured.json["grades"]["n"] == 12
    assert measured.json["grades"]["figures"]["rho"]["value"] == pytest.approx(1)


def test_training_rows(task: Path, log: Path, good: Path, bad: Path) -> None:
    with serving(task, log, [good], bad) as client:
        client.submit(preferred="tie")
        sides = client.state()["question"]["responses"]
        client.submit(preferred="first" if sides[0][0]["text"].startswith("poorly") else "second")
    with serving(task, log, [bad]) as client:
        client.submit(grade=2, critique="Say more.")
        client.submit(grade=4)
    written = export(log)
    pairs = read_rows(written["pairs"])
    assert all(isinstance(row, Preference) for row in pairs)
    tie, pair = pairs
    assert isinstance(tie, Preference)
    assert tie.tie
    assert isinstance(pair, Preference)
    assert isinstance(pair.chosen[0], TextPart)
    assert pair.chosen[0].text.startswith("poorly")
    (feedback,) = read_rows(written["feedback"])
    assert isinstance(feedback, Feedback)
    assert feedback.critique == "Say more."
    assert feedback.messages[-1].role == "user"


def test_a_response_that_failed_or_is_missing_is_left_out(
    task: Path, log: Path, good: Path, tmp_path: Path, cli: Cli
) -> None:
    some = saved_answers(tmp_path / "some", "some", "half", ids=["s0", "s1", "s2"])
    (some.parent / "some.wav").write_bytes(b"no sound")
    rows = rows_of(some)
    rows[2]["parts"] = []
    write_jsonl(some, rows)
    with serving(task, log, [good], some) as client:
        assert client.state()["total"] == 1
        assert client.state()["question"]["sample"] == "s1"
    write_jsonl(some, rows[::2])
    arguments = ("mine/demo", "--include", task, "--out", log)
    assert "no response to mine/demo" in cli("annotate", *arguments, "--outputs", some).err


def test_of_several_turns_the_last_answer_is_graded(tmp_path: Path, log: Path) -> None:
    turns = [{"parts": [{"modality": "text", "text": "And now?"}]}]
    task = make_task(tmp_path / "t", samples=[text_sample("s0", "First?", turns=turns)])
    said = [[{"modality": "text", "text": word}] for word in ("earlier", "last")]
    saved = write_jsonl(
        tmp_path / "said.jsonl", [{"sample_id": "s0", "parts": said[1], "turns": said[:1]}]
    )
    with serving(task, log, [saved]) as client:
        question = client.state()["question"]
        told = [[role, parts[0]["text"]] for role, parts in question["messages"]]
        assert told == [["user", "First?"], ["assistant", "earlier"], ["user", "And now?"]]
        assert question["responses"][0][0]["text"] == "last"
        client.submit(grade=3)
        with_rival = make_task(tmp_path / "x", samples=[text_sample("s0", "First?", turns=turns)])
    said[0][0]["text"] = "something else"
    rival = write_jsonl(
        tmp_path / "rival.jsonl", [{"sample_id": "s0", "parts": said[1], "turns": said[:1]}]
    )
    with (
        pytest.raises(UserError, match="asked different things"),
        serving(with_rival, log, [saved], rival),
    ):
        pass


def test_a_run_is_annotated(cli: Cli, task: Path, log: Path, good: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = cli("score", "--outputs", good, "--include", task, "--tasks", "mine/demo", "--out", run)
    assert done.code == 0, done.err
    with serving(task, log, [run]) as client:
        assert client.state()["total"] == 3
    samples = rows_of(task / "samples.jsonl")
    samples[1]["messages"][0]["parts"][0]["text"] = "Something else?"
    write_jsonl(task / "samples.jsonl", samples)
    refused = cli("annotate", "mine/demo", "--include", task, "--outputs", run, "--out", log)
    assert refused.code == 2
    assert "another version of mine/demo" in refused.err


# --- partial, repeated, taken back, resumed ------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"grade": None},
        {"critique": "a critique alone"},
        {"grade": 0},
        {"grade": 6},
        {"grade": 2.5},
        {"grade": "5"},
        {"vote": ["text"]},
        {"grade": 3, "preferred": "tie"},
        {"grade": 3, "critique": "x" * 20_001},
        {"grade": 3, "extra": 1},
        {"key": "0" * 64, "grade": 3},
        {"key": None, "grade": 3},
    ],
)
def test_partial_answers_are_refused(task: Path, log: Path, good: Path, answer: dict[str, Any]) -> None:
    with serving(task, log, [good]) as client:
        reply = client.submit(**answer)
        assert reply.status == 422
        assert reply.json["error"]
        assert client.state()["done"] == 0
    assert log.read_bytes() == b""


@pytest.mark.parametrize("vote", [[], ["text", "text"], ["smell"], "text", [["text"]]])
def test_votes_for_nothing_are_refused(task: Path, log: Path, vote: Any) -> None:
    with serving(task, log) as client:
        assert client.submit(vote=vote).status == 422
    assert log.read_bytes() == b""


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b'{"key": "\\ud800"}', b"[" * 9999]
)
def test_broken_bodies_are_refused(task: Path, log: Path, body: bytes) -> None:
    with serving(task, log) as client:
        assert client.ask("submit", body).status == 422
        assert client.submit(vote=["text"]).status == 200


def test_a_repeated_answer_replaces_the_earlier_one(task: Path, log: Path, good: Path) -> None:
    with serving(task, log, [good]) as client:
        key = client.state()["question"]["key"]
        for grade in (1, 1, 4):
            assert client.submit(key=key, grade=grade).json["done"] == 1
    assert [a.grade for a in read_annotations(log)] == [1, 1, 4]
    export(log)
    assert [row["label"] for row in rows_of(log.with_name("mine.labels.jsonl"))] == [4]


def test_undo_asks_again_and_later_puts_off(task: Path, log: Path, good: Path) -> None:
    with serving(task, log, [good]) as client:
        assert client.ask("undo", {}).status == 422
        key = client.state()["question"]["key"]
        client.submit(grade=2, critique="so so")
        undone = client.ask("undo", {}).json
        assert undone["done"] == 0
        assert undone["question"]["key"] == key
        assert undone["earlier"]["grade"] == 2
        assert undone["earlier"]["critique"] == "so so"
        later = client.ask("skip", {"key": key}).json
        assert later["question"]["key"] != key
        client.submit(grade=3)
        client.submit(grade=3)
        assert client.state()["question"]["key"] == key
    assert len(latest_answers(read_annotations(log))) == 2
    with serving(task, log, [good]) as client:  # withdrawn stays withdrawn
        assert client.state()["done"] == 2


def test_what_is_answered_is_not_asked_again(task: Path, log: Path, good: Path) -> None:
    with serving(task, log, [good]) as client:
        order = [client.state()["question"]["sample"]]
        order.append(client.submit(grade=3).json["question"]["sample"])
    with serving(task, log, [good]) as client:
        assert client.state()["done"] == 1
        assert client.state()["question"]["sample"] == order[1]
    with serving(task, log, [good], annotator="bo") as client:
        assert client.state()["done"] == 0


def test_orders_differ_between_annotators(tmp_path: Path, log: Path) -> None:
    task = make_task(tmp_path / "t", samples=[text_sample(f"s{i}", f"Q{i}") for i in range(20)])
    starts = set()
    for name in "abcdef":
        with serving(task, log, annotator=name) as client:
            starts.add(client.state()["question"]["sample"])
    assert len(starts) > 2


def test_many_at_once_leave_whole_lines(task: Path, log: Path, good: Path) -> None:
    with serving(task, log, [good]) as client:
        key = client.state()["question"]["key"]

        def submit(grade: int) -> int:
            return client.submit(key=key, grade=grade, critique="x" * 9000).status

        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(submit, [1, 2, 3, 4, 5] * 10)) == {200}
        assert client.state()["done"] == 1
    assert len(read_annotations(log)) == 50
    assert len(latest_answers(read_annotations(log))) == 1
