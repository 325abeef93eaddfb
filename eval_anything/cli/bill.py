"""`eval-anything bill`: the modalities that paid for a training."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.printing import show
from eval_anything.errors import Exit
from eval_anything.gating.bill import bill
from eval_anything.gating.bill_report import markdown, text


def show_bill(options: Namespace) -> Exit:
    """Prints what each modality and combination lost, as text, Markdown or JSON."""
    result = bill(options.base, options.candidate, options.margin, training=options.training)
    return show(options, result, markdown(result) if options.markdown else text(result))
