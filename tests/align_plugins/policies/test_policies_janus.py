"""Janus as a policy: text and images, each as transformers itself would ask for it."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from align_plugins.methods.ppo.actor_critic import ActorCritic, actor_critic_output
from align_plugins.policies import policy_of
from align_plugins.policies.janus import JanusPolicy
from align_plugins.policies.janus_heads import Positions
from align_plugins.training.sampling import sample
from eval_anything.content import MODALITIES, MediaPart, Modality, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Request, Sampling
from eval_anything.models.hf.families.janus import JanusFamily
from eval_anything.models.hf.family import FamilySettings
from eval_anything.models.hf.source import find_source
from eval_anything.runs.directory import read_run
from tests.support.configs import config, logged, program_judge, weights
from tests.support.families import FAMILIES, asked, check_logprobs, medium, sums
from tests.support.helpers import Cli, make_task, png, text_sample, wav, write_jsonl
from tests.support.tiny_image_out import tiny_janus

DRAW = asked(TextPart("Draw a lighthouse."))
LONGER = asked(TextPart("Draw the house of a fisherman by the sea, at night."))
ANSWER = (TextPart("A lighthouse."),)
IMAGE = MODALITIES.index(Modality.IMAGE)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With heads that have opinions: each code is likely somewhere."""
    from transformers import JanusForConditionalGeneration

    path = tiny_janus(tmp_path_factory.mktemp("janus") / "janus", guidance_scale=3.0)
    model = JanusForConditionalGeneration.from_pretrained(path)
    with torch.no_grad():
        for module in (model.model.generation_head, model.model.generation_aligner, model.lm_head):
            for weight in module.parameters():
                weight *= 6
        model.model.generation_embeddings.weight *= 6
    model.save_pretrained(path)
    return path


def _policy(checkpoint: Path, output: str = "auto") -> JanusPolicy:
    found = policy_of(str(checkpoint))
    assert isinstance(found, JanusPolicy)
    found.answer_with(output)
    found.load()
    return found


@pytest.fixture
def policy(checkpoint: Path) -> JanusPolicy:
    return _policy(checkpoint)


@pytest.fixture
def shown(tmp_path: Path) -> MediaPart:
    return medium(tmp_path, "shown.png", png(size=40, noise=1), Modality.IMAGE)


@pytest.fixture
def drawn(tmp_path: Path) -> MediaPart:
    return medium(tmp_path, "drawn.png", png(size=32, noise=2), Modality.IMAGE)


def _prompt_ids(processor: Any, text: str, **more: Any) -> list[int]:
    turns = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    written = processor.apply_chat_template(turns, add_generation_prompt=True)
    ids: list[int] = processor(text=[written], return_tensors="pt", **more)["input_ids"][0].tolist()
    return ids


# --- log-probabilities -------------------------------------------------------------------------------


def test_text_alone_and_in_any_company(policy: JanusPolicy, tmp_path: Path) -> None:
    check_logprobs(FAMILIES["janus"], policy, tmp_path)


def test_text_as_transformers_has_it(policy: JanusPolicy, checkpoint: Path, shown: MediaPart) -> None:
    from PIL import Image
    from transformers import JanusForConditionalGeneration, JanusProcessor

    processor = JanusProcessor.from_pretrained(checkpoint)
    model = JanusForConditionalGeneration.from_pretrained(checkpoint).eval()
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
    answer = processor.tokenizer.encode(" A lighthouse.</s>", add_special_tokens=False)
    inputs = processor(images=[Image.open(shown.path)], text=[prompt], return_tensors="pt")
    ids = torch.cat([inputs["input_ids"], torch.tensor([answer])], dim=1)
    with torch.no_grad():
        logits = model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits[0].log_softmax(-1)
    start = ids.shape[1] - len(answer)
    by_hand = sum(logits[start - 1 + i, token].item() for i, token in enumerate(answer))
    messages = asked(shown, TextPart("What?"))
    assert policy.encode(messages, ANSWER).response == answer
    assert sums(policy, (messages, ANSWER)) == pytest.approx([by_hand], abs=1e-3)


