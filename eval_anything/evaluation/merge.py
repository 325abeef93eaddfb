"""Merging of shards into one run, equal to the run of a single process but for times.

The run is built in a hidden directory beside the one that it will be, and renamed at the end: of a merge
that is killed there is nothing, or the whole run. The shards are only read, and locked meanwhile.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from eval_anything.errors import UserError
from eval_anything.evaluation.evaluate import batches_of, new_run_file, shard_settings, unlike_settings
from eval_anything.evaluation.in_place import RecordedModel, as_recorded
from eval_anything.evaluation.options import Options
from eval_anything.evaluation.outcome import Outcome, make_outcome, resume_spending
from eval_anything.evaluation.pipeline import Pending
from eval_anything.evaluation.plan import RunPlan, make_plan
from eval_anything.files.writing import (
    allow_open_files,
    cannot_write,
    clear_temporaries,
    locked,
    pretty_json,
    write_atomically,
)
from eval_anything.output.progress import Progress
from eval_anything.runs.directory import RunFile, Shard, is_run, read_run_file
from eval_anything.runs.join import Joining, Key, same_beginning
from eval_anything.runs.own_files import own_file
from eval_anything.runs.results_file import write_results
from eval_anything.runs.resume import differences
from eval_anything.runs.spending_file import SpendingFile
from eval_anything.tasks.task import Task

_FILES = 256
"""Files that a merge has open beside those of its shards."""


def merge(out: Path, shards: Sequence[Path], options: Options, progress: Progress) -> Outcome:
    """Merges all shards of a run into a new directory, and returns the outcome of the whole run.

    Shards that are in `out` already change nothing there.

    Args:
        out: the directory of the run.
        shards: the directories of its shards, all of them, in any order.
        options: only `include`, `data`, `allow_code` and `max_failed` are used.
        progress: where to warn of shards that other versions of packages have made.

    Raises:
        UserError: a shard is missing, unfinished, in use, damaged or of another run; `out` has other
            content; tasks or judges are not what they were.
        InfrastructureError: the disk failed. The same call goes on.
    """
    out = out.resolve()
    allow_open_files(_FILES + 2 * len(shards))  # the lock and a log of each
    with contextlib.ExitStack() as stack:
        parts = _locked_shards(out, shards, stack)
        file = _whole(parts, out)
        for line in _other_versions(parts):
            progress.say(line)
        plan, order = _planned(out, file, parts, options)
        building = out.with_name(f".{out.name}.merging")
        stack.enter_context(locked(building / ".lock", f"{out} is being merged by another process"))
        _begin(building, file)
        joining = Joining([part.path for part in parts], building)
        recorded = {name: _join(joining, task, order[name]) for name, task in plan.own_tasks.items()}
        joining.write_payments()
        _check_complete(plan, order, recorded, parts)
        with _place_of(out, building, file, progress) as run:
            with contextlib.closing(SpendingFile(run)) as spending:
                resume_spending(plan, run, spending)
                outcome = make_outcome(plan.options.max_failed, plan, run, Pending())
            results = msgspec.structs.replace(outcome.results, run=str(out))
            write_results(run, results)
        return outcome._replace(results=results, run=out)


class _Part(NamedTuple):
    """A shard that this process has locked: its directory, run.json, and `shard` in that."""

    path: Path
    file: RunFile
    shard: Shard


class _MergedModel(RecordedModel):
    """The model of the shards, all of whose answers are on record."""

    def prepare(
        self, tasks: Sequence[Task], keys: Iterable[tuple[str, str, int]], task_names: Collection[str]
    ) -> None:
        """Nothing: which answers are there is known when the shards are read."""


def _locked_shards(out: Path, paths: Sequence[Path], stack: contextlib.ExitStack) -> list[_Part]:
    """The shards in the order of their numbers. UserError unless they are all shards of one run, each
    of them once, and finished."""
    parts: list[_Part] = []
    for path in paths:
        path = path.resolve()
        file = read_run_file(path)
        if path == out:
            raise UserError(f"{path} is to be merged into itself: choose another OUT")
        if file.shard is UNSET:
            raise UserError(f"{path} is a whole run, not a shard of one (run --shard I/N)")
        lock = own_file(path, path / ".lock")
        if path not in (part.path for part in parts):  # named twice, which is said below
            running = f"{path} (shard {file.shard.name}) is running: merge it later"
            stack.enter_context(locked(lock, running))
        file = read_run_file(path)  # it may have ended since
        assert file.shard is not UNSET
        parts.append(_Part(path, file, file.shard))
    parts.sort(key=lambda part: part.shard.number)
    _check_same(parts)
    mistakes = [*_numbers_wrong(parts), *_unfinished(parts)]
    if mistakes:
        raise UserError(f"nothing is merged: {'; '.join(mistakes)}")
    return parts


def _check_same(parts: Sequence[_Part]) -> None:
    """UserError for a shard of another run than the first one."""
    first = parts[0]
    for part in parts[1:]:
        unlike = _unlike(first.file, part.file)
        if unlike:
            raise UserError(
                f"{first.path} and {part.path} are shards of different runs: {'; '.join(unlike)}"
            )


def _unlike(first: RunFile, second: RunFile) -> list[str]:
    """Settings that differ, in words; the number of the shard is no part of them."""
    unlike = differences(_identity(first), _identity(second), groups=("sampling", "arguments"))
    for task in first.fingerprints:
        before, now = first.fingerprints[task], second.fingerprints.get(task, {})
        parts = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        unlike += [f"{task}: {', '.join(parts)}"] if parts and task in second.tasks else []
    return unlike


def _identity(file: RunFile) -> dict[str, Any]:
    shard = shard_settings(file)
    if file.shard is not UNSET:
        shard["--shard"] = f"I/{file.shard.count}"
    return {
        "model": file.model,
        "the model's weights": file.weights[:12],
        "arguments": file.arguments,
        "sampling": file.sampling,
        "sampling of tasks": file.task_sampling or {},
        "seed": file.seed,
        "repeats": file.repeats,
        "tasks": ", ".join(sorted(file.tasks)),
        "samples": file.counts,
        "judges": file.judges or {},
        "arguments of judges": file.judge_arguments or {},
        "--against": file.against or None,
        **shard,
    }


def _numbers_wrong(parts: Sequence[_Part]) -> list[str]:
    """Sentences about shards that are missing or there more than once."""
    numbers = Counter(part.shard.number for part in parts)
    count = parts[0].shard.count
    mistakes = []
    for number in (n for n, times in numbers.items() if times > 1):
        same = " and ".join(str(part.path) for part in parts if part.shard.number == number)
        mistakes.append(f"{same} are both shard {number}/{count}: keep one")
    missing = count - len(numbers)
    if missing:
        names = [f"{n}/{count}" for n in range(1, min(count, len(numbers) + 20) + 1) if n not in numbers]
        dots = ", ..." if missing > len(names) else ""
        mistakes.append(f"{missing} of {count} shards are missing ({', '.join(names)}{dots})")
    return mistakes


def _unfinished(parts: Sequence[_Part]) -> list[str]:
    """Sentences about shards that have not come to their end."""
    return [
        f"shard {part.shard.name} in {part.path} is not done (its status is {part.file.status}): repeat "
        "its command"
        for part in parts
        if part.file.status != "done" or part.file.to_judge is not UNSET
    ]


def _other_versions(parts: Sequence[_Part]) -> list[str]:
    """Warnings of shards that other versions of packages have made, whose answers may differ."""
    first = parts[0]
    lines = []
    for part in parts[1:]:
        unlike = differences(first.file.versions, part.file.versions)
        if unlike:
            lines.append(f"warning: shard {part.shard.name} has other versions: {', '.join(unlike)}")
    return lines


def _whole(parts: Sequence[_Part], out: Path) -> RunFile:
    """run.json of the merged run: that of its shards, as if one process had begun it first."""
    first = parts[0].file
    return msgspec.structs.replace(
        first,
        shard=UNSET,
        created=min(part.file.created for part in parts),
        command=_command(first.command, out),
    )


def _command(words: Sequence[str], out: Path) -> list[str]:
    """The command of a shard as that of the whole run, which may go on in `out`."""
    if words[1:2] not in (["run"], ["score"]):  # called from Python
        return list(words)
    words_left: list[str] = []
    skipping = False
    for word in words:
        option, equals, _ = word.partition("=")
        if not skipping and option not in ("--shard", "--out"):
            words_left.append(word)
        skipping = not skipping and option in ("--shard", "--out") and not equals
    return [*words_left, "--out", str(out)]


class _Place(NamedTuple):
    """The place of an answer in the run: its key, and the shard that has it, counted from 0."""

    key: Key
    shard: int


def _planned(
    out: Path, file: RunFile, parts: Sequence[_Part], options: Options
) -> tuple[RunPlan, dict[str, list[_Place]]]:
    """The plan of the run, and the answers of each task in the order in which one process gives them.

    UserError if tasks, judges or the planning of batches are not those that the shards were made with.
    """
    shard = parts[0].shard
    options = as_recorded(options, out, file)
    plan = make_plan(options, _MergedModel(out, file), recorded=file)
    unlike = unlike_settings(file, new_run_file(options, plan))
    if unlike:
        raise UserError(
            f"the shards were made with other tasks or judges than those here: {'; '.join(unlike)}. "
            "Merge them beside the folders that they were made with (--include, --data)"
        )
    batches = batches_of(plan, shard.batch_size)
    if batches.fingerprint() != shard.plan:
        raise UserError(
            "the shards were cut by another plan than the one of this version of eval-anything "
            f"(theirs: {file.versions.get('eval-anything', 'unknown')})"
        )
    order: dict[str, list[_Place]] = {name: [] for name in plan.own_tasks}
    for number, batch in enumerate(batches):
        for _, sample_id, repeat in batch.answers():
            order[batch.task.name].append(_Place((sample_id, repeat), number % shard.count))
    return plan, order


def _begin(building: Path, file: RunFile) -> None:
    """Begins a merge in a directory, or goes on with the one that was killed there."""
    content = pretty_json(file)
    path = building / "run.json"
    for folder in (building, building / "media"):
        clear_temporaries(folder)
    try:
        if not path.is_file() or path.read_bytes() != content:
            for entry in building.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                elif entry.name != ".lock":
                    entry.unlink()
    except OSError as error:
        raise cannot_write(building, error) from None
    write_atomically(path, content)


def _join(joining: Joining, task: Task, order: Sequence[_Place]) -> Collection[Key]:
    """Writes the logs of one task; returns the keys on record."""
    lines = joining.lines(task.name, "records", dict(order))
    joining.write(task.name, "records", (lines[key] for key, _ in order if key in lines))
    canaries = joining.lines(task.name, "canaries", None)
    numbers = task.samples.numbers
    in_order = sorted(canaries, key=lambda key: (numbers.get(key[0].partition(":")[2], -1), key))
    joining.write(task.name, "canaries", (canaries[key] for key in in_order))
    return lines.keys()


def _check_complete(
    plan: RunPlan,
    order: Mapping[str, Sequence[_Place]],
    recorded: Mapping[str, Collection[Key]],
    parts: Sequence[_Part],
) -> None:
    """UserError for answers that no shard has, unless the run leaves them out."""
    missing = [
        (name, answer) for name in order for answer in order[name] if answer.key not in recorded[name]
    ]
    plan.model.left_out = frozenset((name, *answer.key) for name, answer in missing)
    left_out = plan.model.arguments.get("only_answered") and plan.answered == parts[0].file.counts
    if not missing or left_out:
        return
    task, answer = missing[0]
    part = parts[answer.shard]
    raise UserError(
        f"{len(missing)} answers are on record in no shard; shard {part.shard.name} in {part.path} "
        f"should have that to {answer.key[0]} of {task}: repeat its command"
    )


@contextlib.contextmanager
def _place_of(out: Path, building: Path, file: RunFile, progress: Progress) -> Any:
    """The directory whose results are to be written: the one that is built, which becomes `out` in the
    end, or `out` itself if it has all of its records. UserError if `out` has other content."""
    if is_run(out):
        with locked(own_file(out, out / ".lock"), f"{out} is in use by another process: merge later"):
            _check_merged(out, building, file)
            progress.say(f"{out} has all of these shards already: nothing is added")
            yield out
        shutil.rmtree(building, ignore_errors=True)
        return
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is no empty directory, and no run: choose another OUT")
    yield building
    try:
        building.rename(out)
    except OSError as error:
        raise cannot_write(out, error) from None


def _check_merged(out: Path, building: Path, file: RunFile) -> None:
    """UserError if a run is another one than that of the shards, or lacks some of their records."""
    there = read_run_file(out)
    unlike = _unlike(there, file)
    if unlike:
        raise UserError(f"{out} holds another run: {'; '.join(unlike)}. Choose another OUT")
    if not same_beginning(out, building, file.tasks):
        raise UserError(
            f"{out} holds a run with these settings, but not with the records of these shards: it is no "
            "merge of them, or they have gone on since. Choose another OUT"
        )
