"""Chameleon as a policy: images of responses are the tokens that the checkpoint itself would write."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from align_plugins.methods.reward import RewardSettings, RewardTrainer
from align_plugins.policies import policy_of
from align_plugins.policies.chameleon import ChameleonPolicy
from align_plugins.training.sampling import sample
from eval_anything.content import MODALITIES, MediaPart, Modality, TextPart
from eval_anything.judges.kinds.reward.readers import RewardQuery
from eval_anything.media import MediaStore
from eval_anything.runs.directory import read_run
from tests.support.configs import config, logged, program_judge, weights
from tests.support.families import FAMILIES, asked, check_logprobs, medium, sums
from tests.support.helpers import Cli, make_task, png, text_sample, wav, write_jsonl
from tests.support.tiny_image_out import tiny_chameleon, tiny_chameleon_that_draws

DRAW = asked(TextPart("Draw."))
IMAGE = MODALITIES.index(Modality.IMAGE)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without the decoder of codes, as Meta's checkpoints are."""
    return tiny_chameleon(tmp_path_factory.mktemp("bare") / "bare")


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With it; its likeliest answer to DRAW is text, an image and text."""
    path = tmp_path_factory.mktemp("drawing") / "drawing"
    tiny_chameleon_that_draws(path)
    return path


def _policy(checkpoint: Path) -> ChameleonPolicy:
    found = policy_of(str(checkpoint))
    assert isinstance(found, ChameleonPolicy)
    found.load()
    return found


@pytest.fixture
def policy(drawing: Path) -> ChameleonPolicy:
    return _policy(drawing)


def _picture(folder: Path, n: int) -> MediaPart:
    return medium(folder, f"{n}.png", png(size=40, noise=n), Modality.IMAGE)


def _ids(policy: ChameleonPolicy, text: str) -> list[int]:
    ids: list[int] = policy._family.tokenizer.encode(text, add_special_tokens=False)
    return ids


def _image(*codes: int) -> str:
    """An image as the processor of transformers lays it out."""
    names = ["".join("ABCDEFGHIJ"[int(d)] for d in str(code)) for code in codes]
    return "<racm3:break>" + "".join(f"IMGIMG{name}Z" for name in names) + "<eoss>"


# --- log-probabilities -------------------------------------------------------------------------------


def test_text_alone_and_in_any_company(policy: ChameleonPolicy, tmp_path: Path) -> None:
    check_logprobs(FAMILIES["chameleon"], policy, tmp_path)


@pytest.mark.parametrize("kind", ["bare", "drawing"])
def test_as_the_model_reads_its_own_images(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """By hand: transformers is shown the image of the answer as pixels, and its hidden states, whose
    logits its forward would hide, go through the head."""
    from PIL import Image
    from transformers import ChameleonForConditionalGeneration, ChameleonProcessor

    checkpoint = request.getfixturevalue(kind)
    shown, drawn = (_picture(tmp_path, n) for n in (1, 2))
    messages = asked(shown, TextPart("Draw this."))
    response = (TextPart("Here:"), drawn, TextPart("Done."))
    processor = ChameleonProcessor.from_pretrained(checkpoint)
    model = ChameleonForConditionalGeneration.from_pretrained(checkpoint).eval()
    inputs = processor(
        images=[Image.open(part.path) for part in (shown, drawn)],
        text="<image>Draw this.<reserved08706>Here:<image>Done.</s>",
        return_for_text_completion=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        states = model.model(**inputs).last_hidden_state[0]
        logits = model.lm_head(states).log_softmax(-1)
        codes = model.get_image_tokens(inputs["pixel_values"])
    targets = inputs["input_ids"][0]
    targets = targets.masked_scatter(targets == processor.image_token_id, codes.to(targets))
    found = _policy(checkpoint)
    item = found.encode(messages, response)
    assert [*item.prompt, *item.response] == targets.tolist()
    assert item.modalities.count(IMAGE) == 18
    start = len(item.prompt)
    by_hand = sum(logits[i - 1, targets[i]].item() for i in range(start, len(targets)))
    assert sums(found, (messages, response)) == pytest.approx([by_hand], abs=1e-3)


def test_what_was_sampled_is_what_is_learned(policy: ChameleonPolicy, tmp_path: Path) -> None:
    """Text and the tokens of images come back as they were, though pixels would not lead to them."""
    first, second = _image(*range(16)), _image(*range(63, 47, -1))
    ids = _ids(policy, f"A:{first}or{second}</s>")
    parts = policy.decode(ids, MediaStore(tmp_path))
    assert [part.modality for part in parts] == ["text", "image", "text", "image"]
    item = policy.encode(DRAW, parts)
    assert item.response == ids
    counts = {m: item.modalities.count(MODALITIES.index(m)) for m in MODALITIES}
    texts = len(_ids(policy, "A:")) + len(_ids(policy, "or")) + 1
    assert counts == {"text": texts, "image": 2 * 18, "audio": 0, "video": 0}


@pytest.mark.parametrize("wrong", [_image(*range(15)) + "a", _image(*range(17)) + "a"])
def test_what_is_no_image_is_refused(wrong: str, policy: ChameleonPolicy, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an image of 16 codes is not laid out as one"):
        policy.decode(_ids(policy, wrong), MediaStore(tmp_path))


def test_an_image_that_was_cut_is_left_out(policy: ChameleonPolicy, tmp_path: Path) -> None:
    cut = _ids(policy, f"A:{_image(*range(16))}")[:-1]
    assert policy.decode(cut, MediaStore(tmp_path)) == (TextPart("A:"),)


def test_what_it_cannot_read_or_write_is_refused(policy: ChameleonPolicy, tmp_path: Path) -> None:
    sound = medium(tmp_path, "a.wav", wav(), Modality.AUDIO)
    with pytest.raises(ValueError, match="response has audio, and this model answers with text and"):
        policy.encode(DRAW, (sound,))
    with pytest.raises(ValueError, match="prompt has audio"):
        policy.encode(asked(sound), (TextPart("A tone."),))


def test_training_leaves_the_coder_of_images_as_it_is(policy: ChameleonPolicy, tmp_path: Path) -> None:
    picture = _picture(tmp_path, 1)
    before = policy.encode(DRAW, (picture,))
    coder: Any = policy.model.model.vqmodel
    policy.model.train()
    assert not any(module.training for module in coder.modules())
    assert not any(weight.requires_grad for weight in coder.parameters())
    assert policy.model.lm_head.training
    optimiser = torch.optim.SGD((p for p in policy.model.parameters() if p.requires_grad), lr=1.0)
    (-policy.logprobs(policy.collate([before])).values.sum()).backward()
    optimiser.step()
    policy._images.clear()
    assert policy.encode(DRAW, (picture,)) == before


# --- sampling ----------------------------------------------------------------------------------------


def test_it_draws_what_the_evaluation_draws(policy: ChameleonPolicy, tmp_path: Path) -> None:
    found = sample(policy, [DRAW] * 6, seeds=range(6), temperature=1.0, max_new_tokens=30)
    assert sum(IMAGE in one.row.modalities for one in found) >= 3
    for one in found:
        assert one.row.modalities.count(IMAGE) % 18 == 0
        parts = policy.decode(one.row.response, MediaStore(tmp_path))
        if one.ended:
            assert policy.encode(DRAW, parts).prompt == one.row.prompt
    with torch.no_grad():
        tokens = policy.logprobs(policy.collate([one.row for one in found]))
    expected = [sum(one.logprobs) for one in found]
    assert tokens.values.sum(1).tolist() == pytest.approx(expected, abs=1e-3)


def test_without_the_decoder_it_answers_with_text_alone(bare: Path) -> None:
    """At a temperature at which all tokens are about as likely."""
    policy = _policy(bare)
    assert policy.out_of_reach(1) == ""
    drawn = policy.respond([DRAW] * 20, range(20), temperature=100.0, max_new_tokens=20)
    tokens = policy._family.tokenizer.convert_ids_to_tokens([i for one in drawn for i in one.ids])
    marks = ("<image>", "<racm3:break>", "<eoss>")
    assert len(set(tokens)) > 100
    assert not [token for token in tokens if token in marks or token.startswith("IMGIMG")]


# --- trainings ---------------------------------------------------------------------------------------


def test_a_reward_model_reads_images_as_their_codes(drawing: Path, tmp_path: Path) -> None:
    settings = RewardSettings(model=str(drawing), data="", out="")
    trainer = RewardTrainer(settings)
    trainer.load()
    picture = _picture(tmp_path, 1)
    read = trainer.views.read(RewardQuery(DRAW, (TextPart("Here:"), picture)))
    policy = _policy(drawing)
    image = policy.encode(DRAW, (picture,)).response[:-1]
    assert (read.media, len(image)) == ({}, 18)
    place = read.ids.index(image[0])
    assert read.ids[place : place + 18] == image


def _turn(*parts: dict[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "parts": list(parts)}]}


def _text(text: str) -> dict[str, str]:
    return {"modality": "text", "text": text}


@pytest.mark.slow
@pytest.mark.usefixtures("forked_evaluations")
@pytest.mark.parametrize(("method", "kind"), [("sft", "drawing"), ("ppo", "drawing"), ("dpo", "bare")])
def test_images_are_learned_and_evaluated(
    method: str, kind: str, request: pytest.FixtureRequest, cli: Cli, tmp_path: Path
) -> None:
    """Two steps on all weights; what was saved draws as the start did, and tells where that told."""
    checkpoint = request.getfixturevalue(kind)
    for n in (1, 2):
        (tmp_path / f"{n}.png").write_bytes(png(size=32, noise=n))
    one, other = ({"modality": "image", "path": f"{n}.png"} for n in (1, 2))
    draws = _turn(_text("Draw."))
    rows = {
        "sft": draws | {"response": [_text("A:"), one, _text("or")]},
        "ppo": draws,
        "dpo": draws | {"chosen": [_text("A:"), one], "rejected": [other]},
    }
    data = write_jsonl(tmp_path / "rows.jsonl", [rows[method]] * 2)
    tasks = tmp_path / "tasks"
    make_task(tasks, samples=[text_sample("s0", "Draw.")])
    asking = {"max_new_tokens": "30"} | ({"output": "any"} if kind == "drawing" else {})
    evaluate = {"tasks": ["mine/demo"], "include": [str(tasks)], "start": False, "model_args": asking}
    more: dict[str, Any] = {"evaluate": evaluate, "learning_rate": 1e-5}
    if method == "ppo":
        images = "[int(p.sha256[:6], 16) for p in response.parts if p.modality == 'image']"
        value = f"sum({images}) % 2**24 / 2**24"
        more |= {
            "rewards": [{"judge": "bright"}],
            "include": [str(program_judge(tmp_path, "bright", value))],
        }
        more |= {"allow_code": True, "rollout": 8, "max_new_tokens": 30, "temperature": 1.3}
    path = config(
        tmp_path,
        data,
        model=str(checkpoint),
        **{"per_device_train_batch_size": 2, "max_steps": 2, **more},
    )
    done = cli("train", method, "--config", path)
    assert done.code == 0, done.err
    lines = [line for line in logged(tmp_path / "out") if "loss" in line]
    assert len(lines) == 2
    assert all(math.isfinite(line["loss"]) for line in lines)
    if method == "dpo":
        assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
        assert {"margin_image", "margin_text"} <= set(lines[1])
    if method == "ppo":
        assert lines[0]["share_image"] > 0
        assert lines[0]["sampling_gap"] < 1e-4
        assert lines[0]["invalid"] == 0
        short = cli(
            "train", method, "--config", path, "out=short", "max_new_tokens=17", "max_steps=1",
            "evaluate=null",
        )  # fmt: skip
        assert "an image takes 18 tokens and max_new_tokens is 17: none is drawn" in short.err
        assert "none is drawn" not in done.err
    before, after = weights(checkpoint), weights(tmp_path / "out" / "final")
    assert after.keys() == before.keys()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert "lm_head.weight" in changed
    assert not any("vqmodel" in name for name in changed)
    told, said = (
        json.loads((folder / "config.json").read_bytes())["architectures"]
        for folder in (checkpoint, tmp_path / "out/final")
    )
    assert said == told
    (record,) = read_run(tmp_path / "out" / "runs" / "step-000002", "mine/demo")
    assert ("image" in [part.modality for part in record.parts]) == (kind == "drawing")