def test_an_image_as_transformers_generates_it(
    policy: JanusPolicy, checkpoint: Path, drawn: MediaPart
) -> None:
    """The log-probability by hand, by the pieces that `generate` is made of."""
    from transformers import JanusForConditionalGeneration, JanusProcessor

    processor = JanusProcessor.from_pretrained(checkpoint)
    model = JanusForConditionalGeneration.from_pretrained(checkpoint).eval()
    prompt = _prompt_ids(processor, "Draw a lighthouse.", generation_mode="image")
    item = policy.encode(DRAW, (drawn,))
    assert item.prompt == prompt
    assert prompt[-1] == processor.tokenizer.boi_token_id
    assert item.modalities == [IMAGE] * 16
    codes = torch.tensor([item.response]) - model.config.text_config.vocab_size
    assert len(set(codes[0].tolist())) > 8
    with torch.no_grad():
        states = torch.cat(
            [
                model.get_input_embeddings()(torch.tensor([prompt])),
                model.prepare_embeddings_for_image_generation(codes[:, :-1]),
            ],
            dim=1,
        )
        hidden = model.model.language_model(inputs_embeds=states).last_hidden_state
        logits = model.model.generation_head(hidden[:, len(prompt) - 1 :]).log_softmax(-1)
    by_hand = logits.gather(2, codes[..., None]).sum().item()
    assert sums(policy, (DRAW, (drawn,))) == pytest.approx([by_hand], abs=1e-3)


def test_the_likeliest_codes_are_those_that_the_evaluation_draws(
    policy: JanusPolicy, checkpoint: Path
) -> None:
    """Greedily and without guidance, prompts of two lengths in one batch."""
    family = JanusFamily(
        find_source(checkpoint, "", ""), FamilySettings(output="image", more={"guidance_scale": "1"})
    )
    family.load()
    prompts = [family.prompt(Request("", "0", 0, turn, Sampling(0.0))) for turn in (DRAW, LONGER)]
    codes = family.generate(family.build_inputs(prompts), prompts)
    assert all(len(set(own)) > 4 for own in codes)
    words = policy.model.config.text_config.vocab_size
    rows = [
        policy.with_response(policy._before_image(turn), [words + code for code in own])
        for turn, own in zip((DRAW, LONGER), codes, strict=True)
    ]
    batch = policy.collate(rows)
    wanted = batch["labels"][:, 1:] >= words
    assert wanted.sum(1).tolist() == [16, 16]
    none, places = torch.arange(0), torch.arange(wanted.shape[1])
    with torch.no_grad():
        logits = policy.model(
            **batch["inputs"], text_at=Positions(none, none), codes_at=Positions(torch.arange(2), places)
        ).logits
    assert logits.codes.argmax(-1)[wanted].tolist() == [code for own in codes for code in own]
    # The checkpoint names a guidance, which the policy leaves out where it samples.
    drawn = _policy(checkpoint, "image").respond([DRAW, LONGER], [0, 0], 0.0, 1)
    assert [one.ids for one in drawn] == [row.response for row in rows]


def test_rows_of_text_and_of_images_share_a_batch(
    policy: JanusPolicy, shown: MediaPart, drawn: MediaPart
) -> None:
    rows = [
        (DRAW, (drawn,)),
        (asked(shown, TextPart("What is this?")), ANSWER),
        (LONGER, (shown,)),
        (asked(TextPart("What?")), (TextPart("A house by the sea."),)),
    ]
    alone = [sums(policy, row)[0] for row in rows]
    assert len({round(value, 3) for value in alone}) == 4
    assert sums(policy, *rows) == pytest.approx(alone, abs=2e-3)
    with torch.no_grad():
        tokens = policy.logprobs(policy.collate([policy.encode(*row) for row in rows]))
    assert (tokens.counts()[:, IMAGE].tolist(), tokens.counts()[:, 0].tolist()[::2]) == (
        [16, 0, 16, 0],
        [0, 0],
    )


# --- the model in its wrappers -----------------------------------------------------------------------


def _gradients(policy: JanusPolicy, model: Any, batch: Any) -> dict[str, torch.Tensor]:
    policy.model.zero_grad()
    (-policy.logprobs(batch, model).values.sum()).backward()
    return {n: p.grad.clone() for n, p in policy.model.named_parameters() if p.grad is not None}


