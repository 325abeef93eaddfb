"""Chameleon with the decoder of its codes on tiny real checkpoints: images out, beside text or alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval_anything.content import MediaPart, Modality, TextPart
from eval_anything.errors import UserError
from eval_anything.models.hf import TransformersModel
from eval_anything.runs.directory import read_run
from tests.support.asking import ask, ask_alone, loaded, medium, next_logits, requests_of, user
from tests.support.helpers import Cli, make_task, png, text_sample
from tests.support.tiny_image_out import tiny_chameleon, tiny_chameleon_that_draws

PROMPTS = ["Draw a lighthouse at night.", "Paris", "Draw the capital of France. " * 4]
ROOM = 18  # the tokens of an image


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chameleon(tmp_path_factory.mktemp("bare") / "bare")


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chameleon(tmp_path_factory.mktemp("drawing") / "drawing", decoder=True)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    path = tmp_path_factory.mktemp("writer") / "writer"
    return path, tiny_chameleon_that_draws(path)


@pytest.fixture(scope="module")
def painter(drawing: Path) -> TransformersModel:
    return loaded(drawing, output="image")


@pytest.fixture(scope="module")
def original(drawing: Path) -> tuple[Any, Any]:
    """Processor and model by the classes of transformers."""
    from transformers import ChameleonForConditionalGeneration, ChameleonProcessor

    model = ChameleonForConditionalGeneration.from_pretrained(drawing).eval()
    return ChameleonProcessor.from_pretrained(drawing), model


def reference_pixels(path: Path, codes: list[int]) -> Any:
    """An image from its 16 codes, uint8 (32, 32, 3): the decoder of taming-transformers for the sizes of
    the tiny checkpoint, from the tensors of the file, then the scale of Chameleon's own code."""
    import torch
    import torch.nn.functional as F  # noqa: N812
    from safetensors.torch import load_file

    weights = load_file(path / "model.safetensors")

    def conv(x: Any, name: str, padding: int = 1) -> Any:
        prefix = f"model.vqmodel.{name}"
        return F.conv2d(x, weights[f"{prefix}.weight"], weights[f"{prefix}.bias"], padding=padding)

    def norm(x: Any, name: str) -> Any:
        prefix = f"model.vqmodel.{name}"
        return F.group_norm(x, 32, weights[f"{prefix}.weight"], weights[f"{prefix}.bias"], 1e-6)

    def block(x: Any, name: str) -> Any:
        y = conv(F.silu(norm(x, f"{name}.norm1")), f"{name}.conv1")
        y = conv(F.silu(norm(y, f"{name}.norm2")), f"{name}.conv2")
        shortcut = f"model.vqmodel.{name}.nin_shortcut.weight" in weights
        return y + (conv(x, f"{name}.nin_shortcut", 0) if shortcut else x)

    def attention(x: Any, name: str) -> Any:
        h = norm(x, f"{name}.norm")
        q, k, v = (conv(h, f"{name}.{part}", 0).flatten(2) for part in "qkv")
        shares = (q.transpose(1, 2) @ k / q.shape[1] ** 0.5).softmax(-1)
        return x + conv((v @ shares.transpose(1, 2)).view_as(x), f"{name}.proj_out", 0)

    entries = weights["model.vqmodel.quantize.embedding.weight"][torch.tensor(codes)]
    x = conv(entries.view(1, 4, 4, 8).permute(0, 3, 1, 2), "post_quant_conv", 0)
    x = block(conv(x, "decoder.conv_in"), "decoder.mid.block_1")
    x = block(attention(x, "decoder.mid.attn_1"), "decoder.mid.block_2")
    for level in (3, 2, 1, 0):
        for place in range(2):
            x = block(x, f"decoder.up.{level}.block.{place}")
            if level == 1:
                x = attention(x, f"decoder.up.{level}.attn.{place}")
        if level:
            wide = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            x = conv(wide, f"decoder.up.{level}.upsample.conv")
    x = conv(F.silu(norm(x, "decoder.norm_out")), "decoder.conv_out")[0]
    return ((x.clamp(-1, 1) + 1) / 2 * 255).permute(1, 2, 0).numpy().astype(np.uint8)


def codes_of(ids: list[int], vocabulary: dict[str, int]) -> list[int]:
    """The codes that tokens stand for, by the digits in their names."""
    names = {token: name for name, token in vocabulary.items()}
    digits = {letter: str(digit) for digit, letter in enumerate("ABCDEFGHIJ")}
    return [int("".join(digits[c] for c in names[i][len("IMGIMG") : -1])) for i in ids]


def assert_shows(part: Any, expected: Any) -> None:
    """The pixels of a part are these, nearly: the processor's scale has two digits (.0078) where that of
    Chameleon's own code is 2 / 255."""
    assert isinstance(part, MediaPart)
    assert (part.modality, part.mime) == (Modality.IMAGE, "image/png")
    found = np.asarray(Image.open(part.path)).astype(int)
    assert found.shape == expected.shape
    assert expected.std() > 20
    assert np.abs(found - expected).max() <= 2


