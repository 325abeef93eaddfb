"""A processor's prompts begin with the first token of the tokenizer once, and never end with its end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import loaded, medium, requests_of, user
from tests.support.helpers import jpeg
from tests.support.tiny_media import tiny_llava


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("first") / "model")


@pytest.mark.parametrize(
    ("around", "opening", "begins"),
    [
        ("<s> $A", "", "<s>user:"),
        ("<s> $A </s>", "", "<s>user:"),
        ("<s> $A </s>", "<s>", "<s>user:"),
        ("$A </s>", "", "user:"),
        ("$A </s>", "<s>", "<s>user:"),
        ("$A", "", "user:"),
    ],
)
def test_a_prompt_begins_as_the_tokenizer_begins_a_text(
    llava: Path, tmp_path: Path, around: str, opening: str, begins: str
) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(llava)
    tokenizer = processor.tokenizer
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single=around,
        special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")],
    )
    processor.chat_template = opening + processor.chat_template
    path = tmp_path / "model"
    shutil.copytree(llava, path)
    processor.save_pretrained(path)
    family: Any = loaded(path).family
    picture = medium(tmp_path / "a.jpg", jpeg(), "image")
    for words in (user("What?"), user(picture, "What is </s>?")):
        [prompt] = [family.prompt(request) for request in requests_of([words])]
        ids = family.build_inputs([prompt])["input_ids"][0].tolist()
        text = tokenizer.decode(ids)
        assert text.startswith(begins)
        assert text.endswith("?assistant:")
        assert ids.count(tokenizer.bos_token_id) == begins.count("<s>")
        assert tokenizer.eos_token_id not in ids
