"""`eval-anything judges`: list and show."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.output import print_json
from eval_anything.errors import Exit
from eval_anything.judges import find_judges, judge_named, read_judge_file
from eval_anything.table import table


def list_judges(options: Namespace) -> Exit:
    """One line a judge."""
    rows = []
    for name, folder in sorted(find_judges(options.include).items()):
        file = read_judge_file(folder)
        rows.append({"name": name, "kind": file.kind, "sees": file.sees, "metrics": list(file.metrics)})
    if options.json:
        print_json(rows)
    else:
        cells = [
            [str(r["name"]), str(r["kind"]), " ".join(r["sees"]), " ".join(r["metrics"])] for r in rows
        ]
        print(table(["judge", "kind", "sees", "metrics"], cells))
    return Exit.DONE


def show_judge(options: Namespace) -> Exit:
    """What a judge gives, and where it is."""
    folder = judge_named(options.name, find_judges(options.include))
    file = read_judge_file(folder)
    if options.json:
        print_json({"name": folder.name, "path": str(folder.path), "judge": file})
        return Exit.DONE
    print(f"{folder.name} ({file.kind}, version {file.version}): {file.title}\n{file.description}\n")
    print(f"sees {', '.join(file.sees)}; {folder.path}\n")
    rows = [
        [name, f"{m.range[0]:g} .. {m.range[1]:g}, {m.better} is better", m.description]
        for name, m in file.metrics.items()
    ]
    print(table(["metric", "range", "what it is"], rows))
    return Exit.DONE