@contextlib.contextmanager
def _one_process(folder: Path) -> Iterator[None]:
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def test_gradients_are_the_same_through_wrappers(
    policy: JanusPolicy, shown: MediaPart, drawn: MediaPart, tmp_path: Path
) -> None:
    """Of processes, and with activations computed anew; every part learns but the coder of images."""
    from torch.nn.parallel import DistributedDataParallel

    rows = [(DRAW, (drawn,)), (asked(shown, TextPart("What?")), ANSWER)]
    batch = policy.collate([policy.encode(*row) for row in rows])
    policy.model.train()
    plain = _gradients(policy, None, batch)
    reached = {name for name, found in plain.items() if found.abs().sum() > 0}
    missed = {name for name, _ in policy.model.named_parameters()} - reached
    assert {name.split(".")[1] for name in missed} == {"vqmodel"}, missed
    policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    again = _gradients(policy, None, batch)
    policy.model.gradient_checkpointing_disable()
    with _one_process(tmp_path):
        wrapped = DistributedDataParallel(policy.model, find_unused_parameters=True)
        images = policy.collate([policy.encode(*rows[0])])
        _gradients(policy, wrapped, images)  # what a batch leaves out does not hold up the next
        parallel = _gradients(policy, wrapped, batch)
    for other in (again, parallel):
        assert set(other) >= set(plain)
        assert all(torch.allclose(other[name], plain[name], atol=1e-5) for name in plain)


def test_adapters_reach_both_heads(policy: JanusPolicy, shown: MediaPart, drawn: MediaPart) -> None:
    from peft import LoraConfig, get_peft_model

    rows = [(DRAW, (drawn,)), (asked(shown, TextPart("What?")), ANSWER)]
    batch = policy.collate([policy.encode(*row) for row in rows])
    with torch.no_grad():
        before = policy.logprobs(batch).sums()
    about = LoraConfig(
        r=4, target_modules="all-linear", task_type="CAUSAL_LM", exclude_modules=policy.frozen
    )
    model = get_peft_model(policy.model, about)
    found = policy.logprobs(batch, model).sums()
    assert torch.allclose(found, before, atol=1e-4)
    found.sum().backward()
    learned = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    for part in ("language_model", "generation_head", "generation_aligner", "vision_model", "aligner"):
        assert any(f"model.{part}." in name and "lora_B" in name for name in learned), part
    assert not any("lora" in name and "vqmodel" in name for name, _ in model.named_parameters())


def test_a_critic_reads_the_states_that_the_codes_are_drawn_from(
    checkpoint: Path, tmp_path: Path
) -> None:
    """And learns beside a model half of which has no part in images, in processes that wait."""
    from torch.nn.parallel import DistributedDataParallel

    policy = _policy(checkpoint, "image")
    drawn = sample(policy, [DRAW, LONGER], seeds=[1, 2], temperature=0.5)
    actor = ActorCritic(policy, policy.model, 0.5)
    torch.nn.init.normal_(actor.value_head.weight)
    batch = policy.collate([one.row for one in drawn])
    with torch.no_grad():
        found = actor_critic_output(policy, actor, batch)
    told = [value for one in drawn for value in one.logprobs]
    assert found.logprobs.tolist() == pytest.approx(told, abs=1e-3)
    assert found.values.shape == (32,)
    assert len(set(found.values.tolist())) == 32
    with _one_process(tmp_path):
        wrapped = DistributedDataParallel(actor, find_unused_parameters=True)
        for _ in range(2):
            found = actor_critic_output(policy, wrapped, batch)
            (found.values.sum() + found.logprobs.sum()).backward()
    assert actor.value_head.weight.grad.abs().sum() > 0
    assert actor.model.model.generation_head.proj_out.weight.grad.abs().sum() > 0


# --- images and their codes --------------------------------------------------------------------------


def test_what_was_sampled_is_what_is_learned(checkpoint: Path, tmp_path: Path) -> None:
    policy = _policy(checkpoint, "image")
    store = MediaStore(tmp_path / "store")
    found = sample(policy, [DRAW, LONGER], seeds=[1, 2], temperature=0.7, max_new_tokens=3)
    assert found[0].row.response != found[1].row.response
    for messages, one in zip((DRAW, LONGER), found, strict=True):
        assert one.ended
        assert len(set(one.row.response)) > 4
        parts = policy.decode(one.row.response, store)
        assert [part.modality for part in parts] == ["image"]
        assert policy.encode(messages, parts) == one.row
    again = sample(policy, [LONGER], seeds=[2], temperature=0.7)
    assert again[0].row.response == found[1].row.response


