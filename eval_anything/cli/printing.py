"""What commands write: one JSON document, or lines for people."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from eval_anything.errors import Exit
from eval_anything.files.writing import pretty_json


def money_text(money: float | None, currency: str) -> str:
    """An amount for people; None is a price that nobody knows."""
    return "unknown money (no price)" if money is None else f"{money:.2f} {currency}"


def cost_lines(cost: dict[str, Any]) -> list[str]:
    """An estimate (`estimate.py`) for people: a line for each who asks a server, and the sum."""
    lines = [
        f"{who}: {part['calls']} calls, about {money_text(part['money'], cost['currency'])}"
        for who, part in cost["by"].items()
    ]
    if lines:
        money = money_text(cost["money"], cost["currency"])
        lines.append(f"in all about {money} (prices of {cost['prices']})")
    return lines


def show(options: Namespace, document: Any, *lines: str) -> Exit:
    """Prints the document if `--json` asks for it, else the lines. The exit code of a command that is
    done."""
    if options.json:
        print_json(document)
    else:
        print(*lines, sep="\n")
    return Exit.DONE


def print_json(value: Any) -> None:
    """The command's one document on stdout."""
    sys.stdout.write(pretty_json(value).decode())
