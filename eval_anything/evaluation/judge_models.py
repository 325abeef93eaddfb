"""The models behind the judges of a run: those that the user names, and those that the run has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET

from eval_anything.errors import UserError
from eval_anything.evaluation.options import (
    EVERY_JUDGE,
    JUDGE_VARIABLE,
    Options,
    argument_text,
    split_judge_arguments,
)
from eval_anything.judges.folder import JudgeFolder, judge_named
from eval_anything.judges.registry import read_judge_file
from eval_anything.runs.directory import RunFile
from eval_anything.servers.secrets import without_key
from eval_anything.tasks.task import Task

Judges = dict[str, JudgeFolder]


class JudgeModels(NamedTuple):
    """The SPEC or path of the model, and the arguments, of each judge that has a model, and the run that
    judges compare with. `shared` is the SPEC for all that have none of their own, from the environment
    variable if `from_variable`."""

    specs: dict[str, str]
    arguments: dict[str, dict[str, str]]
    against: str | None
    shared: str | None = None
    from_variable: bool = False


def judge_models(
    options: Options,
    tasks: Mapping[str, Task],
    judges: Judges,
    run: RunFile | None,
    environment: Mapping[str, str] = os.environ,
) -> JudgeModels:
    """The models of judges: the one that `--judge NAME=` names, else the one that the run has already,
    else, for a judge that asks a chat model, that of `--judge SPEC` or of the environment variable.

    UserError for a name that is no judge of the tasks, and for a SPEC that no judge takes.
    """
    judged_by = {name for task in tasks.values() for name in task.file.judges}
    named_specs = {name: spec for name, spec in options.judges.items() if name != EVERY_JUDGE}
    for name in named_specs:
        judge_named(name, judges)
        if name not in judged_by:
            raise UserError(f"--judge {name}: none of the tasks that are run has this judge")
    recorded = dict(run.judges) if run is not None and run.judges is not UNSET else {}
    against = options.against
    if against is None and run is not None and run.against is not UNSET:
        against = run.against
    shared = options.judges.get(EVERY_JUDGE)
    from_variable = shared is None
    if shared is None:
        shared = environment.get(JUDGE_VARIABLE, "").strip() or None
    # A key in an address is not recorded: where the call has the same model, it has its key, too.
    with_keys = {without_key(s): s for s in (shared, *named_specs.values()) if s is not None}
    own_specs = {
        name: with_keys.get(spec, spec) for name, spec in recorded.items() if name in judged_by
    } | named_specs
    specs = dict(own_specs)
    if shared is not None:
        chat_judges = _chat_judges(judged_by, judges, against is not None)
        if not from_variable:
            _check_shared(shared, chat_judges, own_specs, named_specs)
        specs = dict.fromkeys(chat_judges, shared) | own_specs
    recorded_alone = {
        name for name in own_specs if name not in named_specs and own_specs[name] != shared
    }
    arguments = _arguments(options.judge_args, specs, judges, recorded_alone)
    before = run.judge_arguments or {} if run is not None else {}
    for name in recorded_alone & before.keys():
        texts = {key: argument_text(setting) for key, setting in before[name].items()}
        arguments[name] = texts | arguments.get(name, {})
    return JudgeModels(specs, arguments, against, shared, from_variable)


def recorded_specs(models: JudgeModels, judges: Judges) -> dict[str, str]:
    """The models for run.json: a checkpoint on this machine by its whole path, a server without keys."""
    specs = {}
    for name, spec in models.specs.items():
        is_path = read_judge_file(judges[name]).model_form == "PATH" and Path(spec).exists()
        specs[name] = str(Path(spec).resolve()) if is_path else without_key(spec)
    return specs


def _chat_judges(names: set[str], judges: Judges, compared: bool) -> list[str]:
    """Judges that ask a chat model; those that compare only if there is a run to compare with."""
    files = {name: read_judge_file(judges[name]) for name in sorted(names)}
    return [
        name
        for name, file in files.items()
        if file.asks_a_chat_model and (compared or not file.scorer_type.compares)
    ]


def _check_shared(
    shared: str,
    chat_judges: list[str],
    own_specs: Mapping[str, str],
    named_specs: Mapping[str, str],
) -> None:
    """UserError for a SPEC of `--judge` that no judge takes, since the run has another for each."""
    if not chat_judges:
        raise UserError(f"--judge {shared}: no task that is run has a judge that asks a chat model")
    is_taken = any(own_specs.get(name, shared) == shared for name in chat_judges)
    if not is_taken and not named_specs.keys() >= set(chat_judges):
        has = ", ".join(f"{name}={own_specs[name]}" for name in chat_judges)
        raise UserError(
            f"--judge {shared}: every judge of this run has its model ({has}). Another model belongs "
            "into another run: --out DIR"
        )


def _arguments(
    pairs: Mapping[str, str], models: Mapping[str, str], judges: Judges, recorded_alone: set[str]
) -> dict[str, dict[str, str]]:
    """Arguments of each judge: those for all that ask a chat model, overridden by its own. Those for all
    are not for judges that the call does not name (`recorded_alone`)."""
    shared, by_judge = split_judge_arguments(pairs)
    for name in by_judge:
        judge_named(name, judges)
        if name not in models:
            raise UserError(f"--judge-arg {name}: the run names no model for this judge (--judge)")
    chat_judges = [
        name
        for name in models
        if name not in recorded_alone and read_judge_file(judges[name]).asks_a_chat_model
    ]
    if shared and not chat_judges:
        raise UserError(f"--judge-arg {next(iter(shared))}: no judge of this run asks a chat model")
    return {
        name: {**(shared if name in chat_judges else {}), **by_judge.get(name, {})}
        for name in {*chat_judges, *by_judge}
    }
