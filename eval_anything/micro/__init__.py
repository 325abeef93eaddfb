"""The micro world: an embedded procedural world in which perception is exact.

Pictures, sounds and clips of this world are described completely by a few attributes, tied to each
other by laws, so a program can read without error what a generated medium shows. `world` has the scenes,
renders and perceives files; `prompts` has the grammar; `model` is the tiny model `micro`; `pairs` has
pairs of answers with exact labels; `making`, which is in the repository alone, makes the benchmarks, the
checkpoint and the learned judge. The names below are for scoring code of its tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eval_anything.lazy import lazy_names

if TYPE_CHECKING:
    from eval_anything.micro.world.gold import gold_items as gold_items
    from eval_anything.micro.world.grading import declines as declines
    from eval_anything.micro.world.grading import is_one_of as is_one_of
    from eval_anything.micro.world.grading import names_only as names_only
    from eval_anything.micro.world.observations import seen_in as seen_in
    from eval_anything.micro.world.observations import share as share
    from eval_anything.micro.world.perceive import perceive_response as perceive_response
    from eval_anything.micro.world.synergy import agreement as agreement
    from eval_anything.micro.world.synergy import attributes_seen as attributes_seen
    from eval_anything.micro.world.synergy import name_of as name_of
    from eval_anything.micro.world.synergy import pairs_of as pairs_of
    from eval_anything.micro.world.synergy import shared_names as shared_names
    from eval_anything.micro.world.words import normal_words as normal_words
    from eval_anything.micro.world.words import read as read

__getattr__, __dir__ = lazy_names(__name__, __file__)
