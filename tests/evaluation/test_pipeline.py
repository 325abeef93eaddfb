"""Models that fail: which samples that costs, and that what is left can be done later."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import Cli, make_task, text_sample

# A model of somebody else's package. It raises on the sample s3, in whatever batch that comes, and
# as if its server were gone while a file `down` is there.
MODEL = '''\
from pathlib import Path
from eval_anything.content import Response, TextPart
from eval_anything.errors import InfrastructureError
from eval_anything.models.base import Model

class Odd(Model):
    """An odd model."""

    batch_size = 4
    arguments = {}
    calls = []

    @classmethod
    def from_spec(cls, spec, reference, arguments):
        model = cls()
        model.name, model.spec = "odd", spec
        return model

    def weights(self):
        return "0" * 64

    async def generate(self, requests, store):
        ids = [r.sample_id for r in requests]
        self.calls.append(ids)
        if Path("down").exists() and "s6" in ids:
            raise InfrastructureError("the server is gone")
        if "s3" in ids:
            raise RuntimeError("no \\udcff luck")
        return [Response((TextPart(f"answer to {i}"),)) for i in ids]
'''


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[list[list[str]]]:
    """Installs the package and a task of eight samples; gives the calls of the model."""
    info = tmp_path / "site" / "odd_model-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-model\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[eval_anything.models]\nodd = odd_model:Odd\n")
    (tmp_path / "site" / "odd_model.py").write_text(MODEL)
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(8)])
    sys.path.insert(0, str(tmp_path / "site"))
    try:
        import odd_model  # type: ignore[import-not-found]

        yield odd_model.Odd.calls
    finally:
        sys.path.remove(str(tmp_path / "site"))
        sys.modules.pop("odd_model", None)


RUN = ["run", "--model", "odd", "--tasks", "mine/demo", "--include", "mine", "--out", "run", "--json"]


def records(tmp_path: Path) -> dict[str, dict[str, Any]]:
    lines = (tmp_path / "run" / "mine" / "demo" / "records.jsonl").read_bytes().splitlines()
    return {row["sample_id"]: row for row in map(json.loads, lines)}


def test_a_request_that_breaks_its_batch_fails_alone(
    cli: Cli, tmp_path: Path, calls: list[list[str]]
) -> None:
    result = cli(*RUN, "--max-failed", "0.2")
    assert result.code == 0, result.err
    found = records(tmp_path)
    assert len(found) == 8
    assert found["s3"]["error"] == {
        "kind": "model_error",
        "message": "RuntimeError: no \ufffd luck",
    }
    for id_, row in found.items():
        if id_ != "s3":
            assert row["error"] is None
            assert row["parts"] == [{"modality": "text", "text": f"answer to {id_}"}]
    selection = result.json["tasks"]["mine/demo"]["metrics"]["selection"]
    assert (selection["value"], selection["n"], selection["failed"]) == (7 / 8, 8, 1)
    assert sorted(len(ids) for ids in calls) == [1, 1, 1, 1, 4, 4]


def test_a_server_that_is_gone_leaves_its_samples_pending(
    cli: Cli, tmp_path: Path, calls: list[list[str]]
) -> None:
    (tmp_path / "down").touch()
    stopped = cli(*RUN)
    assert stopped.code == 4
    assert stopped.out == ""
    assert "the server is gone" in stopped.err
    run_file = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run_file["status"] == "failed"
    kept = records(tmp_path) if (tmp_path / "run" / "mine").exists() else {}
    assert not {"s4", "s5", "s6", "s7"} & set(kept)
    (tmp_path / "down").unlink()
    calls.clear()
    result = cli(*RUN, "--max-failed", "0.2")
    assert result.code == 0, result.err
    assert set(records(tmp_path)) == {f"s{i}" for i in range(8)}
    # a run that is done asks for nothing
    calls.clear()
    assert cli(*RUN, "--max-failed", "0.2").json == result.json
    assert calls == []
