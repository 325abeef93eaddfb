"""The page of a training in its folder: metrics of its checkpoints and its log over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from align_plugins.evaluation.checkpoints import Evaluations
from align_plugins.evaluation.report import findings
from align_plugins.settings import EvaluationSettings
from align_plugins.workdir import BILL_PAGE, PAGE, Workdir
from eval_anything.files.templates import page_templates
from eval_anything.files.writing import write_atomically
from eval_anything.leaderboard.charts import Point
from eval_anything.leaderboard.curves import best_of, log_charts, metric_curve, metric_title
from eval_anything.leaderboard.trainings import read_log
from eval_anything.output.svg import Tree, element
from eval_anything.runs.results_file import AggregateResult, MetricResult, Results, read_results


class _Evaluated(NamedTuple):
    """A finished evaluation: the name of its run, the note of its checkpoint, its results."""

    name: str
    note: Mapping[str, Any]
    results: Results


class _Metric(NamedTuple):
    """A metric over the evaluations: its title, its direction, its values by step."""

    title: str
    better: str
    points: list[Point]

    @property
    def best(self) -> Point | None:
        """Its best checkpoint, unless none is better than the start."""
        best = best_of(self.points, self.better)
        return best.marked if best is not None else None


def write_page(work: Workdir, settings: EvaluationSettings | None, steps: int) -> Path:
    """Writes report.html into a training's folder, of what there is by now, and returns its path.

    Args:
        work: the folder.
        settings: of the evaluations; None if there are none.
        steps: number of steps that the training is to have.
    """
    log = read_log(work.path)
    evaluated = _evaluated(work, settings)
    begun = msgspec.json.decode(work.about.read_bytes())
    summary = msgspec.json.decode(work.result.read_bytes()) if work.result.is_file() else {}
    last = max([0.0, *(entry["step"] for entry in log), *(e.note["step"] for e in evaluated)])
    metrics = [_metric(name, evaluated) for name in _names(settings, evaluated)]
    charts = log_charts(log, last)
    html = (
        page_templates()
        .get_template("training.html")
        .render(
            name=work.path.name,
            facts=_facts(begun, summary, last, steps),
            bill=BILL_PAGE if summary.get("bill") else "",
            findings=[*(summary.get("lines") or ()), *findings(summary)],
            metrics=[_figure(_chart(m, last)) for m in metrics if m.points],
            titles=[m.title for m in metrics],
            main=[_figure(chart.tree) for chart in charts if chart.main],
            more=[_figure(chart.tree) for chart in charts if not chart.main],
            rows=[_row(e, metrics) for e in evaluated],
        )
    )
    path = work.path / PAGE
    write_atomically(path, html.encode())
    return path


def _evaluated(work: Workdir, settings: EvaluationSettings | None) -> list[_Evaluated]:
    if settings is None:
        return []
    evaluations = Evaluations(settings, work.runs, lambda line: None)
    return [
        _Evaluated(name, evaluations.note(name), read_results(evaluations.run_of(name)))
        for name in evaluations.finished()
    ]


def _names(settings: EvaluationSettings | None, evaluated: Sequence[_Evaluated]) -> list[str]:
    """Metrics that are shown, `task:metric`, and aggregates: the one that checkpoints are chosen by, the
    aggregates, and the primary one of each task."""
    names = [settings.metric] if settings is not None and settings.metric is not None else []
    for e in evaluated:
        names += e.results.aggregates
        names += [f"{task}:{result.primary}" for task, result in e.results.tasks.items()]
    return list(dict.fromkeys(names))


def _result(name: str, results: Results) -> MetricResult | AggregateResult | None:
    task, _, metric = name.rpartition(":")
    if not task:
        return results.aggregates.get(name)
    return results.tasks[task].metrics.get(metric) if task in results.tasks else None


def _metric(name: str, evaluated: Sequence[_Evaluated]) -> _Metric:
    points = []
    better, title = "higher", ""
    for e in evaluated:
        result = _result(name, e.results)
        if isinstance(result, MetricResult):
            better, title = result.better, e.results.tasks[name.rpartition(":")[0]].title or ""
        if result is not None and result.value is not None:
            ends = result.ci95 or (result.value, result.value)
            points.append(Point(e.name, e.name, float(e.note["step"]), result.value, *ends))
    return _Metric(metric_title(title, name, better), better, points)


def _chart(metric: _Metric, last: float) -> Tree:
    return metric_curve(metric.title, metric.points, metric.better, last)


def _figure(chart: Tree) -> tuple[str, str]:
    """Title and markup of a chart."""
    return chart[1]["aria-label"], element(chart)


def _facts(
    begun: Mapping[str, Any], summary: Mapping[str, Any], last: float, steps: int
) -> dict[str, str]:
    """The head of the page: label and text."""
    settings = begun["settings"]
    data = settings["data"]
    facts = {
        "Method": begun["method"],
        "Model": settings["model"],
        "Data": data if isinstance(data, str) else ", ".join(data),
        "Steps": f"{summary['step']:,}" if summary else f"{last:,.0f} of {steps:,} so far",
    }
    if summary:
        facts |= {"Tokens": f"{summary['tokens']:,}", "Time": f"{summary['seconds']:,.0f} s"}
    return facts


def _row(evaluation: _Evaluated, metrics: Sequence[_Metric]) -> dict[str, Any]:
    """A row of the table of checkpoints."""
    cells = []
    for metric in metrics:
        point = next((p for p in metric.points if p.run == evaluation.name), None)
        cells.append(None if point is None else {"point": point, "best": point is metric.best})
    note = evaluation.note
    return {
        "name": evaluation.name,
        "step": note["step"],
        "tokens": note.get("tokens", 0),
        "cells": cells,
    }
