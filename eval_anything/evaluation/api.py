"""The function `eval_anything.evaluate`, for use from Python."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from eval_anything.errors import UserError
from eval_anything.evaluation.evaluate import evaluate as run_evaluation
from eval_anything.evaluation.options import ARGUMENTS, EVERY_JUDGE, argument_text, make_options
from eval_anything.evaluation.outcome import Outcome
from eval_anything.evaluation.report import write_report
from eval_anything.models.base import Model
from eval_anything.output.progress import Progress
from eval_anything.runs.loaded import LoadedRun


class EvaluatedRun(LoadedRun):
    """A run that `evaluate` started or resumed.

    Attributes:
        exit_code: that of the command line: 0, 1 (too many samples failed, or a judged metric is
            INVALID) or 4 (samples are pending because a server or the disk failed).
        reasons: sentences that explain an exit code other than 0.
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
    """Evaluates a model on tasks, and returns the run with its typed results.

    The run is a directory (`out`, by default `runs/<model>`). The same call again resumes a run that was
    stopped: answers and scores that are on record are not computed again.

    Args:
        model: a SPEC as on the command line (a path, `hf/ID`, `openai/NAME@URL`,
            `replay/FILE.jsonl`), or an instance of a subclass of `Model`.
        judge: the SPEC of the model for all judges that need a chat model, or a SPEC for each judge
            by its name.
        progress: whether to show a progress bar on stderr.
        options: the fields of `Options`, which are the options of `eval-anything run`: `tasks` (a
            list, or names separated by commas), `suite`, `limit`, `repeats`, `seed`, `temperature`,
            `out`, `include`, `data`, `allow_code`, `model_args` ... Paths may be `Path` objects.

    Returns:
        The run: `results` has all metrics with intervals, `records` every answer with its scores.

    Raises:
        UserError: for wrong input, such as an unknown option or SPEC, or a task with mistakes.
        EvalError: if the run had to stop; all answers until then are recorded.

    Example:
        >>> import tempfile
        >>> from eval_anything import Response, TextPart
        >>> class AlwaysBlue(Model):
        ...     name = "always-blue"
        ...
        ...     def weights(self):
        ...         return "1"
        ...
        ...     async def generate(self, requests, store):
        ...         return [Response((TextPart("blue"),)) for _ in requests]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = evaluate(AlwaysBlue(), tasks="open/selection", limit=4, out=folder, progress=False)
        >>> run.results.tasks["open/selection"].main.n
        4
    """
    model_object = model if isinstance(model, Model) else None
    spec = model_object.spec if model_object is not None else str(model)
    judges = {EVERY_JUDGE: judge} if isinstance(judge, str) else dict(judge)
    checked = make_options(
        {"judges": judges, **plain_options(options), "model": spec, "command": ["ea.evaluate"]}
    )
    bar = Progress("auto" if progress else "silent")
    outcome = _outside_of_loops(lambda: run_evaluation(checked, bar, model=model_object))
    write_report(outcome.results, outcome.run, outcome.tasks)
    return EvaluatedRun(outcome)


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options in the types of a file: paths as text, names with commas as a list."""
    if "command" in options:
        raise UserError("there is no option 'command'")
    values: dict[str, Any] = msgspec.to_builtins(options, enc_hook=str)
    if isinstance(values.get("tasks"), str):
        values["tasks"] = [task for task in values["tasks"].split(",") if task]
    for option in ARGUMENTS & values.keys():
        values[option] = {name: argument_text(value) for name, value in values[option].items()}
    return values


def _outside_of_loops(job: Callable[[], Outcome]) -> Outcome:
    """Runs a job that starts an event loop; in another thread if one is running, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return job()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(job).result()
