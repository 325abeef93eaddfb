"""Content types: what they refuse, and that files give back what was put into them."""

from __future__ import annotations

import json
import math
import string
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval_anything.content import (
    Contract,
    Failure,
    Latency,
    MediaPart,
    Modality,
    Part,
    Record,
    Response,
    Score,
    TextPart,
    Usage,
)
from eval_anything.files.places import path_inside
from eval_anything.jsonl import record_from_json, record_to_json, sample_from_json
from tests.support.helpers import RECORD_FIELDS, medium_sample, png, text_sample

CONTRACT = Contract(required=(Modality.TEXT,))
# Any code point, lone surrogates and line ends of every kind included.
TEXTS = st.text(st.characters(codec=None), max_size=30)
CLEAN = st.text(max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("one", "other"),
    [("required", "forbidden"), ("required", "allowed"), ("allowed", "forbidden")],
)
def test_a_contract_must_not_contradict_itself(one: str, other: str) -> None:
    with pytest.raises(ValueError, match=f"image is both {one} and {other}"):
        Contract(**{one: (Modality.TEXT, Modality.IMAGE), other: (Modality.IMAGE,)})


def test_a_contract_must_let_something_through() -> None:
    with pytest.raises(ValueError, match="names no modality"):
        Contract(forbidden=(Modality.IMAGE,))


def test_a_contract_is_sharp_when_nothing_is_optional() -> None:
    assert Contract(required=(Modality.TEXT,)).sharp
    assert not Contract(required=(Modality.TEXT,), allowed=(Modality.IMAGE,)).sharp


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_score_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        Score(value)


@pytest.mark.parametrize("value", [True, 1, np.float32(1), np.float64(1), np.int64(1)])
def test_a_score_of_any_number_type_is_kept_as_a_float(value: float) -> None:
    score = Score(value)
    assert type(score.value) is float
    assert msgspec.json.decode(msgspec.json.encode(score), type=Score).value == 1.0


def test_text_has_no_file() -> None:
    with pytest.raises(ValueError, match="TextPart"):
        MediaPart(Modality.TEXT, "0" * 64, "text/plain", Path("x.txt"))


def test_lone_surrogates_become_one_replacement_character_each() -> None:
    assert TextPart("a\ud800b\udfff").text == "a\ufffdb\ufffd"
    assert TextPart("\ud83d\ude00 ü \U0001f600").text == "\U0001f600 ü \U0001f600"
    assert Failure("model_error", "bad \udcff").message == "bad \ufffd"
    assert Score(1.0, explanation="bad \udcff").explanation == "bad \ufffd"


def test_modalities_of_a_response_are_distinct_and_ordered(tmp_path: Path) -> None:
    image = MediaPart(Modality.IMAGE, "a" * 64, "image/png", tmp_path / "a.png")
    sound = MediaPart(Modality.AUDIO, "b" * 64, "audio/wav", tmp_path / "b.wav")
    response = Response((sound, image, TextPart("x"), image, TextPart("y")))
    assert response.modalities == (Modality.TEXT, Modality.IMAGE, Modality.AUDIO)
    assert response.text == "x\n\ny"
    assert response.first(Modality.AUDIO) == sound
    assert response.first(Modality.VIDEO) is None


RUN = Path("/a run/of ü").resolve()
PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(TextPart, TEXTS),
    st.builds(
        lambda modality, sha, name: MediaPart(modality, sha, "x/y", RUN / "media" / name),
        st.sampled_from([Modality.IMAGE, Modality.AUDIO, Modality.VIDEO]),
        st.text("0123456789abcdef", min_size=64, max_size=64),
        st.text(string.ascii_letters + "äß😀 ", min_size=1, max_size=8).map(lambda n: f"m{n}.bin"),
    ),
)
RANGES = st.builds(lambda low, width: (low, low + width), st.floats(-1e9, 1e9), st.floats(1e-3, 1e9))
SCORES = RANGES.flatmap(
    lambda ends: st.builds(
        Score,
        value=st.none() | st.floats(*ends),
        judge=CLEAN,
        range=st.just(ends),
        better=st.sampled_from(["higher", "lower"]),
        explanation=TEXTS,
        details=st.dictionaries(CLEAN, st.none() | st.booleans() | CLEAN | st.lists(NUMBERS)),
    )
)
SECONDS = st.none() | st.floats(0, 1e9)
RECORDS = st.builds(
    Record,
    sample_id=CLEAN,
    repeat=st.integers(0, 9),
    item=CLEAN,
    source_id=CLEAN,
    parts=st.lists(PARTS, max_size=4).map(tuple),
    order_known=st.booleans(),
    stop_reason=st.none() | CLEAN,
    scores=st.dictionaries(CLEAN, SCORES, max_size=3),
    error=st.none() | st.builds(Failure, st.sampled_from(["model_error", "empty_output"]), TEXTS),
    usage=st.builds(Usage, *[st.none() | st.integers(0, 2**53)] * 2),
    latency=st.builds(Latency, total=SECONDS, first_audio=SECONDS),
    details=st.dictionaries(
        CLEAN, st.none() | CLEAN | st.lists(st.dictionaries(CLEAN, CLEAN)), max_size=2
    ),
)


