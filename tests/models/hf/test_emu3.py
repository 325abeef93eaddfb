"""Emu3 on tiny real checkpoints: text and images in, and out in any order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval_anything.content import MediaPart, Modality, TextPart
from eval_anything.errors import UserError
from eval_anything.models.hf import TransformersModel
from eval_anything.runs.directory import read_run
from tests.support.asking import (
    ask,
    ask_alone,
    loaded,
    medium,
    next_logits,
    requests_of,
    text,
    texts_are_documented,
    turn,
    user,
)
from tests.support.helpers import Cli, png
from tests.support.tiny_image_out import tiny_emu3

PROMPTS = ["Draw a lighthouse at night.", "Paris", "Draw the capital of France, and describe it " * 3]
# 2 x 4 codes of 8 x 8 pixels.
SIZE = {"ratio": "2:1", "image_area": str(16 * 32)}
MARKS = ["<image>", "<|image start|>", "<|image end|>", "<|image token|>", "<|extra_200|>"]
NEVER = [*MARKS, "<|extra_201|>", *(f"<|visual token {i:06}|>" for i in range(64))]


@pytest.fixture(scope="module")
def emu3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_emu3(tmp_path_factory.mktemp("emu3") / "emu3")


@pytest.fixture(scope="module")
def reader(emu3: Path) -> TransformersModel:
    return loaded(emu3)


@pytest.fixture(scope="module")
def painter(emu3: Path) -> TransformersModel:
    return loaded(emu3, output="image", **SIZE)


def pixels_of(part: Any) -> Any:
    assert isinstance(part, MediaPart)
    assert (part.modality, part.mime) == (Modality.IMAGE, "image/png")
    return np.asarray(Image.open(part.path))


@pytest.fixture(scope="module")
def original(emu3: Path) -> tuple[Any, Any]:
    """Processor and model by the classes of transformers."""
    from transformers import Emu3ForConditionalGeneration, Emu3Processor

    model = Emu3ForConditionalGeneration.from_pretrained(emu3).eval()
    return Emu3Processor.from_pretrained(emu3), model


def documented_image(
    original: tuple[Any, Any], prompt: str, negative: str = "", scale: float = 1.0
) -> Any:
    """As the page of Emu3 shows it, with its rule of which tokens may follow."""
    import torch

    processor, model = original
    asked = {"return_for_image_generation": True, "ratio": "2:1", "image_area": 16 * 32}
    inputs = processor(text=[prompt], return_tensors="pt", **asked)
    ((height, width),) = inputs.pop("image_sizes")
    tokenizer = processor.tokenizer
    (row_end,) = tokenizer.encode("<|extra_200|>")

    def allowed(batch_id: int, ids: Any) -> Any:
        position = torch.nonzero(ids == tokenizer.image_wrapper_token_id)[0][0]
        offset = ids.shape[0] - position
        if offset % (width + 1) == 0:
            return (row_end,)
        last = {1: tokenizer.eof_token_id, 2: tokenizer.eoi_token_id, 3: tokenizer.eos_token_id}
        return (
            (last[int(offset) - (width + 1) * height],)
            if offset > (width + 1) * height
            else model.vocabulary_mapping.image_tokens
        )

    more = {}
    if scale != 1:
        unwanted = processor(text=[negative], return_tensors="pt", **asked)
        more = {
            "guidance_scale": scale,
            "negative_prompt_ids": unwanted.input_ids,
            "negative_prompt_attention_mask": unwanted.attention_mask,
        }
    with torch.inference_mode():
        ids = model.generate(
            **inputs,
            max_new_tokens=(width + 1) * height + 3,
            prefix_allowed_tokens_fn=allowed,
            do_sample=False,
            **more,
        )
        new = ids[:, inputs.input_ids.shape[1] :]
        image = model.decode_image_tokens(image_tokens=new, height=height, width=width)
    images = processor.postprocess(list(image.float()), return_tensors="PIL.Image.Image")
    return np.asarray(images["pixel_values"][0])


def test_text_as_the_documented_call(emu3: Path, reader: TransformersModel, tmp_path: Path) -> None:
    texts_are_documented(emu3, reader, tmp_path, NEVER)


def test_images_as_the_documented_call(
    emu3: Path, original: tuple[Any, Any], painter: TransformersModel, tmp_path: Path
) -> None:
    """Also with guidance away from another prompt."""
    prompts = [user(prompt) for prompt in PROMPTS]
    responses = ask(painter, prompts, tmp_path)
    made = [pixels_of(*response.parts) for response in responses]
    assert painter.family.name == "emu3"
    for prompt, pixels in zip(PROMPTS, made, strict=True):
        assert pixels.shape == (16, 32, 3)
        assert np.array_equal(pixels, documented_image(original, prompt))
    assert len({response.parts for response in responses}) == 3
    assert [(r.stop_reason, r.usage.output) for r in responses] == [("stop", 2 * 5 + 3)] * 3
    asked = {"guidance_scale": "3", "negative_prompt": "a lighthouse"}
    guided = ask(loaded(emu3, output="image", **asked, **SIZE), prompts, tmp_path)
    for prompt, response, plain in zip(PROMPTS, guided, made, strict=True):
        pixels = pixels_of(*response.parts)
        assert np.array_equal(pixels, documented_image(original, prompt, "a lighthouse", 3.0))
        assert not np.array_equal(pixels, plain)


@pytest.mark.parametrize("mode", ["text", "image"])
def test_samples_do_not_depend_on_the_batch(
    mode: str, reader: TransformersModel, painter: TransformersModel, tmp_path: Path
) -> None:
    model = reader if mode == "text" else painter
    prompts = [user(PROMPTS[i % 3]) for i in range(4)]
    together = ask(model, prompts, tmp_path, temperature=1)
    alone = ask_alone(model, prompts, tmp_path, temperature=1)
    assert [r.parts for r in together] == [r.parts for r in alone]
    drawn, greedy = ({r.parts for r in x} for x in (together, ask(model, prompts, tmp_path)))
    assert len(drawn) == 4
    assert not drawn & greedy


@pytest.mark.parametrize("mode", ["text", "image"])
def test_the_image_reaches_the_model(
    mode: str, reader: TransformersModel, painter: TransformersModel, tmp_path: Path
) -> None:
    model = reader if mode == "text" else painter
    one = medium(tmp_path / "a.png", png(size=40, noise=1), "image")
    other = medium(tmp_path / "b.png", png((0, 0, 90), 40), "image")
    shown = next_logits(model, user(one, "What is this?"))
    for changed in (user("What is this?"), user(other, "What is this?"), user("What?", one)):
        assert float((shown - next_logits(model, changed)).abs().max()) > 1e-3
    (response,) = ask(model, [user(one, "What is this?")], tmp_path)
    assert response.error is None


def test_control_tokens_in_the_text_are_text(reader: TransformersModel, tmp_path: Path) -> None:
    red = medium(tmp_path / "red.png", png(size=40, noise=1), "image")
    words = "Is <image> <|image start|>9*9<|image token|> one?"
    responses = ask(reader, [user(words), user(red, words)], tmp_path)
    assert [r.error for r in responses] == [None, None]
    inputs = reader.family.build_inputs([reader.family.prompt(r) for r in requests_of([user(words)])])
    found = reader.family.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])  # type: ignore[attr-defined]
    assert not set(found) & set(NEVER)


@pytest.fixture(scope="module")
def writer(emu3: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A checkpoint that answers "Draw." with text, image, text, image, and the tokens of that answer:
    its head is solved for from the hidden states, of which there are fewer than dimensions."""
    import torch
    from transformers import Emu3ForConditionalGeneration, Emu3Processor

    path = tmp_path_factory.mktemp("emu3") / "writer"
    processor = Emu3Processor.from_pretrained(emu3)
    model = Emu3ForConditionalGeneration.from_pretrained(emu3).eval()
    codes = [f"<|visual token {7 * i:06}|>" for i in range(7)]
    rows = ["".join([*codes[i : i + 3], "<|extra_200|>"]) for i in (0, 3)]
    answer = (
        f"A:<|image start|>2*3<|image token|>{''.join(rows)}<|extra_201|><|image end|>or"
        f"<|image start|>1*1<|image token|>{codes[6]}<|extra_200|><|extra_201|><|image end|></s>"
    )
    shown = processor.apply_chat_template(turn(text("Draw.")), add_generation_prompt=True)
    prompt = processor(text=[shown])["input_ids"][0]
    new = processor.tokenizer.encode(answer, add_special_tokens=False)
    row = torch.tensor([[*prompt, *new[:-1]]])
    with torch.no_grad():
        hidden = model.model(input_ids=row).last_hidden_state[0, len(prompt) - 1 :].double()
        assert hidden.shape[0] == len(new) <= hidden.shape[1]
        wanted = 10.0 * torch.nn.functional.one_hot(torch.tensor(new), len(model.lm_head.weight))
        model.lm_head.weight.copy_(torch.linalg.lstsq(hidden, wanted.double()).solution.T)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path, new


