"""Log-likelihoods: what is shared changes nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from eval_anything.models.hf import TransformersModel
from eval_anything.models.local.batches import Batcher
from eval_anything.models.local.likelihood import LogLikelihood, loglikelihoods
from tests.support.asking import loaded
from tests.support.tiny import CHAT, tiny_tokenizer

Pairs = list[tuple[list[int], list[int]]]


def one_by_one(model: Any, pairs: Pairs) -> list[LogLikelihood]:
    """Each pair alone, read as a whole."""
    found = []
    for context, continuation in pairs:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*context, *continuation]])).logits[0].float()
        rows = logits[len(context) - 1 : -1].log_softmax(-1)
        value = sum(float(row[token]) for row, token in zip(rows, continuation, strict=True))
        greedy = [int(row.argmax()) for row in rows] == continuation
        found.append(LogLikelihood(value, greedy))
    return found


def likelihoods_by(
    model: TransformersModel, contexts: list[list[int]], continuations: list[list[int]]
) -> list[LogLikelihood]:
    """Of a loaded model, in its own batches."""
    assert model._batcher is not None
    return loglikelihoods(model.family.model, contexts, continuations, model._batcher)


def same(found: list[LogLikelihood], expected: list[LogLikelihood]) -> bool:
    return all(
        abs(a.value - b.value) <= 1e-4 and a.greedy == b.greedy
        for a, b in zip(found, expected, strict=True)
    )


def questions(seed: int) -> Pairs:
    """Questions with a common start, some that begin with another's whole context, some on their own;
    one to four options of one to six tokens; the order is mixed."""
    draw = random.Random(seed)

    def ids(n: int) -> list[int]:
        return [draw.randrange(5, 380) for _ in range(n)]

    shots, other = ids(90), ids(45)
    contexts = [shots + ids(draw.randrange(1, 40)) for _ in range(6)]
    contexts += [other + ids(draw.randrange(1, 9)) for _ in range(3)]
    contexts += [contexts[0] + ids(7), shots, ids(1), ids(1), ids(3), ids(60), ids(20)]
    options = [(c, ids(draw.randrange(1, 7))) for c in contexts for _ in range(draw.randrange(1, 5))]
    options.append(options[0])
    draw.shuffle(options)
    return options


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_one_by_one(tiny: Path, rows: int, seed: int) -> None:
    model = loaded(tiny)
    pairs = questions(seed)
    model.family.model.float()
    expected = one_by_one(model.family.model, pairs)
    contexts, continuations = [c for c, _ in pairs], [o for _, o in pairs]
    batcher = Batcher(rows, 10**6, 0)
    assert same(loglikelihoods(model.family.model, contexts, continuations, batcher), expected)
    assert same(likelihoods_by(model, contexts, continuations), expected)
    assert len({round(one.value, 3) for one in expected}) > len(expected) / 2


def test_the_likeliest_continuation_is_known(tiny: Path) -> None:
    model = loaded(tiny)
    context = [7, 8, 9]
    with torch.inference_mode():
        ids = model.family.model.generate(torch.tensor([context]), do_sample=False, max_new_tokens=4)[
            0
        ].tolist()
    likeliest = ids[3:]
    other = [*likeliest[:-1], (likeliest[-1] + 1) % 380]
    found = likelihoods_by(model, [context, context], [likeliest, other])
    assert [one.greedy for one in found] == [True, False]
    assert found[0].value > found[1].value


def test_a_common_prefix_and_a_context_are_read_once(tiny: Path) -> None:
    model = loaded(tiny)
    read: list[int] = []
    model.family.model.base_model.register_forward_pre_hook(
        lambda module, arguments, named: read.append(named["input_ids"].numel()), with_kwargs=True
    )
    shots = list(range(10, 210))
    contexts = [[*shots, 300 + i, 301 + i, 302] for i in range(5) for _ in range(4)]
    continuations = [[20 + i, 30] for _ in range(5) for i in range(4)]
    likelihoods_by(model, contexts, continuations)
    assert sum(read) == 200 + 5 * 2 + 20 * 2


def test_sliding_windows_and_states_are_read_whole(tmp_path: Path) -> None:
    """Mistral sees a window of 16 tokens; Mamba keeps a state instead of keys and values."""
    from transformers import MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM

    tokenizer = tiny_tokenizer(chat_template=CHAT)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64}
    end = {"eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    for name, made in (
        ("mistral", MistralForCausalLM(MistralConfig(**sizes, **heads, **end, sliding_window=16))),
        ("mamba", MambaForCausalLM(MambaConfig(**sizes, **end, state_size=4))),
    ):
        made.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        model = loaded(tmp_path / name)
        pairs = questions(2)[:12]
        expected = one_by_one(model.family.model, pairs)
        found = likelihoods_by(model, [c for c, _ in pairs], [o for _, o in pairs])
        assert same(found, expected), name


@pytest.mark.slow
def test_too_much_for_memory_is_halved_and_then_said(tiny: Path) -> None:
    model = loaded(tiny)
    pairs = questions(3)
    contexts, continuations = [c for c, _ in pairs], [o for _, o in pairs]
    expected = likelihoods_by(model, contexts, continuations)
    most = [20]

    def full(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        if named["input_ids"].shape[0] > most[0]:
            raise torch.OutOfMemoryError("out of memory")

    model.family.model.base_model.register_forward_pre_hook(full, with_kwargs=True)
    assert same(likelihoods_by(model, contexts, continuations), expected)
    most[0] = 0
    with pytest.raises(MemoryError, match="does not fit into memory"):
        likelihoods_by(model, contexts, continuations)


def test_empty_pairs_are_refused(tiny: Path) -> None:
    model = loaded(tiny)
    for context, continuation in (([], [1]), ([1], [])):
        with pytest.raises(ValueError, match="at least one token"):
            likelihoods_by(model, [context], [continuation])
