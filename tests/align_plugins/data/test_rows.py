"""The one form of training data: read, written, checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from align_plugins.data.contamination import benchmark_prompts
from align_plugins.data.files import read_rows, write_rows
from align_plugins.data.rows import Demonstration, Feedback, Preference, Prompt, prompt_key, rows_of
from align_plugins.experiment.micro_data import DEMONSTRATIONS, PAIRS, pairs, utility
from eval_anything.files.mistakes import FileProblemsError
from tests.support.helpers import Cli, png, write_jsonl


def _text(text: str) -> dict[str, str]:
    return {"modality": "text", "text": text}


def _row(text: str = "Draw a house.", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "parts": [_text(text)]}], **more}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """One row of each kind, with a picture."""
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.png").write_bytes(png())
    picture = {"modality": "image", "path": "media/a.png"}
    rows = [
        _row("Why?"),
        _row("Draw.", id="d", response=[_text("Here."), picture]),
        _row("Draw!", chosen=[picture], rejected=[_text("No.")], margin=2, aspects={"clarity": -1.0}),
        _row("Draw?", response=[_text("No.")], critique="a picture is missing", refined=[picture]),
    ]
    return write_jsonl(tmp_path / "rows.jsonl", rows)


def test_every_kind_is_read(file: Path) -> None:
    rows = read_rows(file)
    assert [type(row) for row in rows] == [Prompt, Demonstration, Preference, Feedback]
    assert [row.id for row in rows] == ["1", "d", "3", "4"]
    demonstration, preference, feedback = rows[1:]
    assert isinstance(demonstration, Demonstration)
    assert [part.modality for part in demonstration.response] == ["text", "image"]
    assert isinstance(preference, Preference)
    assert (preference.margin, preference.aspects, preference.tie) == (2, {"clarity": -1.0}, False)
    assert isinstance(feedback, Feedback)
    assert feedback.critique == "a picture is missing"


def test_what_is_written_is_read_back(file: Path) -> None:
    rows = read_rows(file)
    again = file.with_name("again.jsonl")
    assert write_rows(again, rows) == 4
    assert read_rows(again) == rows


MISTAKES = {
    "a key nobody knows": (_row(respone=[_text("a")]), "unknown key 'respone'.*Did you mean response"),
    "half a pair": (_row(chosen=[_text("a")]), "no kind of row"),
    "two kinds in one": (
        _row(chosen=[_text("a")], rejected=[_text("b")], response=[_text("c")]),
        "no kind of row",
    ),
    "an empty response": (_row(response=[]), "response is empty"),
    "no words in the response": (_row(response=[_text("")]), "response is empty"),
    "no user at the end": (
        {"messages": [{"role": "assistant", "parts": [_text("a")]}]},
        "must end with one of the user",
    ),
    "a margin below 0": (_row(chosen=[_text("a")], rejected=[_text("b")], margin=-1), "margin must be"),
    "a medium that is not there": (
        _row(response=[{"modality": "image", "path": "media/none.png"}]),
        "none.png",
    ),
    "a medium outside": (_row(response=[{"modality": "image", "path": "../a.png"}]), "outside"),
    "no messages": ({"response": [_text("a")]}, "messages"),
    "fields of another project": (
        {"question": "a", "response_1": "b", "response_2": "c"},
        "data convert",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_line(name: str, tmp_path: Path) -> None:
    row, message = MISTAKES[name]
    path = write_jsonl(tmp_path / "rows.jsonl", [_row(), row])
    with pytest.raises(FileProblemsError, match=message) as caught:
        read_rows(path)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [row for row, _ in MISTAKES.values()])
    with pytest.raises(FileProblemsError) as caught:
        read_rows(path)
    assert len(caught.value.problems) == len(MISTAKES)


def test_the_wrong_kind_is_named(file: Path) -> None:
    with pytest.raises(FileProblemsError, match="row '1' is a prompt, and sft needs demonstrations"):
        rows_of(read_rows(file), Demonstration, file, "sft")


def test_check_tells_what_is_in_a_file(cli: Cli, file: Path) -> None:
    found = cli("data", "check", file, "--json")
    assert found.code == 0, found.err
    assert found.json["kinds"] == {
        "prompt": 1,
        "demonstration": 1,
        "preference pair": 1,
        "feedback": 1,
    }
    assert found.json["modalities"]["chosen"] == {"image": 1}
    assert len(found.json["examples"]) == 4
    shown = cli("data", "check", file)
    assert "4 rows" in shown.out
    assert "[image a.png]" in shown.out


def test_check_finds_duplicates_ties_and_prompts_of_benchmarks(cli: Cli, tmp_path: Path) -> None:
    sample = json.loads(_first_sample())
    asked = sample["messages"][0]["parts"][0]["text"]
    rows = [
        _row("One?", id="a", chosen=[_text("x")], rejected=[_text("y")]),
        _row("One?", id="b", chosen=[_text("X ")], rejected=[_text("y")]),
        _row("Two?", id="c", chosen=[_text("x")], rejected=[_text(" x")]),
        _row("Three?", id="d", chosen=[_text("x")], rejected=[_text("y")], margin=0),
        _row(f"  {asked.upper()}", id="e", chosen=[_text("x")], rejected=[_text("y")]),
    ]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    found = cli("data", "check", path, "--json")
    assert found.code == 2
    assert found.json["duplicates"] == [["a", "b"]]
    assert found.json["ties"] == ["c", "d"]
    assert [hit["row"] for hit in found.json["contaminated"]] == ["e"]
    assert cli("data", "check", path, "--allow-contamination").code == 0


def _first_sample() -> str:
    from eval_anything.files.places import content_folder

    lines = (content_folder("benchmarks") / "open/selection/samples.jsonl").read_text("utf-8")
    return lines.splitlines()[0]


def test_check_decodes_media(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(size=64, noise=1)[:2000])
    path = write_jsonl(
        tmp_path / "rows.jsonl", [_row(response=[{"modality": "image", "path": "a.png"}])]
    )
    found = cli("data", "check", path)
    assert found.code == 2
    assert "row '1': response" in found.out


def test_micro_data_are_from_seeds_and_in_no_benchmark(micro_data: Path) -> None:
    known = benchmark_prompts().prompts
    rows = read_rows(micro_data / PAIRS) + read_rows(micro_data / DEMONSTRATIONS)
    assert len(rows) == 96
    assert not [row.id for row in rows if prompt_key(row.messages) in known]
    assert [one.chosen for one in pairs(5, 1)] == [one.chosen for one in pairs(5, 1)]
    assert [one.chosen for one in pairs(5, 1)] != [one.chosen for one in pairs(5, 2)]


def test_the_noise_of_labels_is_what_was_asked_for() -> None:
    drawn = pairs(300, 3, noise=0.27)
    wrong = sum(one.utilities[0] < one.utilities[1] for one in drawn)
    assert 55 <= wrong <= 107  # 81 are expected; three standard deviations are 23
    clean = pairs(50, 3, noise=0.0)
    assert all(one.utilities[0] > one.utilities[1] for one in clean)
    assert {frozenset((a.chosen, a.rejected)) for a in clean} == {
        frozenset((a.chosen, a.rejected)) for a in drawn[:50]
    }


def test_utility_likes_the_right_answer_best() -> None:
    for one in pairs(60, 4, noise=0.0):
        best = utility(one.exchange, one.exchange.answer)
        assert best >= one.utilities[0] > one.utilities[1]
        assert utility(one.exchange, ()) <= 0
