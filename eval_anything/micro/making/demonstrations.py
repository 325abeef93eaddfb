"""Demonstrations for training the model: prompts with noisy answers, and refinements of them."""

from __future__ import annotations

import random

from eval_anything.micro.pairs.demonstrator import demonstrate
from eval_anything.micro.prompts.exchange import draw_exchange
from eval_anything.micro.prompts.families import FAMILIES
from eval_anything.micro.prompts.feedback import FINE, critique_answer
from eval_anything.micro.world.scenes import SymbolicPart

# Comparing two media is the hardest to learn here: it needs more examples.
WEIGHTS = {"match_picture_sound": 2.0, "match_clip_sound": 2.0}


REFINED_NOISE = 0.05  # probability that a refinement ignores its feedback


# Probability of praise, deserved or not, and an answer that stays as it is: so that a refinement needs
# feedback and does not get better by itself.
PRAISE = 0.3


Turns = tuple[tuple[SymbolicPart, ...], ...]
"""A demonstration: parts of each turn, the user's first; the model learns the last one."""


def demonstration(rng: random.Random, refinement: bool = False) -> Turns:
    """A random prompt and answer; a refinement adds feedback on a faulty answer, and the better one."""
    weights = [WEIGHTS.get(name, 1.0) for name in FAMILIES]
    (family,) = rng.choices(list(FAMILIES.values()), weights)
    exchange = draw_exchange(family, rng, held_out=False)
    answer = demonstrate(exchange, rng)
    if not refinement:
        return exchange.prompt, answer
    feedback = FINE if rng.random() < PRAISE else critique_answer(exchange, answer)
    unchanged = feedback == FINE or rng.random() < REFINED_NOISE
    return exchange.prompt, answer, (feedback,), answer if unchanged else exchange.answer
