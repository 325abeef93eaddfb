"""Reports of a gate: gate.json, JUnit XML, a Markdown comment, and text for a terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

from msgspec.structs import replace

from eval_anything.comparison.compare import MetricChange
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.gating.gate import Against, GateResult
from eval_anything.output.tables import escape, markdown_table, table
from eval_anything.statistics.paired import Paired

_SIGNS = {"PASS": "✅", "WARN": "⚠️", "BLOCK": "⛔", "INCONCLUSIVE": "❔", "INVALID": "❌"}


_COUNTS = {"failure": "failures", "error": "errors", "skipped": "skipped"}


_FLIPS = 5


_PROOF_HEADER = ["must be proven", "n", "change", "at worst", "margin", "verdict"]


_LIMIT_HEADER = ["limit", "value", "must keep", "verdict"]


_LEGEND = (
    "Changes are shares of a metric's range, up is good; MDE: the loss that this many samples show with "
    "80 % power (none: not even the largest)."
)


# Characters that XML 1.0 cannot represent.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_gate(gate_result: GateResult, out: Path) -> list[Path]:
    """Writes gate.json, gate.xml (JUnit) and gate.md into `out`, and appends the comment to the step
    summary of GitHub Actions if there is one. Returns the files written."""
    comment = markdown(gate_result)
    files = {
        "gate.json": pretty_json(gate_result),
        "gate.xml": junit(gate_result),
        "gate.md": comment.encode(),
    }
    for name, content in files.items():
        write_atomically(out / name, content)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(comment)
    return [out / name for name in files]


def text(gate_result: GateResult) -> str:
    """Text for a terminal: the verdict, its reasons, and tables of tasks and limits."""
    reasons = [f"- {line}" for line in (*gate_result.reasons, *_sequence(gate_result))]
    blocks = ["\n".join([f"{gate_result.verdict}: {gate_result.candidate}", *reasons])]
    for against in gate_result.against:
        header = [
            "against " + against.baseline,
            "change",
            "95 % interval",
            "p (Holm)",
            "sees",
            "verdict",
        ]
        blocks.append(table(header, _rows(against), right=(1, 3, 4)))
        if against.proofs:
            blocks.append(table(_PROOF_HEADER, _proofs(against), right=(1, 2, 3, 4)))
    if gate_result.checks:
        blocks.append(table(_LIMIT_HEADER, _limits(gate_result), right=(1,)))
    return "\n\n".join(blocks)


def markdown(gate_result: GateResult) -> str:
    """Comment for a pull request: verdict, reasons, tables, the samples that changed most."""
    lines = [f"## {_SIGNS[gate_result.verdict]} eval-anything gate: {gate_result.verdict}", ""]
    lines += [f"- {escape(line)}" for line in (*gate_result.reasons, *_sequence(gate_result))]
    for against in gate_result.against:
        header = ["metric", "change", "95 % interval", "p (Holm)", "MDE", "verdict"]
        lines += ["", f"Candidate `{gate_result.candidate}` against `{against.baseline}`:", ""]
        lines += [markdown_table(header, _rows(against), right=(1, 3, 4)), *_flips(against)]
        if against.proofs:
            lines += ["", markdown_table(_PROOF_HEADER, _proofs(against), right=(1, 2, 3, 4))]
    if gate_result.checks:
        lines += ["", markdown_table(_LIMIT_HEADER, _limits(gate_result), (1,))]
    lines += ["", _LEGEND, ""]
    return "\n".join(lines)


def _sequence(gate_result: GateResult) -> list[str]:
    """Lines about the sequence: after how many samples it decided."""
    note = gate_result.sequence
    if note is None:
        return []
    state = "decided" if note.decided else "not decided"
    lines = [f"{state} after {note.counted:,} of {note.available:,} samples, counted in {note.file}"]
    if note.left_out:
        lines.append(
            f"{note.left_out:,} samples are not counted: they came later than others of their source, "
            "or wait for samples of other tasks"
        )
    return lines


def _limits(gate_result: GateResult) -> list[list[str]]:
    checks = gate_result.checks
    return [[c.name, "" if c.value is None else f"{c.value:.4g}", c.limit, c.verdict] for c in checks]


def _rows(against: Against) -> list[list[str]]:
    suite = against.suite
    rows = [["all gated metrics", *_change(suite.change, suite.change.p_worse), suite.verdict]]
    judged = _judged(against)
    for task in (*against.tasks, *against.advisory):
        name = f"{task.name}, corrected" if task.name in judged else task.name
        rows.append([name, *_change(task.change, task.p_holm), task.verdict])
        if task.name in judged:
            rows.append(["  by the judge", *_change(judged[task.name], None), ""])
    return rows


def _judged(against: Against) -> dict[str, Paired]:
    """Changes as judges have them, of the metrics that the gate corrects, as shares of their ranges."""
    return {
        m.name: _shares(m.change, m.range[1] - m.range[0])
        for m in against.comparison.metrics
        if against.corrected and m.corrected is not None
    }


def _shares(change: Paired, width: float) -> Paired:
    """A change in the units of its metric as a share of the range."""
    ends, mde = change.ci95, change.mde
    return replace(
        change,
        difference=change.difference / width,
        ci95=None if ends is None else (ends[0] / width, ends[1] / width),
        mde=None if mde is None else mde / width,
    )


def _proofs(against: Against) -> list[list[str]]:
    return [
        [
            proof.name,
            str(proof.n),
            f"{proof.difference:+.2%}",
            "" if proof.lowest is None else f"{proof.lowest:+.2%}",
            f"{proof.margin:.1%}",
            "proven" if proof.verdict == "PASS" else proof.verdict,
        ]
        for proof in against.proofs
    ]


def _change(change: Paired, p_value: float | None) -> list[str]:
    ends = "" if change.ci95 is None else f"{change.ci95[0]:+.2%} .. {change.ci95[1]:+.2%}"
    p = "" if p_value is None else f"{p_value:.2g}"
    mde = "" if change.mde is None else "none" if change.mde > 1 else f"{change.mde:.2%}"
    return [f"{change.difference:+.2%}", ends, p, mde]


def _flips(against: Against) -> list[str]:
    """Lines with the samples of the largest losses, for the metrics that block or warn."""
    changes: dict[str, MetricChange] = {m.name: m for m in against.comparison.metrics}
    lines: list[str] = []
    for task in against.tasks:
        if task.verdict not in ("BLOCK", "WARN"):
            continue
        change = changes[task.name]
        lost = change.flips[: min(change.losses, _FLIPS)]
        flips = ", ".join(f"`{f.sample_id}` ({f.base:.3g} → {f.candidate:.3g})" for f in lost)
        lines += ["", f"{task.name}: {change.losses} samples lost, {change.gains} gained; most: {flips}"]
    return lines


def junit(gate_result: GateResult) -> bytes:
    """JUnit XML with a test case for each metric and limit: BLOCK fails, INCONCLUSIVE is skipped."""
    suites = ElementTree.Element("testsuites", name="eval-anything gate")
    for against in gate_result.against:
        cases = _suite(suites, f"against {against.baseline}")
        suite = against.suite
        _case(cases, "all gated metrics", suite.verdict, f"{suite.change.difference:+.2%} of the range")
        for task in (*against.tasks, *against.advisory):
            message = f"{task.change.difference:+.2%} of the range, margin {task.margin:.1%}"
            _case(cases, task.name, task.verdict, message)
        for proof in against.proofs:
            message = f"margin {proof.margin:.1%}, {proof.difference:+.2%} of the range"
            _case(cases, f"{proof.name} is proven", proof.verdict, message)
    if gate_result.checks:
        cases = _suite(suites, "limits")
        for check in gate_result.checks:
            _case(cases, check.name, check.verdict, check.reason or check.limit)
    if gate_result.verdict == "INVALID":
        cases = _suite(suites, "gate")
        _case(cases, "the runs can be gated", "INVALID", "; ".join(gate_result.reasons))
    for suite_element in suites:
        for kind, name in _COUNTS.items():
            suite_element.set(name, str(sum(case.find(kind) is not None for case in suite_element)))
        suite_element.set("tests", str(len(suite_element)))
    ElementTree.indent(suites)
    xml: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return xml


def _suite(suites: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suites, "testsuite", name=_NOT_XML.sub("", name))


def _case(cases: ElementTree.Element, name: str, verdict: str, message: str) -> None:
    case = ElementTree.SubElement(
        cases, "testcase", name=_NOT_XML.sub("", name), classname="eval_anything.gate"
    )
    kind = {"BLOCK": "failure", "INVALID": "error", "INCONCLUSIVE": "skipped"}.get(verdict)
    if kind is not None:
        ElementTree.SubElement(case, kind, message=_NOT_XML.sub("", f"{verdict}: {message}"))
