"""Data of one run's page: settings of the run, its metrics with their judges, its profile.

Nothing here depends on other runs, so a later build reuses it when only these change.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, to_builtins
from msgspec.structs import replace

from eval_anything.content import Modality, Record, share_of_range
from eval_anything.judges.calibration.effects import effect_text, quality_text
from eval_anything.leaderboard.charts import Bar, bars
from eval_anything.leaderboard.prompts import ITEM, Prompts
from eval_anything.leaderboard.read_runs import SiteRun
from eval_anything.leaderboard.samples import TaskSamples
from eval_anything.output.svg import Tree
from eval_anything.runs.results_file import Results, TaskResult
from eval_anything.runs.resume import shown
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
            **{name: shown(setting) for name, setting in file.sampling.items()},
            "seed": file.seed,
            "answers a sample": file.repeats,
            "arguments": ", ".join(f"{key} = {argument}" for key, argument in file.arguments.items()),
            "versions": ", ".join(f"{package} {version}" for package, version in file.versions.items()),
            "command": " ".join(file.command),
        },
        "tasks": {
            task: {
                "primary": task_result.primary,
                "metrics": _metrics(results, task_result, samples[task]),
                "groups": task_result.groups or {},
                "fingerprints": file.fingerprints.get(task, {}),
                "samples": task_result.samples,
                "failed": task_result.failed,
            }
            for task in file.tasks
            for task_result in [results.tasks[task]]
        },
        "aggregates": results.aggregates,
        "judges": results.judges,
        "cost": results.cost or {},
        "charts": list(charts),
    }


def _metrics(results: Results, task: TaskResult, samples: TaskSamples) -> dict[str, Any]:
    """Metrics of one task: those of results.json, with their judge and the words about its quality.

    `detects` is the smallest difference from an independent run of this size that is found with 80 %
    power.
    """
    judges = {metric.name: metric.judge for metric in samples.metrics}
    cards: dict[str, dict[str, Any]] = {}
    for name, metric in task.metrics.items():
        judge = judges.get(name, "") if metric.judge is UNSET else metric.judge
        judge_result = results.judges.get(judge)
        cards[name] = {
            **to_builtins(replace(metric, calibration=UNSET)),
            "judge": judge,
            "kind": judge_result.kind if judge_result is not None else "",
            "fingerprint": judge_result.fingerprint if judge_result is not None else "",
        }
        if metric.calibration is not UNSET:
            cards[name]["quality"] = quality_text(metric.calibration)
            cards[name]["effect"] = effect_text(metric)
        elif metric.stderr:
            cards[name]["detects"] = attenuated_effect(math.sqrt(2) * metric.stderr)
        if metric.repeats is not UNSET:
            cards[name]["repeats"] = metric.repeats.words
        if judge_result is not None and judge_result.calibration == "exact":
            cards[name]["quality"] = quality_text("exact")
    return cards


def latency_of(records: Mapping[str, Sequence[Record]]) -> float | None:
    """Median latency of a response in seconds; None if no record has one."""
    seconds = [r.latency.total for rs in records.values() for r in rs if r.latency.total]
    return statistics.median(seconds) if seconds else None


def profile(entry: SiteRun, records: Mapping[str, Sequence[Record]], prompts: Prompts) -> list[Tree]:
    """Charts of the primary metrics of all tasks, as shares of their range (1 is best): one by the
    modalities of the prompt, one by those of the answer."""
    reads: dict[Modality, list[tuple[float, str]]] = {}
    writes: dict[Modality, list[tuple[float, str]]] = {}
    for task, task_records in records.items():
        primary = entry.results.tasks[task].primary
        for record in task_records:
            score = record.scores.get(primary)
            if score is None or score.value is None:
                continue
            share = share_of_range(score.value, score.range, score.better)
            observation = (share, f"{task} {record.source_id}")
            answers = (*record.turns, record.parts)
            for modality in {part.modality for parts in answers for part in parts}:
                writes.setdefault(modality, []).append(observation)
            for modality in prompts.inputs(task, record.item[:ITEM]):
                reads.setdefault(modality, []).append(observation)
    charts = []
    for title, by_modality in (
        ("Score where the prompt holds …", reads),
        ("Score where the answer holds …", writes),
    ):
        rows = [_bar(str(m), by_modality[m]) for m in Modality if m in by_modality]
        if rows:
            charts.append(bars(title, rows))
    return charts


def _bar(label: str, observations: Sequence[tuple[float, str]]) -> Bar:
    shares, clusters = zip(*observations, strict=True)
    mean = mean_interval(shares, clusters, (0.0, 1.0))
    return Bar(label, mean.value, mean.low, mean.high, f"{100 * mean.value:.0f} %, n {mean.n}")


def dimensions(entry: SiteRun) -> list[Tree]:
    """Charts of the primary metric of each task, one for each key that the task groups by."""
    charts = []
    for task in entry.file.tasks:
        task_result = entry.results.tasks[task]
        for key, groups in (task_result.groups or {}).items():
            rows = []
            for group, metric in groups.items():
                if metric.value is None or metric.ci95 is None:
                    continue
                low, high = metric.range
                numbers = (metric.value, *metric.ci95)
                center, *ends = (min(max((v - low) / (high - low), 0.0), 1.0) for v in numbers)
                note = f"{metric.value:.3g}, n {metric.n}"
                rows.append(Bar(group, center, ends[0], ends[1], note))
            if rows:
                charts.append(bars(f"{task}: {task_result.primary} by {key}", rows[:40]))
    return charts
