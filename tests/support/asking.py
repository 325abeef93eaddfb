"""Asking a checkpoint: through the adapter, and by the documented calls of transformers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_anything.content import Message, Modality, Part, Response, TextPart, Usage
from eval_anything.media import MediaStore, media_part
from eval_anything.models.base import Request, Sampling
from eval_anything.models.hf import TransformersModel
from tests.support.helpers import png
from tests.support.streamed import streamed

NEW = 12


def medium(path: Path, data: bytes, modality: str) -> Part:
    """A medium in a file."""
    path.write_bytes(data)
    return media_part(path, Modality(modality))


def user(*parts: Part | str) -> tuple[Message, ...]:
    """One message of a user."""
    made = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    return (Message("user", made),)


def requests_of(
    prompts: Sequence[tuple[Message, ...]], temperature: float = 0.0, seed: int = 0
) -> list[Request]:
    """Requests with ids of their own."""
    sampling = Sampling(temperature, seed)
    return [Request("mine/demo", f"s{i}", 0, prompt, sampling) for i, prompt in enumerate(prompts)]


def loaded(path: Path, **arguments: str) -> TransformersModel:
    """The model at `path`, ready to be asked."""
    model = TransformersModel(str(path), path, {"max_new_tokens": str(NEW), **arguments})
    model.load()
    return model


def ask(
    model: TransformersModel,
    prompts: Sequence[tuple[Message, ...]],
    store: Path,
    temperature: float = 0.0,
) -> list[Response]:
    """The responses to all prompts, handed over together."""
    return asyncio.run(model.generate(requests_of(prompts, temperature), MediaStore(store)))


def ask_alone(
    model: TransformersModel,
    prompts: Sequence[tuple[Message, ...]],
    store: Path,
    temperature: float = 0.0,
) -> list[Response]:
    """As `ask`, each in a batch of its own."""
    assert model._batcher is not None
    rows, model._batcher.rows = model._batcher.rows, 1
    try:
        return ask(model, prompts, store, temperature)
    finally:
        model._batcher.rows = rows


def turn(*content: dict[str, Any]) -> list[dict[str, Any]]:
    """A conversation of one message, in the form of transformers."""
    return [{"role": "user", "content": list(content)}]


def text(words: str) -> dict[str, Any]:
    """Words of such a message."""
    return {"type": "text", "text": words}


def texts_are_documented(
    path: Path, model: TransformersModel, folder: Path, suppress: Sequence[str]
) -> None:
    """A batch without, with one and with two images between words is answered as the documented calls
    answer each; the three answers differ."""
    red = medium(folder / "red.png", png(size=40, noise=1), "image")
    blue = medium(folder / "blue.png", png((10, 20, 220), 24, noise=2), "image")
    prompts = [user("Hello."), user("Look: ", red, " What?"), user(blue, "and", red, "Which?" * 5)]
    image = [{"type": "image", "path": str(folder / f"{name}.png")} for name in ("red", "blue")]
    conversations = [
        turn(text("Hello.")),
        turn(text("Look: "), image[0], text(" What?")),
        turn(image[1], text("and"), image[0], text("Which?" * 5)),
    ]
    responses = ask(model, prompts, folder / "store")
    for response, conversation in zip(responses, conversations, strict=True):
        expected, read, written = documented(path, conversation, suppress)
        assert response.error is None
        assert (response.text, response.usage) == (expected, Usage(read, written))
    assert len({r.text for r in responses}) == 3


def documented(
    path: Path,
    conversation: list[dict[str, Any]],
    suppress: Sequence[str] = (),
    **processing: Any,
) -> tuple[str, int, int]:
    """The answer by the calls that the documentation of transformers shows, one prompt at a time, and
    how many tokens were read and written."""
    import torch
    from transformers import AutoModelForMultimodalLM, AutoProcessor

    processor = AutoProcessor.from_pretrained(path)
    model = AutoModelForMultimodalLM.from_pretrained(path).eval()
    inputs = processor.apply_chat_template(
        conversation,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs=processing,
    )
    never = processor.tokenizer.convert_tokens_to_ids(list(suppress)) or None
    with torch.inference_mode():
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=NEW, suppress_tokens=never)
    length = inputs["input_ids"].shape[1]
    new = ids[0, length:]
    return streamed(processor.tokenizer, new).strip(), length, len(new)


def next_logits(model: TransformersModel, prompt: tuple[Message, ...]) -> Any:
    """The scores of the first new token, float32 (vocabulary,)."""
    import torch

    family = model.family
    inputs = family.build_inputs([family.prompt(r) for r in requests_of([prompt])])
    with torch.inference_mode():
        return family.model(**inputs).logits[0, -1].float()
