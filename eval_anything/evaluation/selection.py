"""The samples of a run: those that `--limit`, `--first`, `--where` and `--skip-unreadable` leave of its
tasks, and those that the run has already."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import UNSET

from eval_anything.content import Modality
from eval_anything.errors import UserError
from eval_anything.evaluation.options import EvaluationOptions
from eval_anything.models.base import Model
from eval_anything.runs.directory import RunFile
from eval_anything.tasks.draw import drawn
from eval_anything.tasks.registry import Suite
from eval_anything.tasks.samples import Samples
from eval_anything.tasks.task import Task
from eval_anything.tasks.where import check_where, matching


class ChosenSamples:
    """The samples of each task of a run, in the order of the task; at first those of the run so far.

    Args:
        options: the options of this call.
        model: the model, for `--skip-unreadable`; None where no model is asked.
        tasks: all tasks of the run.
        external: names of those that other tools run, which have an order of their own.
        old: run.json of the run so far, if there is one.
        only: ids of the samples of each task that may be chosen, if not all may.
    """

    def __init__(
        self,
        options: EvaluationOptions,
        model: Model | None,
        tasks: Mapping[str, Task],
        external: Collection[str],
        old: RunFile | None,
        only: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._options = options
        self._only = only
        self._tasks = tasks
        self._external = external
        self._reads = _reads(model) if options.skip_unreadable and model is not None else None
        begun = {} if old is None else old.counts
        recorded_ids = {} if old is None or old.chosen is UNSET else old.chosen
        self._drawn = set(recorded_ids)
        self._begun = set(begun)
        self._numbers: dict[str, Sequence[int]] = {}
        for name in (task for task in begun if task in tasks):
            samples = tasks[name].samples
            if name in recorded_ids:
                ids = set(recorded_ids[name])
                self._numbers[name] = [i for i, id_ in enumerate(samples.ids) if id_ in ids]
            else:
                self._numbers[name] = range(len(samples))[: begun[name]]

    @property
    def samples(self) -> dict[str, Samples]:
        """The samples of each task, in its order."""
        return {name: self._tasks[name].samples.some(numbers) for name, numbers in self._numbers.items()}

    @property
    def chosen(self) -> dict[str, list[str]]:
        """Ids of the samples, for tasks of which the run has a part that is not the first samples; those
        that were drawn are here in any case, so that a larger limit goes on with the draw."""
        return {
            name: [self._tasks[name].samples.ids[number] for number in numbers]
            for name, numbers in self._numbers.items()
            if len(numbers) < len(self._tasks[name].samples)
            and (name in self._drawn or not self._are_first(name))
        }

    def extend(self, suites: Iterable[Suite]) -> None:
        """Adds the samples that this call is for. UserError if it leaves none of the suites' tasks.

        A limit of N is reached if the run has N such samples already. A run goes on as it was begun:
        with the first samples of a task if it has the first ones.
        """
        limits = [(name, suite.limit) for suite in suites for name in suite.tasks]
        for name, _ in limits:
            if name in self._external and (self._options.where or self._reads is not None):
                raise UserError(f"--where and --skip-unreadable: another tool runs {name}, as it is")
        named_tasks = [self._tasks[name] for name in dict.fromkeys(name for name, _ in limits)]
        if self._options.where:
            check_where(self._options.where, [s for task in named_tasks for s in task.samples])
        for name, suite_limit in limits:
            task = self._tasks[name]
            held = self._numbers.get(name, ())
            new = self._new(task, self._eligible(task), suite_limit)
            self._numbers[name] = sorted({*held, *new}) if held or not isinstance(new, range) else new
        self._numbers = {name: numbers for name, numbers in self._numbers.items() if numbers}
        if not any(task.name in self._numbers for task in named_tasks):
            raise UserError("--skip-unreadable: the model can read none of the samples")

    def lines(self) -> list[str]:
        """Lines for people: of which tasks the run has a part, and how it was chosen."""
        conditions = [f"{key}={text}" for key, text in self._options.where.items()]
        conditions += ["that the model can read"] if self._reads is not None else []
        shares: dict[str, list[str]] = {}
        for name, numbers in self._numbers.items():
            every = len(self._tasks[name].samples)
            if len(numbers) < every:
                hint = f"--first {len(numbers)} would take the first ones"
                draw = [f"drawn from all groups ({hint})"] if name in self._drawn else []
                rules = [*conditions, *draw] or ["the first ones" if self._are_first(name) else ""]
                shares.setdefault(", ".join(rules), []).append(f"{len(numbers)} of {every} of {name}")
        return [
            f"samples: {', '.join(parts)}; {rules}".removesuffix("; ") for rules, parts in shares.items()
        ]

    def _are_first(self, name: str) -> bool:
        numbers = self._numbers[name]
        return not numbers or numbers[-1] == len(numbers) - 1

    def _eligible(self, task: Task) -> Sequence[int]:
        """Samples of a task that meet the conditions and that the model can read, the first of them."""
        numbers: Sequence[int] = range(len(task.samples))
        if self._options.where:
            numbers = matching(task.samples, self._options.where)
        if self._only is not None:
            ids = set(self._only.get(task.name, ()))
            numbers = [number for number in numbers if task.samples.ids[number] in ids]
        if self._reads is not None:
            numbers = [
                number for number in numbers if self._reads.issuperset(task.samples.inputs(number))
            ]
        return numbers[: self._options.first]

    def _new(self, task: Task, eligible: Sequence[int], suite_limit: int | None) -> Sequence[int]:
        """Samples that this call adds to those of the run, or has in common with them."""
        name, limit = task.name, self._options.limit
        if limit is None:
            is_chosen = self._options.first is not None or self._only is not None
            return eligible if is_chosen else eligible[:suite_limit]
        held = set(self._numbers.get(name, ()))
        ordered = eligible
        if name not in self._external and (name in self._drawn or name not in self._begun):
            ordered = drawn(task, eligible)
            self._drawn.add(name)
        new = [number for number in ordered if number not in held]
        return new[: max(0, limit - (len(ordered) - len(new)))]


def _reads(model: Model) -> set[Modality]:
    """The modalities that the model reads. UserError if only its answers tell."""
    modalities = model.inputs
    if modalities is None:
        raise UserError(
            f"--skip-unreadable: what {model.name} reads is not known before it is asked. Choose "
            "samples by --where, such as --where inputs==text"
        )
    return set(modalities)
