"""`eval-anything runs merge`."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.fields import fields_from
from eval_anything.cli.run import show_outcome
from eval_anything.errors import Exit
from eval_anything.evaluation.merge import merge
from eval_anything.evaluation.options import make_options
from eval_anything.output.progress import Progress


def merge_shards(options: Namespace) -> Exit:
    """Merges the shards of a run, prints its table, writes its page."""
    evaluation = make_options({**fields_from(options), "model": "shards"})
    progress = Progress("silent" if options.json else "auto")
    return show_outcome(options, merge(options.out, options.shards, evaluation, progress), evaluation)
