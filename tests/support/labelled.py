"""Labels for tests, and judges that are right about them as often as they are told to be."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.helpers import text_sample
from tests.support.judge_server import POOR, Asked

JUDGE_YAML = """\
version: 1
kind: program
title: Grades by a digit
description: The first digit of the response.
sees: [text]
scorer: score.py:score
metrics:
  quality: {range: [0, 10]}
"""

# "?" is a response that this judge fails on.
SCORE_PY = """\
from eval_anything.content import Score

def score(sample, response):
    digits = [c for c in response.text if c.isdigit()]
    if response.text == "?":
        return {"quality": Score(None, explanation="a question mark")}
    return {"quality": Score(float(digits[0]) if digits else 0.0)}
"""


def text(words: str) -> list[dict[str, Any]]:
    return [{"modality": "text", "text": words}]


def pair(id_: str, a: str, b: str, preferred: str, **more: Any) -> dict[str, Any]:
    return {**text_sample(id_), "a": text(a), "b": text(b), "preferred": preferred, **more}


def grade(id_: str, words: str, label: float, **more: Any) -> dict[str, Any]:
    return {**text_sample(id_), "parts": text(words), "label": label, **more}


def make_judge_folder(
    root: Path, name: str = "digit", yaml: str = JUDGE_YAML, files: Mapping[str, str] | None = None
) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "judge.yaml").write_text(yaml, "utf-8")
    for key, content in (files if files is not None else {"score.py": SCORE_PY}).items():
        (folder / key).write_text(content, "utf-8")
    return folder


def flipping(right: float, failing: float = 0.0) -> Any:
    """A judge that takes the good response for the bad one, by pair, with probability 1 - right."""

    def reply(asked: Asked) -> tuple[int, str]:
        shown = " ".join(part.get("text", "") for part in asked.answer)
        found = re.search(r"(good|bad) (\d+)", shown)
        if found is None:  # a canary
            return 200, POOR
        side, number = found.groups()
        draw = random.Random(f"judge {number}")
        if draw.random() < failing and side == "good":
            return 200, "I would rather not say."
        high = (side == "good") == (draw.random() < right)
        verdict = {"mark": asked.mark, "explanation": "so", "grades": {"synergy": 8 if high else 3}}
        return 200, json.dumps(verdict)

    return reply


def judge_pairs(n: int) -> list[dict[str, Any]]:
    draw = random.Random(0)
    rows = []
    for i in range(n):
        sides = [f"good {i}", f"bad {i}"]
        preferred = "ab"[draw.random() < 0.5]
        rows.append(pair(f"p{i}", *(sides if preferred == "a" else sides[::-1]), preferred))
    return rows