def by_hand(original: tuple[Any, Any], prompt: str, scale: float) -> list[int]:
    """The likeliest 16 code tokens after a prompt and an image start, each from whole passes without a
    cache; guided away from a text that begins with an image."""
    import torch

    processor, model = original
    never = torch.ones(model.config.vocab_size, dtype=torch.bool)
    never[model.model.vocabulary_mapping.image_tokens] = False
    shown = [*processor(text=prompt)["input_ids"][0].tolist(), processor.image_start_token_id]
    alone = [processor.tokenizer.bos_token_id, processor.image_start_token_id]
    new: list[int] = []
    with torch.no_grad():
        for _ in range(16):
            hidden = [
                model.model(input_ids=torch.tensor([[*before, *new]])).last_hidden_state[0, -1]
                for before in (shown, alone)
            ]
            given, without = (model.lm_head(state) for state in hidden)
            logits = without + scale * (given - without)
            new.append(int(logits.masked_fill(never, -torch.inf).argmax()))
    return new


@pytest.mark.parametrize("asked", [{}, {"guidance_scale": "1"}])
def test_images_by_hand(
    asked: dict[str, str], drawing: Path, original: tuple[Any, Any], tmp_path: Path
) -> None:
    """Guided by 3, as Chameleon's own code does where nothing is said, and not at all."""
    model = loaded(drawing, output="image", **asked)
    responses = ask(model, [user(prompt) for prompt in PROMPTS], tmp_path)
    vocabulary = original[0].tokenizer.vocab
    for prompt, response in zip(PROMPTS, responses, strict=True):
        ids = by_hand(original, prompt, float(asked.get("guidance_scale", 3)))
        assert len(set(ids)) > 2
        (part,) = response.parts
        assert_shows(part, reference_pixels(drawing, codes_of(ids, vocabulary)))
        assert (response.stop_reason, response.usage.output) == ("stop", 16 + 2)
    assert len({response.parts for response in responses}) == 3


def test_guidance_that_the_checkpoint_names(
    drawing: Path, original: tuple[Any, Any], writer: tuple[Path, list[int]], tmp_path: Path
) -> None:
    """It is taken for an image alone, and has no part in an answer of text and images."""
    path, new = writer
    for name, start in (("alone", drawing), ("beside", path)):
        shutil.copytree(start, tmp_path / name)
        file = tmp_path / name / "generation_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"guidance_scale": 2.0}))
    (response,) = ask(loaded(tmp_path / "alone", output="image"), [user("Paris")], tmp_path)
    codes = codes_of(by_hand(original, "Paris", 2.0), original[0].tokenizer.vocab)
    assert_shows(response.parts[0], reference_pixels(drawing, codes))
    asked = {"output": "any", "max_new_tokens": str(len(new))}
    guided, plain = (loaded(folder, **asked) for folder in (tmp_path / "beside", path))
    for prompt in ("Draw.", "A house?"):
        found, expected = (ask(model, [user(prompt)], tmp_path) for model in (guided, plain))
        assert [r.parts for r in found] == [r.parts for r in expected]
    assert guided.family.model.generation_config.guidance_scale == 2


def test_samples_do_not_depend_on_the_batch(painter: TransformersModel, tmp_path: Path) -> None:
    prompts = [user(PROMPTS[i % 3]) for i in range(4)]
    together = ask(painter, prompts, tmp_path, temperature=1)
    alone = ask_alone(painter, prompts, tmp_path, temperature=1)
    assert [r.parts for r in together] == [r.parts for r in alone]
    drawn, greedy = ({r.parts for r in x} for x in (together, ask(painter, prompts, tmp_path)))
    assert len(drawn) == 4
    assert not drawn & greedy


def test_the_image_of_a_prompt_reaches_what_is_drawn(painter: TransformersModel, tmp_path: Path) -> None:
    one = medium(tmp_path / "a.png", png(size=40, noise=1), "image")
    other = medium(tmp_path / "b.png", png((0, 0, 90), 40), "image")
    shown = next_logits(painter, user(one, "Draw this."))
    for changed in (user("Draw this."), user(other, "Draw this.")):
        assert float((shown - next_logits(painter, changed)).abs().max()) > 1e-3
    (response,) = ask(painter, [user(one, "Draw this.")], tmp_path)
    assert [part.modality for part in response.parts] == [Modality.IMAGE]


