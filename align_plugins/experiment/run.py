"""Runs the arms of a plan, several at a time, each in a process and a folder of its own.

<out>/base/                    the run of the start
<out>/seed-<n>/data/           prompts, pairs, critiques
<out>/seed-<n>/stages/         stages that arms of this seed share
<out>/seed-<n>/<arm>/          settings.yaml, result.json, truth.json, the output of the arm

An arm with a result for the same settings is not run again; an interrupted one is resumed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec
import yaml

from align_plugins.data.files import read_rows
from align_plugins.data.rows import Preference, rows_of
from align_plugins.experiment.data import cut, exchanges, make_data, prompts_needed, truth_of
from align_plugins.experiment.micro_data import FEEDBACK, PAIRS
from align_plugins.experiment.plan import BASE, Arm, ExperimentPlan, name_of
from eval_anything import plugins
from eval_anything.errors import UserError
from eval_anything.evaluation.evaluate import evaluate
from eval_anything.evaluation.options import Options
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.output.progress import Progress

TRUTH = "truth.json"
"""File with the exact quality of an arm's pairs; only the page reads it."""


class Job(NamedTuple):
    """One arm with one seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """Name of the job, for messages."""
        return f"{self.arm.name}, seed {self.seed}"


def seed_folder(out: Path, seed: int) -> Path:
    """Folder of a seed."""
    return out / f"seed-{seed}"


def arm_folder(out: Path, arm: str, seed: int) -> Path:
    """Folder of an arm with one seed."""
    return seed_folder(out, seed) / arm


def missing_method(arm: Arm) -> str | None:
    """Message if a training method of an arm is not installed; None if all are."""
    for method in {"dpo": ["dpo"], "ppo": ["reward", "ppo"]}.get(arm.settings.get("then", "dpo"), []):
        try:
            plugins.load(plugins.TRAINERS, method)
        except UserError as error:
            return str(error)
    return None


def run_plan(
    plan: ExperimentPlan,
    out: Path,
    workers: int,
    only: Sequence[str],
    seeds: Sequence[int],
    progress: Progress,
) -> list[str]:
    """Runs the arms named in `only` (all, if it is empty) with these seeds; returns a message for each
    failure."""
    out = out.resolve()
    evaluate(Options(model=plan.model, tasks=plan.tasks, out=str(out / BASE)), progress)
    arms = [arm for arm in plan.arms if not only or arm.name in only]
    for arm in arms:
        reason = missing_method(arm)
        if reason is not None:
            progress.say(f"{arm.name} is not run: {reason}")
    jobs = [Job(arm, seed) for arm in arms if missing_method(arm) is None for seed in seeds]
    for seed in seeds:
        _make_files(plan, arms, out, seed, progress)
    with ThreadPoolExecutor(workers) as pool:
        failures = list(pool.map(lambda job: _run(plan, job, out, progress), jobs))
    return [failure for failure in failures if failure is not None]


def _make_files(
    plan: ExperimentPlan, arms: Sequence[Arm], out: Path, seed: int, progress: Progress
) -> None:
    folder = seed_folder(out, seed) / "data"
    progress.say(f"seed {seed}: data in {folder}")
    make_data(folder, plan.model, plan.labels, plan.prompts, plan.noise, seed, Progress("silent"))
    for arm in arms:
        for name in (PAIRS, FEEDBACK) if arm.share != 1 else ():
            cut(folder / name, plan.pairs_of(arm), folder / name_of(name, arm.share))


def _run(plan: ExperimentPlan, job: Job, out: Path, progress: Progress) -> str | None:
    """Runs an arm unless its result exists; returns a message if it failed."""
    folder = arm_folder(out, job.arm.name, job.seed)
    settings = yaml.safe_dump(plan.settings_of(job.arm, job.seed), sort_keys=False).encode()
    file, result_file = folder / "settings.yaml", folder / "result.json"
    if file.is_file() and file.read_bytes() == settings and (folder / TRUTH).is_file():
        return None
    (folder / TRUTH).unlink(missing_ok=True)
    result_file.unlink(missing_ok=True)
    write_atomically(file, settings)
    progress.say(f"{job.name}: begins")
    # It ends with this process, so that no folder stays locked when the experiment is resumed.
    command = [sys.executable, "-m", "align_plugins.evaluation.process", str(os.getpid())]
    command += ["train", "feedback", "--config", str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    log = folder / "log.txt"
    with log.open("wb") as log_file:
        process = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log_file,
        )
    if process.returncode != 0 or not result_file.is_file():
        lines = log.read_text("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {process.returncode}"
        progress.say(f"{job.name} failed: {reason}")
        return f"{job.name}: {reason}"
    _write_truth(plan, job, folder)
    progress.say(f"{job.name}: done")
    return None


def _write_truth(plan: ExperimentPlan, job: Job, folder: Path) -> None:
    """Writes the exact quality of the arm's pairs, which no arm is told."""
    summary = msgspec.json.decode((folder / "result.json").read_bytes())
    path = Path(next(s["file"] for s in reversed(summary["stages"]) if s["name"] == "pairs"))
    exchange_by_id = exchanges("labelled", prompts_needed(plan.labels), job.seed)
    exchange_by_id |= exchanges("unlabelled", plan.prompts, job.seed)
    truth = truth_of(rows_of(read_rows(path), Preference, path, "truth"), exchange_by_id)
    write_atomically(folder / TRUTH, pretty_json(truth))
