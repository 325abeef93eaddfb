"""Trains the learned judge of the micro world.

    python -m eval_anything.micro.making.reward --out DIR [--seed 0]

A scalar head on the body of the bundled model `micro`, trained on preference pairs (Bradley and Terry
1952) of which some have the wrong label: it errs on purpose, as judges of real answers do. Writes
checkpoint/ and figures.json into DIR. Needs a checkout of the repository, and a minute or two on one
processor thread.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from eval_anything.content import Modality
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.micro.making.build import fit, tokenise
from eval_anything.micro.making.checkpoint_files import save_model
from eval_anything.micro.model import vocabulary as vocab
from eval_anything.micro.model.adapter import BUNDLED
from eval_anything.micro.model.codec import encode_symbolic, media_ids
from eval_anything.micro.pairs.preferences import Answer, Pair, synergy_calibration, synergy_pairs
from eval_anything.micro.world.raster import SILENCE, picture_codes
from eval_anything.micro.world.scenes import Picture, SymbolicPart, modality_of
from eval_anything.micro.world.synergy import name_of, pairs_of
from eval_anything.models.local.generation import padded
from eval_anything.statistics.intervals import mean_interval

CHECKPOINT, FIGURES = "checkpoint", "figures.json"


Ids = list[int]


Views = dict[str, Ids]
"""Token ids of prompt and two parts, by pair of modalities such as text_image."""


@dataclass(frozen=True)
class RewardRecipe:
    """Everything that determines the judge, besides the code, the bundled model and the seed.

    noise: share of wrong labels. junk: comparisons with parts that show nothing, for each pair.
    centring: weight of the square of a comparison's summed rewards, without which only differences
    would be determined.
    """

    pairs: int = 6_000
    noise: float = 0.22
    junk: float = 0.15
    epochs: int = 1
    batch: int = 32
    learning_rate: float = 1e-3
    warmup_steps: int = 20
    weight_decay: float = 0.01
    centring: float = 0.02


DEFAULT = RewardRecipe()


Comparison = tuple[list[Ids], list[Ids]]
"""The views of the chosen answer, and those of the rejected one; a reward is the mean over the views."""


def views(prompt: Sequence[SymbolicPart], answer: Answer) -> Views:
    """Token ids that the judge reads of an answer: prompt and two parts, for each pair of modalities."""
    return _views(prompt, {modality_of(part): encode_symbolic(part) for part in answer})


def _views(prompt: Sequence[SymbolicPart], parts: Mapping[Modality, Ids]) -> Views:
    *head, eos = tokenise((tuple(prompt), ()))[0]
    return {
        name_of((first, second)): [*head, *parts[first], *parts[second], eos]
        for first, second in pairs_of(tuple(parts))
    }


def comparisons(recipe: RewardRecipe, seed: int) -> list[Comparison]:
    """The training set, in random order."""
    rng = random.Random(f"micro-reward-{seed}")
    training_set: list[Comparison] = []
    for pair in synergy_pairs(recipe.pairs, seed, recipe.noise):
        prompt = pair.exchange.prompt
        a, b = (list(views(prompt, answer).values()) for answer in (pair.a, pair.b))
        training_set.append((a, b) if pair.preferred == "a" else (b, a))
        if rng.random() < recipe.junk:
            training_set.append(_with_junk(prompt, rng.choice((pair.a, pair.b)), rng))
    rng.shuffle(training_set)
    return training_set


def _with_junk(prompt: Sequence[SymbolicPart], answer: Answer, rng: random.Random) -> Comparison:
    """An answer, and the same with parts that show nothing, which a judge must not reward."""
    parts = {modality_of(part): encode_symbolic(part) for part in answer}
    spoilt = rng.sample(list(parts), rng.randint(1, len(parts)))
    junk = {modality: _junk(modality, rng) for modality in spoilt}
    return list(_views(prompt, parts).values()), list(_views(prompt, parts | junk).values())


def _junk(modality: Modality, rng: random.Random) -> Ids:
    """Token ids of a medium that is blank, silent or noise, or of a text without sense."""
    ids = vocab.ids()
    if modality is Modality.TEXT:
        words = range(vocab.code_range(Modality.AUDIO).stop, len(ids))
        unknown = rng.random()
        return [
            ids[vocab.UNK] if rng.random() < unknown else rng.choice(words)
            for _ in range(rng.choice((1, rng.randint(2, 24))))
        ]
    codes, count = len(vocab.code_range(modality)), vocab.CODES_PER_PART[modality]
    background = picture_codes(Picture("circle", "red", "top", "left"))[-1]
    blank = SILENCE if modality is Modality.AUDIO else background
    inside = [blank] * count if rng.random() < 0.5 else [rng.randrange(codes) for _ in range(count)]
    return media_ids(modality, inside)


def new_model(seed: int) -> Any:
    """The bundled model with a new scalar head (transformers' classes are untyped)."""
    from transformers import AutoConfig, AutoModelForSequenceClassification
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # it warns that the head is new, which is intended
    torch.manual_seed(seed)
    config = AutoConfig.from_pretrained(BUNDLED, num_labels=1)
    model = AutoModelForSequenceClassification.from_pretrained(
        BUNDLED, config=config, dtype=torch.float32, use_safetensors=True
    )
    logging.set_verbosity(level)
    return model


def rewards(model: Any, sequences: Sequence[Ids]) -> torch.Tensor:
    """The reward of each sequence, float32 (n,)."""
    inputs = padded(sequences, vocab.ids()[vocab.PAD], padding_side="right")
    scalars: torch.Tensor = model(**inputs, use_cache=False).logits
    return scalars[:, 0]


def train(recipe: RewardRecipe, seed: int) -> Any:
    """The trained judge, in float32. The same on one machine for the same recipe and seed."""
    torch.set_num_threads(1)
    model = new_model(seed)
    batches = [b for epoch in range(recipe.epochs) for b in _batches(recipe, seed, epoch)]
    return fit(model, batches, partial(_loss, recipe.centring), _schedule, recipe)


def _schedule(optimiser: Any, warmup: int, steps: int) -> Any:
    def rate(step: int) -> float:
        return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))

    return torch.optim.lr_scheduler.LambdaLR(optimiser, rate)