def test_text_and_an_image_in_their_order(writer: tuple[Path, list[int]], tmp_path: Path) -> None:
    path, new = writer
    model = loaded(path, output="any", max_new_tokens=str(len(new)))
    alone, again, other = ask(model, [user("Draw."), user("Draw."), user("A house?")], tmp_path)
    assert [getattr(part, "text", None) for part in alone.parts] == ["A:", None, "or"]
    assert (alone.stop_reason, alone.usage.output) == ("stop", len(new))
    assert again.parts == alone.parts
    assert other.parts != alone.parts
    start = new.index(model.family.processor.image_start_token_id)  # type: ignore[attr-defined]
    codes = codes_of(new[start + 1 : start + 17], model.family.tokenizer.vocab)  # type: ignore[attr-defined]
    assert_shows(alone.parts[1], reference_pixels(path, codes))


def test_an_image_begins_only_where_it_can_end(writer: tuple[Path, list[int]], tmp_path: Path) -> None:
    path, new = writer
    before = new.index(loaded(path).family.processor.image_start_token_id)  # type: ignore[attr-defined]
    end = before + ROOM
    (whole,) = ask(loaded(path, output="any", max_new_tokens=str(end)), [user("Draw.")], tmp_path)
    assert [part.modality for part in whole.parts] == [Modality.TEXT, Modality.IMAGE]
    (less,) = ask(loaded(path, output="any", max_new_tokens=str(end - 1)), [user("Draw.")], tmp_path)
    assert [part.modality for part in less.parts] == [Modality.TEXT]
    assert less.text.startswith("A:")
    assert len(less.text) > len("A:")
    assert whole.stop_reason == "length"


def test_the_layout_is_enforced(drawing: Path) -> None:
    """At a temperature at which all tokens are about as likely."""
    family: Any = loaded(drawing, output="any", max_new_tokens="120").family
    asked = requests_of([user("Hello.")] * 24, temperature=100.0)
    prompts = [family.prompt(request) for request in asked]
    drawn = family.generate(family.build_inputs(prompts), prompts)
    tokens = family.tokenizer.convert_ids_to_tokens
    images = 0
    for row in drawn:
        names = tokens(row)
        while "<racm3:break>" in names:
            start = names.index("<racm3:break>")
            image = names[start + 1 : start + ROOM]
            assert all(name.startswith("IMGIMG") for name in image[:-1])
            assert (len(image), image[-1]) == (ROOM - 1, "<eoss>")
            names[start : start + ROOM] = []
            images += 1
        assert not [name for name in names if name in ("<image>", "<eoss>") or name.startswith("IMGIMG")]
    assert images > 5
    assert len({name for row in drawn for name in tokens(row)}) > 200


def test_text_is_that_of_a_checkpoint_without_the_decoder(
    bare: Path, drawing: Path, tmp_path: Path
) -> None:
    prompts = [user(prompt) for prompt in PROMPTS]
    found, expected = (ask(loaded(path), prompts, tmp_path) for path in (drawing, bare))
    assert [r.parts for r in found] == [r.parts for r in expected]
    assert all(isinstance(part, TextPart) for r in found for part in r.parts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "video"}, "type chameleon answers with text or image or any"),
        ({"output": "image"}, "output=image: .* holds no decoder from codes to pixels"),
        ({"output": "any", "max_new_tokens": "40"}, "output=any: .* holds no decoder"),
        ({"guidance_scale": "2"}, "guidance_scale goes with --model-arg output=image alone"),
    ],
)
def test_what_a_checkpoint_without_the_decoder_refuses(
    bare: Path, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        loaded(bare, **arguments)


def test_no_image_would_fit(drawing: Path) -> None:
    message = "an image takes 18 tokens and max_new_tokens is 17.* add --model-arg max_new_tokens=36"
    with pytest.raises(UserError, match=message):
        loaded(drawing, output="any", max_new_tokens="17")
    loaded(drawing, output="any", max_new_tokens="18")


def test_a_decoder_with_a_gap_is_an_incomplete_checkpoint(drawing: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tmp_path / "gap"
    shutil.copytree(drawing, path)
    weights = load_file(path / "model.safetensors")
    del weights["model.vqmodel.decoder.up.1.upsample.conv.weight"]
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lack 1 tensors .* model.vqmodel.decoder.up.1.upsample.conv"):
        loaded(path, output="image")


def test_a_run_that_makes_images(cli: Cli, writer: tuple[Path, list[int]], tmp_path: Path) -> None:
    path, new = writer
    make_task(tmp_path / "tasks", samples=[text_sample("s0", "Draw.")])
    arguments = ["--tasks", "mine/demo", "--include", tmp_path / "tasks", "--out", "run", "--json"]
    asked = ["--model-arg", "output=any", "--model-arg", f"max_new_tokens={len(new)}"]
    result = cli("run", "--model", path, *asked, *arguments)
    assert result.code == 0, result.err
    (record,) = read_run(tmp_path / "run", "mine/demo")
    kinds = [Modality.TEXT, Modality.IMAGE, Modality.TEXT]
    assert [part.modality for part in record.parts] == kinds
    assert len(list((tmp_path / "run/media").rglob("*.png"))) == 1
