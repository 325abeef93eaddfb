"""The losses, by hand and beside TRL on the same batch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from align_plugins.losses.dpo import Sides, dpo_loss, log_ratios
from align_plugins.losses.reward import reward_loss
from align_plugins.losses.sft import sft_loss
from align_plugins.losses.token_logprobs import TokenLogprobs
from align_plugins.policies.base import IGNORED, logprobs
from align_plugins.policies.logprobs import chosen_logprobs
from eval_anything.content import Modality

CONVERSATIONS = [
    ("What is the capital of France?", "Paris", "It is London."),
    ("0 1 2?", "3 4 5 6 7", "abc"),
]
BETA = 0.3


def _tokens(values: list[list[float]]) -> TokenLogprobs:
    """Log-probabilities of text; 0 is padding."""
    tensor = torch.tensor(values)
    return TokenLogprobs(tensor, tensor != 0, torch.zeros(tensor.shape, dtype=torch.long))


def test_sft_is_a_mean_over_tokens_not_over_responses() -> None:
    tokens = _tokens([[-1.0, -2.0, -3.0], [-4.0, 0.0, 0.0]])
    assert sft_loss(tokens).item() == pytest.approx(10 / 4)


def test_sft_is_the_same_however_a_step_is_cut() -> None:
    halves = [_tokens([[-1.0, -2.0, -3.0]]), _tokens([[-4.0, 0.0, 0.0]])]
    assert sum(sft_loss(half, 4).item() for half in halves) == pytest.approx(10 / 4)


def test_dpo_by_hand() -> None:
    chosen, rejected = torch.tensor([1.0]), torch.tensor([-1.0])
    wanted = -math.log(1 / (1 + math.exp(-0.1 * 2)))
    assert dpo_loss(chosen, rejected, 0.1).item() == pytest.approx(wanted)
    assert dpo_loss(rejected, chosen, 0.1).item() > math.log(2) > wanted  # the sign
    assert dpo_loss(chosen, rejected, 0.1, "ipo").item() == pytest.approx((2 - 5) ** 2)


def test_dpo_begins_at_ln_2() -> None:
    assert dpo_loss(torch.zeros(3), torch.zeros(3), 0.1).tolist() == pytest.approx([math.log(2)] * 3)


def _sides(chosen: list[float], rejected: list[float]) -> Sides:
    counts = torch.tensor([[2.0, 4.0, 0.0, 0.0]])
    return Sides(torch.tensor([chosen]), torch.tensor([rejected]), counts, 2 * counts)


def test_modalities_are_weighted() -> None:
    policy = _sides([-1.0, -2.0, 0.0, 0.0], [-3.0, -5.0, 0.0, 0.0])
    reference = _sides([-2.0, -2.5, 0.0, 0.0], [-2.0, -4.0, 0.0, 0.0])
    chosen, rejected = log_ratios(policy, reference)
    assert (chosen.sum().item(), rejected.sum().item()) == pytest.approx((1.5, -2.0))
    chosen, rejected = log_ratios(policy, reference, {Modality.IMAGE: 0.1})
    assert (chosen.sum().item(), rejected.sum().item()) == pytest.approx((1.05, -1.1))


def test_length_is_normalised_by_all_tokens_of_a_response() -> None:
    policy = _sides([-1.0, -2.0, 0.0, 0.0], [-3.0, -5.0, 0.0, 0.0])
    reference = _sides([-2.0, -2.5, 0.0, 0.0], [-2.0, -4.0, 0.0, 0.0])
    chosen, rejected = log_ratios(policy, reference, normalise=True)
    assert (chosen.sum().item(), rejected.sum().item()) == pytest.approx((1.5 / 6, -2.0 / 12))


def test_reward_by_hand() -> None:
    chosen, rejected = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0])
    ranking = (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2
    assert reward_loss(chosen, rejected, regulariser=0).item() == pytest.approx(ranking)
    assert reward_loss(chosen, rejected).item() == pytest.approx(ranking + 0.001 * 6 / 4)
    with_margin = (math.log1p(math.exp(0)) + math.log1p(math.exp(2))) / 2
    assert reward_loss(chosen, rejected, torch.tensor([1.0, 1.0]), 0).item() == pytest.approx(
        with_margin
    )


@pytest.fixture(scope="module")
def trl(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """TRL's trainer, its batch, and that batch as ours; its policy is not its reference any more."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from tests.support.tiny import tiny_llama

    folder = tmp_path_factory.mktemp("trl")
    path = tiny_llama(folder / "tiny")

    def turn(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    rows = [
        {"prompt": turn("user", q), "chosen": turn("assistant", a), "rejected": turn("assistant", b)}
        for q, a, b in CONVERSATIONS
    ]
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(path),
        args=DPOConfig(
            str(folder / "out"), per_device_train_batch_size=2, report_to="none", use_cpu=True, beta=BETA
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(path),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED)
    ours = {
        "inputs": {key: batch[key] for key in ("input_ids", "attention_mask")},
        "labels": labels,
        "modalities": torch.zeros_like(labels),
    }
    return trainer, batch, ours


@pytest.mark.slow
@pytest.mark.parametrize(
    ("theirs", "form", "normalise"),
    [("sigmoid", "sigmoid", False), ("ipo", "ipo", True), ("sigmoid_norm", "sigmoid", True)],
)
def test_dpo_is_what_trl_computes(trl: Any, theirs: str, form: Any, normalise: bool) -> None:
    trainer, batch, ours = trl
    trainer.loss_types, trainer.loss_weights = [theirs], [1.0]
    wanted = trainer.compute_loss(trainer.model, batch).item()
    with torch.no_grad():
        tokens, before = (logprobs(m, ours) for m in (trainer.model, trainer.ref_model))
    sums, counts, given = tokens.sums(), tokens.counts(), before.sums()
    policy = Sides(sums[:2], sums[2:], counts[:2], counts[2:])
    reference = Sides(given[:2], given[2:], counts[:2], counts[2:])
    chosen, rejected = log_ratios(policy, reference, normalise=normalise)
    found = dpo_loss(chosen.sum(1), rejected.sum(1), BETA, form).mean().item()
    assert found == pytest.approx(wanted, abs=1e-4)
    assert abs(wanted - math.log(2)) > 1e-3  # the policy has moved, so this says something


@pytest.mark.slow
def test_the_nll_term_is_what_trl_computes(trl: Any) -> None:
    trainer, batch, ours = trl
    trainer.loss_types, trainer.loss_weights = ["sft"], [1.0]
    wanted = trainer.compute_loss(trainer.model, batch).item()
    with torch.no_grad():
        tokens = logprobs(trainer.model, ours)
    found = sft_loss(TokenLogprobs(*(tensor[:2] for tensor in tokens))).item()
    assert found == pytest.approx(wanted, abs=1e-4)


def test_the_regulariser_pulls_rewards_to_zero() -> None:
    chosen = torch.tensor([3.0], requires_grad=True)
    reward_loss(chosen, chosen.detach(), regulariser=0.001).backward()
    without = torch.tensor([3.0], requires_grad=True)
    reward_loss(without, without.detach(), regulariser=0).backward()
    assert chosen.grad is not None
    assert without.grad is not None
    assert chosen.grad.item() - without.grad.item() == pytest.approx(0.001 * 3, abs=1e-5)


def test_log_probabilities_and_their_gradients_are_those_of_log_softmax() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 5, 11, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 11, (3, 5))
    wanted = logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    found = chosen_logprobs(logits, targets)
    assert torch.allclose(found, wanted)
    weights = torch.randn(3, 5, dtype=torch.float64)
    (slope,) = torch.autograd.grad((found * weights).sum(), logits)
    (wanted_slope,) = torch.autograd.grad((wanted * weights).sum(), logits)
    assert torch.allclose(slope, wanted_slope)
    assert torch.autograd.gradcheck(lambda x: chosen_logprobs(x, targets), logits)