def _entries(policy: JanusPolicy, codes: list[int]) -> torch.Tensor:
    """What the decoder is given for codes, (dimensions, 16)."""
    found: torch.Tensor = policy.model.model.vqmodel.quantize.get_codebook_entry(torch.tensor([codes]))
    return found[0].flatten(1)


def test_a_code_is_the_nearest_that_the_decoder_knows(policy: JanusPolicy, drawn: MediaPart) -> None:
    from PIL import Image

    coder, words = policy.model.model.vqmodel, policy.model.config.text_config.vocab_size
    pixels = policy._family.processor.image_processor([Image.open(drawn.path)], return_tensors="pt")
    with torch.no_grad():
        states = coder.quant_conv(coder.encoder(pixels["pixel_values"]))[0].flatten(1)
        states = states / states.norm(dim=0)
        every = torch.stack([_entries(policy, [code] * 16)[:, 0] for code in range(64)])
        nearest = torch.cdist(states.T, every).argmin(dim=1).tolist()
        assert [t - words for t in policy.encode(DRAW, (drawn,)).response] == nearest
        # With entries of length 1 transformers finds the same.
        coder.quantize.embedding.weight /= coder.quantize.embedding.weight.norm(dim=1, keepdim=True)
        assert coder.encode(pixels["pixel_values"]).image_tokens.tolist() == nearest


def test_the_long_side_is_cropped(policy: JanusPolicy, tmp_path: Path) -> None:
    from PIL import Image

    wide = Image.open(medium(tmp_path, "a.png", png(size=96, noise=3), Modality.IMAGE).path)
    wide.resize((96, 32), Image.Resampling.BICUBIC).save(tmp_path / "wide.png")
    Image.open(tmp_path / "wide.png").crop((32, 0, 64, 32)).save(tmp_path / "middle.png")
    codes = [
        policy.encode(DRAW, (MediaPart(Modality.IMAGE, name, "image/png", tmp_path / name),)).response
        for name in ("wide.png", "middle.png", "a.png")
    ]
    assert codes[0] == codes[1]
    assert codes[0] != codes[2]


def test_training_leaves_the_coder_as_it_is(policy: JanusPolicy, drawn: MediaPart) -> None:
    coder = policy.model.model.vqmodel
    policy.model.train()
    assert not any(module.training for module in coder.modules())
    assert not any(weight.requires_grad for weight in coder.parameters())
    assert not list(coder.buffers())  # no batch norm: nothing changes but by a gradient
    assert policy.model.model.vision_model.training
    assert all(weight.requires_grad for weight in policy.model.model.vision_model.parameters())
    before = policy.encode(DRAW, (drawn,)).response
    optimiser = torch.optim.SGD((p for p in policy.model.parameters() if p.requires_grad), lr=1.0)
    _gradients(policy, None, policy.collate([policy.encode(DRAW, (drawn,))]))
    optimiser.step()
    policy._codes.clear()
    assert policy.encode(DRAW, (drawn,)).response == before


# --- what it refuses ---------------------------------------------------------------------------------


def test_what_it_cannot_write_or_read_is_refused(
    policy: JanusPolicy, shown: MediaPart, drawn: MediaPart, tmp_path: Path
) -> None:
    sound = medium(tmp_path, "a.wav", wav(), Modality.AUDIO)
    for response in ((*ANSWER, drawn), (drawn, shown)):
        with pytest.raises(
            ValueError, match="an image and another part: text and the codes of an image"
        ):
            policy.encode(DRAW, response)
    with pytest.raises(ValueError, match="its prompt has an image, and so has its response"):
        policy.encode(asked(shown, TextPart("Draw this.")), (drawn,))
    with pytest.raises(ValueError, match="response has audio, and this model answers with text and"):
        policy.encode(DRAW, (sound,))
    for response in (ANSWER, (drawn,)):
        with pytest.raises(ValueError, match="prompt has audio"):
            policy.encode(asked(sound), response)


def test_a_prompt_with_an_image_has_no_image_for_an_answer(checkpoint: Path, shown: MediaPart) -> None:
    with pytest.raises(ValueError, match="it is shown text alone"):
        _policy(checkpoint, "image").prompt(asked(shown))


