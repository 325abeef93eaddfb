"""Evaluations of checkpoints: `eval-anything run` in another process, one at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from align_plugins.settings import EvaluationSettings
from align_plugins.workdir import NOTE, Checkpoint
from eval_anything.errors import UserError, near
from eval_anything.evaluation.options import words_of
from eval_anything.evaluation.plan import RunPlan, make_plan
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.gating.policy import find_policy, read_policy
from eval_anything.runs.results_file import FILE_NAME, read_results

START = "start"


def check_evaluation(settings: EvaluationSettings, model: str, runs: Path) -> int:
    """Number of answers that one evaluation takes. UserError for anything that would stop it later:
    unknown tasks, missing judges, a metric that no task has. Nothing is loaded or written."""
    plan = evaluation_plan(settings, model, runs)
    if settings.metric is not None:
        metrics = [
            f"{task}:{name}" for task, scorers in plan.scorers.items() for name in scorers.metrics
        ]
        if settings.metric not in metrics:
            hint = near(settings.metric, metrics) or f" Known: {', '.join(metrics)}."
            raise UserError(f"evaluate.metric: no task gives {settings.metric!r}.{hint}")
    if settings.policy is not None:
        read_policy(find_policy(settings.policy))
    return sum(plan.counts.values()) * plan.repeats


def evaluation_plan(settings: EvaluationSettings, model: str, runs: Path) -> RunPlan:
    """Plan of one evaluation; errors as in `check_evaluation`."""
    return make_plan(settings.options(model, runs / START))


class CheckpointMetric(NamedTuple):
    """The metric that checkpoints are compared by, for one of them: its value, its 95 % interval, and
    whether higher is better."""

    name: str
    step: int
    value: float
    ci95: tuple[float, float]
    higher: bool

    @property
    def goodness(self) -> float:
        """The value, negated where lower is better."""
        return self.value if self.higher else -self.value


class _Job(NamedTuple):
    name: str
    model: str
    note: Mapping[str, Any]


class Evaluations:
    """The evaluations of one training, one run directory each in `folder`.

    Finished evaluations are not repeated, and interrupted ones are resumed. `failed` maps the name of an
    evaluation to the error message of its process.
    """

    def __init__(
        self, settings: EvaluationSettings, folder: Path, report: Callable[[str], None]
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.failed: dict[str, str] = {}
        self._say = report
        self._waiting: deque[_Job] = deque()
        self._running: tuple[_Job, subprocess.Popen[bytes], float] | None = None

    def run_of(self, name: str) -> Path:
        """The run directory of an evaluation."""
        return self.folder / name

    def submit(self, name: str, model: str, note: Mapping[str, Any]) -> None:
        """Queues the evaluation of a checkpoint (a SPEC), unless it is finished."""
        if not (self.run_of(name) / NOTE).is_file():
            self._waiting.append(_Job(name, model, note))
        self.poll()

    def submit_and_decide(self, checkpoint: Checkpoint) -> bool:
        """Queues the evaluation of a checkpoint. With `patience` it waits for the result; returns
        whether the training should stop."""
        self.submit(checkpoint.name, str(checkpoint.model), checkpoint.note)
        if self.settings.patience is None:
            return False
        self.wait()
        stops = self.exhausted()
        if stops:
            self._say(f"stopped early: no better checkpoint in {self.settings.patience}")
        return stops

    def pending(self) -> set[str]:
        """SPECs of the checkpoints that are waiting or being evaluated."""
        jobs = [*self._waiting, *([self._running[0]] if self._running is not None else [])]
        return {job.model for job in jobs}

    def poll(self) -> None:
        """Collects a finished evaluation and starts the next one; does not wait."""
        if self._running is not None:
            job, process, begun = self._running
            code = process.poll()
            late = time.monotonic() - begun > self.settings.timeout
            if code is None and not late:
                return
            if late:
                process.kill()
                process.wait()
            self._running = None
            self._finish(job, code, time.monotonic() - begun)
        if self._waiting:
            job = self._waiting.popleft()
            self._running = job, self._start(job), time.monotonic()

    def wait(self) -> None:
        """Waits until everything that was submitted is evaluated."""
        while self._running is not None or self._waiting:
            self.poll()
            if self._running is not None:
                time.sleep(0.05)

    def stop(self) -> None:
        """Ends the running evaluation; the resumed training resumes it."""
        self._waiting.clear()
        if self._running is not None:
            self._running[1].terminate()
            self._running[1].wait()
            self._running = None

    def _start(self, job: _Job) -> subprocess.Popen[bytes]:
        threads = str(self.settings.threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):  # of a training on several devices
            environment.pop(name, None)
        if self.settings.device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self.settings.device
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "align_plugins.evaluation.process", str(os.getpid())]
        options = self.settings.options(job.model, self.run_of(job.name))
        command += ["run", *words_of(options), "--json"]
        with self._log_of(job.name).open("wb") as log:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
            )

    def _log_of(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _finish(self, job: _Job, code: int | None, seconds: float) -> None:
        run = self.run_of(job.name)
        if code not in (0, 1) or not (run / FILE_NAME).is_file():
            log_lines = self._log_of(job.name).read_text("utf-8", "replace").strip().splitlines()
            reason = log_lines[-1] if log_lines else "no message"
            if code is None:
                reason = f"took longer than {self.settings.timeout:g} s"
            self.failed[job.name] = reason
            self._say(f"evaluation of {job.name} failed: {reason}")
            return
        note = {**job.note, "evaluation_seconds": round(seconds, 3)}
        write_atomically(run / NOTE, pretty_json(note))
        measurement = self.checkpoint_metric(job.name)
        self._say(
            f"{job.name}: {self.metric_of(run)} {measurement.value:.3f} "
            f"({measurement.ci95[0]:.3f} .. {measurement.ci95[1]:.3f}), evaluated in {seconds:.0f} s"
            if measurement is not None
            else f"{job.name}: evaluated in {seconds:.0f} s"
        )

    # --- results of the runs -------------------------------------------------------------------

    def finished(self) -> list[str]:
        """Names of finished evaluations, ordered by step."""
        names = [path.parent.name for path in self.folder.glob(f"*/{NOTE}")]
        return sorted(names, key=lambda name: int(self.note(name)["step"]))

    def note(self, name: str) -> dict[str, Any]:
        """Note of a checkpoint from when it was saved: step, tokens, seconds ..."""
        note: dict[str, Any] = msgspec.json.decode((self.run_of(name) / NOTE).read_bytes())
        return note

    def metric_of(self, run: Path) -> str:
        """Name, `task:metric`, of the metric that checkpoints are compared by. UserError if the run has
        no such metric."""
        if self.settings.metric is not None:
            return self.settings.metric
        task, task_results = next(iter(read_results(run).tasks.items()))
        return f"{task}:{task_results.primary}"

    def checkpoint_metric(self, name: str) -> CheckpointMetric | None:
        """Metric of a finished evaluation; None if it has no value."""
        run = self.run_of(name)
        task, _, metric = self.metric_of(run).rpartition(":")
        task_results = read_results(run).tasks.get(task)
        if task_results is None or metric not in task_results.metrics:
            raise UserError(f"evaluate.metric: the run {run} has no {task}:{metric}")
        estimate = task_results.metrics[metric]
        if estimate.value is None or estimate.ci95 is None:
            return None
        step = int(self.note(name)["step"])
        return CheckpointMetric(name, step, estimate.value, estimate.ci95, estimate.better == "higher")

    def best(self) -> CheckpointMetric | None:
        """Metric of the best checkpoint, the earliest of equals; None if there is none. The start does
        not count."""
        measurements = [self.checkpoint_metric(name) for name in self.finished() if name != START]
        return max((m for m in measurements if m is not None), key=lambda m: m.goodness, default=None)

    def exhausted(self) -> bool:
        """Whether none of the last `patience` checkpoints was better than the best one before them."""
        patience = self.settings.patience
        names = [name for name in self.finished() if name != START]
        best = self.best()
        if patience is None or best is None:
            return False
        return len(names) - 1 - names.index(best.name) >= patience
