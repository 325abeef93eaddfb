"""`eval-anything data check FILE`: reports what a file of training data contains and its mistakes."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from align_plugins.data.contamination import benchmark_prompts, hits
from align_plugins.data.files import read_valid_rows
from align_plugins.data.rows import KINDS, Preference, Row, parts_in, row_key
from eval_anything.cli.printing import print_json
from eval_anything.content import MODALITIES, Part, TextPart
from eval_anything.errors import Exit
from eval_anything.media import MediaError, check_decodes
from eval_anything.output.stdout import print_lines
from eval_anything.output.tables import table

_MOST_LISTED = 10


_LONGEST = 100


def check(options: Namespace) -> Exit:
    """Runs the command. Exit code 2 if the file needs fixing before it can be trained on."""
    summary = report(options.file, options.include, options.data, options.examples)
    contaminated = bool(summary["contaminated"]) and not options.allow_contamination
    wrong = bool(summary["problems"]) or contaminated
    if options.json:
        print_json(summary)
    else:
        _print(summary)
    if wrong:
        print("eval-anything: this file is not ready for training", file=sys.stderr)
    return Exit.WRONG_INPUT if wrong else Exit.DONE


def report(
    path: Path, include: Sequence[Path] = (), data_folders: Sequence[Path] = (), examples: int = 2
) -> dict[str, Any]:
    """Summary of a file: rows by kind, parts by field and modality, mistakes, duplicates (ids of rows
    with equal content), ties (ids), rows whose prompt is in a benchmark, benchmarks that could not be
    read, and the first rows of each kind. Decodes each medium once.

    Args:
        path: file of rows.
        include: further folders of tasks to compare with.
        data_folders: folders of the data sets that tasks need.
        examples: number of rows of each kind to show.
    """
    rows, mistakes = read_valid_rows(path)
    ids_by_key: dict[Any, list[str]] = {}
    for row in rows:
        ids_by_key.setdefault(row_key(row), []).append(row.id)
    kinds = Counter(KINDS[type(row)] for row in rows)
    modalities: dict[str, Counter[str]] = {}
    broken: dict[str, str] = {}
    checked: set[str] = set()
    for row in rows:
        for field, part in parts_in(row):
            modalities.setdefault(field, Counter())[part.modality.value] += 1
            if not isinstance(part, TextPart) and part.sha256 not in checked:
                checked.add(part.sha256)
                try:
                    check_decodes(part)
                except MediaError as error:
                    broken[row.id] = f"{path}: row {row.id!r}: {field}: {error}"
    benchmarks = benchmark_prompts(include, data_folders)
    return {
        "file": str(path),
        "rows": len(rows),
        "kinds": dict(kinds),
        "prompts": len({row.source_id for row in rows}),
        "modalities": {
            field: {m.value: counts[m.value] for m in MODALITIES if counts[m.value]}
            for field, counts in modalities.items()
        },
        "problems": [*map(str, mistakes), *broken.values()],
        "duplicates": [ids for ids in ids_by_key.values() if len(ids) > 1],
        "ties": [row.id for row in rows if isinstance(row, Preference) and row.tie],
        "contaminated": [hit._asdict() for hit in hits(rows, benchmarks)],
        "not_looked_into": benchmarks.unread,
        "examples": [line for kind in kinds for line in _examples(rows, kind, examples)],
    }


def _examples(rows: Sequence[Row], kind: str, count: int) -> list[str]:
    chosen = [row for row in rows if KINDS[type(row)] == kind][:count]
    lines = []
    for row in chosen:
        fields: dict[str, list[str]] = {}
        for field, part in parts_in(row):
            fields.setdefault(field, []).append(_preview(part))
        contents = "; ".join(f"{field}: {' + '.join(parts)}" for field, parts in fields.items())
        critique = getattr(row, "critique", "")
        contents += f"; critique: {critique[:_LONGEST]}" if critique else ""
        lines.append(f"{row.id}: {contents}")
    return lines


def _preview(part: Part) -> str:
    if not isinstance(part, TextPart):
        return f"[{part.modality} {part.path.name}]"
    text = " ".join(part.text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _print(summary: dict[str, Any]) -> None:
    kinds = ", ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in summary["kinds"].items())
    counts = f"{summary['rows']} rows with {summary['prompts']} prompts ({kinds or 'nothing'})"
    print_lines(f"{summary['file']}: {counts}\n")
    if summary["modalities"]:
        header = ["parts", *(m.value for m in MODALITIES)]
        cells = [
            [field, *(str(counts.get(m.value, 0)) for m in MODALITIES)]
            for field, counts in summary["modalities"].items()
        ]
        print_lines(table(header, cells, right=(1, 2, 3, 4)))
    for line in summary["examples"]:
        print_lines(f"\n{line}")
    print_lines("")
    print_lines(*summary["problems"][:_MOST_LISTED])
    same = summary["duplicates"]
    print_lines(f"duplicates: {len(same)}", *(f"  {', '.join(ids)}" for ids in same[:_MOST_LISTED]))
    print_lines(
        f"ties: {len(summary['ties'])}"
        + (f" ({', '.join(summary['ties'][:_MOST_LISTED])})" if summary["ties"] else "")
    )
    print_lines(f"prompts of benchmarks: {len(summary['contaminated'])}")
    for hit in summary["contaminated"][:_MOST_LISTED]:
        print_lines(f"  row {hit['row']} is {hit['sample']}")
    if summary["not_looked_into"]:
        print_lines(f"benchmarks that are not on this machine: {', '.join(summary['not_looked_into'])}")
