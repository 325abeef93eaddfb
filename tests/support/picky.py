"""A model of somebody else's package: what it does depends on the sample and on files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.support.helpers import make_task, png, text_sample

_MODEL = '''\
import os
import signal
import time
from pathlib import Path
from eval_anything.content import Modality, Response, TextPart
from eval_anything.errors import ServerError, UserError
from eval_anything.models.base import Model

class Picky(Model):
    """A picky model."""

    replicable = True
    batch_size = 4
    arguments = {}

    @classmethod
    def from_spec(cls, spec, reference, arguments):
        model = cls()
        model.name, model.spec = "picky", spec
        return model

    def weights(self):
        return "0" * 64

    def load(self):
        if Path("no weights").exists():
            raise UserError("there are no weights")
        if Path("dies").exists():
            print("no memory for weights", file=__import__("sys").stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    async def generate(self, requests, store):
        Path("pids", str(os.getpid())).touch()
        ids = [r.sample_id for r in requests]
        if Path("sleeps").exists():
            time.sleep(float(Path("sleeps").read_text() or 60))
        if Path("once").exists():
            Path("once").unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if Path("deadly").exists() and "s6" in ids:
            os.kill(os.getpid(), signal.SIGSEGV)
        if Path("down").exists():
            raise ServerError("the server is gone")
        if "s3" in ids:
            raise ValueError("no luck")
        drawn = (lambda i: ()) if Path("plain").exists() else lambda i: (self.drawn(i, store),)
        return [Response((TextPart(f"answer to {i}"), *drawn(i))) for i in ids]

    def drawn(self, id_, store):
        return store.put(Path("pictures", id_[-1]).read_bytes(), Modality.IMAGE)
'''
RUN = ["run", "--model", "picky", "--tasks", "mine/demo", "--include", "mine", "--max-failed", "0.2"]


def make_picky(folder: Path) -> Path:
    """Writes the package, a task of ten samples, s0 to s9, and what the model draws. Returns the folder
    that a process needs on its path."""
    info = folder / "site" / "picky_model-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: picky-model\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[eval_anything.models]\npicky = picky_model:Picky\n")
    (folder / "site" / "picky_model.py").write_text(_MODEL)
    for name in ("pids", "pictures"):
        (folder / name).mkdir()
    for i in range(10):
        (folder / "pictures" / str(i)).write_bytes(png(noise=i + 1))
    make_task(folder, samples=[text_sample(f"s{i}") for i in range(10)])
    return folder / "site"


def main_with_picky(arguments: list[str]) -> int:
    """`eval-anything` in a process of its own, in such a folder."""
    from eval_anything.cli.main import main

    sys.path.insert(0, str(Path("site").resolve()))
    return main(arguments)


def records_of(run: str | Path, task: str = "mine/demo") -> dict[str, dict[str, Any]]:
    """The records of a run by sample, one each, without times."""
    lines = Path(run, task, "records.jsonl").read_bytes().splitlines()
    rows = {row["sample_id"]: row for row in map(json.loads, lines)}
    assert len(rows) == len(lines)
    for row in rows.values():
        del row["latency"]
    return rows


def results_of(run: str | Path) -> dict[str, Any]:
    """The results of a run, wherever it is."""
    results: dict[str, Any] = json.loads(Path(run, "results.json").read_bytes())
    return results | {"run": ""}
