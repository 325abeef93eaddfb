"""Training writes an ordinary checkpoint; the committed one is small, loads and can do its tasks."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

import eval_anything.micro
from eval_anything.micro.making.demonstrations import demonstration
from eval_anything.micro.model import vocabulary as vocab
from eval_anything.micro.model.codec import encode_symbolic
from eval_anything.micro.prompts.exchange import draw_exchange
from eval_anything.micro.prompts.families import FAMILIES

CHECKPOINT = Path(eval_anything.micro.__file__).parent / "checkpoint"


def test_the_committed_checkpoint_is_small_and_complete() -> None:
    files = {path.name: path.stat().st_size for path in CHECKPOINT.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "codec.json", "README.md"} <= set(
        files
    )
    assert sum(files.values()) < 5 * 2**20
    vocab.check_description(CHECKPOINT)


def test_its_tokenizer_agrees_with_the_codec() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    assert tokenizer.convert_ids_to_tokens(list(range(len(vocab.tokens())))) == list(vocab.tokens())
    rng = random.Random(0)
    for family in FAMILIES.values():
        for item in draw_exchange(family, rng, held_out=False).prompt:
            ids = encode_symbolic(item)
            text = item if isinstance(item, str) else "".join(vocab.tokens()[token] for token in ids)
            assert tokenizer(text)["input_ids"] == ids
            if isinstance(item, str):
                assert tokenizer.decode(ids) == item


def test_only_the_last_turn_is_learned() -> None:
    from eval_anything.micro.making.build import IGNORED, collate, tokenise

    sequences = [tokenise(demonstration(random.Random(n), refinement=n % 2 == 0)) for n in range(20)]
    inputs, labels = collate(sequences)
    for row, (ids, start) in enumerate(sequences):
        assert vocab.tokens()[ids[start - 1]] == "<assistant>"
        assert labels[row, :start].eq(IGNORED).all()
        assert labels[row, start : len(ids)].tolist() == ids[start:]
        assert inputs[row, : len(ids)].tolist() == ids
        assert labels[row, len(ids) :].eq(IGNORED).all()


@pytest.mark.slow
def test_a_short_training_learns_and_is_reproducible(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from eval_anything.micro.making.build import build, collate, make_sequences, new_model, train
    from eval_anything.micro.making.checkpoint_files import CheckpointRecipe

    recipe = CheckpointRecipe(demonstrations=700, refinements=50)
    build(tmp_path / "one", seed=5, recipe=recipe)
    again = train(recipe, seed=5).state_dict()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "one", dtype=torch.float32)
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, again[name].half().float()), name
    vocab.check_description(tmp_path / "one")
    inputs, labels = collate(make_sequences(replace(recipe, demonstrations=60), seed=9))
    with torch.no_grad():
        losses = [
            m(input_ids=inputs, labels=labels).loss.item() for m in (new_model(recipe, seed=5), model)
        ]
    assert losses[1] < 0.75 * losses[0]
