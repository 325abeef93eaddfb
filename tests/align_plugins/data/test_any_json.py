"""Rows with any JSON value in any field: each is converted, or left out with its reason."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align_plugins.data.convert import convert_file
from align_plugins.data.files import read_rows, read_valid_rows, write_rows
from align_plugins.data.importers import convert_row
from align_plugins.data.rows import Row
from eval_anything.files.json_text import clean
from eval_anything.media import MediaStore
from tests.align_plugins.data.test_foreign import PREFERENCES
from tests.align_plugins.data.test_public_forms import DEMONSTRATIONS, MEDIA, PAIRS
from tests.support.helpers import png
from tests.support.lanes import full

RATED = {"question": "Why?", "response_1": "a", "response_2": "b", "overall_response": 1}
THEIRS: list[dict[str, Any]] = [
    *(fields for fields, *_ in (*PAIRS.values(), *DEMONSTRATIONS.values())),
    *(fields for fields, *_ in (*MEDIA.values(), *PREFERENCES.values())),
    {"prompt": "Why?", "response": "a", "critique": "b", "refinement": "c"},
    {**RATED, "feedback_1": "c", "clarity_rate_1": 1, "clarity_rate_2": 2},
    {**RATED, "image": {"bytes": None, "path": "a.png"}},
]

WHY = {"modality": "text", "text": "Why?"}
PROMPT = {"messages": [{"role": "user", "parts": [WHY]}]}
PAIR = {"chosen": [WHY], "rejected": [{"modality": "image", "path": "a.png"}]}
OURS: list[dict[str, Any]] = [
    {"id": "1", **PROMPT, **PAIR, "margin": 1.0, "aspects": {"clarity": 1.0}, "metadata": {}},
    {**PROMPT, "response": [WHY], "critique": "b"},
]

WORDS = (
    *("", " ", "a.png", "/dev/zero", "..", "a\0b", "\ud83d", "<image>", "Human: a", "nan", "1e999"),
    *("data:image/png;base64,?", "https://x/y.png", "text", "image", "assistant", "x" * 5000 + ".png"),
)
NUMBERS = (0, -1, 1.5, 10**400, -(2**63), float("nan"), float("inf"))
KEYS = ("role", "content", "type", "text", "image", "path", "bytes", "parts", "x")
DEEP = "[" * 90 + "]" * 90

VALUES = st.builds(json.loads, st.just(DEEP)) | st.recursive(
    st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(WORDS) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=6,
)

EXAMPLES = settings(max_examples=4000 if full("families") else 100, deadline=None)


def places(value: Any, steps: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Steps to every value in a document, but the document itself."""
    if steps:
        yield steps
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*steps, key))


@st.composite
def changed(
    draw: st.DrawFn, rows: list[dict[str, Any]], values: st.SearchStrategy[Any]
) -> dict[str, Any]:
    """A row in which one or two values are something else, or are not there."""
    row = copy.deepcopy(draw(st.sampled_from(rows)))
    for _ in range(draw(st.integers(1, 2))):
        *above, last = draw(st.sampled_from(list(places(row)) or [("x",)]))
        target: Any = row
        for step in above:
            target = target[step]
        if isinstance(target, dict) and draw(st.integers(0, 4)) == 0:
            target.pop(last, None)
        else:
            target[last] = draw(values)
    return row


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.png").write_bytes(png())
    return folder


@EXAMPLES
@given(row=changed(THEIRS, VALUES | st.binary(max_size=4)))
def test_any_value_in_any_field_is_converted_or_refused(row: dict[str, Any], folder: Path) -> None:
    """What is converted is read back as it is. Parquet may have bytes, too."""
    try:
        rows: list[Row] = convert_row(clean(row), "x", folder, MediaStore(folder / "media")).rows
    except ValueError:
        return
    write_rows(folder / "rows.jsonl", rows)
    assert read_rows(folder / "rows.jsonl") == rows


@EXAMPLES
@given(row=changed(OURS, VALUES))
def test_any_value_in_a_row_of_ours_is_read_or_named(row: dict[str, Any], folder: Path) -> None:
    path = folder / "ours.jsonl"
    path.write_text(json.dumps(row) + "\n")
    rows, mistakes = read_valid_rows(path)
    assert bool(rows) != bool(mistakes)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(changed(THEIRS, VALUES) | VALUES, min_size=1, max_size=8))
def test_any_file_is_converted_or_refused(rows: list[Any], folder: Path) -> None:
    """With a row that is good, so that it is the others that are left out."""
    good = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    source = folder / "theirs.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in [good, *rows]))
    made = convert_file(source, folder)
    read = {row.id.partition("-feedback")[0] for row in read_rows(made.path)}
    assert len(read) + len(made.left_out) == 1 + len(rows)
