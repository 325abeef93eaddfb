"""Output of commands: one JSON document, or lines for people."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from eval_anything.errors import Exit
from eval_anything.files.writing import pretty_json
from eval_anything.output.stdout import print_lines, write


def money_text(money: float | None, currency: str) -> str:
    """An amount of money for people; None means that a price is unknown."""
    return "unknown money (no price)" if money is None else f"{money:.2f} {currency}"


def cost_lines(cost: dict[str, Any]) -> list[str]:
    """Lines for people from an estimate (`evaluation/estimate.py`): one for the model and each judge
    that asks a server, and the sum."""
    lines = [
        f"{payer}: {part['calls']} calls, about {money_text(part['money'], cost['currency'])}"
        for payer, part in cost["by"].items()
    ]
    if lines:
        money = money_text(cost["money"], cost["currency"])
        lines.append(f"in all about {money} (prices of {cost['prices']})")
    return lines


def show(options: Namespace, document: Any, *lines: str) -> Exit:
    """Prints the document with `--json`, else the lines. Returns the exit code for success."""
    if options.json:
        print_json(document)
    else:
        print_lines(*lines)
    return Exit.DONE


def print_json(document: Any) -> None:
    """Writes the command's one document to stdout."""
    write(pretty_json(document).decode())
