"""Rows as public data sets have them: what becomes of each, and why a row is left out."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from align_plugins.data.convert import Converted, convert_file
from align_plugins.data.files import read_rows
from align_plugins.data.rows import Demonstration, Preference, Prompt, Row
from eval_anything.content import Part, TextPart
from eval_anything.errors import UserError
from tests.support.helpers import Cli, mp4, png, wav, write_jsonl

A = {"role": "assistant", "content": "Because."}
B = {"role": "assistant", "content": "No."}
Q = {"role": "user", "content": "Why?"}
S = {"role": "system", "content": "Be brief."}
GOOD = {"messages": [Q, A]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in (("a.png", png()), ("b.png", png((0, 0, 9))), ("a.wav", wav()), ("a.mp4", mp4())):
        (tmp_path / name).write_bytes(data)
    return tmp_path


def converted(folder: Path, *rows: Any) -> Converted:
    return convert_file(write_jsonl(folder / "theirs.jsonl", rows), folder / "ours")


def only_row(folder: Path, fields: dict[str, Any]) -> Row:
    made = converted(folder, fields)
    assert made.left_out == []
    (row,) = read_rows(made.path)
    return row


def shape(parts: tuple[Part, ...]) -> list[str]:
    return [part.text if isinstance(part, TextPart) else f"[{part.path.stem[:4]}]" for part in parts]


def turns(row: Row) -> list[tuple[str, ...]]:
    return [(message.role, *shape(message.parts)) for message in row.messages]


def blocks(*content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


PAIRS: dict[str, tuple[dict[str, Any], list[tuple[str, ...]], float | None]] = {
    "UltraFeedback": (
        {
            "prompt": "Why?", "prompt_id": "x", "chosen": [Q, A], "rejected": [Q, B],
            "messages": [Q, A], "score_chosen": 8.5, "score_rejected": 7,
        },
        [("user", "Why?")],
        1.5,
    ),
    "UltraFeedback, cleaned": (
        {
            "prompt": " Why? ", "chosen": [Q, A], "rejected": [Q, B],
            "chosen-rating": 4.0, "rejected-rating": 4.0,
        },
        [("user", "Why?")],
        0.0,
    ),
    "of several turns": (
        {"prompt": "Why?", "chosen": [S, Q, B, Q, A], "rejected": [S, Q, B, Q, B]},
        [("system", "Be brief."), ("user", "Why?"), ("assistant", "No."), ("user", "Why?")],
        None,
    ),
    "the prompt as turns, and in both": (
        {"prompt": [Q], "chosen": [Q, A], "rejected": [Q, B]},
        [("user", "Why?")],
        None,
    ),
    "HH-RLHF": (
        {
            "chosen": "\n\nHuman: Why?\n\nAssistant: What?\n\nHuman: Why?\n\nAssistant: Because.",
            "rejected": "\n\nHuman: Why?\n\nAssistant: What?\n\nHuman: Why?\n\nAssistant: No.",
        },
        [("user", "Why?"), ("assistant", "What?"), ("user", "Why?")],
        None,
    ),
    "Orca": (
        {"system": "Be brief.", "question": "Why?", "chosen": "Because.", "rejected": "No."},
        [("system", "Be brief."), ("user", "Why?")],
        None,
    ),
    "Orca with the question in both": (
        {"system": "Be brief.", "chosen": [Q, A], "rejected": [Q, B]},
        [("system", "Be brief."), ("user", "Why?")],
        None,
    ),
    "Alpaca with chosen and rejected": (
        {"instruction": "Add.", "input": "1 1", "chosen": "Because.", "rejected": "No."},
        [("user", "Add.\n\n1 1")],
        None,
    ),
    "ShareGPT with chosen and rejected": (
        {
            "conversations": [{"from": "human", "value": "Why?"}],
            "chosen": {"from": "gpt", "value": "Because."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        [("user", "Why?")],
        None,
    ),
    "OpenAI": (
        {"input": {"messages": [Q], "tools": []}, "preferred_output": [A], "non_preferred_output": [B]},
        [("user", "Why?")],
        None,
    ),
    "PKU-SafeRLHF": (
        {"prompt": "Why?", "response_0": "No.", "response_1": "Because.", "better_response_id": 1},
        [("user", "Why?")],
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str, folder: Path) -> None:
    fields, prompt, margin = PAIRS[name]
    row = only_row(folder, fields)
    assert isinstance(row, Preference)
    assert turns(row) == prompt
    assert (shape(row.chosen), shape(row.rejected)) == (["Because."], ["No."])
    assert row.margin == margin


def test_an_image_in_the_prompt_that_both_sides_repeat(folder: Path) -> None:
    prompt = blocks({"type": "image", "text": None}, text("Why?"))
    row = only_row(
        folder, {"images": ["a.png"], "chosen": [*prompt, A], "rejected": [*prompt, B], "prompt": None}
    )
    assert isinstance(row, Preference)
    (message,) = row.messages
    assert [part.modality for part in message.parts] == ["image", "text"]
    images = {"images": ["a.png", "b.png", "b.png"], "prompt": blocks({"type": "image"})}
    answer = [{"role": "assistant", "content": [{"type": "image"}, text("x")]}]
    other = [{"role": "assistant", "content": [{"type": "image"}]}]
    row = only_row(folder, {**images, "chosen": answer, "rejected": other})
    assert isinstance(row, Preference)
    assert row.messages[0].parts != row.chosen[:1] == row.rejected


DEMONSTRATIONS: dict[str, tuple[dict[str, Any], list[tuple[str, ...]]]] = {
    "several answers": ({"messages": [S, Q, B, Q, A]}, [
        ("system", "Be brief."), ("user", "Why?"), ("assistant", "No."), ("user", "Why?"),
    ]),
    "the developer's turn": ({"messages": [{**S, "role": "developer"}, Q, A]}, [
        ("system", "Be brief."), ("user", "Why?"),
    ]),
    "ShareGPT": ({"conversations": [
        {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."},
    ]}, [("user", "Why?")]),
    "ShareGPT with a system": ({"system": "Be brief.", "conversations": [
        {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."},
    ]}, [("system", "Be brief."), ("user", "Why?")]),
    "columns of others that are null": ({
        "messages": [Q, A], "prompt": None, "response": None, "chosen": None, "rejected": None,
    }, [("user", "Why?")]),
    "no tools were called": ({"messages": [Q, {**A, "tool_calls": None}]}, [("user", "Why?")]),
    "a text as block": ({"messages": [{"role": "user", "content": ["Why?"]}, A]}, [("user", "Why?")]),
    "one block": ({"messages": [{"role": "user", "content": text("Why?")}, A]}, [("user", "Why?")]),
    "Alpaca": ({"instruction": "Add.", "input": "1 1", "output": "Because."}, [
        ("user", "Add.\n\n1 1"),
    ]),
    "Alpaca without input": ({"instruction": "Add.", "input": "", "output": "Because."}, [
        ("user", "Add."),
    ]),
    "Dolly": ({"instruction": "Add.", "context": "1 1", "response": "Because."}, [
        ("user", "Add.\n\n1 1"),
    ]),
    "GSM8K": ({"question": "Why?", "answer": "Because."}, [("user", "Why?")]),
    "MetaMath": ({"query": "Why?", "response": "Because."}, [("user", "Why?")]),
}  # fmt: skip


@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_demonstrations(name: str, folder: Path) -> None:
    fields, prompt = DEMONSTRATIONS[name]
    row = only_row(folder, fields)
    assert isinstance(row, Demonstration)
    assert (turns(row), shape(row.response)) == (prompt, ["Because."])


def test_turns_of_the_user_alone_are_a_prompt(folder: Path) -> None:
    row = only_row(folder, {"prompt": [S, Q, B, Q]})
    assert type(row) is Prompt
    assert [role for role, *_ in turns(row)] == ["system", "user", "assistant", "user"]


# --- media and the marks of them -------------------------------------------------------------------

LLAVA = {"from": "gpt", "value": "Because."}
IMAGE = base64.b64encode(png()).decode()

MEDIA: dict[str, tuple[dict[str, Any], list[str]]] = {
    "LLaVA": (
        {"image": "a.png", "conversations": [{"from": "human", "value": "<image>\nWhy?"}, LLAVA]},
        ["[image]", "Why?"],
    ),
    "the mark after the question": (
        {"image": "a.png", "conversations": [{"from": "human", "value": "Why?\n<image>"}, LLAVA]},
        ["Why?", "[image]"],
    ),
    "images among words": (
        {
            "images": ["a.png", "b.png"],
            "messages": [{"role": "user", "content": "Is <image> or <image> red?"}, A],
        },
        ["Is ", "[image]", " or ", "[image]", " red?"],
    ),
    "no marks": (
        {"images": ["a.png", "b.png"], "messages": [Q, A]},
        ["[image]", "[image]", "Why?"],
    ),
    "a mark among blocks, and one as words": (
        {"images": ["a.png"], "messages": [*blocks({"type": "image"}, text("What is <image>?")), A]},
        ["[image]", "What is <image>?"],
    ),
    "words of the question": (
        {"question": "What does <image> do in HTML?", "response": "Because."},
        ["What does <image> do in HTML?"],
    ),
    "words of a question about an image": (
        {"question": "What does <image> do in HTML?", "image": "a.png", "response": "Because."},
        ["[image]", "What does <image> do in HTML?"],
    ),
    "words in quotes": (
        {
            "image": "a.png",
            "conversations": [{"from": "human", "value": "<image>\nWhy `<image>`, '<image>'?"}, LLAVA],
        },
        ["[image]", "Why `<image>`, '<image>'?"],
    ),
    "a sound and a clip": (
        {
            "audios": ["a.wav"],
            "videos": ["a.mp4"],
            "messages": [{"role": "user", "content": "<video>\n<audio>\nWhy?"}, A],
        },
        ["[video]", "[audio]", "Why?"],
    ),
    "an image in its block": (
        {
            "messages": [
                *blocks({"type": "image", "path": "a.png"}, text("Why?")),
                A,
            ]
        },
        ["[image]", "Why?"],
    ),
    "OpenAI's image": (
        {
            "messages": [
                *blocks(
                    text("Why?"),
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
                ),
                A,
            ]
        },
        ["Why?", "[image]"],
    ),
    "OpenAI's sound": (
        {
            "messages": [
                *blocks(
                    {
                        "type": "input_audio",
                        "input_audio": {"format": "wav", "data": base64.b64encode(wav()).decode()},
                    }
                ),
                A,
            ]
        },
        ["[audio]"],
    ),
    "only the first kind of field": (
        {"prompt": "Why?", "response": "Because.", "image": "a.png", "image_url": "https://x/y.png"},
        ["[image]", "Why?"],
    ),
}


@pytest.mark.parametrize("name", MEDIA)
def test_media_stand_where_the_marks_are(name: str, folder: Path) -> None:
    fields, prompt = MEDIA[name]
    row = only_row(folder, fields)
    assert isinstance(row, Demonstration)
    parts = row.messages[-1].parts
    assert [p.text if isinstance(p, TextPart) else f"[{p.modality}]" for p in parts] == prompt


LEFT_OUT: dict[str, tuple[Any, str]] = {
    "content: null": ({"messages": [Q, {"role": "assistant", "content": None}]}, "not null"),
    "a number": ({"messages": [{"role": "user", "content": 5}, A]}, "messages[0]: its content must be"),
    "text: null": ({"messages": [*blocks({"type": "text", "text": None}), A]}, "block 1: its text must"),
    "a number as block": ({"messages": [*blocks(5), A]}, "block 1 must be text or an object"),
    "a block of another type": ({"messages": [*blocks({"type": "file"}), A]}, "type 'file'"),
    "a block without a type": ({"messages": [*blocks({}), A]}, "blocks of type null"),
    "no role": ({"messages": [{"content": "Why?"}, A]}, "messages[0] has no role"),
    "a role that is a list": ({"messages": [{"role": [], "content": "Why?"}, A]}, "the role a list"),
    "a tool's turn": ({"messages": [Q, A, {"role": "tool", "content": "1"}, A]}, "the role 'tool'"),
    "a call of a tool": ({"messages": [Q, {**A, "tool_calls": [{"id": "x"}]}]}, "has tool_calls"),
    "thoughts": ({"messages": [Q, {**A, "reasoning_content": "Hm."}]}, "has reasoning_content"),
    "a turn that is text": ({"messages": ["Why?", "No."]}, "messages[0] must be a turn"),
    "no turns": ({"messages": []}, "messages is empty"),
    "no answer": ({"messages": [Q, A, Q]}, "a question without an answer"),
    "an empty answer": ({"messages": [Q, {**A, "content": " \n"}]}, "response is empty"),
    "an empty question": ({"messages": [{**Q, "content": ""}, A]}, "its prompt is empty"),
    "an answer alone": ({"messages": [A]}, "messages must end with one of the user"),
    "two answers": ({"messages": [Q, B, A]}, "messages must end with one of the user"),
    "the same turns": ({"chosen": [Q, A], "rejected": [Q, A]}, "chosen and rejected are the same"),
    "the same texts": ({"prompt": "Why?", "chosen": "a", "rejected": "a"}, "are the same"),
    "the same, rated": (
        {"question": "Why?", "response_1": "a", "response_2": "a", "overall_response": 1},
        "are the same",
    ),
    "rejected: ''": ({"prompt": "Why?", "chosen": "a", "rejected": ""}, "rejected is empty"),
    "rejected: []": ({"chosen": [Q, A], "rejected": []}, "rejected is empty"),
    "rejected: null": ({"chosen": [Q, A], "rejected": None}, "rejected is empty"),
    "chosen: null": ({"chosen": None, "rejected": [Q, A], "messages": [Q, A]}, "chosen is empty"),
    "rejected says nothing": (
        {"chosen": [Q, A], "rejected": [Q, {**A, "content": ""}]},
        "rejected is empty",
    ),
    "rejected is a number": ({"chosen": [Q, A], "rejected": 3}, "rejected must be text or a list"),
    "rejected has no answer": (
        {"chosen": [Q, A], "rejected": [Q]},
        "rejected must have exactly one turn",
    ),
    "answers to other questions": ({"chosen": [S, Q, A], "rejected": [Q, B]}, "exactly one turn"),
    "another prompt": (
        {"prompt": "Who?", "chosen": [Q, A], "rejected": [Q, B]},
        "prompt is not what chosen and rejected begin with",
    ),
    "the rejected one is better": (
        {"chosen": [Q, A], "rejected": [Q, B], "score_chosen": 3, "score_rejected": 5},
        "score_chosen is below score_rejected",
    ),
    "a score that is none": (
        {"chosen": [Q, A], "rejected": [Q, B], "score_chosen": "high", "score_rejected": 5},
        "score_chosen must be a finite number",
    ),
    "a transcript without an answer": (
        {"chosen": "\n\nHuman: Why?\n\nAssistant:", "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
        "chosen is empty",
    ),
    "a spare image": (
        {"images": ["a.png", "b.png"], "messages": [*blocks({"type": "image"}, text("Why?")), A]},
        "its images (2) and its marks of images (1) differ",
    ),
    "a spare mark": (
        {"images": ["a.png"], "messages": [*blocks({"type": "image"}, {"type": "image"}), A]},
        "its images (1) and its marks of images (2) differ",
    ),
    "spare marks in words": (
        {"images": ["a.png"], "messages": [{**Q, "content": "<image> <image>"}, A]},
        "its images (1) and its marks of images (2)",
    ),
    "an image that is missing": (
        {"conversations": [{"from": "human", "value": "<image>\nWhy?"}, LLAVA]},
        "has a mark <image> and no images",
    ),
    "an image for nobody": (
        {"prompt": [S], "completion": "a", "images": ["a.png"]},
        "has images and no turn of the user for them",
    ),
    "an address": (
        {"messages": [*blocks({"type": "image_url", "image_url": {"url": "https://x/y.png"}}), A]},
        "download it",
    ),
    "broken base64": (
        {"messages": [*blocks({"type": "image", "image": "data:image/png;base64,?"}), A]},
        "base64 is broken",
    ),
    "a device": ({"question": "Why?", "image": "/dev/zero", "response": "a"}, "is no file"),
    "a long name": ({"question": "Why?", "image": "x" * 9999, "response": "a"}, "cannot be read"),
    "no image": ({"question": "Why?", "image": "theirs.jsonl", "response": "a"}, "image: the image"),
    "an object as image": ({"question": "Why?", "image": {}, "response": "a"}, "bytes or path"),
    "a rating beyond all numbers": (
        {
            "question": "Why?",
            "response_1": "a",
            "response_2": "b",
            "overall_response": 1,
            "clarity_rate_1": 10**400,
            "clarity_rate_2": 1,
        },
        "clarity_rate_1 must be a finite number",
    ),
    "a critique that is none": (
        {"question": "Why?", "response_1": "a", "response_2": "b", "feedback_1": 5},
        "feedback_1 must be text",
    ),
    "no prompt": ({"prompt": None, "response": "a"}, "needs the field question or prompt"),
    "no response": ({"prompt": "Why?", "response": None}, "needs the field response"),
    "no row": ([1, 2], "is no object with fields, but a list"),
}


@pytest.fixture(scope="module")
def left_out(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Reason and place of each row that is left out of one file, and the file's good row."""
    folder = tmp_path_factory.mktemp("left-out")
    for name, data in (("a.png", png()), ("b.png", png((0, 0, 9)))):
        (folder / name).write_bytes(data)
    made = converted(folder, GOOD, *(fields for fields, _ in LEFT_OUT.values()))
    assert made.rows == 1
    assert len(read_rows(made.path)) == 1
    by_line = {row.line: str(row) for row in made.left_out}
    return {name: by_line[line] for line, name in enumerate(LEFT_OUT, start=2)}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_row_is_left_out_with_its_place_and_reason(name: str, left_out: dict[str, str]) -> None:
    line = list(LEFT_OUT).index(name) + 2
    assert f"theirs.jsonl:{line}: row {line}" in left_out[name]
    assert LEFT_OUT[name][1] in left_out[name]


