"""Rows of other projects become rows of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from align_plugins.data.convert import convert_file
from align_plugins.data.files import read_rows
from align_plugins.data.rows import Demonstration, Feedback, Preference, Prompt, Row
from eval_anything.content import Part, TextPart
from tests.support.helpers import Cli, mp4, png, wav, write_jsonl

MEDIA = {
    "a.png": png(),
    "b.png": png((0, 0, 9)),
    "a.wav": wav(),
    "b.wav": wav(level=0.1),
    "a.mp4": mp4(),
    "b.mp4": mp4(frames=9),
}


def _converted(tmp_path: Path, *rows: dict[str, Any]) -> list[Row]:
    for name, data in MEDIA.items():
        (tmp_path / name).write_bytes(data)
    source = write_jsonl(tmp_path / "theirs.jsonl", rows)
    return read_rows(convert_file(source, tmp_path / "ours").path)


def _shape(parts: tuple[Part, ...]) -> list[str]:
    return [part.text if isinstance(part, TextPart) else f"<{part.modality}>" for part in parts]


PREFERENCES: dict[str, tuple[dict[str, Any], list[str], list[str], list[str]]] = {
    "T2T": (
        {"question": "Why?", "response_1": "a", "response_2": "b", "overall_response": 2},
        ["Why?"],
        ["b"],
        ["a"],
    ),
    "TI2T": (
        {
            "question": "What?",
            "image": "a.png",
            "response_1": "a",
            "response_2": "b",
            "overall_response": 1,
        },
        ["<image>", "What?"],
        ["a"],
        ["b"],
    ),
    "TA2T": (
        {
            "prompt": "What?",
            "audio_path": {"path": "a.wav", "bytes": None},
            "response_1": "a",
            "response_2": "b",
            "overall_response": "1",
        },
        ["<audio>", "What?"],
        ["a"],
        ["b"],
    ),
    "TV2T": (
        {
            "prompt": "<video>\nWhat?",
            "video_path": "a.mp4",
            "response_1": "a",
            "response_2": "b",
            "overall_response": 1,
        },
        ["<video>", "What?"],
        ["a"],
        ["b"],
    ),
    "T2I": (
        {"prompt": "Draw", "response_1": "a.png", "response_2": "b.png", "overall_image": 2},
        ["Draw"],
        ["<image>"],
        ["<image>"],
    ),
    "T2A": (
        {
            "prompt": "Play",
            "response_1": {"path": "a.wav"},
            "response_2": {"path": "b.wav"},
            "overall_audio": 1,
        },
        ["Play"],
        ["<audio>"],
        ["<audio>"],
    ),
    "T2V": (
        {"prompt": "Film", "response_1": "a.mp4", "response_2": "b.mp4", "overall_video": 1},
        ["Film"],
        ["<video>"],
        ["<video>"],
    ),
    "TI2TI": (
        {
            "question": "Change it",
            "image_url": "a.png",
            "response_1": "Here",
            "output_image_url_1": "b.png",
            "response_2": "No",
            "output_image_url_2": None,
            "overall_response": 1,
        },
        ["<image>", "Change it"],
        ["Here", "<image>"],
        ["No"],
    ),
    "TI2TI in its own fields": (
        {
            "input_text": "Change it",
            "input_image": "a.png",
            "better_text": "Here",
            "better_img": "b.png",
            "worse_text": "No",
            "worse_img": None,
        },
        ["<image>", "Change it"],
        ["Here", "<image>"],
        ["No"],
    ),
    "TRL, text": (
        {"prompt": "Why?", "chosen": "a", "rejected": "b"},
        ["Why?"],
        ["a"],
        ["b"],
    ),
    "TRL, the prompt in both": (
        {
            "chosen": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "a"}],
            "rejected": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "b"}],
        },
        ["Why?"],
        ["a"],
        ["b"],
    ),
    "TRL, with a picture": (
        {
            "images": ["a.png"],
            "prompt": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}
            ],
            "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "a"}]}],
            "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "b"}]}],
        },
        ["<image>", "What?"],
        ["a"],
        ["b"],
    ),
}


@pytest.mark.parametrize("name", PREFERENCES)
def test_preferences(name: str, tmp_path: Path) -> None:
    fields, prompt, chosen, rejected = PREFERENCES[name]
    (row,) = _converted(tmp_path, fields)
    assert isinstance(row, Preference)
    assert _shape(row.messages[-1].parts) == prompt
    assert (_shape(row.chosen), _shape(row.rejected)) == (chosen, rejected)


def test_the_better_picture_is_the_chosen_one(tmp_path: Path) -> None:
    (row,) = _converted(tmp_path, PREFERENCES["T2I"][0])
    assert isinstance(row, Preference)
    (part,) = row.chosen
    assert not isinstance(part, TextPart)
    assert part.path.read_bytes() == png((0, 0, 9))


def test_ratings_become_aspects_of_the_chosen_one(tmp_path: Path) -> None:
    fields = {
        **PREFERENCES["T2T"][0],
        "clarity_rate_1": 1,
        "clarity_rate_2": 3,
        "safety_rate_1": 2,
        "safety_rate_2": None,
    }
    (row,) = _converted(tmp_path, fields)
    assert isinstance(row, Preference)
    assert row.aspects == {"clarity": 2.0}


def test_language_feedback(tmp_path: Path) -> None:
    rows = _converted(
        tmp_path,
        {"prompt": "What?", "image": "a.png", "response": "a", "refinement": "b"},
        {"question": "Why?", "response": "a", "critique": "be longer"},
        {**PREFERENCES["T2T"][0], "feedback_1": "too short"},
    )
    assert [type(row) for row in rows] == [Feedback, Feedback, Feedback, Preference]
    assert isinstance(rows[0], Feedback)
    assert rows[0].refined == (TextPart("b"),)
    assert isinstance(rows[2], Feedback)
    assert (rows[2].response, rows[2].critique) == ((TextPart("a"),), "too short")


def test_demonstrations_and_prompts(tmp_path: Path) -> None:
    rows = _converted(
        tmp_path,
        {"prompt": "Why?", "response": "a"},
        {"prompt": "Why?", "completion": "a"},
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "a"}]},
        {"messages": [{"role": "user", "content": "Why?"}]},
        {"prompt": "Why?"},
    )
    assert [type(row) for row in rows] == [*[Demonstration] * 3, Prompt, Prompt]
    assert len({row.source_id for row in rows}) == 1


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nobody says which is better": (
        {"question": "a", "response_1": "b", "response_2": "c"},
        "says which is better",
    ),
    "both are better": (
        {"question": "a", "response_1": "b", "response_2": "c", "overall_response": 3},
        "says which is better",
    ),
    "a picture that is not there": (
        {**PREFERENCES["TI2T"][0], "image": "none.png"},
        "none.png cannot be read",
    ),
    "an address": ({**PREFERENCES["TI2T"][0], "image": "https://x/a.png"}, "download it"),
    "no prompt": ({"chosen": "a", "rejected": "b"}, "needs the field prompt"),
    "a label": ({"prompt": "a", "completion": "b", "label": True}, "unpaired"),
    "nothing known": ({"text": "a"}, "none of"),
    "a role nobody knows": ({"messages": [{"role": "tool", "content": "a"}]}, "the role 'tool'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_row_that_lacks_something_is_named(name: str, cli: Cli, tmp_path: Path) -> None:
    fields, message = WRONG[name]
    (tmp_path / "a.png").write_bytes(png())
    source = write_jsonl(tmp_path / "theirs.jsonl", [PREFERENCES["T2T"][0], fields])
    strict = cli("data", "convert", source, "--out", tmp_path / "ours", "--most-wrong", "0")
    assert strict.code == 2
    assert f"{source}:2: row 2: " in strict.err
    assert message in strict.err
    left = cli("data", "convert", source, "--out", tmp_path / "ours", "--json")
    assert (left.code, left.json["rows"], len(left.json["left_out"])) == (0, 1, 1)


def test_parquet_and_a_datasets_directory(tmp_path: Path) -> None:
    from datasets import Dataset, Features, Image, Value

    (tmp_path / "a.png").write_bytes(png())
    columns = {"question": ["What?"], "image": [str(tmp_path / "a.png")], "response_1": ["a"]}
    columns |= {"response_2": ["b"], "overall_response": [1]}
    features = Features(
        {
            "question": Value("string"),
            "image": Image(),
            "response_1": Value("string"),
            "response_2": Value("string"),
            "overall_response": Value("int64"),
        }
    )
    data = Dataset.from_dict(columns, features=features)
    data.save_to_disk(tmp_path / "saved")
    data.to_parquet(tmp_path / "theirs.parquet")
    for source in (tmp_path / "saved", tmp_path / "theirs.parquet"):
        (row,) = read_rows(convert_file(source, tmp_path / f"ours-{source.name}").path)
        assert isinstance(row, Preference)
        assert _shape(row.messages[0].parts) == ["<image>", "What?"]
