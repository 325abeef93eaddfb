"""Plans of a small chat model: python -m tests.benchmarks.plans CHECKPOINT [ROW ...]

Asks an agent with a checkpoint as its chat model 45 requests of bundled benchmarks (the first 15 of
text alone of open/selection, open/synergy and open/instruction_text), in the ways of `ROWS`, and prints
how many plans are usable and why the others are not, as JSON. Nothing is made from the plans.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from eval_anything.content import Message, TextPart
from eval_anything.media import MediaStore
from eval_anything.models.agent.model import AgentModel
from eval_anything.models.base import Request
from eval_anything.sampling import Sampling
from tests.support.agents import write_agent
from tests.support.paths import ROOT

EACH = 15
TASKS = ("selection", "synergy", "instruction_text")
EXAMPLES = [
    {"user": "What is the capital of Peru?", "parts": [{"modality": "text", "content": "Lima."}]},
    {
        "user": "Draw a lighthouse at night.",
        "parts": [
            {"modality": "image", "content": "a white lighthouse on a cliff at night, its beam on"}
        ],
    },
    {
        "user": "I want to hear rain on a tin roof, and to know why it calms us.",
        "parts": [
            {"modality": "audio", "content": "steady rain on a tin roof, distant thunder"},
            {"modality": "text", "content": "Steady noise hides the sudden sounds that would wake us."},
        ],
    },
]
SMALL = {"most_parts": 4, "most_characters": 240}
ROWS: dict[str, tuple[dict[str, Any], Sampling]] = {
    "text": ({"form": "text"}, Sampling(max_new_tokens=320)),
    "text, drawn": ({"form": "text"}, Sampling(0.8, max_new_tokens=320)),
    "json": ({}, Sampling(max_new_tokens=320)),
    "json, drawn": ({}, Sampling(0.8, max_new_tokens=320)),
    "json, bounded": (SMALL, Sampling(max_new_tokens=320)),
    "json, bounded, examples": ({**SMALL, "examples": EXAMPLES}, Sampling(max_new_tokens=320)),
}


def requests(sampling: Sampling) -> list[Request]:
    """The 45 requests."""
    asked = []
    for task in TASKS:
        lines = (ROOT / "benchmarks" / "open" / task / "samples.jsonl").read_text("utf-8").splitlines()
        samples = [json.loads(line) for line in lines]
        texts = [s for s in samples if all(p["modality"] == "text" for p in _parts(s))][:EACH]
        for sample in texts:
            words = "\n".join(part["text"] for part in _parts(sample))
            messages = (Message("user", (TextPart(words),)),)
            asked.append(Request(f"open/{task}", sample["id"], 0, messages, sampling))
    return asked


def _parts(sample: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for message in sample["messages"] for part in message["parts"]]


def measure(checkpoint: Path, row: str) -> dict[str, Any]:
    """Counts of one way to ask."""
    settings, sampling = ROWS[row]
    asked = requests(sampling)
    with tempfile.TemporaryDirectory() as folder:
        agent = AgentModel.from_spec("", write_agent(Path(folder), str(checkpoint), **settings), {})
        agent.load()
        start = time.perf_counter()
        plans = asyncio.run(agent._planner.plans(asked, MediaStore(Path(folder) / "media")))
    parts = Counter(item.modality.value for plan in plans for item in plan.plan)
    failed = Counter(plan.error.message.split(":")[0] for plan in plans if plan.error is not None)
    usable = sum(plan.error is None and bool(plan.plan) for plan in plans)
    return {
        "usable": f"{usable} of {len(plans)}",
        "failed": dict(failed),
        "parts": dict(parts),
        "tokens": sum(plan.usage.output or 0 for plan in plans),
        "seconds": round(time.perf_counter() - start, 1),
    }


if __name__ == "__main__":
    for name in sys.argv[2:] or ROWS:
        print(json.dumps({name: measure(Path(sys.argv[1]), name)}), flush=True)
