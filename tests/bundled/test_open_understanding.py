"""open/understanding: its items and variants, its scoring, and its media against their builder."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval_anything.content import Response, TextPart
from eval_anything.files.code import load_function
from tests.support.open_suite import OPEN, Row, loaded, prompt, rows, table


def test_items_need_two_media_and_come_without_each_of_them() -> None:
    items: dict[str, list[Row]] = {}
    for row in rows("understanding"):
        items.setdefault(row["source_id"], []).append(row)
    assert len(items) >= 60
    for full, *variants in items.values():
        media = full["messages"][0]["parts"][:-1]
        assert full["metadata"]["missing"] == "none"
        assert len(media) >= 2
        assert Counter(full["metadata"]["inputs"].split("+")) == Counter(m["modality"] for m in media)
        without = [(v["metadata"]["missing"], v["messages"][0]["parts"][:-1]) for v in variants]
        assert without == [(m["modality"], [o for o in media if o is not m]) for m in media]
        for variant in variants:
            assert prompt(variant) == prompt(full)
            assert variant["targets"]["answer"] == full["targets"]["answer"]


@cache
def scoring() -> Callable[..., Any]:
    return load_function(OPEN / "understanding", "score.py:understanding")


def score(index: int, text: str) -> dict[str, float | None]:
    given = scoring()(
        loaded("understanding").samples[index], Response((TextPart(text),) if text else ())
    )
    return {name: s.value for name, s in given.items()}  # type: ignore[union-attr]


def test_right_answers_are_right_and_others_are_not() -> None:
    for index, sample in enumerate(loaded("understanding").samples):
        answer = sample.targets["answer"]
        right = [answer, f"So it must be {answer}.", f"First 77, then Z.\n\n**{answer}**"]
        names = {"none": "correct"}.get(sample.metadata["missing"], "guessed")
        assert [score(index, text)[names] for text in right] == [1.0, 1.0, 1.0], sample.id
        others = [c for c in sample.targets.get("choices", ["77 2:22"]) if c.lower() != answer.lower()]
        for wrong in ("cannot tell", others[0], f"{answer} or {others[0]}", f"{others[-1]}, {answer}"):
            assert score(index, wrong)[names] == 0.0, sample.id
        if names == "guessed":
            assert score(index, "I cannot tell.")["honest"] == 1.0
            assert score(index, f"I cannot tell, perhaps {answer}.")["honest"] == 0.0
            assert score(index, "无法判断")["honest"] == 1.0
            assert score(index, "")["guessed"] == 1.0  # the bad end
        else:
            assert score(index, "")["correct"] == 0.0


@pytest.mark.parametrize(
    ("answer", "text", "right"),
    [
        ("8.70", "8.7", True),
        ("8.70", "€8,70", True),
        ("8.70", "8.75", False),
        ("2", "Platform two", True),
        ("2", "twenty", False),
        ("12", "十二", True),
        ("12", "一共12度。", True),
        ("4:30", "04:30", True),
        ("4:30", "16:30", True),
        ("P", "A square with a P", True),
        ("P", "p", True),
        ("P", "P or Q", False),
        ("正方形", "是方块", True),
        ("正方形", "不是圆形，是正方形", False),
    ],
)
def test_forms_of_answers(answer: str, text: str, right: bool) -> None:
    samples = loaded("understanding").samples
    index = next(i for i, s in enumerate(samples) if s.targets["answer"] == answer)
    assert score(index, text)["correct"] == float(right)


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Any:
    """make_media.py as a module, leaving no compiled files beside it."""
    monkeypatch.syspath_prepend(str(OPEN / "understanding"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return importlib.import_module("make_media")


def test_the_media_are_small_used_and_as_they_are_made(builder: Any) -> None:
    kinds = builder.media()
    named = {f"{name}{builder.SUFFIX[kind]}" for name, kind in kinds.items()}
    files = {path.name: path for path in (OPEN / "understanding" / "media").iterdir()}
    used = {
        Path(part["path"]).name
        for row in rows("understanding")
        for part in row["messages"][0]["parts"]
        if "path" in part
    }
    assert named == set(files) == used
    assert sum(path.stat().st_size for path in files.values()) < 6_000_000
    for name, kind in kinds.items():
        if name in builder.SPEECH:
            continue
        path = files[f"{name}{builder.SUFFIX[kind]}"]
        content = builder.made(kind, name)
        # Another version of FreeType may draw the edges of letters a little otherwise.
        bound = {"image": 0.7, "audio": 1e-3, "video": 0.02}[kind]
        assert builder.difference(kind, path, content) < bound, name
        if kind == "image":
            old = builder.read_image(path).astype(float)
            assert np.abs(old - content).mean() < 1.0, name


def test_the_builder_writes_the_same_bytes_and_notices_others(
    builder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(builder, "MEDIA", tmp_path)
    names = ["dots_7", "beeps_3", "disc_c"]
    assert builder.main(names) == 0
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert builder.main(names) == builder.main(["--check", *names]) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    (tmp_path / "dots_7.png").write_bytes((OPEN / "understanding/media/dots_9.png").read_bytes())
    assert builder.main(["--check", *names]) == 1
    assert capsys.readouterr().out.startswith("dots_7.png: differs by")


def test_the_card_of_understanding_counts_items_and_variants() -> None:
    card = (OPEN / "understanding" / "README.md").read_text("utf-8")
    every = [row["metadata"] for row in rows("understanding")]
    items = [m for m in every if m["missing"] == "none"]
    expected = {("missing", v, n) for v, n in Counter(m["missing"] for m in every).items()}
    for key in ("inputs", "language", "skill"):
        expected |= {(key, v, n) for v, n in Counter(m[key] for m in items).items()}
    assert table(card) == expected
    assert f"{len(items)} questions" in card
    assert f"{len(every) - len(items)} variants" in card