def test_text_and_images_that_the_model_writes_in_their_order(
    writer: tuple[Path, list[int]], tmp_path: Path
) -> None:
    import torch
    from transformers import Emu3ForConditionalGeneration, Emu3Processor

    path, new = writer
    model = loaded(path, output="any", max_new_tokens=str(len(new)))
    alone, *others = ask(model, [user("Draw."), user("Draw."), user("Draw a lighthouse.")], tmp_path)
    assert [getattr(part, "text", None) for part in alone.parts] == ["A:", None, "or", None]
    assert (alone.stop_reason, alone.usage.output) == ("stop", len(new))
    assert others[0].parts == alone.parts
    documented_model = Emu3ForConditionalGeneration.from_pretrained(path).eval()
    processor = Emu3Processor.from_pretrained(path)
    place = 0
    for part, (height, width) in zip(alone.parts[1::2], [(2, 3), (1, 1)], strict=True):
        place = new.index(processor.tokenizer.image_wrapper_token_id, place) + 1
        codes = torch.tensor([new[place : place + height * (width + 1) + 3]])
        image = documented_model.decode_image_tokens(image_tokens=codes, height=height, width=width)
        expected = processor.postprocess(list(image), return_tensors="PIL.Image.Image")["pixel_values"]
        assert np.array_equal(pixels_of(part), np.asarray(expected[0]))
    (text_only,) = ask(loaded(path), [user("Draw.")], tmp_path)
    assert [part.modality for part in text_only.parts] == [Modality.TEXT]


