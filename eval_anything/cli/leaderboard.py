"""`eval-anything leaderboard`: runs as a site."""

from __future__ import annotations

import sys
from argparse import Namespace

from eval_anything.cli.browser import open_page
from eval_anything.cli.printing import show
from eval_anything.errors import Exit


def build_site(options: Namespace) -> Exit:
    """Builds the site, and prints what it contains and which runs and prompts were left out."""
    from eval_anything.leaderboard.build import build

    built = build(
        options.runs,
        options.out,
        single=options.single_file,
        include=options.include,
        title=options.title,
        about=options.about,
    )
    for run in built.left_out:
        print(f"left out: {run.folder}: {run.reason}", file=sys.stderr)
    if built.without_prompts:
        print(
            f"prompts are not shown of {', '.join(built.without_prompts)}: the tasks are not at hand, "
            "or have changed since; --include DIR adds folders of tasks",
            file=sys.stderr,
        )
    page = built.site if built.site.is_file() else built.site / "index.html"
    left_out = [run._asdict() for run in built.left_out]
    document = {**built._asdict(), "site": str(built.site), "page": str(page), "left_out": left_out}
    reused = f", {built.reused} as they were" if built.reused else ""
    size = f"{built.size / 1e6:.1f} MB"
    if options.open:
        open_page(page)
    return show(options, document, f"{page}: {built.runs} runs{reused}, {built.columns} columns, {size}")