def test_what_to_answer_with_is_known(checkpoint: Path) -> None:
    with pytest.raises(UserError, match="output: 'any': Janus answers with text or image"):
        policy_of(str(checkpoint)).answer_with("any")
    with pytest.raises(UserError, match=r"output: 'image': .*micro"):
        policy_of("micro").answer_with("image")


# --- trainings ---------------------------------------------------------------------------------------


def _turn(*parts: dict[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "parts": list(parts)}]}


def _text(text: str) -> dict[str, str]:
    return {"modality": "text", "text": text}


def _picture(name: str) -> dict[str, str]:
    return {"modality": "image", "path": name}


@pytest.mark.slow
@pytest.mark.usefixtures("forked_evaluations")
@pytest.mark.parametrize("method", ["sft", "dpo", "ppo", "reward"])
def test_images_are_learned_and_evaluated(
    method: str, checkpoint: Path, cli: Cli, tmp_path: Path
) -> None:
    """Two steps on all weights; with text and images in a batch where the method takes both."""
    for n in (1, 2):
        (tmp_path / f"{n}.png").write_bytes(png(size=32, noise=n))
    one, other = _picture("1.png"), _picture("2.png")
    draws, tells = _turn(_text("Draw.")), _turn(one, _text("What?"))
    pairs = [draws | {"chosen": [one], "rejected": [other]}]
    pairs += [tells | {"chosen": [_text("A house.")], "rejected": [_text("No idea.")]}]
    rows = {
        "sft": [draws | {"response": [one]}, tells | {"response": [_text("A house.")]}],
        "ppo": [draws, _turn(_text("Draw a house."))],
    }
    data = write_jsonl(tmp_path / "rows.jsonl", rows.get(method, pairs))
    tasks = tmp_path / "tasks"
    make_task(tasks, samples=[text_sample("s0", "Draw a tree.")])
    evaluate = {"tasks": ["mine/demo"], "include": [str(tasks)], "start": False}
    more: dict[str, Any] = {"evaluate": evaluate | {"model_args": {"output": "image"}}}
    if method == "dpo":
        more |= {"modality_weights": {"image": 0.5}}
    if method == "reward":
        more = {"held_out": 0.0}
    if method == "ppo":
        value = "int(response.parts[0].sha256[:6], 16) / 2**24"
        more |= {
            "rewards": [{"judge": "bright"}],
            "include": [str(program_judge(tmp_path, "bright", value))],
        }
        more |= {"allow_code": True, "output": "image", "rollout": 4, "vf_coef": 1.0}
    path = config(
        tmp_path, data, model=str(checkpoint), per_device_train_batch_size=2, max_steps=2, **more
    )
    done = cli("train", method, "--config", path)
    assert done.code == 0, done.err
    lines = [line for line in logged(tmp_path / "out") if "loss" in line]
    assert len(lines) == 2
    assert all(math.isfinite(line["loss"]) for line in lines)
    assert method == "ppo" or lines[1]["loss"] < lines[0]["loss"]
    if method == "dpo":
        assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
        assert {"margin_image", "margin_text"} <= set(lines[1])
    if method == "ppo":
        assert lines[0]["share_image"] == 1
        assert lines[0]["sampling_gap"] < 1e-4
        assert lines[0]["kl_image"] == pytest.approx(0, abs=1e-4)
        assert lines[0]["value_loss"] > 0
    before, after = weights(checkpoint), weights(tmp_path / "out" / "final")
    if method == "reward":
        return
    assert after.keys() == before.keys()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert not any("vqmodel" in name for name in changed)
    assert any("generation_head" in name for name in changed)
    assert any("vision_model" in name for name in changed) == (method != "ppo")
    told, said = (
        json.loads((folder / "config.json").read_bytes())
        for folder in (checkpoint, tmp_path / "out/final")
    )
    assert said["architectures"] == told["architectures"]
    told, said = (  # with the guidance that it is evaluated with
        json.loads((folder / "generation_config.json").read_bytes())
        for folder in (checkpoint, tmp_path / "out/final")
    )
    assert said == told
    (record,) = read_run(tmp_path / "out" / "runs" / "step-000002", "mine/demo")
    assert [part.modality for part in record.parts] == ["image"]