def _batches(recipe: RewardRecipe, seed: int, epoch: int) -> list[list[Comparison]]:
    """The comparisons in batches, in another order each epoch."""
    training_set = comparisons(recipe, seed)
    random.Random(f"micro-reward-{seed}-{epoch}").shuffle(training_set)
    starts = range(0, len(training_set), recipe.batch)
    return [training_set[start : start + recipe.batch] for start in starts]


def _loss(centring: float, model: Any, batch: list[Comparison]) -> torch.Tensor:
    sides = [side for comparison in batch for side in comparison]
    flat = rewards(model, [view for side in sides for view in side])
    means = torch.stack([part.mean() for part in flat.split([len(side) for side in sides])])
    chosen, rejected = means[0::2], means[1::2]
    loss = -functional.logsigmoid(chosen - rejected).mean()
    return loss + centring * (chosen + rejected).square().mean()


def judged(model: Any, pairs: Sequence[Pair]) -> list[tuple[dict[str, float], dict[str, float]]]:
    """The judge's scores (0..1) of both answers of each pair, by pair of modalities."""
    sides = [views(pair.exchange.prompt, answer) for pair in pairs for answer in (pair.a, pair.b)]
    scores: list[float] = []
    sequences = [ids for side in sides for ids in side.values()]
    with torch.inference_mode():
        for start in range(0, len(sequences), 64):
            scores += rewards(model, sequences[start : start + 64]).sigmoid().tolist()
    remaining = iter(scores)
    by_side = [{name: round(next(remaining), 6) for name in side} for side in sides]
    return list(zip(by_side[0::2], by_side[1::2], strict=True))


def figures_of(model: Any, pairs: Sequence[Pair]) -> dict[str, dict[str, Any]]:
    """Accuracy of the judge on pairs: {name: {value, ci95, n}}, for synergy and each pair of modalities.

    It is right if its score of the better answer is higher, half right if both are the same. A pair of
    modalities counts where the two answers' exact agreements on it differ.
    """
    right: dict[str, list[tuple[float, str]]] = {"synergy": []}
    for pair, (a, b) in zip(pairs, judged(model, pairs), strict=True):
        mean_a, mean_b = (sum(side.values()) / len(side) for side in (a, b))
        truth = 1.0 if pair.preferred == "a" else -1.0
        right["synergy"].append((_credit(truth * (mean_a - mean_b)), pair.source_id))
        for name in a:
            truth = pair.agreements_a[name] - pair.agreements_b[name]
            if truth:
                credit = _credit(truth * (a[name] - b[name]))
                right.setdefault(name, []).append((credit, pair.source_id))
    figures = {}
    for name, credits in right.items():
        estimate = mean_interval([c for c, _ in credits], [s for _, s in credits], (0.0, 1.0))
        ends = [round(estimate.low, 4), round(estimate.high, 4)]
        figures[name] = {"value": round(estimate.value, 4), "ci95": ends, "n": estimate.n}
    return figures


def _credit(margin: float) -> float:
    return 0.5 if margin == 0 else float(margin > 0)


def save(model: Any, folder: Path, recipe: RewardRecipe, seed: int) -> None:
    """Writes a folder that AutoModelForSequenceClassification loads; weights in float16."""
    model.config.micro_recipe = {**asdict(recipe), "seed": seed}
    save_model(model, folder)


def load(folder: Path) -> Any:
    """A saved judge, in float32 and eval mode."""
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True
    ).eval()


def build(out: Path, seed: int = 0, recipe: RewardRecipe = DEFAULT) -> dict[str, dict[str, Any]]:
    """Trains the judge, writes checkpoint/ and figures.json into `out`, and returns the figures."""
    save(train(recipe, seed), out / CHECKPOINT, recipe, seed)
    figures = figures_of(load(out / CHECKPOINT), synergy_calibration())
    write_atomically(out / FIGURES, pretty_json(figures))
    return figures


def main() -> None:
    """Runs the command line."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description="Train the learned judge of the micro world.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the judge")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begin = time.monotonic()
    for name, figure in build(arguments.out, arguments.seed).items():
        low, high = figure["ci95"]
        print(f"{name}: {figure['value']:.3f} ({low:.3f} .. {high:.3f}), n = {figure['n']}")
    print(f"{arguments.out}: {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
