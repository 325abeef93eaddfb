"""Agents that tests make: their files, what they are asked, what they answer."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from eval_anything.content import Message, Response, TextPart
from eval_anything.media import MediaStore
from eval_anything.models.agent.model import AgentModel
from eval_anything.models.base import Request, Sampling
from tests.support.helpers import write_jsonl
from tests.support.missing import missing

DRAWN = {"kind": "drawn", "size": 64}
ALL_DRAWN = {"image": DRAWN, "audio": DRAWN, "video": DRAWN}


def write_agent(folder: Path, model: str, generators: Any = None, **more: Any) -> Path:
    """An agent's file; JSON is YAML."""
    file = folder / "agent.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"model": model, "generators": generators or ALL_DRAWN, **more}))
    return file


def agent(file: Path) -> AgentModel:
    return AgentModel.from_spec(f"agent/{file}", str(file), {})


def request(text: str = "Draw a fox.", id_: str = "s0", seed: int = 0) -> Request:
    return Request("mine/demo", id_, 0, (Message("user", (TextPart(text),)),), Sampling(seed=seed))


def answers(file: Path, *requests: Request) -> list[Response]:
    """What an agent whose chat model needs no preparation answers to requests at the same time."""

    async def all_of_them() -> list[Response]:
        model = agent(file)
        model.load()
        store = MediaStore(file.parent / "media")
        try:
            groups = await asyncio.gather(*(model.generate([one], store) for one in requests))
        finally:
            await model.close()
        return [response for group in groups for response in group]

    return asyncio.run(all_of_them())


def replayed(folder: Path, *said: str) -> str:
    """A chat model that says these texts to the samples s0, s1 ..."""
    parts = [[{"modality": "text", "text": text}] for text in said]
    write_jsonl(folder / "said.jsonl", [{"sample_id": f"s{i}", "parts": p} for i, p in enumerate(parts)])
    return "replay/said.jsonl"


def need_espeak() -> None:
    """Skips the test where there is no espeak-ng; in CI that is a failure."""
    if shutil.which("espeak-ng") is None:
        missing("espeak-ng is not installed: make test")