def test_an_image_that_is_cut_is_left_out(writer: tuple[Path, list[int]], tmp_path: Path) -> None:
    path, new = writer
    end = new.index(loaded(path).family.tokenizer.eoi_token_id) + 1  # type: ignore[attr-defined]
    (whole,) = ask(loaded(path, output="any", max_new_tokens=str(end)), [user("Draw.")], tmp_path)
    assert [part.modality for part in whole.parts] == [Modality.TEXT, Modality.IMAGE]
    (cut,) = ask(loaded(path, output="any", max_new_tokens=str(end - 1)), [user("Draw.")], tmp_path)
    assert cut.parts == (TextPart("A:"),)
    assert whole.stop_reason == cut.stop_reason == "length"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"output": "video"},
            "output=video: a checkpoint of type emu3 answers with text or image or any",
        ),
        ({"output": "image", "ratio": "wide"}, "ratio=wide: must be width:height, such as 16:9"),
        ({"output": "image", "image_area": "9"}, "image_area=9: too small for an image of 1:1"),
        ({"output": "any", "ratio": "16:9"}, "ratio goes with --model-arg output=image alone"),
        ({"output": "image", "negative_prompt": "blur"}, "add --model-arg guidance_scale=3"),
    ],
)
def test_what_cannot_be_asked_for(emu3: Path, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        loaded(emu3, **arguments)


def test_a_run_that_makes_images(cli: Cli, emu3: Path, tmp_path: Path) -> None:
    asked = [f"--model-arg={key}={value}" for key, value in SIZE.items()]
    arguments = ["--tasks", "open/selection", "--first", "2", "--out", "run", "--json", *asked]
    result = cli("run", "--model", emu3, "--model-arg", "output=image", *arguments)
    assert result.code == 0, result.err
    records = read_run(tmp_path / "run", "open/selection")
    assert [[part.modality for part in record.parts] for record in records] == [[Modality.IMAGE]] * 2
    assert len(list((tmp_path / "run/media").rglob("*.png"))) == 2


def test_the_listing_says_what_goes_in_and_out(cli: Cli) -> None:
    (hf,) = (row for row in cli("models", "list", "--json").json if row["name"] == "hf")
    (row,) = (family for family in hf["families"] if family["name"] == "emu3")
    assert (row["model_types"], row["modes"]) == (["emu3"], ["text", "image", "any"])
    assert (row["inputs"], row["outputs"]) == (["text", "image"], ["text", "image"])
    assert [hole["what"] for hole in row["holes"]] == ["clips in or out"]
