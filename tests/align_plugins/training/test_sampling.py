"""Sampling from policies: the answers of `generate`, each from its own seed, with their log-probs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from align_plugins.policies import policy_of
from align_plugins.policies.base import Encoded, Policy
from align_plugins.training.sampling import Tempered, sample
from eval_anything.content import MODALITIES, Message, Modality, Part, TextPart
from eval_anything.media import MediaStore, media_part
from eval_anything.models.base import Sampling
from eval_anything.models.local.generation import generate_ids, padded
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry
from tests.support.families import FAMILIES
from tests.support.tiny import tiny_llama

Conversation = tuple[Message, ...]


@pytest.fixture(scope="module")
def micro() -> Policy:
    policy = policy_of("micro")
    policy.load()
    return policy


@pytest.fixture(scope="module")
def prompts() -> list[Conversation]:
    """Prompts of all lengths, with media in some."""
    task = load_task(Registry().folders["micro/selection"])
    return [task.messages(one) for one in task.samples[:48]]


def _by_hand(policy: Policy, row: Encoded, temperature: float) -> list[float]:
    """Log-probabilities of a response, one forward pass for each token, without batch or cache."""
    found = []
    for n, token in enumerate(row.response):
        with torch.no_grad():
            logits = policy.model(torch.tensor([row.prompt + row.response[:n]])).logits[0, -1]
        found.append(torch.log_softmax(logits / temperature, 0)[token].item())
    return found


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_the_answers_of_generate(temperature: float, micro: Policy, prompts: list[Conversation]) -> None:
    found = sample(micro, prompts, seeds=range(48), temperature=temperature, batch_size=20)
    expected = generate_ids(
        micro.model,
        padded([micro.prompt(messages).prompt for messages in prompts], 0),
        seeds=range(48),
        sampling=Sampling(temperature),
        max_new_tokens=128,
        pad=0,
        stop=[2],
    )
    assert [one.row.response for one in found] == expected
    assert len({len(ids) for ids in expected}) > 5  # rows left the batch at many places
    assert all(one.ended for one in found)


def test_log_probabilities_are_of_the_distribution_that_was_drawn_from(
    micro: Policy, prompts: list[Conversation]
) -> None:
    found = sample(micro, prompts, seeds=range(48), temperature=0.7)
    for one in found[:6]:
        assert one.logprobs == pytest.approx(_by_hand(micro, one.row, 0.7), abs=1e-4)
    batch = micro.collate([one.row for one in found])
    with torch.no_grad():
        tokens = micro.logprobs(batch, Tempered(micro.model, 0.7))
    whole = [v for one in found for v in one.logprobs]
    assert tokens.values[tokens.mask].tolist() == pytest.approx(whole, abs=1e-4)


def test_the_share_of_draws_is_the_probability(micro: Policy, prompts: list[Conversation]) -> None:
    """First tokens of 2,000 responses to one prompt against the softmax, by chi squared."""
    one = sample(micro, prompts[:1] * 2000, seeds=range(2000), max_new_tokens=1)
    assert not any(response.ended for response in one if response.row.response != [2])
    counts = torch.bincount(torch.tensor([r.row.response[0] for r in one]), minlength=264).double()
    with torch.no_grad():
        logits = micro.model(torch.tensor([one[0].row.prompt])).logits[0, -1]
    expected = logits.double().softmax(0) * 2000
    common = expected >= 5
    assert common.sum() >= 2
    pooled = [(counts[common], expected[common]), (counts[~common].sum(), expected[~common].sum())]
    squared = sum(float(((seen - due).square() / due).sum()) for seen, due in pooled if due.sum() > 0)
    degrees = int(common.sum())
    assert squared < degrees + 5 * (2 * degrees) ** 0.5


def test_a_response_depends_on_its_seed_alone(micro: Policy, prompts: list[Conversation]) -> None:
    whole = sample(micro, prompts, seeds=range(48))
    alone = [sample(micro, [messages], seeds=[i])[0] for i, messages in enumerate(prompts[:8])]
    assert [one.row.response for one in alone] == [one.row.response for one in whole[:8]]
    other = sample(micro, prompts, seeds=range(100, 148))
    assert [one.row.response for one in other] != [one.row.response for one in whole]


def test_a_limit_cuts_and_is_told(micro: Policy, prompts: list[Conversation]) -> None:
    whole = sample(micro, prompts, seeds=range(48))
    cut = sample(micro, prompts, seeds=range(48), max_new_tokens=6)
    for long, short in zip(whole, cut, strict=True):
        assert short.row.response == long.row.response[:6]
        assert short.ended == (len(long.row.response) <= 6)


def test_what_was_sampled_is_what_is_learned(
    micro: Policy, prompts: list[Conversation], tmp_path: Path
) -> None:
    """Tokens to parts and back are the same tokens, each of the modality that it was."""
    store = MediaStore(tmp_path)
    kinds, readable = set(), 0
    for messages, one in zip(prompts, sample(micro, prompts, seeds=range(48)), strict=True):
        try:
            parts = micro.decode(one.row.response, store)
        except ValueError:  # tokens that are no answer
            continue
        readable += 1
        again = micro.encode(messages, parts)
        assert (again.prompt, again.response) == (one.row.prompt, one.row.response)
        assert again.modalities == one.row.modalities
        kinds |= set(one.row.modalities)
    assert readable > 40
    assert kinds == set(range(len(MODALITIES)))


def test_training_mode_is_put_back(micro: Policy, prompts: list[Conversation]) -> None:
    micro.model.train()
    sample(micro, prompts[:1], seeds=[0], max_new_tokens=1)
    assert micro.model.training
    micro.model.eval()


def test_a_chat_model_through_the_fast_way(tmp_path: Path) -> None:
    policy = policy_of(str(tiny_llama(tmp_path / "model")))
    policy.load()
    asked = [(Message("user", (TextPart(text),)),) for text in ("Hi", "What is the capital of France?")]
    found = sample(policy, asked, seeds=[1, 2], temperature=1.3, max_new_tokens=12)
    for one in found:
        assert len(one.logprobs) == len(one.row.response) == len(one.row.modalities)
        assert one.logprobs == pytest.approx(_by_hand(policy, one.row, 1.3), abs=1e-4)
    again = sample(policy, asked[1:], seeds=[2], temperature=1.3, max_new_tokens=12)
    assert again[0].row.response == found[1].row.response


def test_a_policy_is_sampled_without_the_penalty_of_its_generation_config(tmp_path: Path) -> None:
    """Neither way: the probabilities that are learned are those of the logits alone."""
    asked = [(Message("user", (TextPart("Hi"),)),)]
    rows = {}
    for model_type in ("llama", "mistral"):
        path = tiny_llama(tmp_path / model_type)
        for name, changes in {
            "config.json": {"model_type": model_type, "architectures": None},
            "generation_config.json": {"repetition_penalty": 3.0, "no_repeat_ngram_size": 1},
        }.items():
            (path / name).write_text(json.dumps({**json.loads((path / name).read_text()), **changes}))
        policy = policy_of(str(path))
        policy.load()
        [one] = sample(policy, asked, seeds=[5], temperature=0.01, max_new_tokens=40)
        assert one.logprobs == pytest.approx(_by_hand(policy, one.row, 0.01), abs=1e-2)
        assert policy.model.generation_config.repetition_penalty == 3.0
        rows[model_type] = one.row.response
    assert rows["llama"] == rows["mistral"]
    assert len(set(rows["llama"])) < len(rows["llama"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llava", "qwen2_audio", "emu3"])
def test_a_model_that_sees_or_hears(name: str, tmp_path: Path) -> None:
    """Through the family's own way; a prompt with a medium beside one without."""
    family = FAMILIES[name]
    policy = policy_of(str(family.make(tmp_path / "model")))
    policy.load()
    question = TextPart("What is this?")
    medium = tmp_path / f"a.{family.suffix}"
    medium.write_bytes(family.media[0])
    parts: tuple[Part, ...] = (media_part(medium, Modality(family.modality)), question)
    asked = [(Message("user", parts),), (Message("user", (question,)),)]
    found = sample(policy, asked, seeds=[1, 2], max_new_tokens=8)
    assert [len(one.logprobs) for one in found] == [len(one.row.response) for one in found]
    assert all(value < 0 for one in found for value in one.logprobs)
    batch = policy.collate([one.row for one in found])
    with torch.no_grad():
        tokens = policy.logprobs(batch)
    sums = [sum(one.logprobs) for one in found]
    assert tokens.values.sum(1).tolist() == pytest.approx(sums, abs=1e-3)
