"""Loads tasks of lm_eval as tasks of the engine, checked and hashed, before a run."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from eval_anything.content import Contract, Message, Modality, Sample, TextPart
from eval_anything.errors import InfrastructureError, UserError
from eval_anything.evaluation.external import SourceRequest
from eval_anything.files.hashing import sha256_of
from eval_anything.files.yaml_files import check_bounds
from eval_anything.lm_eval import names
from eval_anything.lm_eval.bounds import bound_patterns, isolate_templates
from eval_anything.lm_eval.generation import read_generation
from eval_anything.lm_eval.metrics import metric_name
from eval_anything.lm_eval.options import read_options
from eval_anything.lm_eval.quiet import quiet
from eval_anything.models.base import Model, TextModel, check_settings
from eval_anything.tasks.samples import ListedSamples
from eval_anything.tasks.task import Task, TaskFile, TaskFolder


class LmEvalTask(Task, frozen=True, dict=True, kw_only=True):
    """A task of lm_eval. Its samples are the documents with their question alone: lm_eval writes the
    prompts with examples when it runs. `wrapped` is lm_eval's own object."""

    wrapped: Any
    options: dict[str, Any]

    @cached_property
    def parts_of_fingerprint(self) -> dict[str, str]:
        """Hashes and versions that must be equal for two runs to be comparable."""
        config = _config(self.wrapped)
        shots = self.options.get("num_fewshot", config.get("num_fewshot"))
        return {
            "version": str(self.wrapped.VERSION),
            "config": sha256_of(config),
            "num_fewshot": str(shots or 0),
            "documents": sha256_of([sample.targets["document"] for sample in self.samples]),
            "options": sha256_of(self.options),
            "lm_eval": names.installed_version(),
        }


class LmEvalPlan(NamedTuple):
    """The part of a run that lm_eval does: tasks by full name (`lm_eval/arc_easy`), those of them that
    are `chosen` now, groups that have a number of their own, and the options."""

    tasks: dict[str, LmEvalTask]
    chosen: tuple[str, ...]
    groups: list[Any]
    options: dict[str, Any]
    allow_code: bool


def plan_tasks(request: SourceRequest) -> LmEvalPlan:
    """Loads the tasks, groups and tags of a request, and the tasks that the run contains already.

    Raises:
        UserError: a name is unknown, or the model or the run cannot do a task.
        InfrastructureError: a data set cannot be downloaded.
    """
    if request.repeats > 1:
        raise UserError(
            "--repeats: tasks of lm_eval define their own repeats; run them without it, in a directory "
            "of their own"
        )
    names.installed_version()
    text = text_model(request.model)
    options = read_options(request.options)
    entries = names.index(request.include)
    names_of_run = [name for name in request.held if name in entries]
    files = names.files_of([*request.names, *names_of_run], entries)
    folders = [folder.resolve() for folder in request.include]
    included_files = [f for f in files if any(f.is_relative_to(folder) for folder in folders)]
    for folder in {file.parent for file in included_files}:  # lm_eval reads all files there
        for file in sorted(folder.rglob("*.yaml")):
            check_bounds(file)
    code = None if request.allow_code else names.with_code(included_files)
    if code is not None:
        raise UserError(
            f"{code} contains code, which is not run unless you allow it: read it, then add --allow-code"
        )
    with quiet():
        if included_files and not request.allow_code:
            isolate_templates()
        manager = _manager(files)
        loaded = _load(manager, request.names)
        chosen = tuple(f"{names.PREFIX}/{short}" for short in loaded["tasks"])
        missing = [n for n in request.held if n not in loaded["tasks"] and names.find(n, entries)]
        loaded["tasks"] |= _load(manager, missing)["tasks"]
        tasks = {}
        for short, task in loaded["tasks"].items():
            name = f"{names.PREFIX}/{short}"
            if included_files and not request.allow_code:
                bound_patterns(task, name)
            _check(name, task, request, options)
            if task.OUTPUT_TYPE != "generate_until" and not text.scores:
                raise UserError(
                    f"{name} asks for log-likelihoods ({task.OUTPUT_TYPE}), which --model "
                    f"{request.model.spec} does not give: it can only do tasks that generate text"
                )
            path = entries[short].paths[0] if short in entries else files[0]
            tasks[name] = _as_task(name, task, path, options)
    groups = [group for group in loaded["groups"].values() if group.has_aggregation]
    return LmEvalPlan(tasks, chosen, groups, options, request.allow_code)


def text_model(model: Model) -> TextModel:
    """The interface of a model that continues plain text. UserError if it has none."""
    text = model.text()
    if text is None:
        raise UserError(
            f"--model {model.spec} cannot run tasks of lm_eval, which need a model that continues plain "
            "text: a checkpoint of a language model (hf/ID, a path, micro) or a chat server "
            "(openai/NAME)"
        )
    return text


