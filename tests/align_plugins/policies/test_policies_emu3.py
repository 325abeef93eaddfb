"""Emu3 as a policy: images of responses are the tokens that the checkpoint itself would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from align_plugins.policies import policy_of
from align_plugins.policies.emu3 import Emu3Policy
from eval_anything.content import MODALITIES, MediaPart, Modality, TextPart
from eval_anything.media import MediaStore
from tests.support.families import asked, medium, sums
from tests.support.helpers import png
from tests.support.tiny_image_out import tiny_emu3

DRAW = asked(TextPart("Draw."))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_emu3(tmp_path_factory.mktemp("emu3") / "emu3")


@pytest.fixture
def policy(checkpoint: Path) -> Emu3Policy:
    found = policy_of(str(checkpoint))
    assert isinstance(found, Emu3Policy)
    found.load()
    return found


def _ids(policy: Emu3Policy, text: str) -> list[int]:
    ids: list[int] = policy._family.tokenizer.encode(text, add_special_tokens=False)
    return ids


def _codes(*numbers: int) -> str:
    return "".join(f"<|visual token {n:06}|>" for n in numbers)


def _image(rows: list[list[int]]) -> str:
    """An image as the processor of transformers lays it out."""
    lines = "".join(f"{_codes(*row)}<|extra_200|>" for row in rows)
    return f"<|image start|>{len(rows)}*{len(rows[0])}<|image token|>{lines}<|extra_201|><|image end|>"


def test_what_was_sampled_is_what_is_learned(policy: Emu3Policy, tmp_path: Path) -> None:
    answer = f" A:{_image([[3, 60, 7], [7, 0, 1]])}or{_image([[9]])}</s>"
    ids = _ids(policy, answer)
    parts = policy.decode(ids, MediaStore(tmp_path))
    assert [part.modality for part in parts] == ["text", "image", "text", "image"]
    item = policy.encode(DRAW, parts)
    assert item.response == ids
    counts = {m: item.modalities.count(MODALITIES.index(m)) for m in MODALITIES}
    assert counts["image"] == len(_ids(policy, _image([[3, 60, 7], [7, 0, 1]]) + _image([[9]])))
    assert counts["text"] == len(_ids(policy, " A:")) + len(_ids(policy, "or")) + 1


def test_as_the_model_reads_its_own_images(policy: Emu3Policy, checkpoint: Path, tmp_path: Path) -> None:
    """The log-probability by hand: transformers is shown the image of the answer as pixels."""
    from PIL import Image
    from transformers import Emu3ForConditionalGeneration, Emu3Processor

    shown, drawn = (medium(tmp_path, f"{n}.png", png(size=24, noise=n), Modality.IMAGE) for n in (1, 2))
    messages = asked(shown, TextPart("Draw this."))
    response = (TextPart("Here:"), drawn, TextPart("Done."))
    processor = Emu3Processor.from_pretrained(checkpoint)
    model = Emu3ForConditionalGeneration.from_pretrained(checkpoint).eval()
    images = [Image.open(part.path) for part in (shown, drawn)]
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Draw this."}]}]
    prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
    written = f"{prompt} Here:<image>Done.</s>"
    inputs = processor(images=images, text=[written], return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0].log_softmax(-1)
        codes = model.model.get_image_tokens(inputs["pixel_values"], inputs["image_sizes"])
    targets = inputs["input_ids"][0]
    placeholder = processor.tokenizer.image_token_id
    targets = targets.masked_scatter(targets == placeholder, codes.to(targets))
    item = policy.encode(messages, response)
    assert [*item.prompt, *item.response] == targets.tolist()
    start = len(item.prompt)
    by_hand = sum(logits[i - 1, targets[i]].item() for i in range(start, len(targets)))
    assert sums(policy, (messages, response)) == pytest.approx([by_hand], abs=1e-3)


def test_training_leaves_the_encoder_of_images_as_it_is(policy: Emu3Policy, tmp_path: Path) -> None:
    """Its batch norms would take the statistics of a batch, and images become other codes."""
    picture = medium(tmp_path, "a.png", png(size=24, noise=1), Modality.IMAGE)
    before = policy.encode(DRAW, (picture,))
    encoder: Any = policy.model.model.vqmodel
    assert any(isinstance(m, torch.nn.BatchNorm3d) for m in encoder.modules())
    policy.model.train()
    policy._images.clear()
    assert policy.encode(DRAW, (picture,)) == before
    assert not any(module.training for module in encoder.modules())
    assert not any(weight.requires_grad for weight in encoder.parameters())
    assert policy.model.lm_head.training


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (f"{_codes(3)}<|image token|>{_codes(4)}", "without its size"),
        (_image([[1, 2]]).replace("<|extra_200|>", _codes(5)), "1*2 codes is not laid out"),
        (_image([[1, 2]]).replace(_codes(2), "<|extra_200|>"), "1*2 codes is not laid out"),
        (_image([[1, 2]]).replace("<|image end|>", "<|extra_201|>"), "1*2 codes is not laid out"),
    ],
)
def test_what_is_no_image_is_refused(
    answer: str, message: str, policy: Emu3Policy, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message.replace("*", r"\*")):
        policy.decode(_ids(policy, answer), MediaStore(tmp_path))


def test_what_it_cannot_write_is_refused(policy: Emu3Policy, tmp_path: Path) -> None:
    from tests.support.helpers import wav

    sound = medium(tmp_path, "a.wav", wav(), Modality.AUDIO)
    assert isinstance(sound, MediaPart)
    with pytest.raises(ValueError, match="response has audio, and this model answers with text and"):
        policy.encode(DRAW, (sound,))
    with pytest.raises(ValueError, match="prompt has audio"):
        policy.encode(asked(sound), (TextPart("A tone."),))


def test_it_draws_its_own_responses(policy: Emu3Policy, tmp_path: Path) -> None:
    """The tokens that it drew are learned as they are, image by image."""
    shown = medium(tmp_path, "a.png", png(size=24, noise=1), Modality.IMAGE)
    prompts = [asked(shown, TextPart("Go on.")), DRAW]
    drawn = policy.respond(prompts, [0, 1], temperature=1.0, max_new_tokens=8)
    assert [0 < len(one.ids) <= 8 for one in drawn] == [True, True]
    image = _ids(policy, f"x{_image([[1, 2]])}y</s>")
    row = policy.with_response(policy.prompt(prompts[0]), image)
    assert [MODALITIES[m] for m in row.modalities[:2]] == ["text", "image"]
    assert row.modalities.count(MODALITIES.index(Modality.TEXT)) == 3
    assert row.prompt == policy.encode(prompts[0], (TextPart("x"),)).prompt
