"""`eval-anything models list`: the kinds of models that are installed."""

from __future__ import annotations

import inspect
from argparse import Namespace
from typing import Any

from eval_anything import plugins
from eval_anything.cli.printing import show
from eval_anything.errors import Exit, UserError
from eval_anything.output.tables import table


def list_models(options: Namespace) -> Exit:
    """Prints the kinds of models that are installed, from their entry points, and the families that
    they serve: inputs, outputs, and missing abilities."""
    rows: list[dict[str, Any]] = []
    for name, cls in plugins.load_all(plugins.MODELS).items():
        row: dict[str, Any] = {"name": name, "about": "", "suite": "", "families": []}
        if isinstance(cls, UserError):
            row["about"] = str(cls)
        else:
            row["about"] = (inspect.getdoc(cls) or "").splitlines()[0]
            row["suite"] = cls.default_suite
            row["families"] = cls.families()
        rows.append(row)
    cells = [[row["name"], row["suite"], row["about"]] for row in rows]
    families = (
        f"\nFamilies of {row['name']}:\n\n{_families(row['families'])}"
        for row in rows
        if row["families"]
    )
    return show(options, rows, table(["name", "default suite", "what it is"], cells), *families)


def _families(families: list[dict[str, Any]]) -> str:
    header = ["family", "model_type", "in", "out", "--model-arg output"]
    rows = [
        [
            family["name"],
            ", ".join(family["model_types"]) or "any other",
            ", ".join(family["inputs"]),
            ", ".join(family["outputs"]),
            "|".join(family["modes"]) if len(family["modes"]) > 1 else "",
        ]
        for family in families
    ]
    holes = [
        f"{family['name']} lacks {hole['what']}: {hole['reason']}"
        for family in families
        for hole in family["holes"]
    ]
    return "\n".join([table(header, rows), "", *holes])
