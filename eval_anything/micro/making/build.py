"""Trains the model `micro` from scratch: python -m eval_anything.micro.making.build --out DIR [--seed 0]

Needs a checkout of the repository, and minutes on one processor thread. The result is a transformers
checkpoint with a codec.json.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.nn import functional

from eval_anything.micro.making.checkpoint_files import CheckpointRecipe, save_checkpoint
from eval_anything.micro.making.demonstrations import Turns, demonstration
from eval_anything.micro.model import vocabulary as vocab
from eval_anything.micro.model.codec import encode_symbolic
from eval_anything.models.local.generation import padded

IGNORED = -100  # label of tokens that are not learned


DEFAULT = CheckpointRecipe()


B = TypeVar("B")


Sequence = tuple[list[int], int]
"""Token ids, and the index of the first one to learn."""


def tokenise(turns: Turns) -> Sequence:
    """Token ids of the turns with their role tokens; only the last turn and its <eos> are learned."""
    ids = vocab.ids()
    roles = [ids[vocab.ROLES["user"]], ids[vocab.ROLES["assistant"]]]
    sequence: list[int] = []
    start = 0
    for number, turn in enumerate(turns):
        sequence.append(roles[number % 2])
        start = len(sequence)
        for part in turn:
            sequence += encode_symbolic(part)
    return [*sequence, ids[vocab.EOS]], start


def make_sequences(recipe: CheckpointRecipe, seed: int) -> list[Sequence]:
    """The training set of a recipe and seed, in random order."""
    rng = random.Random(f"micro-train-{seed}")
    kinds = [False] * recipe.demonstrations + [True] * recipe.refinements
    rng.shuffle(kinds)
    return [tokenise(demonstration(rng, refinement)) for refinement in kinds]


def make_batches(
    sequences: list[Sequence], batch_tokens: int, rng: random.Random
) -> list[list[Sequence]]:
    """Batches of sequences of similar length, at most `batch_tokens` with padding, in random order."""
    batches: list[list[Sequence]] = []
    batch: list[Sequence] = []
    for sequence in sorted(sequences, key=lambda s: len(s[0])):
        if batch and len(sequence[0]) * (len(batch) + 1) > batch_tokens:
            batches.append(batch)
            batch = []
        batch.append(sequence)
    batches.append(batch)
    rng.shuffle(batches)
    return batches


def collate(batch: list[Sequence]) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels, int64 (batch, length), padded on the right."""
    inputs = padded([ids for ids, _ in batch], vocab.ids()[vocab.PAD], padding_side="right")
    labels = padded(
        [[IGNORED] * start + ids[start:] for ids, start in batch], IGNORED, padding_side="right"
    )
    return inputs["input_ids"], labels["input_ids"]


def new_model(recipe: CheckpointRecipe, seed: int) -> Any:
    """A LlamaForCausalLM with random weights (transformers' classes are untyped)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    ids = vocab.ids()
    config = LlamaConfig(
        vocab_size=len(vocab.tokens()),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=512,
        initializer_range=0.05,
        tie_word_embeddings=True,
        pad_token_id=ids[vocab.PAD],
        bos_token_id=None,
        eos_token_id=ids[vocab.EOS],
    )
    return LlamaForCausalLM(config)


def train(recipe: CheckpointRecipe, seed: int) -> Any:
    """The trained model, in float32. The same on one machine for the same recipe and seed."""
    torch.set_num_threads(1)
    model = new_model(recipe, seed)
    batches = make_batches(make_sequences(recipe, seed), recipe.batch_tokens, random.Random(seed))
    return fit(model, batches, _loss, _schedule, recipe)


def _loss(model: Any, batch: list[Sequence]) -> torch.Tensor:
    inputs, labels = collate(batch)
    # Padding is on the right and attention is causal, so no mask is needed.
    logits = model(input_ids=inputs, use_cache=False).logits[:, :-1]
    targets = labels[:, 1:]
    learned = targets != IGNORED
    return functional.cross_entropy(logits[learned], targets[learned])


def _schedule(optimiser: Any, warmup: int, steps: int) -> Any:
    return torch.optim.lr_scheduler.SequentialLR(
        optimiser,
        [
            torch.optim.lr_scheduler.LinearLR(optimiser, start_factor=1 / warmup, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps - warmup)),
        ],
        [warmup],
    )


def fit(
    model: Any,
    batches: list[B],
    loss_of: Callable[[Any, B], torch.Tensor],
    schedule_of: Callable[[Any, int, int], Any],
    recipe: Any,
) -> Any:
    """Trains the model with AdamW, one step for each batch in order, and returns it in eval mode.

    Norms of gradients are clipped to 1.

    Args:
        loss_of: the loss of the model on a batch.
        schedule_of: the schedule of an optimiser, a number of warm-up steps and one of all steps.
        recipe: has learning_rate, weight_decay and warmup_steps.
    """
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    warmup = min(recipe.warmup_steps, max(1, len(batches) // 2))
    schedule = schedule_of(optimiser, warmup, len(batches))
    model.train()
    for step, batch in enumerate(batches, 1):
        loss = loss_of(model, batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == len(batches):
            print(f"step {step}/{len(batches)} loss {loss.item():.3f}", file=sys.stderr)
    return model.eval()


def build(out: Path, seed: int = 0, recipe: CheckpointRecipe = DEFAULT) -> float:
    """Trains a checkpoint, saves it in `out`, and returns the seconds that training took."""
    begin = time.monotonic()
    model = train(recipe, seed)
    seconds = time.monotonic() - begin
    save_checkpoint(model, out, recipe, seed)
    return seconds


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Train the model of the micro world from scratch.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    seconds = build(arguments.out, arguments.seed)
    print(f"{arguments.out}: trained in {seconds:.0f} s")


if __name__ == "__main__":
    main()
