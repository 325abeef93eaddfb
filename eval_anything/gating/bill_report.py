"""Reports of a bill: text for a terminal, Markdown, and a page."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eval_anything.files.templates import page_templates
from eval_anything.files.writing import write_atomically
from eval_anything.gating.bill import AnswerPart, Bill, BillItem, PayingSample
from eval_anything.media.tiny import is_tiny
from eval_anything.output.tables import escape, markdown_table, printable, table

_HEADER = ["", "n", "change", "interval", "p of harm", "at worst", "verdict"]


_RIGHT = (1, 2, 4, 5)


_SHORT = 60  # characters of an answer that are shown in a line


_LONGEST = 4000  # characters of a text that are shown on the page


def text(bill: Bill) -> str:
    """Text for a terminal: a table, and for each harm the samples that lost most."""
    blocks = [f"{bill.base} -> {bill.candidate}", table(_HEADER, _rows(bill), _RIGHT)]
    for item in _harmed(bill):
        lines = [f"{item.name}{_when(item)}: lost most"]
        lines += [
            f"  {p.task} {printable(p.sample_id)} ({p.change:+.0%}): {_shown(p.base)} -> "
            f"{_shown(p.candidate)}"
            for p in item.paid
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, "\n".join(_remarks(bill))])


def markdown(bill: Bill) -> str:
    """Markdown: a heading, the table, and for each harm the samples that lost most."""
    lines = [f"### Bill of `{bill.candidate}` against `{bill.base}`", ""]
    lines.append(markdown_table(_HEADER, _rows(bill), _RIGHT))
    for item in _harmed(bill):
        lines += ["", f"**{item.name}**{_when(item)} lost most in:", ""]
        lines += [
            f"- {escape(p.task)} {escape(p.sample_id)} ({p.change:+.0%}): {_linked(p.base)} → "
            f"{_linked(p.candidate)}"
            for p in item.paid
        ]
    return "\n".join([*lines, "", *(f"- {escape(remark)}" for remark in _remarks(bill))])


def _rows(bill: Bill) -> list[list[str]]:
    return [
        [
            item.name,
            str(item.n),
            f"{item.difference:+.2%}{_judged(item)}",
            "" if item.interval is None else f"{item.interval[0]:+.2%} .. {item.interval[1]:+.2%}",
            "" if item.p_harm is None else f"{item.p_harm:.2g}",
            "" if item.lowest is None else f"{item.lowest:+.2%}",
            _verdict(item),
        ]
        for item in bill.items
    ]


def _judged(item: BillItem) -> str:
    return "" if item.judged is None else f" (judge {item.judged:+.2%}, {item.labels} labels)"


def _verdict(item: BillItem) -> str:
    if item.unknown:
        return f"{item.verdict}: {item.unknown}"
    if item.needed is not None:
        return f"{item.verdict}: about {item.needed} samples would settle it"
    return item.verdict + (f", through {item.through}" if item.through is not None else "")


def write_bill_page(bill: Bill, path: Path) -> None:
    """Writes the bill as a page without scripts. Media of the runs are files to which it links, relative
    to the page's folder."""
    reach = _reach(bill)
    folder = path.resolve().parent
    html = (
        page_templates()
        .get_template("bill.html")
        .render(
            bill=bill,
            name=Path(bill.candidate).name or bill.candidate,
            remarks=_remarks(bill)[1:],
            notes={item.name: _notes(item) for item in bill.items},
            samples={item.name: [_sample_view(p, folder) for p in item.paid] for item in bill.items},
            reach=reach,
            place=lambda change: f"{50 + 50 * change / reach:.1f}%",
        )
    )
    write_atomically(path, html.encode())


def _reach(bill: Bill) -> float:
    """The end of the pictures' scale: the farthest interval, rounded up to whole percents."""
    ends = [abs(end) for item in bill.items for end in item.interval or ()]
    farthest = max([2 * bill.margin, *ends, *(abs(item.difference) for item in bill.items)])
    return min(1.0, math.ceil(100 * farthest) / 100)


def _notes(item: BillItem) -> list[str]:
    notes = [f"since {item.since}"] if item.since is not None else []
    notes += [f"through {item.through}"] if item.through is not None else []
    if item.needed is not None:
        notes.append(f"about {item.needed:,} samples would settle it")
    return notes


def _sample_view(sample: PayingSample, folder: Path) -> dict[str, Any]:
    return {
        "task": sample.task,
        "id": printable(sample.sample_id),
        "change": sample.change,
        "base": [_part_view(part, folder) for part in sample.base],
        "candidate": [_part_view(part, folder) for part in sample.candidate],
    }


def _part_view(part: AnswerPart, folder: Path) -> dict[str, Any]:
    if not part.path:
        text = part.text if len(part.text) <= _LONGEST else part.text[:_LONGEST] + " …"
        return {"modality": "text", "text": text}
    path = Path(part.path)
    source = quote(os.path.relpath(path.resolve(), folder).replace(os.sep, "/"))
    return {
        "modality": str(part.modality),
        "source": source,
        "tiny": part.modality == "image" and is_tiny(path),
    }


def _harmed(bill: Bill) -> list[BillItem]:
    """Items that are harmed by themselves."""
    return [item for item in bill.items if item.name in bill.harmed]


def _when(item: BillItem) -> str:
    return f", since {item.since}" if item.since is not None else ""


def _shown(parts: Sequence[AnswerPart]) -> str:
    """An answer in one line: texts, which are cut, and the names of media."""
    names = [
        f"{part.modality} {Path(part.path).name[:8]}" if part.path else _cut(part.text) for part in parts
    ]
    return " + ".join(names) or "nothing"


def _linked(parts: Sequence[AnswerPart]) -> str:
    """An answer in Markdown, with links to its media."""
    linked_parts = [
        f"[{part.modality}](<{part.path}>)" if part.path else escape(_cut(part.text)) for part in parts
    ]
    return " + ".join(linked_parts) or "nothing"


def _cut(text: str) -> str:
    line = printable(text)
    return line if len(line) <= _SHORT else line[: _SHORT - 3] + "..."


def _remarks(bill: Bill) -> list[str]:
    remarks = [
        "Changes are shares of the range of primary metrics, up is good. Intervals hold for all lines "
        "at once; p is corrected by Holm.",
        f"proven unharmed: a loss of {bill.margin:.1%} is excluded (at worst: how much is not).",
    ]
    remarks += [f"{task} is left out: {reason}" for task, reason in bill.refused.items()]
    if bill.checkpoints and _harmed(bill):
        unseen = [item.name for item in _harmed(bill) if item.since is None]
        if unseen:
            remarks.append(f"no evaluated checkpoint shows the harm of {', '.join(unseen)}")
    if bill.unevaluated:
        names = ", ".join(bill.unevaluated)
        remarks.append(f"saved but not evaluated, so that a harm may be older than it says: {names}")
    return remarks
