"""Chameleon on a tiny real checkpoint: text and images in, text out, without a chat template. Images out
are in test_chameleon_images.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from eval_anything.content import Message, Modality, TextPart, Usage
from eval_anything.models.hf import TransformersModel
from eval_anything.runs.directory import read_run
from tests.support.asking import NEW, ask, ask_alone, loaded, medium, next_logits, requests_of, user
from tests.support.helpers import Cli, png
from tests.support.streamed import streamed
from tests.support.tiny_image_out import tiny_chameleon

AROUND = ["<image>", "<racm3:break>", "<eoss>"]


@pytest.fixture(scope="module")
def chameleon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chameleon(tmp_path_factory.mktemp("chameleon") / "chameleon")


@pytest.fixture(scope="module")
def model(chameleon: Path) -> TransformersModel:
    return loaded(chameleon)


@pytest.fixture(scope="module")
def original(chameleon: Path) -> tuple[Any, Any]:
    """Processor and model by the classes of transformers."""
    from transformers import ChameleonForConditionalGeneration, ChameleonProcessor

    model = ChameleonForConditionalGeneration.from_pretrained(chameleon)
    return ChameleonProcessor.from_pretrained(chameleon), model.eval()


def documented(original: tuple[Any, Any], prompt: str, images: list[Path]) -> tuple[str, int, int]:
    """The answer as the page of Chameleon shows it, with tokens read and written."""
    import torch

    processor, model = original
    shown = [Image.open(image).convert("RGB") for image in images]
    inputs = processor(text=prompt, images=shown or None, return_tensors="pt")
    never = processor.tokenizer.convert_tokens_to_ids(AROUND)
    with torch.inference_mode():
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=NEW, suppress_tokens=never)
    length = inputs["input_ids"].shape[1]
    new = ids[0, length:]
    return streamed(processor.tokenizer, new).strip(), length, len(new)


def test_text_as_the_documented_call(
    original: tuple[Any, Any], model: TransformersModel, tmp_path: Path
) -> None:
    paths = {name: tmp_path / f"{name}.png" for name in ("red", "blue")}
    red = medium(paths["red"], png(size=40, noise=1), "image")
    blue = medium(paths["blue"], png((10, 20, 220), 50, noise=2), "image")
    turns = (*user("Hello."), Message("assistant", (TextPart("Paris?"),)), *user("No: ", red))
    prompts = [user("Hello."), user("Look: ", red, " What?"), user(blue, "and", red, "Which?"), turns]
    written = [
        ("Hello.", []),
        ("Look: <image> What?", ["red"]),
        ("<image>and<image>Which?", ["blue", "red"]),
        ("Hello.<reserved08706>Paris?<reserved08706>No: <image>", ["red"]),
    ]
    assert (model.family.name, model.family.inputs) == ("chameleon", (Modality.TEXT, Modality.IMAGE))
    responses = ask(model, prompts, tmp_path / "store")
    for response, (prompt, names) in zip(responses, written, strict=True):
        expected, read, new = documented(original, prompt, [paths[name] for name in names])
        assert response.error is None
        assert (response.text, response.usage) == (expected, Usage(read, new))
    assert len({r.text for r in responses}) == 4


def test_a_conversation_of_texts_as_one_prompt(model: TransformersModel) -> None:
    turns = [("user", "Hello."), ("assistant", "No."), ("user", "Why?")]
    made = [{"role": role, "content": words} for role, words in turns]
    end = "<reserved08706>"
    chat = model.family.chat  # type: ignore[attr-defined]
    assert chat(made, True) == f"Hello.{end}No.{end}Why?{end}"
    assert chat(made[:2], False) == f"Hello.{end}No."


def test_the_image_reaches_the_model(model: TransformersModel, tmp_path: Path) -> None:
    one = medium(tmp_path / "a.png", png(size=40, noise=1), "image")
    other = medium(tmp_path / "b.png", png((0, 0, 90), 40), "image")
    shown = next_logits(model, user(one, "What is this?"))
    for changed in (user("What is this?"), user(other, "What is this?"), user("What?", one)):
        assert float((shown - next_logits(model, changed)).abs().max()) > 1e-3


def test_samples_do_not_depend_on_the_batch(model: TransformersModel, tmp_path: Path) -> None:
    red = medium(tmp_path / "red.png", png(size=40, noise=1), "image")
    prompts = [user(red, "What is this? " * (1 + i % 3)) for i in range(3)] + [user("Hello.")]
    together = ask(model, prompts, tmp_path, temperature=1)
    alone = ask_alone(model, prompts, tmp_path, temperature=1)
    assert [r.parts for r in together] == [r.parts for r in alone]
    assert len({r.parts for r in together}) == 4


def test_no_token_of_images_is_answered(model: TransformersModel) -> None:
    """At a temperature at which all tokens are about as likely, and 69 of 400 belong to images."""
    family = model.family
    asked = requests_of([user("Hello.")] * 30, temperature=100.0)
    prompts = [family.prompt(request) for request in asked]
    drawn = family.generate(family.build_inputs(prompts), prompts)
    tokenizer = family.tokenizer  # type: ignore[attr-defined]
    tokens = tokenizer.convert_ids_to_tokens([i for row in drawn for i in row])
    assert len(set(tokens)) > 100
    assert not [t for t in tokens if t in AROUND or t.startswith("IMGIMG")]


def test_a_placeholder_in_the_text_is_text(model: TransformersModel, tmp_path: Path) -> None:
    red = medium(tmp_path / "red.png", png(size=40, noise=1), "image")
    words = "Is <image> <reserved08706> a tag?"
    responses = ask(model, [user(words), user(red, words)], tmp_path)
    assert [r.error for r in responses] == [None, None]
    assert responses[0].usage.input > len(words) / 2


def test_a_run(cli: Cli, chameleon: Path, tmp_path: Path) -> None:
    arguments = ["--tasks", "open/selection", "--first", "2", "--out", "run", "--json"]
    result = cli("run", "--model", chameleon, "--model-arg", "max_new_tokens=8", *arguments)
    assert result.code == 0, result.err
    records = read_run(tmp_path / "run", "open/selection")
    assert [[part.modality for part in record.parts] for record in records] == [[Modality.TEXT]] * 2


def test_the_listing_says_what_is_left_out(cli: Cli) -> None:
    (hf,) = (row for row in cli("models", "list", "--json").json if row["name"] == "hf")
    (row,) = (family for family in hf["families"] if family["name"] == "chameleon")
    assert (row["inputs"], row["outputs"]) == (["text", "image"], ["text", "image"])
    assert row["modes"] == ["text", "image", "any"]
    lacking = ["image out, for a checkpoint without the decoder of its codes"]
    assert [hole["what"] for hole in row["holes"]] == [*lacking, "guidance by the images of a prompt"]
    assert f"chameleon lacks {lacking[0]}: " in cli("models", "list").out
