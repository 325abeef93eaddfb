"""Small tasks for lm-evaluation-harness, of every kind, on documents that are written here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ALL = ("own_choice", "own_cloze", "own_answer", "own_text")


def question(number: int) -> dict[str, Any]:
    """A document with a question, four choices and the number of the right one."""
    things = ("lighthouse", "capital of France", "sentence", "night")
    names = ["Paris", "a lighthouse", f"the answer {number}", "one"]
    return {
        "question": f"What is the {things[number % 4]} of {number}?",
        "choices": names[number % 3 :] + names[: number % 3],
        "answer": (number * 7) % 4,
    }


def long_question(words: int) -> dict[str, Any]:
    """A document that is longer than a tiny model can read."""
    return {**question(3), "question": "The capital of France is Paris. " * (words // 6)}


def write_tasks(folder: Path, documents: Sequence[Mapping[str, Any]]) -> Path:
    """Four tasks, a tag over three of them (`own_tag`) and a group (`own_group`), in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "documents.jsonl"
    data.write_text("".join(json.dumps(d) + "\n" for d in documents))
    common: dict[str, Any] = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data), "train": str(data)}},
        "test_split": "test",
        "tag": ["own_tag"],
        "metadata": {"version": 1.0},
    }

    def metrics(*names: str, aggregation: str = "mean", higher: bool = True) -> list[dict[str, Any]]:
        return [{"metric": n, "aggregation": aggregation, "higher_is_better": higher} for n in names]

    configs: list[dict[str, Any]] = [
        {
            "task": "own_choice",
            "output_type": "multiple_choice",
            "fewshot_split": "train",
            "num_fewshot": 2,
            "doc_to_text": "{{question}}\nAnswer:",
            "doc_to_target": "answer",
            "doc_to_choice": "choices",
            "metric_list": metrics("acc", "acc_norm"),
        },
        {
            "task": "own_cloze",
            "output_type": "loglikelihood",
            "doc_to_text": "{{question}}",
            "doc_to_target": " {{choices[answer]}}",
            "metric_list": [
                *metrics("perplexity", aggregation="perplexity", higher=False),
                *metrics("acc"),
            ],
        },
        {
            "task": "own_answer",
            "output_type": "generate_until",
            "doc_to_text": "Q: {{question}}\nA:",
            "doc_to_target": "{{choices[answer][0]}}",
            "generation_kwargs": {"until": ["\n", "e"], "max_gen_toks": 12, "do_sample": False},
            "filter_list": [
                {
                    "name": "letter",
                    "filter": [
                        {"function": "regex", "regex_pattern": "([A-Za-z])"},
                        {"function": "take_first"},
                    ],
                },
                {"name": "whole", "filter": [{"function": "take_first"}]},
            ],
            "metric_list": metrics("exact_match"),
        },
        {
            "task": "own_text",
            "tag": [],
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{question}}",
            "metric_list": [
                *metrics("word_perplexity", aggregation="weighted_perplexity", higher=False),
                *metrics("bits_per_byte", aggregation="bits_per_byte", higher=False),
            ],
        },
    ]
    for config in configs:
        write_yaml(folder / f"{config['task']}.yaml", {**common, **config})
    write_yaml(
        folder / "own_group.yaml",
        {
            "group": "own_group",
            "task": ["own_choice", "own_cloze"],
            "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
        },
    )
    return folder


def write_yaml(path: Path, config: Mapping[str, Any]) -> None:
    """A YAML file of lm_eval."""
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False))
