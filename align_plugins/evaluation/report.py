"""The report of a training: its evaluations, the comparison with the start, the gate's verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align_plugins.evaluation.checkpoints import Evaluations
from align_plugins.settings import EvaluationSettings
from align_plugins.trainer import Trained
from align_plugins.workdir import BILL_PAGE, PAGE, Workdir
from eval_anything.comparison.compare import compare
from eval_anything.errors import UserError
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.gating.bill import bill
from eval_anything.gating.bill_report import markdown, write_bill_page
from eval_anything.gating.gate import gate
from eval_anything.gating.report import write_gate
from eval_anything.output.progress import Progress
from eval_anything.output.tables import table


def report_evaluations(
    settings: EvaluationSettings, work: Workdir, progress: Progress, start: str
) -> dict[str, Any]:
    """Summary of the evaluations for result.json. Also writes comparison.json, the bill and the gate's
    report.

    The best checkpoint is compared with the start on the samples by which it was chosen: with many
    checkpoints that flatters it a little.
    """
    evaluations = Evaluations(settings, work.runs, progress.say)
    history = []
    for name in evaluations.finished():
        metric = evaluations.checkpoint_metric(name)
        if metric is not None:
            note = evaluations.note(name)
            history.append({**note, "name": name, "value": metric.value, "ci95": metric.ci95})
    best = evaluations.best()
    summary: dict[str, Any] = {"evaluations": history, "metric": None, "best": None}
    if best is None:
        return summary
    run = evaluations.run_of(best.name)
    at_start = evaluations.checkpoint_metric(start) if start in evaluations.finished() else None
    summary |= {
        "metric": evaluations.metric_of(run),
        "beats_start": None if at_start is None else best.goodness > at_start.goodness,
        "best": {"name": best.name, "value": best.value, "ci95": best.ci95, "run": str(run)},
        "evaluation_seconds": round(sum(e["evaluation_seconds"] for e in history), 3),
    }
    if start not in evaluations.finished():
        return summary
    comparison = compare(evaluations.run_of(start), run)
    write_atomically(work.path / "comparison.json", pretty_json(comparison))
    summary["compared"] = [
        {
            "metric": change.name,
            "start": change.base,
            "best": change.candidate,
            "difference": change.change.difference,
            "ci95": change.change.ci95,
            "p_holm": comparison.p_holm.get(change.name),
        }
        for change in comparison.metrics
        if change.primary or change.name == summary["metric"]
    ]
    summary["bill"] = _bill(evaluations.run_of(start), run, work, progress)
    if settings.policy is not None:
        verdict = gate(run, settings.policy, evaluations.run_of(start))
        write_gate(verdict, work.path)
        summary["gate"] = {"verdict": verdict.verdict, "reasons": verdict.reasons}
    return summary


def _bill(start: Path, best: Path, work: Workdir, progress: Progress) -> dict[str, list[str]] | None:
    """Names of modalities and combinations by verdict; also writes bill.json, bill.md and bill.html.
    None where the start and the best checkpoint have nothing to compare, which is said."""
    try:
        result = bill(start, best, training=work.path)
    except UserError as error:
        progress.say(f"no bill: {error}")
        return None
    write_atomically(work.path / "bill.json", pretty_json(result))
    write_atomically(work.path / "bill.md", markdown(result).encode())
    write_bill_page(result, work.path / BILL_PAGE)
    by_verdict: dict[str, list[str]] = {}
    for item in result.items:
        notes = [f"through {item.through}"] if item.through is not None else []
        notes += [f"since {item.since}"] if item.since is not None else []
        remark = f" ({', '.join(notes)})" if notes else ""
        by_verdict.setdefault(item.verdict, []).append(item.name + remark)
    return by_verdict


def training_report(summary: Mapping[str, Any]) -> Trained:
    """Report of a training, from its result.json. A gate's verdict other than PASS or WARN blocks."""
    lines = [
        f"{summary['method']}: {summary['step']} steps, {summary['tokens']:,} tokens, "
        f"{summary['seconds']:.0f} s",
        *(summary.get("lines") or ()),
    ]
    history = summary.get("evaluations") or []
    if history:
        best, beats_start = summary["best"], summary.get("beats_start")
        rows = [
            [
                e["name"],
                str(e["tokens"]),
                f"{e['value']:.3f}",
                f"{e['ci95'][0]:.3f} .. {e['ci95'][1]:.3f}",
                "best" if e["name"] == best["name"] and beats_start is not False else "",
            ]
            for e in (history if best is not None else ())
        ]
        lines += [
            "",
            str(summary["metric"]),
            table(["checkpoint", "tokens", "value", "95 % interval", ""], rows, right=(1, 2)),
        ]
    lines += findings(summary)
    if summary.get("evaluation_seconds"):
        lines.append(f"evaluations took {summary['evaluation_seconds']:.0f} s beside the training")
    page = Path(summary["final"]).parent / PAGE
    lines += ["", f"trained: {summary['final']}", *([f"page: {page}"] if page.is_file() else [])]
    verdict = summary.get("gate")
    blocked = verdict is not None and verdict["verdict"] not in ("PASS", "WARN")
    return Trained(dict(summary), lines, blocked)


def findings(summary: Mapping[str, Any]) -> list[str]:
    """Sentences about a finished training: the best checkpoint against the start, the gate's verdict."""
    lines = []
    if summary.get("beats_start") is False:
        lines.append(f"{summary['metric']}: none is better than the start")
    for change in summary.get("compared") or ():
        low, high = change["ci95"] or (float("nan"), float("nan"))
        p = change["p_holm"]
        lines.append(
            f"{change['metric']}: {change['start']:.3f} -> {change['best']:.3f}, "
            f"{change['difference']:+.3f} ({low:+.3f} .. {high:+.3f})"
            + (f", p = {p:.2g}" if p is not None else "")
        )
    for bill_verdict, names in (summary.get("bill") or {}).items():
        lines.append(f"{bill_verdict}: {', '.join(names)}")
    verdict = summary.get("gate")
    if verdict is not None:
        lines += [f"gate: {verdict['verdict']}", *(f"  {reason}" for reason in verdict["reasons"])]
    return lines
