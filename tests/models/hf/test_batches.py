"""Batches: cut by length and memory, halved when memory runs out, and without a trace in the answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from eval_anything.content import Usage
from eval_anything.errors import UserError
from eval_anything.models.base import Request
from eval_anything.models.hf.family import EncodedPrompt, GeneratedAnswer
from eval_anything.models.local.batches import Batcher, OutOfMemoryError
from tests.support.asking import ask, loaded, requests_of, user
from tests.support.helpers import Cli, make_task, text_sample
from tests.support.paths import ROOT

PROMPTS = [user("Say it again. " * (1 + i * 5 % 7)) for i in range(12)]

# A process of its own, whose memory is bounded once the model is there.
LIMITED = """\
import json, resource, sys
from pathlib import Path
from tests.support.asking import loaded, requests_of, user
from eval_anything.media import MediaStore

model = loaded(Path(sys.argv[1]), batch_size="32", max_new_tokens="2")
requests = requests_of([user(f"{i} " * 500) for i in range(32)])
store = MediaStore(Path(sys.argv[2]))
model._generate(requests[:1], store)
free = [r.text for r in model._generate(requests, store)]
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 32 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
bounded = model._generate(requests, store)
print(json.dumps({
    "halved": model._batcher.tokens < 2**62,
    "same": [r.text for r in bounded] == free,
    "errors": [r.error.message for r in bounded if r.error],
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and bounds the address space")
def test_a_batch_too_large_for_memory_is_halved(tiny: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tiny), str(tmp_path)],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["same"]
    assert found["errors"] == []
    assert found["halved"]


@pytest.mark.parametrize("fits", [5, 1])
def test_answers_survive_a_failed_allocation(tiny: Path, tmp_path: Path, fits: int) -> None:
    """A hook before the model's own forward fails as an allocator does."""
    expected = [r.text for r in ask(loaded(tiny), PROMPTS, tmp_path, temperature=1)]
    model = loaded(tiny)
    failures = []

    def full(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        if named["input_ids"].shape[0] > fits:
            failures.append(named["input_ids"].shape[0])
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    model.family.model.register_forward_pre_hook(full, with_kwargs=True)
    responses = ask(model, PROMPTS, tmp_path, temperature=1)
    assert [r.text for r in responses] == expected
    assert max(failures) >= 6
    assert len(failures) <= 10
    failures.clear()
    assert [r.text for r in ask(model, PROMPTS, tmp_path, temperature=1)] == expected
    assert len(failures) <= 5, "what was learnt is kept"


def test_a_request_that_does_not_fit_alone_fails_alone(tiny: Path, tmp_path: Path) -> None:
    model = loaded(tiny)

    def fail(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        if named["input_ids"].shape[1] > 300:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    model.family.model.register_forward_pre_hook(fail, with_kwargs=True)
    responses = ask(model, [*PROMPTS, user("long " * 400)], tmp_path)
    assert [r.error for r in responses[:-1]] == [None] * len(PROMPTS)
    assert responses[-1].error is not None
    assert responses[-1].error.kind == "model_error"
    assert "out of memory" in responses[-1].error.message


def prompt(tokens: int, kind: str = "") -> EncodedPrompt:
    request: Request = requests_of([user("x")])[0]
    return EncodedPrompt(request, tokens, kind)


def cut(batcher: Batcher, prompts: list[EncodedPrompt]) -> list[list[int]]:
    """The lengths in each batch."""
    groups = []

    def answer(group: list[EncodedPrompt]) -> list[GeneratedAnswer]:
        groups.append([p.tokens for p in group])
        assert len({p.kind for p in group}) == 1
        return [GeneratedAnswer((), "stop", Usage(p.tokens)) for p in group]

    found = batcher.answer(prompts, answer)
    assert [a.usage.input for a in found if isinstance(a, GeneratedAnswer)] == [
        p.tokens for p in prompts
    ]
    return groups


def test_batches_are_sorted_and_bounded() -> None:
    prompts = [prompt(n) for n in (10, 500, 20, 400, 30, 5)]
    assert cut(Batcher(4, 10**6, 1000), prompts) == [[500, 400, 30, 20], [10, 5]]
    assert cut(Batcher(100, 3000, 1000), prompts) == [[500, 400], [30, 20], [10, 5]]
    assert cut(Batcher(100, 50, 1000), prompts) == [[500], [400], [30], [20], [10], [5]]
    # padding costs: no row of less than half the longest
    assert cut(Batcher(100, 10**6, 0), prompts) == [[500, 400], [30, 20], [10, 5]]
    mixed = [prompt(10), prompt(90, "image"), prompt(20), prompt(80, "image"), prompt(7, "audio")]
    assert cut(Batcher(100, 10**6, 10), mixed) == [[20, 10], [7], [90, 80]]


def test_an_error_is_that_of_the_item_at_fault() -> None:
    sizes = []

    def answer(group: list[EncodedPrompt]) -> list[GeneratedAnswer]:
        sizes.append(len(group))
        if any(p.tokens == 13 for p in group):
            raise RuntimeError("shapes do not match")
        return [GeneratedAnswer((), "stop", Usage()) for _ in group]

    batcher = Batcher(3, 100, 1)
    found = batcher.answer([prompt(n) for n in (11, 13, 12, 9, 8, 10)], answer)
    assert [isinstance(one, Exception) for one in found] == [False, True, *[False] * 4]
    assert str(found[1]) == "shapes do not match"
    assert sizes == [3, 1, 1, 1, 3]
    assert batcher.tokens == 100
    for error in (MemoryError(), RuntimeError("not enough memory: you tried to allocate 8 bytes")):

        def full(group: list[EncodedPrompt], error: Exception = error) -> list[GeneratedAnswer]:
            raise error

        assert isinstance(Batcher(4, 100, 1).answer([prompt(1)], full)[0], OutOfMemoryError)

    def wrong(group: list[EncodedPrompt]) -> list[GeneratedAnswer]:
        raise UserError("the user's mistake")

    with pytest.raises(UserError):
        Batcher(4, 100, 1).answer([prompt(1)], wrong)


def test_the_engine_hands_over_more_at_once_for_a_small_model(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    """Resumed or not, and however batches are cut: the same answers, drawn at temperature 1."""
    assert loaded(tiny).batch_size == 512
    make_task(tmp_path, "mine/demo", [text_sample(f"s{i}", f"{i} again. " * (i % 5)) for i in range(70)])
    found = []
    for out, size in (("a", "auto"), ("b", "7")):
        arguments = ["--model-arg", f"batch_size={size}", "--model-arg", "max_new_tokens=6"]
        arguments += ["--tasks", "mine/demo", "--include", "mine", "--temperature", "1", "--out", out]
        result = cli("run", "--model", tiny, *arguments, "--max-failed", "1")
        assert result.code == 0, result.err
        rows = map(json.loads, (tmp_path / out / "mine/demo/records.jsonl").read_bytes().splitlines())
        found.append({row["sample_id"]: row["parts"] for row in rows})
    assert len(found[0]) == 70
    assert found[0] == found[1]
