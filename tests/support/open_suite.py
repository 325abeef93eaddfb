"""The open suite as its tests read it: rows of samples.jsonl, and the tables of the cards."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry
from eval_anything.tasks.task import Task
from tests.support.paths import ROOT

OPEN = ROOT / "benchmarks" / "open"
CHOSEN = ("selection", "synergy")
INSTRUCTED = ("text", "image", "audio", "video")
PROMPTED = (*CHOSEN, *(f"instruction_{m}" for m in INSTRUCTED))
SEQUENCED = ("interleaved", "cycle", "multi_turn")
TASKS = (*PROMPTED, "understanding", *SEQUENCED)
MODALITY = {m[0]: m for m in INSTRUCTED}

Row = dict[str, Any]


@cache
def rows(task: str) -> list[Row]:
    """The lines of a task's samples.jsonl, which nobody may change."""
    lines = (OPEN / task / "samples.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def prompt(row: Row) -> str:
    """The text of the last message, which stands at its end."""
    text: str = row["messages"][-1]["parts"][-1]["text"]
    return text


def asked_of(row: Row) -> list[list[str]]:
    """The modalities of the parts that a right answer has, turn by turn; the last is the response."""
    kind, targets = row["id"].split("-")[1], row["targets"]
    if kind == "int":
        return [[MODALITY[letter] for letter in targets["patterns"][0]]]
    if kind == "mul":
        return list(targets["modalities"])
    if kind == "cyc":
        if "choices" in targets:
            return [["text"]] * 3
        return [[modality] for modality in row["metadata"]["family"].split("-")[1:]]
    if "contract" in row:
        return [row["contract"]["required"] or ["text"]]
    return [[{"if": row["id"].split("-")[2], "und": "text"}[kind]]]


@cache
def loaded(task: str) -> Task:
    """A task of the suite as the engine reads it."""
    return load_task(Registry().folders[f"open/{task}"])


def table(card: str) -> set[tuple[str, str, int]]:
    """The rows `| key | value | items |` of a card."""
    lines = re.findall(r"^\| (\w+) \| ([^|]+) \| (\d+) \|$", card, re.MULTILINE)
    return {(key, value, int(count)) for key, value, count in lines}
