"""Checkpoints in GGUF files: the same answers as from safetensors, and each mistake in one message."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from eval_anything.content import Response
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Request, Sampling
from eval_anything.models.hf import TransformersModel
from eval_anything.models.hf.source import find_source
from eval_anything.models.spec import resolve
from tests.support.asking import NEW, ask, loaded, user
from tests.support.helpers import Cli, make_task
from tests.support.streamed import streamed
from tests.support.tiny import tiny_llama
from tests.support.tiny_gguf import write_gguf

PROMPTS = [user("What is the capital of France?"), user("naïve </s> 🙂 2024"), user("Draw. " * 9)]


class Files(NamedTuple):
    """A checkpoint, and GGUF files of it as numbers and as blocks of eight bits."""

    checkpoint: Path
    numbers: Path
    blocks: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("gguf")
    checkpoint = tiny_llama(root / "tiny")
    return Files(
        checkpoint,
        write_gguf(checkpoint, root / "tiny.F32.gguf"),
        write_gguf(checkpoint, root / "tiny.Q8_0.gguf", "Q8_0", general__sampling__temp=0.0),
    )


def test_answers_are_those_of_the_checkpoint(files: Files, tmp_path: Path) -> None:
    expected = ask(loaded(files.checkpoint), PROMPTS, tmp_path)
    model = loaded(files.numbers)
    answers = ask(model, PROMPTS, tmp_path)
    assert [a.text for a in answers] == [a.text for a in expected]
    assert [a.usage for a in answers] == [a.usage for a in expected]
    assert model.name == "tiny.F32"
    assert model.architecture == "llama"


def test_prompts_have_the_tokens_of_the_checkpoint(files: Files) -> None:
    models = [loaded(path) for path in (files.checkpoint, files.numbers, files.blocks)]
    for prompt in PROMPTS:
        request = Request("mine/demo", "s", 0, prompt, Sampling())
        ids = [model.family.prompt(request).data for model in models]
        assert ids[0] == ids[1] == ids[2]


def test_blocks_are_read_as_transformers_reads_them(files: Files, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(files.blocks.parent, gguf_file=files.blocks.name)
    model = loaded(files.blocks)
    prompt = model.family.prompt(Request("mine/demo", "s", 0, PROMPTS[0], Sampling()))
    with torch.inference_mode():
        expected = plain.generate(torch.tensor([prompt.data]), do_sample=False, max_new_tokens=NEW)
    text = streamed(model.family.tokenizer, expected[0, len(prompt.data) :])  # type: ignore[attr-defined]
    assert ask(model, PROMPTS[:1], tmp_path)[0].text == text.strip()


def test_every_spec_and_its_settings(files: Files, tmp_path: Path) -> None:
    for spec in (str(files.blocks), f"hf/{files.blocks}"):
        model = resolve(spec, {})
        assert isinstance(model, TransformersModel)
        assert model.checkpoint_settings().values() == {"temperature": 0.0}
        assert model.check_sampling(Sampling(top_k=3, temperature=1.0)) == []
    assert model.weights() != resolve(str(files.numbers), {}).weights()
    with pytest.raises(UserError, match="names no temperature"):
        resolve(str(files.numbers), {}).checkpoint_settings()


def test_nothing_beside_the_file_counts(files: Files, tmp_path: Path) -> None:
    alone = shutil.copy(files.numbers, tmp_path / "m.gguf")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).write_text('{"model_type": "bert"}')
    answers = ask(loaded(Path(alone)), PROMPTS[:1], tmp_path / "media")
    assert answers[0].text == ask(loaded(files.numbers), PROMPTS[:1], tmp_path / "media")[0].text


def test_settings_of_generation(files: Files, tmp_path: Path) -> None:
    model, store = loaded(files.numbers), MediaStore(tmp_path)

    def answer(**settings: Any) -> Response:
        request = Request("mine/demo", "s", 0, PROMPTS[0], Sampling(max_new_tokens=NEW, **settings))
        return asyncio.run(model.generate([request], store))[0]

    plain = answer()
    stopped = answer(stop=[plain.text[4:6]])
    assert plain.text.startswith(stopped.text)
    assert (stopped.stop_reason, len(stopped.text)) < ("stop", 7)
    assert answer(repetition_penalty=1.8).text != plain.text
    drawn = {"temperature": 2.0, "top_k": 50, "seed": 3}
    assert answer(**drawn).text == answer(**drawn).text != plain.text


def test_ends_of_turns_end_answers(files: Files, tmp_path: Path) -> None:
    assert loaded(files.numbers).family.stop == [2]  # type: ignore[attr-defined]
    more = write_gguf(files.checkpoint, tmp_path / "m.gguf", tokenizer__ggml__eot_token_id=9)
    assert loaded(more).family.stop == [2, 9]  # type: ignore[attr-defined]


def test_divided_frequencies_of_positions(files: Files, tmp_path: Path) -> None:
    """As llama.cpp's converter writes the scaling of Llama 3.1, which transformers has in its config."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaled = AutoModelForCausalLM.from_pretrained(
        files.checkpoint,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "original_max_position_embeddings": 64,
            **scaling,
        },
    )
    frequencies = 10000.0 ** -(np.arange(0, 8, 2) / 8)
    wavelengths = 2 * math.pi / frequencies
    smooth = np.clip((64 / wavelengths - 1.0) / (4.0 - 1.0), 0, 1)
    factors = (1 / ((1 - smooth) / 8.0 + smooth)).astype(np.float32)
    model = loaded(write_gguf(files.checkpoint, tmp_path / "m.gguf", factors=factors))
    ids = torch.arange(5, 300)[None]
    with torch.inference_mode():
        ours, theirs = (m(ids).logits for m in (model.family.model, scaled))
        unscaled = loaded(files.numbers).family.model(ids).logits
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(unscaled, theirs, atol=1e-3)


