"""`eval-anything schema`: the JSON schema of a kind of file."""

from __future__ import annotations

import importlib
from argparse import Namespace
from typing import Any

import msgspec

from eval_anything.cli.printing import print_json
from eval_anything.errors import Exit, UserError, near

# Types that files are read into, and functions that return a schema.
_SOURCES = {
    "results": "runs.results_file:Results",
    "records": "jsonl:RecordRow",
    "task": "tasks.task:TaskFile",
    "judge": "judges.registry:judge_schema",
    "policy": "gating.policy:GatePolicy",
    "run": "evaluation.options:Options",
    "preset": "evaluation.presets:Preset",
}


def schema(options: Namespace) -> Exit:
    """Prints the JSON schema of one kind of file, or of the options of `run`."""
    print_json(schema_of(options.name))
    return Exit.DONE


def schema_of(name: str) -> dict[str, Any]:
    """The JSON schema (2020-12) of `results`, `records` (one line), `task`, `judge`, `policy`, `run`
    or `preset`.

    It is made from the type that the file is read into. UserError for another name.
    """
    if name not in _SOURCES:
        hint = near(name, _SOURCES) or f" Known: {', '.join(_SOURCES)}."
        raise UserError(f"there is no schema {name!r}.{hint}")
    module, _, attribute = _SOURCES[name].partition(":")
    source = getattr(importlib.import_module(f"eval_anything.{module}"), attribute)
    json_schema: dict[str, Any] = msgspec.json.schema(source) if isinstance(source, type) else source()
    return json_schema
