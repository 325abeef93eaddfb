"""`eval-anything models list`."""

from __future__ import annotations

import inspect
from argparse import Namespace

from eval_anything.cli.output import print_json
from eval_anything.errors import Exit, UserError
from eval_anything.models.spec import load_class, model_entry_points
from eval_anything.table import table


def list_models(options: Namespace) -> Exit:
    """The kinds of models that are installed, from their entry points."""
    rows = []
    for name, entry in model_entry_points().items():
        try:
            cls = load_class(entry)
            about = (inspect.getdoc(cls) or "").splitlines()[0]
            rows.append({"name": name, "about": about, "suite": cls.default_suite})
        except UserError as error:
            rows.append({"name": name, "about": str(error), "suite": ""})
    if options.json:
        print_json(rows)
    else:
        print(
            table(
                ["name", "default suite", "what it is"],
                [[r["name"], r["suite"], r["about"]] for r in rows],
            )
        )
    return Exit.DONE