def _cut(end: float) -> Callable[[Files, Path], None]:
    def make(files: Files, path: Path) -> None:
        whole = files.blocks.read_bytes()
        path.write_bytes(whole[: int(len(whole) * end)])

    return make


def _written(*args: Any, cut: int = 0, **more: Any) -> Callable[[Files, Path], None]:
    def make(files: Files, path: Path) -> None:
        write_gguf(files.checkpoint, path, *args, **more)
        path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])

    return make


def _other_blocks(files: Files, path: Path) -> None:
    """A file with one tensor of a type that only computations have."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    blocks = gguf.GGMLQuantizationType.Q8_K
    writer.add_tensor("output.weight", np.zeros((1, 292), np.uint8), raw_dtype=blocks)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _bytes(content: bytes) -> Callable[[Files, Path], None]:
    return lambda files, path: void(path.write_bytes(content))


def void(_: object) -> None:
    """Nothing."""


def _long_list(files: Files, path: Path) -> None:
    """A list of a kind without end, as one flipped bit makes it."""
    whole = bytearray(files.blocks.read_bytes())
    place = whole.index(b"tokenizer.ggml.token_type") + len(b"tokenizer.ggml.token_type") + 4 + 4
    whole[place : place + 8] = (2**60).to_bytes(8, "little")
    path.write_bytes(whole)


BAD: dict[str, tuple[Callable[[Files, Path], None], str]] = {
    "missing": (lambda files, path: None, "there is no such file"),
    "empty": (_bytes(b""), "no GGUF file"),
    "another": (_bytes(b"PK\x03\x04" * 99), "no GGUF file"),
    "pointer": (_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "letters alone": (_bytes(b"GGUF"), "truncated or damaged"),
    "old version": (_bytes(b"GGUF" + b"\x01" + bytes(99)), "GGUF v1"),
    "no architecture": (_bytes(b"GGUF\x03" + bytes(99)), "general.architecture"),
    "cut behind its table": (_cut(0.98), "bytes of"),
    **{f"cut at {end}": (_cut(end), "truncated or damaged") for end in (0.002, 0.05, 0.15, 0.5, 0.999)},
    "endless list": (_long_list, "truncated or damaged"),
    "cut, of other blocks": (_written("Q5_0", cut=99), "truncated or damaged"),
    "blocks": (_other_blocks, "blocks of type Q8_K"),
    "one of several": (_written(split__count=3), "llama-gguf-split --merge"),
    "projector": (_written(architecture="clip"), "--mmproj"),
    "adapter": (_written(general__type="adapter"), "holds no model"),
    "architecture": (_written(architecture="zamba9"), "does not read its architecture, zamba9"),
    "positions": (_written(llama__rope__scaling__type="yarn"), "positions are scaled \\(yarn\\)"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_mistakes_in_files(name: str, files: Files, tmp_path: Path) -> None:
    make, message = BAD[name]
    path = tmp_path / "m.gguf"
    make(files, path)
    with pytest.raises(UserError, match=message) as caught:
        find_source(path, "", "")
    assert str(path) in str(caught.value)


def test_mistakes_in_options(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="ids have revisions"):
        find_source(files.blocks, "main", "")
    with pytest.raises(UserError, match="has GGUF files"):
        resolve(str(shutil.copy(files.blocks, tmp_path) and tmp_path), {})
    with pytest.raises(UserError, match="there is no such file"):
        resolve("nowhere/m.gguf", {})
    with pytest.raises(UserError, match="has fixed bits"):
        loaded(files.blocks, quantization="8bit")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package gguf: pip install"):
        find_source(files.blocks, "", "")


def test_a_file_without_a_chat_template(files: Files, tmp_path: Path) -> None:
    path = write_gguf(files.checkpoint, tmp_path / "base.gguf", template=False)
    with pytest.raises(UserError, match="has no chat template") as caught:
        loaded(path)
    assert "in that folder" not in str(caught.value)
    assert ask(loaded(path, chat_template="none"), PROMPTS[:1], tmp_path)[0].error is None


def test_a_tokenizer_of_an_unknown_cut_is_said(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(files.numbers.read_bytes().replace(b"default", b"chatglm"))
    [note] = resolve(str(path), {}).check_sampling(Sampling())
    assert "(chatglm): prompts may have other tokens" in note


def test_a_run(files: Files, cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path)
    command = ["run", "--model", str(files.blocks), "--tasks", "mine/demo", "--include", "mine"]
    done = cli(*command, "--max-new-tokens", "4", "--sampling", "checkpoint", "--out", "run")
    assert done.code == 0, done.err
    assert "tiny.Q8_0 on mine/demo" in done.err
    assert "Converting" not in done.err
