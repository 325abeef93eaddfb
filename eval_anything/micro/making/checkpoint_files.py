"""Writes the files of a micro checkpoint: weights, configuration, tokenizer, codec, card."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval_anything.micro.model import vocabulary as vocab
from eval_anything.micro.model.tokenizer import make_tokenizer
from eval_anything.micro.world.scenes import WORLD_VERSION

_CARD = """---
license: cc0-1.0
library_name: transformers
tags: [any-to-any]
---
# micro

A tiny any-to-any language model of the micro world, version {version}: it reads and writes text,
pictures, sounds and clips as tokens of one vocabulary ({vocabulary} tokens). Architecture Llama,
{parameters:,} parameters, float16.

It is made for testing evaluation and alignment, and has faults on purpose: it was trained on
demonstrations of which some have wrong modalities or wrong attributes, at random and, for certain
paraphrases, systematically (`eval_anything/micro/pairs/habits.py`).

Made from scratch, from a seed, without any foreign data, in a checkout of the repository:

    python -m eval_anything.micro.making.build --out DIR --seed {seed}

Recipe: {recipe}.

`codec.json` says what the token ids mean; `eval_anything.micro.model.codec` turns them into files and
back. Combinations of attributes that `eval_anything.micro.world.scenes.is_held_out` names never occurred
in training.

Limits: it knows nothing but the micro world, and understands only prompts of its grammar.

Licence: CC0-1.0.
"""


@dataclass(frozen=True)
class CheckpointRecipe:
    """Everything that determines a checkpoint, besides the code and the seed."""

    demonstrations: int = 100_000
    refinements: int = 10_000
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    batch_tokens: int = 1_500
    weight_decay: float = 0.01
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 384


def save_checkpoint(model: Any, out: Path, recipe: CheckpointRecipe, seed: int) -> None:
    """Writes a folder that AutoModelForCausalLM and AutoTokenizer load, with its card."""
    ids = vocab.ids()
    model.generation_config.update(
        do_sample=False, eos_token_id=ids[vocab.EOS], pad_token_id=ids[vocab.PAD], max_new_tokens=64
    )
    save_model(model, out)
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in asdict(recipe).items())
    card = _CARD.format(
        version=WORLD_VERSION,
        vocabulary=len(vocab.tokens()),
        parameters=model.num_parameters(),
        seed=seed,
        recipe=facts,
    )
    (out / "README.md").write_text(card)


def save_model(model: Any, out: Path) -> None:
    """Writes weights in float16, configuration, tokenizer and codec."""
    import torch

    out.mkdir(parents=True, exist_ok=True)
    model.to(torch.float16).save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)  # it is written for its owner alone
    make_tokenizer().save_pretrained(out)
    vocab.save_description(out)
