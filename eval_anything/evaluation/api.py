"""`ea.evaluate`: the main job from Python."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from eval_anything.errors import UserError
from eval_anything.evaluation.evaluate import evaluate as run_evaluation
from eval_anything.evaluation.options import EVERY_JUDGE, make_options
from eval_anything.evaluation.outcome import Outcome
from eval_anything.evaluation.report import write_report
from eval_anything.models.base import Model
from eval_anything.output.progress import Progress
from eval_anything.runs.loaded import LoadedRun


class EvaluatedRun(LoadedRun):
    """A run that `evaluate` made or went on with.

    Attributes:
        exit_code: as the command line gives it: 0, 1 (too much failed, or a judged metric is INVALID)
            or 4 (samples are pending, because a server or the disk failed).
        reasons: why it is not 0, a sentence each.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.run)
        self.exit_code = outcome.exit_code
        self.reasons = outcome.reasons


def evaluate(
    model: str | Path | Model,
    *,
    judge: str | Mapping[str, str] = {},
    progress: bool = True,
    **options: Any,
) -> EvaluatedRun:
    """Evaluates a model, and returns the run with its typed results.

    The same call goes on with a run that was stopped, and asks nothing twice.

    Args:
        model: a SPEC as on the command line (a path, `hf/ID`, `openai/NAME@URL`,
            `replay/FILE.jsonl`), or an object of a class derived from `Model`.
        judge: the SPEC of the model behind all judges that ask a chat model, or {judge: SPEC}.
        progress: whether progress is shown on stderr.
        options: the options of `eval-anything run` by the names of the fields of `Options`: `tasks` (a
            list, or names with commas), `suite`, `limit`, `repeats`, `seed`, `temperature`, `out`,
            `include`, `data`, `allow_code`, `model_args` ...; paths may be
            `Path` objects.

    Raises:
        UserError: for input that is wrong: an unknown option or SPEC, a task with mistakes.
        EvalError: for what stopped the run; what is recorded by then is kept.

    Example:
        >>> run = evaluate("path/to/model", tasks="selection", limit=20)  # doctest: +SKIP
        >>> run.results.tasks["open/selection"].main.value  # doctest: +SKIP
        0.55
    """
    own = model if isinstance(model, Model) else None
    spec = own.spec if own is not None else str(model)
    judges = {EVERY_JUDGE: judge} if isinstance(judge, str) else dict(judge)
    checked = make_options(
        {"judges": judges, **_plain(options), "model": spec, "command": ["ea.evaluate"]}
    )
    shown = Progress("auto" if progress else "silent")
    outcome = _outside_of_loops(lambda: run_evaluation(checked, shown, model=own))
    write_report(outcome.results, outcome.run, outcome.tasks)
    return EvaluatedRun(outcome)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a file would give them: paths as text, names with commas as a list."""
    if "command" in options:
        raise UserError("there is no option 'command'")
    values: dict[str, Any] = msgspec.to_builtins(options, enc_hook=str)
    if isinstance(values.get("tasks"), str):
        values["tasks"] = [task for task in values["tasks"].split(",") if task]
    if "model_args" in values:
        values["model_args"] = {name: str(text) for name, text in values["model_args"].items()}
    return values


def _outside_of_loops(job: Callable[[], Outcome]) -> Outcome:
    """Runs a job that has an event loop of its own, also where one runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return job()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(job).result()