def test_what_was_left_out_is_counted_and_fields_not_read_are_named(cli: Cli, folder: Path) -> None:
    empty = LEFT_OUT["no turns"][0]
    source = write_jsonl(folder / "theirs.jsonl", [{**GOOD, "source": "x"}, empty, empty, 5])
    with source.open("ab") as file:
        file.write(b"\n{torn")
    shown = cli("data", "convert", source, "--out", folder / "ours")
    assert shown.code == 0, shown.err
    assert "1 rows (1 demonstration)\n" in shown.out
    assert "left out: 4 rows\n" in shown.out
    assert f"  2: {source}:2: row 2: messages is empty\n" in shown.out
    assert f"{source}:6: not valid JSON" in shown.out
    assert "not read, and the number of rows: source (1)" in shown.out
    made = cli("data", "convert", source, "--out", folder / "ours", "--json").json
    assert (made["rows"], len(made["left_out"]), made["unread"]) == (1, 4, {"source": 1})
    assert made["reasons"]["messages is empty"] == 2


def test_a_file_may_be_refused_for_its_rows(cli: Cli, folder: Path) -> None:
    source = write_jsonl(folder / "theirs.jsonl", [GOOD, LEFT_OUT["no turns"][0]])
    refused = cli("data", "convert", source, "--out", folder / "ours", "--most-wrong", "0.4")
    assert refused.code == 2
    assert "1 of 2 rows cannot be used, and --most-wrong allows 0.4 of them" in refused.err
    assert "theirs.jsonl:2: row 2: messages is empty" in refused.err
    assert not (folder / "ours" / "rows.jsonl").exists()
    with pytest.raises(UserError, match="2 of 2 rows cannot be used:"):
        converted(folder, *[LEFT_OUT["no turns"][0]] * 2)
    with pytest.raises(UserError, match="has no rows"):
        converted(folder)


def test_files_of_one_name_give_ids_that_differ(folder: Path) -> None:
    """And JSON lines may be in a file that is called .json."""
    from datasets import Dataset, DatasetDict

    data = Dataset.from_list([GOOD])
    DatasetDict({"train": data, "test": data}).save_to_disk(folder / "saved")
    assert len(read_rows(convert_file(folder / "saved", folder / "ours").path)) == 2
    (folder / "lines.json").write_text(f"{json.dumps(GOOD)}\n{json.dumps(GOOD)}\n")
    assert convert_file(folder / "lines.json", folder / "others").rows == 2
