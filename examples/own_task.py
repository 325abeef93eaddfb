"""Makes a task out of a list of questions, and scores answers that were saved.

python examples/own_task.py
"""

import json
from pathlib import Path

import eval_anything as ea

QUESTIONS = {"capital": ("What is the capital of France?", "Paris"), "sum": ("What is 2 + 2?", "4")}
ANSWERS = {"capital": "It is Paris.", "sum": "It is 5."}

task = Path("mine/facts")
task.mkdir(parents=True, exist_ok=True)
(task / "task.yaml").write_text(
    """\
version: 1
title: Facts
description: A high score means that the answer names the fact.
licence: CC0-1.0
inputs: [text]
outputs: [text]
contract: {required: [text]}
judges: []
scorer: score.py:facts
metrics: {fact: {range: [0, 1]}}
primary: fact
"""
)
(task / "score.py").write_text(
    """\
from eval_anything import Score


def facts(sample, response):
    return {"fact": Score(float(sample.targets["fact"] in response.text))}
"""
)
with (task / "samples.jsonl").open("w") as file:
    for name, (question, fact) in QUESTIONS.items():
        parts = [{"modality": "text", "text": question}]
        messages = [{"role": "user", "parts": parts}]
        print(json.dumps({"id": name, "messages": messages, "targets": {"fact": fact}}), file=file)
with Path("answers.jsonl").open("w") as file:
    for name, answer in ANSWERS.items():
        parts = [{"modality": "text", "text": answer}]
        print(json.dumps({"sample_id": name, "parts": parts}), file=file)

run = ea.evaluate(
    "replay/answers.jsonl", tasks="mine/facts", include=["mine"], allow_code=True, out="runs/facts"
)
for record in run.records():
    print(record.sample_id, record.scores["fact"].value)
