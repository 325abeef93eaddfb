"""What a gate leaves behind: gate.json, JUnit XML, a Markdown comment, and text for a terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

from eval_anything.comparison import MetricChange
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.gating.gate import Against, GateResult
from eval_anything.output.tables import escape, markdown_table, table
from eval_anything.statistics.paired import Paired

_SIGNS = {"PASS": "✅", "WARN": "⚠️", "BLOCK": "⛔", "INCONCLUSIVE": "❔", "INVALID": "❌"}


_COUNTS = {"failure": "failures", "error": "errors", "skipped": "skipped"}


_FLIPS = 5


_LEGEND = (
    "Changes are shares of a metric's range, up is good; MDE: the loss that this many samples show with "
    "80 % power."
)


# XML 1.0 has no way to write these.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_gate(result: GateResult, out: Path) -> list[Path]:
    """Writes gate.json, gate.xml (JUnit) and gate.md into `out`; adds the comment to the step summary
    of GitHub Actions where there is one."""
    comment = markdown(result)
    files = {
        "gate.json": pretty_json(result),
        "gate.xml": junit(result),
        "gate.md": comment.encode(),
    }
    for name, data in files.items():
        write_atomically(out / name, data)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(comment)
    return [out / name for name in files]


def text(result: GateResult) -> str:
    """For a terminal: the verdict, why, and each task."""
    blocks = ["\n".join([f"{result.verdict}: {result.candidate}", *(f"- {r}" for r in result.reasons)])]
    for against in result.against:
        header = [
            "against " + against.baseline,
            "change",
            "95 % interval",
            "p (Holm)",
            "sees",
            "verdict",
        ]
        blocks.append(table(header, _rows(against), right=(1, 3, 4)))
    if result.checks:
        blocks.append(table(["limit", "value", "must keep", "verdict"], _limits(result), right=(1,)))
    return "\n\n".join(blocks)


def markdown(result: GateResult) -> str:
    """One comment for a pull request: verdict, reasons, tables, the samples that changed most."""
    lines = [f"## {_SIGNS[result.verdict]} eval-anything gate: {result.verdict}", ""]
    lines += [f"- {escape(reason)}" for reason in result.reasons]
    for against in result.against:
        header = ["metric", "change", "95 % interval", "p (Holm)", "MDE", "verdict"]
        lines += ["", f"Candidate `{result.candidate}` against `{against.baseline}`:", ""]
        lines += [markdown_table(header, _rows(against), right=(1, 3, 4)), *_flips(against)]
    if result.checks:
        lines += ["", markdown_table(["limit", "value", "must keep", "verdict"], _limits(result), (1,))]
    lines += ["", _LEGEND, ""]
    return "\n".join(lines)


def _limits(result: GateResult) -> list[list[str]]:
    checks = result.checks
    return [[c.name, "" if c.value is None else f"{c.value:.4g}", c.limit, c.verdict] for c in checks]


def _rows(against: Against) -> list[list[str]]:
    suite = against.suite
    rows = [["all gated metrics", *_change(suite.change, suite.change.p_worse), suite.verdict]]
    for task in (*against.tasks, *against.advisory):
        rows.append([task.name, *_change(task.change, task.p_holm), task.verdict])
    return rows


def _change(change: Paired, p_value: float | None) -> list[str]:
    ends = "" if change.ci95 is None else f"{change.ci95[0]:+.2%} .. {change.ci95[1]:+.2%}"
    p = "" if p_value is None else f"{p_value:.2g}"
    mde = "" if change.mde is None else f"{change.mde:.2%}"
    return [f"{change.difference:+.2%}", ends, p, mde]


def _flips(against: Against) -> list[str]:
    """The samples with the largest losses, of the metrics that block or warn."""
    changes: dict[str, MetricChange] = {m.name: m for m in against.comparison.metrics}
    lines: list[str] = []
    for task in against.tasks:
        if task.verdict not in ("BLOCK", "WARN"):
            continue
        change = changes[task.name]
        lost = change.flips[: min(change.losses, _FLIPS)]
        shown = ", ".join(f"`{f.sample_id}` ({f.base:.3g} → {f.candidate:.3g})" for f in lost)
        lines += ["", f"{task.name}: {change.losses} samples lost, {change.gains} gained; most: {shown}"]
    return lines


def junit(result: GateResult) -> bytes:
    """A test case for each metric and limit: blocked ones fail, what cannot be told is skipped."""
    suites = ElementTree.Element("testsuites", name="eval-anything gate")
    for against in result.against:
        cases = _suite(suites, f"against {against.baseline}")
        suite = against.suite
        _case(cases, "all gated metrics", suite.verdict, f"{suite.change.difference:+.2%} of the range")
        for task in (*against.tasks, *against.advisory):
            message = f"{task.change.difference:+.2%} of the range, margin {task.margin:.1%}"
            _case(cases, task.name, task.verdict, message)
    if result.checks:
        cases = _suite(suites, "limits")
        for check in result.checks:
            _case(cases, check.name, check.verdict, check.reason or check.limit)
    if result.verdict == "INVALID":
        cases = _suite(suites, "gate")
        _case(cases, "the runs can be gated", "INVALID", "; ".join(result.reasons))
    for found in suites:
        for kind, name in _COUNTS.items():
            found.set(name, str(sum(case.find(kind) is not None for case in found)))
        found.set("tests", str(len(found)))
    ElementTree.indent(suites)
    data: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return data


def _suite(suites: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suites, "testsuite", name=_NOT_XML.sub("", name))


def _case(cases: ElementTree.Element, name: str, verdict: str, message: str) -> None:
    case = ElementTree.SubElement(
        cases, "testcase", name=_NOT_XML.sub("", name), classname="eval_anything.gate"
    )
    kind = {"BLOCK": "failure", "INVALID": "error", "INCONCLUSIVE": "skipped"}.get(verdict)
    if kind is not None:
        ElementTree.SubElement(case, kind, message=_NOT_XML.sub("", f"{verdict}: {message}"))
