"""`eval-anything compare`: two runs, metric by metric."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.printing import show
from eval_anything.comparison.aggregates import AggregateChange
from eval_anything.comparison.answers import SameAnswers
from eval_anything.comparison.compare import Comparison, Flip, GroupChange, MetricChange, compare
from eval_anything.comparison.equivalence import EquivalenceReport
from eval_anything.errors import Exit
from eval_anything.output.tables import escape, markdown_table, table
from eval_anything.statistics.equivalence import Equivalence
from eval_anything.statistics.paired import Paired

_FLIPS = 5


_HEADER = ["task", "metric", "base", "candidate", "change", "95 % interval", "p (Holm)", "sees", "-/+"]


_EQUIVALENCE_HEADER = [
    "task",
    "metric",
    "difference",
    "90 % interval",
    "verdict",
    "n",
    "same answers",
    "differ in",
]


_LEGEND = (
    "change: up is good. p: of the primary metrics, corrected by Holm; of the others, for false "
    "discoveries. sees: the loss that so many samples show with 80 % power (in "
    "brackets: of the truth, through a judge that errs); none: not even the largest. -/+: samples that "
    "lost and gained."
)


def compare_runs(options: Namespace) -> Exit:
    """Prints every metric of two runs with its change, as text, Markdown or JSON."""
    comparison = compare(
        options.base, options.candidate, corrected=options.corrected, equivalence=options.equivalence
    )
    text = _markdown(comparison) if options.markdown else _text(comparison, options.all)
    return show(options, comparison, text)


def _text(comparison: Comparison, show_all: bool) -> str:
    blocks = [f"{comparison.base} -> {comparison.candidate}"]
    metrics = [m for m in comparison.metrics if m.primary or show_all]
    rows = [row for m in metrics for row in _rows(comparison, m)]
    rows += [_aggregate_row(aggregate) for aggregate in comparison.aggregates]
    blocks.append(table(_HEADER, rows, right=(2, 3, 4, 6, 7, 8)))
    groups = [g for g in comparison.groups if show_all or _significant(g.change)]
    if groups:
        header = ["task", "group", "base", "candidate", "change", "95 % interval"]
        blocks.append(table(header, [_group_row(g) for g in groups], right=(2, 3, 4)))
    for change in metrics:
        if change.flips and (_significant(change.change) or show_all):
            blocks.append(_flips(change))
    if comparison.equivalence is not None:
        rows = _equivalence_rows(comparison.equivalence)
        blocks.append(table(_EQUIVALENCE_HEADER, rows, right=(2, 5, 6)))
        blocks.append(_equivalence_legend(comparison.equivalence))
    blocks.append("\n".join([_LEGEND, *_remarks(comparison, show_all)]))
    return "\n\n".join(blocks)


def _markdown(comparison: Comparison) -> str:
    rows = [row for m in comparison.metrics for row in _rows(comparison, m)]
    rows += [_aggregate_row(aggregate) for aggregate in comparison.aggregates]
    lines = [
        f"### `{comparison.base}` → `{comparison.candidate}`",
        "",
        markdown_table(_HEADER, rows, right=(2, 3, 4, 6, 7, 8)),
        "",
        _LEGEND,
    ]
    if comparison.equivalence is not None:
        rows = _equivalence_rows(comparison.equivalence)
        lines += ["", markdown_table(_EQUIVALENCE_HEADER, rows, right=(2, 5, 6)), ""]
        lines.append(_equivalence_legend(comparison.equivalence))
    for change in comparison.metrics:
        if change.primary and change.flips:
            lines += ["", _linked_flips(comparison, change)]
    return "\n".join([*lines, "", *(f"- {note}" for note in _remarks(comparison, show_all=True))])


def _equivalence_rows(report: EquivalenceReport) -> list[list[str]]:
    answers = {same.task: same for same in report.answers}
    rows = []
    for name, verdict in report.tasks.items():
        task, _, metric = name.rpartition(":")
        rows.append([task, metric, *_equivalence_cells(verdict), *_answer_cells(answers.get(task))])
    if len(rows) > 1:
        rows.append(["all tasks", "mean", *_equivalence_cells(report.overall), "", ""])
    return rows


def _equivalence_cells(item: Equivalence) -> list[str]:
    ends = "" if item.interval is None else f"{item.interval[0]:+.3f} .. {item.interval[1]:+.3f}"
    verdict: str = item.verdict
    if item.verdict == "not known" and item.needed is not None:
        verdict += f": about {item.needed} samples would settle it"
    return [f"{item.difference:+.3f}", ends, verdict, str(item.n)]


def _answer_cells(same: SameAnswers | None) -> list[str]:
    if same is None:
        return ["", ""]
    listed = ", ".join(f"{kind} {count}" for kind, count in same.kinds.items())
    return [f"{same.equal:.3f} ({same.ci95[0]:.3f}-{same.ci95[1]:.3f})", listed]


def _equivalence_legend(report: EquivalenceReport) -> str:
    return (
        f"equivalent: a loss and a gain of {report.margin:g} of the range are both excluded (two "
        "one-sided tests at 5 %: the 90 % interval is inside of the margin). different: the whole "
        "interval is beyond it. same answers: their share with its 95 % interval; differ in: the "
        "others, by the least that explains it."
    )


def _linked_flips(comparison: Comparison, change: MetricChange) -> str:
    """The largest losses and gains, each with links to its record in both runs."""
    base = f"{comparison.base}/{change.task}/records.jsonl"
    candidate = f"{comparison.candidate}/{change.task}/records.jsonl"
    count = min(change.losses, len(change.flips))

    def named(flips: list[Flip]) -> str:
        return ", ".join(
            f"{escape(f.sample_id)} ([{f.base:.3g}](<{base}>) → [{f.candidate:.3g}](<{candidate}>))"
            for f in flips[:_FLIPS]
        )

    lost, gained = named(change.flips[:count]), named(change.flips[count:])
    return f"{escape(change.name)}: lost {lost or 'none'}; gained {gained or 'none'}"


def _rows(comparison: Comparison, m: MetricChange) -> list[list[str]]:
    """The row of a metric, and below it that of its correction by labels."""
    rows = [_row(comparison, m)]
    if m.corrected is not None:
        mde = m.corrected.mde
        detectable = "" if mde is None else "none" if mde > m.range[1] - m.range[0] else f"{mde:.3f}"
        change = [f"{m.corrected.difference:+.3f}", _ends(m.corrected)]
        p = "" if m.corrected.p is None else f"{m.corrected.p:.2g}, alone"
        rows.append(["", "  corrected", "", "", *change, p, detectable, ""])
    elif m.not_corrected:
        rows.append(["", "  corrected", "", "", "", f"not: {m.not_corrected}", "", "", ""])
    return rows


def _row(comparison: Comparison, m: MetricChange) -> list[str]:
    p_value = comparison.p_holm.get(m.name) if m.primary else comparison.p_bh.get(m.name)
    if m.invalid:
        return [m.task, m.metric, "", "", "INVALID", m.invalid, "", "", ""]
    return [
        m.task,
        m.metric,
        f"{m.base:.3f}",
        f"{m.candidate:.3f}",
        f"{m.change.difference:+.3f}",
        _ends(m.change),
        "" if p_value is None else f"{p_value:.2g}",
        _seen(m),
        f"{m.losses}/{m.gains}",
    ]


def _seen(m: MetricChange) -> str:
    if m.change.mde is None:
        return ""
    if m.change.mde > m.range[1] - m.range[0]:
        return "none"
    true = f" ({m.mde:.3f})" if m.mde is not None else ""
    return f"{m.change.mde:.3f}{true}"


def _aggregate_row(a: AggregateChange) -> list[str]:
    ends = f"{a.ci95[0]:+.3f} .. {a.ci95[1]:+.3f}"
    numbers = [f"{a.base:.3f}", f"{a.candidate:.3f}", f"{a.difference:+.3f}"]
    return [a.name, "aggregate", *numbers, ends, "", "", ""]


def _group_row(g: GroupChange) -> list[str]:
    numbers = [f"{g.base:.3f}", f"{g.candidate:.3f}", f"{g.change.difference:+.3f}"]
    return [g.task, f"{g.key} {g.group}", *numbers, _ends(g.change)]


def _ends(change: Paired) -> str:
    return "" if change.ci95 is None else f"{change.ci95[0]:+.3f} .. {change.ci95[1]:+.3f}"


def _significant(change: Paired) -> bool:
    return change.p is not None and change.p < 0.05


def _flips(change: MetricChange) -> str:
    count = min(change.losses, len(change.flips))
    lost, gained = change.flips[:count][:_FLIPS], change.flips[count:][:_FLIPS]

    def named(flips: list[Flip]) -> str:
        return ", ".join(f"{f.sample_id} ({f.base:.3g} -> {f.candidate:.3g})" for f in flips) or "none"

    return f"{change.name}\n  largest losses: {named(lost)}\n  largest gains: {named(gained)}"


def _remarks(comparison: Comparison, show_all: bool) -> list[str]:
    remarks = list(comparison.notes)
    for run, tasks in (
        (comparison.base, comparison.only_base),
        (comparison.candidate, comparison.only_candidate),
    ):
        if tasks:
            remarks.append(f"only in {run}: {', '.join(tasks)}")
    hidden = sum(not m.primary for m in comparison.metrics)
    if hidden and not show_all:
        remarks.append(f"{hidden} more metrics: --all shows them")
    return remarks
