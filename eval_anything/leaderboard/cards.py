"""What the site says of one run: how it was made, its numbers with all that is known of them, its
profile. Nothing here depends on other runs, so it is kept when these change."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, to_builtins
from msgspec.structs import replace

from eval_anything.content import Modality, Record
from eval_anything.judges.calibration.effects import effect_text, quality_text
from eval_anything.leaderboard.charts import Bar, bars
from eval_anything.leaderboard.prompts import ITEM, Prompts
from eval_anything.leaderboard.read_runs import SiteRun
from eval_anything.leaderboard.samples import TaskSamples
from eval_anything.output.svg import Tree
from eval_anything.runs.results_file import Results, TaskResult
from eval_anything.statistics.agreement import attenuated_effect
from eval_anything.statistics.intervals import mean_interval


def card(entry: SiteRun, samples: Mapping[str, TaskSamples], charts: Sequence[Tree]) -> dict[str, Any]:
    """The data of a run's page."""
    file, results = entry.file, entry.results
    return {
        "facts": {
            "model": file.spec,
            "run": entry.folder,
            "sha256 of the weights": file.weights,
            "created": file.created,
            "temperature": file.sampling.get("temperature"),
            "seed": file.seed,
            "answers a sample": file.repeats,
            "arguments": ", ".join(f"{key} = {value}" for key, value in file.arguments.items()),
            "versions": ", ".join(f"{key} {value}" for key, value in file.versions.items()),
            "command": " ".join(file.command),
        },
        "tasks": {
            task: {
                "primary": result.primary,
                "metrics": _metrics(results, result, samples[task]),
                "groups": result.groups or {},
                "fingerprints": file.fingerprints.get(task, {}),
                "samples": result.samples,
                "failed": result.failed,
            }
            for task in file.tasks
            for result in [results.tasks[task]]
        },
        "aggregates": results.aggregates,
        "judges": results.judges,
        "cost": results.cost or {},
        "charts": list(charts),
    }


def _metrics(results: Results, task: TaskResult, samples: TaskSamples) -> dict[str, Any]:
    """As results.json has them, with the judge's name, its fingerprint and the words about both.

    `detects` is the difference from an independent run of this size that shows with 80 % power.
    """
    judges = {metric.name: metric.judge for metric in samples.metrics}
    cards: dict[str, dict[str, Any]] = {}
    for name, metric in task.metrics.items():
        judge = judges.get(name, "") if metric.judge is UNSET else metric.judge
        about = results.judges.get(judge)
        cards[name] = {
            **to_builtins(replace(metric, calibration=UNSET)),
            "judge": judge,
            "kind": about.kind if about is not None else "",
            "fingerprint": about.fingerprint if about is not None else "",
        }
        if metric.calibration is not UNSET:
            cards[name]["quality"] = quality_text(metric.calibration)
            cards[name]["effect"] = effect_text(metric)
        elif metric.stderr:
            cards[name]["detects"] = attenuated_effect(math.sqrt(2) * metric.stderr)
        if about is not None and about.calibration == "exact":
            cards[name]["quality"] = quality_text("exact")
    return cards


def latency_of(records: Mapping[str, Sequence[Record]]) -> float | None:
    """The median of the seconds that a response took; None if no record tells."""
    found = [r.latency.total for rs in records.values() for r in rs if r.latency.total]
    return statistics.median(found) if found else None


def profile(entry: SiteRun, records: Mapping[str, Sequence[Record]], prompts: Prompts) -> list[Tree]:
    """The primary metrics of all tasks, from the bad end of their range to the good one, by what a
    sample gave the model to read, and by what the model wrote."""
    reads: dict[Modality, list[tuple[float, str]]] = {}
    writes: dict[Modality, list[tuple[float, str]]] = {}
    for task, found in records.items():
        primary = entry.results.tasks[task].primary
        for record in found:
            score = record.scores.get(primary)
            if score is None or score.value is None:
                continue
            low, high = score.range
            share = (score.value - low) / (high - low)
            item = (share if score.better == "higher" else 1 - share, f"{task} {record.source_id}")
            answers = (*record.turns, record.parts)
            for modality in {part.modality for parts in answers for part in parts}:
                writes.setdefault(modality, []).append(item)
            for modality in prompts.inputs(task, record.item[:ITEM]):
                reads.setdefault(modality, []).append(item)
    charts = []
    for title, by_modality in (
        ("Score where the prompt holds …", reads),
        ("Score where the answer holds …", writes),
    ):
        rows = [_bar(str(m), by_modality[m]) for m in Modality if m in by_modality]
        if rows:
            charts.append(bars(title, rows))
    return charts


def _bar(label: str, items: Sequence[tuple[float, str]]) -> Bar:
    found = mean_interval([v for v, _ in items], [cluster for _, cluster in items], (0.0, 1.0))
    return Bar(label, found.value, found.low, found.high, f"{100 * found.value:.0f} %, n {found.n}")


def dimensions(entry: SiteRun) -> list[Tree]:
    """The primary metric of each task by the keys that the task groups by."""
    charts = []
    for task in entry.file.tasks:
        result = entry.results.tasks[task]
        for key, groups in (result.groups or {}).items():
            rows = []
            for group, metric in groups.items():
                if metric.value is None or metric.ci95 is None:
                    continue
                low, high = metric.range
                at, *ends = ((v - low) / (high - low) for v in (metric.value, *metric.ci95))
                note = f"{metric.value:.3g}, n {metric.n}"
                rows.append(Bar(group, at, ends[0], ends[1], note))
            if rows:
                charts.append(bars(f"{task}: {result.primary} by {key}", rows[:40]))
    return charts
