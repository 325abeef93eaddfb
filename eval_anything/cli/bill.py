"""`eval-anything bill`: the modalities that paid for a training."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.printing import show
from eval_anything.errors import Exit
from eval_anything.gating.bill import bill
from eval_anything.gating.bill_report import markdown, text, write_bill_page


def show_bill(options: Namespace) -> Exit:
    """Prints what each modality and combination lost, as text, Markdown or JSON, and writes the page."""
    result = bill(
        options.base,
        options.candidate,
        options.margin,
        training=options.training,
        corrected=options.corrected,
    )
    pages = []
    if options.html is not None:
        write_bill_page(result, options.html)
        pages = [f"\npage: {options.html}"]
    return show(options, result, markdown(result) if options.markdown else text(result), *pages)