@settings(max_examples=150, deadline=None)
@given(RECORDS)
def test_a_record_is_read_back_as_it_was_written(record: Record) -> None:
    line = record_to_json(record, RUN)
    assert b"\n" not in line
    assert record_from_json(line, RUN) == record


def test_a_record_keeps_relative_paths_that_stay_in_its_run() -> None:
    path = RUN / "media" / "ab" / "x.png"
    part = MediaPart(Modality.IMAGE, "a" * 64, "image/png", path)
    record = Record(**RECORD_FIELDS, scores={}, parts=(part,))
    line = record_to_json(record, RUN)
    assert json.loads(line)["parts"][0]["path"] == "media/ab/x.png"
    for bad in ("../x.png", "/x.png"):
        with pytest.raises(ValueError, match="leads outside"):
            record_from_json(line.replace(b"media/ab/x.png", bad.encode()), RUN)


@settings(max_examples=100, deadline=None)
@given(
    text=CLEAN,
    id_=CLEAN.filter(bool),
    metadata=st.dictionaries(CLEAN, CLEAN, max_size=3),
    source=st.none() | CLEAN.filter(bool),
)
def test_a_sample_is_read_as_it_is_written(
    text: str, id_: str, metadata: dict[str, str], source: str | None
) -> None:
    row = text_sample(id_, text, metadata=metadata, **({"source_id": source} if source else {}))
    for ascii_only in (True, False):
        line = json.dumps(row, ensure_ascii=ascii_only).encode()
        sample = sample_from_json(line, Path("/nowhere"), CONTRACT)
        assert sample.id == id_
        assert sample.messages[0].parts == (TextPart(text),)
        assert sample.metadata == metadata
        assert sample.source_id == (source or id_)


def test_a_sample_without_any_contract_is_refused() -> None:
    line = json.dumps(text_sample("a")).encode()
    with pytest.raises(ValueError, match="no contract"):
        sample_from_json(line, Path("/nowhere"), None)


def test_messages_must_end_with_the_user() -> None:
    row = text_sample("a")
    row["messages"].append({"role": "assistant", "parts": []})
    with pytest.raises(ValueError, match="must end with one of the user"):
        sample_from_json(json.dumps(row).encode(), Path("/nowhere"), CONTRACT)


@pytest.mark.parametrize(
    "part",
    [
        {"modality": "image", "text": "x"},
        {"modality": "text", "path": "x.png"},
        {"modality": "text", "text": "x", "path": "x.png"},
        {"modality": "image"},
        {"modality": "text"},
    ],
)
def test_a_part_has_a_text_or_a_path_as_its_modality_says(part: dict[str, str]) -> None:
    row = {"id": "a", "messages": [{"role": "user", "parts": [part]}]}
    with pytest.raises(msgspec.ValidationError, match="a part has"):
        sample_from_json(json.dumps(row).encode(), Path("/nowhere"), CONTRACT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an image in it, one beside it, and links that lead out, in, and in a ring."""
    folder = tmp_path / "task"
    (folder / "media").mkdir(parents=True)
    (folder / "media" / "in.png").write_bytes(png())
    (tmp_path / "out.png").write_bytes(png())
    (folder / "link.png").symlink_to("../out.png")
    (folder / "away").symlink_to("..")
    (folder / "inside.png").symlink_to("media/in.png")
    (folder / "ring.png").symlink_to("ring.png")
    return folder


@pytest.mark.parametrize("name", ["../out.png", "/etc/hostname", "link.png", "away/out.png", "a\0b"])
def test_a_sample_cannot_reach_outside_its_folder(folder: Path, name: str) -> None:
    line = json.dumps(medium_sample("a", "image", name)).encode()
    with pytest.raises(ValueError, match=r"leads outside|null byte|null character"):
        sample_from_json(line, folder, CONTRACT)


def test_a_ring_of_links_is_an_error_like_others(folder: Path) -> None:
    line = json.dumps(medium_sample("a", "image", "ring.png")).encode()
    with pytest.raises(ValueError, match=r"ring\.png"):
        sample_from_json(line, folder, CONTRACT)


@pytest.mark.parametrize("name", ["media/in.png", "inside.png", "media/../media/in.png"])
def test_a_sample_reaches_what_is_inside(folder: Path, name: str) -> None:
    sample = sample_from_json(json.dumps(medium_sample("a", "image", name)).encode(), folder, CONTRACT)
    part = sample.messages[0].parts[1]
    assert isinstance(part, MediaPart)
    assert part.path == (folder / "media" / "in.png").resolve()
    assert path_inside(folder, name) == part.path


@pytest.mark.parametrize("claim", [{"sha256": "0" * 64}, {"mime": "image/gif"}])
def test_what_a_sample_claims_of_a_medium_is_checked(folder: Path, claim: dict[str, str]) -> None:
    row = medium_sample("a", "image", "media/in.png")
    row["messages"][0]["parts"][1] |= claim
    with pytest.raises(ValueError, match=f"has the {next(iter(claim))}"):
        sample_from_json(json.dumps(row).encode(), folder, CONTRACT)
    row["messages"][0]["parts"][1] |= {"sha256": "0" * 64, "mime": "image/png"}
    with pytest.raises(ValueError, match="has the sha256"):
        sample_from_json(json.dumps(row).encode(), folder, CONTRACT)