def _manager(files: Sequence[Path]) -> Any:
    """lm_eval's task manager for the folders of these files: reading all takes most of a minute."""
    import datasets
    from lm_eval.tasks import TaskManager

    datasets.disable_progress_bars()
    folders = {file.parent for file in files}
    outer = [f for f in sorted(folders) if not any(parent in folders for parent in f.parents)]
    return TaskManager(include_path=[str(f) for f in outer], include_defaults=False)


def _load(manager: Any, task_names: Sequence[str]) -> dict[str, Any]:
    """Loads lm_eval's tasks and groups, by name: {"tasks": ..., "groups": ...}."""
    by_kind: dict[str, Any] = {"tasks": {}, "groups": {}}
    for name in task_names:
        try:
            loaded = manager.load([name])
        except Exception as error:
            raise _unloadable(name, error) from error
        for kind in by_kind:
            by_kind[kind] |= loaded.get(kind, {})
    return by_kind


def _unloadable(name: str, error: Exception) -> Exception:
    """The error to raise for a task that does not load: InfrastructureError for the network, else
    UserError."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, ConnectionError | TimeoutError) or _of_network(error):
        return InfrastructureError(
            f"{names.PREFIX}/{name}: its data set cannot be downloaded ({reason}). Run it once on a "
            "machine with a network, then again here with the same cache (HF_HOME)."
        )
    return UserError(f"{names.PREFIX}/{name} does not load: {reason}")


def _of_network(error: BaseException | None) -> bool:
    while error is not None:
        if type(error).__module__.partition(".")[0] in ("httpx", "httpcore", "requests", "urllib3"):
            return True
        error = error.__cause__ or error.__context__
    return False


def _check(name: str, task: Any, request: SourceRequest, options: Mapping[str, Any]) -> None:
    if getattr(task, "MULTIMODAL", False):
        raise UserError(f"{name} has images or sounds: only tasks of lm_eval in text alone can be run")
    if getattr(task, "UNSAFE_CODE", False) and not request.allow_code:
        raise UserError(
            f"{name} runs code that the model writes. If that is safe on this machine, add --allow-code"
        )
    if task.OUTPUT_TYPE == "generate_until":
        kwargs = {**(task.config.generation_kwargs or {}), **options.get("gen_kwargs", {})}
        values = read_generation(kwargs, name).sampling.values()
        check_settings(request.model, {n: f"{name}: {n}" for n in values if n != "temperature"})


def _as_task(name: str, task: Any, path: Path, options: dict[str, Any]) -> LmEvalTask:
    samples = [_sample(task, number, doc) for number, doc in enumerate(task.eval_docs)]
    filters = [filter_["name"] for filter_ in getattr(task.config, "filter_list", None) or []]
    metric = next(iter(task.aggregation()), "score")
    file = TaskFile(
        version=0,  # lm_eval's versions may be any text: they are in the fingerprint
        title=task.config.task,
        description=f"A task of lm-evaluation-harness ({task.OUTPUT_TYPE})",
        licence="that of its data set",
        inputs=[Modality.TEXT],
        outputs=[Modality.TEXT],
        primary=metric_name(metric, filters[0] if filters else "none"),
    )
    folder = TaskFolder(name, path.parent, trusted=True)
    return LmEvalTask(folder, file, ListedSamples(samples), None, wrapped=task, options=options)


def _sample(task: Any, number: int, doc: Any) -> Sample:
    document = sha256_of(msgspec.to_builtins(doc, enc_hook=str) if isinstance(doc, dict) else str(doc))
    return Sample(
        id=str(number),
        messages=(Message("user", (TextPart(_question(task, doc)),)),),
        contract=Contract(required=(Modality.TEXT,)),
        targets={"document": document},
        source_id=str(number),
    )


def _question(task: Any, doc: Any) -> str:
    """Text of a document: its prompt, or else its choices or its target."""
    prompt = task.doc_to_text(doc)
    if isinstance(prompt, str) and prompt.strip():
        return prompt
    choices = getattr(task.config, "doc_to_choice", None)
    if isinstance(prompt, int) and choices is not None:  # the document has a text for each choice
        return "\n".join(task.doc_to_choice(doc))
    return str(task.doc_to_target(doc))


def _config(task: Any) -> Any:
    """Config of a task as JSON, code as its source; without paths of this machine, and without its data,
    which are hashed as documents."""
    config = dict(task.dump_config())
    for key, places in (
        ("metadata", ("config_source",)),
        ("dataset_kwargs", ("data_files", "data_dir")),
    ):
        settings = config.get(key) or {}
        config[key] = {name: setting for name, setting in settings.items() if name not in places}
    return msgspec.to_builtins(config, enc_hook=_plain, str_keys=True)


def _plain(value: Any) -> str:
    """Text for a value that JSON does not have: code as its source, which is equal in every process."""
    if callable(value):
        with contextlib.suppress(TypeError, OSError):
            return inspect.getsource(value)
        return getattr(value, "__qualname__", type(value).__qualname__)
    return str(value)
