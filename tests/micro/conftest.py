"""What tests of the micro world share: files of rendered media, and samples of the committed tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from types import ModuleType

import pytest

from eval_anything.content import MediaPart, Part, Response, Sample, TextPart
from eval_anything.jsonl import sample_from_json
from eval_anything.micro.world.gold import gold_items
from eval_anything.micro.world.render import EXTENSIONS, Rendered, render
from eval_anything.micro.world.scenes import SymbolicPart
from tests.support.paths import ROOT

SUITE = ROOT / "benchmarks" / "micro"
Respond = Callable[[Iterable[str | Rendered]], Response]


@cache
def samples(task: str) -> tuple[Sample, ...]:
    """The committed samples of a task."""
    lines = (SUITE / task / "samples.jsonl").read_bytes().splitlines()
    return tuple(sample_from_json(line, SUITE / task, None) for line in lines)


def render_items(items: Iterable[SymbolicPart]) -> tuple[str | Rendered, ...]:
    """Texts stay as they are, scenes become files."""
    return tuple(item if isinstance(item, str) else render(item) for item in items)


def gold_parts(sample: Sample) -> tuple[str | Rendered, ...]:
    """The right answer of a sample of the micro tasks: texts, and media as bytes."""
    return render_items(gold_items(sample))


@cache
def scorer(task: str) -> ModuleType:
    """The module score.py of a task."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(f"score_{task}", SUITE / task / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def respond(tmp_path_factory: pytest.TempPathFactory) -> Respond:
    """Makes a response of texts and rendered media, the media in files."""
    folder = tmp_path_factory.mktemp("media")

    def part(content: str | Rendered) -> Part:
        if isinstance(content, str):
            return TextPart(content)
        digest = hashlib.sha256(content.data).hexdigest()
        extension = EXTENSIONS[content.modality]
        path = folder / f"{digest}.{extension}"
        if not path.exists():
            path.write_bytes(content.data)
        return MediaPart(content.modality, digest, f"{content.modality}/{extension}", path)

    return lambda parts: Response(tuple(part(content) for content in parts))
