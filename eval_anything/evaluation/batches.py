"""Batches of a run: planned over all of it, made when they are due.

The composition of a batch depends on the samples, the repeats and the batch size alone, and not on the
records: every process cuts the same batches, and a resumed run repeats an interrupted one as it was, so
its floating-point sums, and the answers, are the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from eval_anything.content import Sample
from eval_anything.evaluation.layers import RunSampling
from eval_anything.files.hashing import sha256_of
from eval_anything.models.base import Request, Sampling, with_system
from eval_anything.tasks.identity import length_of
from eval_anything.tasks.samples import Samples
from eval_anything.tasks.task import Task

# Requests are sorted by length inside windows of this many batches, in the order of the file.
_WINDOW = 16


Key = tuple[str, str, int]
"""Task, sample id, repeat."""


class Batch(NamedTuple):
    """Requests that go to the model together; only the answers to `pending` ones are recorded."""

    requests: list[Request]
    pending: frozenset[Key]


class PlannedBatches:
    """All batches of a run, in their order.

    Args:
        tasks: each task with the samples to run.
        repeats: answers per sample.
        sampling: settings of generation, and the seed.
        batch_size: requests per batch.
    """

    def __init__(
        self,
        tasks: Mapping[str, tuple[Task, Samples]],
        repeats: int,
        sampling: RunSampling,
        batch_size: int,
    ) -> None:
        self._sampling = sampling
        self._size = batch_size
        self._tasks = [
            (t, samples, _order(t, samples, repeats, batch_size)) for t, samples in tasks.values()
        ]

    def __len__(self) -> int:
        return sum(-(-len(order) // self._size) for _, _, order in self._tasks)

    def __iter__(self) -> Iterator[_Batch]:
        """The batches without their requests."""
        for task, samples, order in self._tasks:
            for start in range(0, len(order), self._size):
                sampling = self._sampling.of(task.name)
                yield _Batch(task, samples, sampling, order[start : start + self._size])

    def fingerprint(self) -> str:
        """sha256 (hex) of the requests of all batches, in order."""
        return sha256_of([list(batch.answers()) for batch in self])


class _Batch(NamedTuple):
    """One batch: the places of its answers, which are those of the samples for each repeat in turn."""

    task: Task
    samples: Samples
    sampling: Sampling
    numbers: Sequence[int]

    def answers(self) -> Iterator[Key]:
        """The keys of its requests."""
        for number in self.numbers:
            repeat, index = divmod(number, len(self.samples))
            yield self.task.name, self.samples.ids[index], repeat

    def requests(self) -> list[Request]:
        """The requests, for which the samples are read."""
        requests = []
        for number in self.numbers:
            repeat, index = divmod(number, len(self.samples))
            requests.append(request_of(self.task, self.samples.read(index), repeat, self.sampling))
        return requests


def request_of(task: Task, sample: Sample, repeat: int, sampling: Sampling) -> Request:
    """The request for the first answer to a sample."""
    messages = with_system(task.messages(sample), sampling.system)
    return Request(task.name, sample.id, repeat, messages, sampling)


class Unfinished:
    """The batches of a run, or of a shard of it, that have a request without a record.

    Args:
        batches: all batches of the run.
        recorded: (sample id, repeat) on record for each task.
        is_ours: whether a batch, by its number from 0, is one of this process.
    """

    def __init__(
        self,
        batches: PlannedBatches,
        recorded: Mapping[str, Collection[tuple[str, int]]],
        is_ours: Callable[[int], bool] = lambda number: True,
    ) -> None:
        self._batches = batches
        self._recorded = recorded
        self._is_ours = is_ours
        self.count = sum(len(pending) for _, pending in self._unfinished())

    def __iter__(self) -> Iterator[Batch]:
        for batch, pending in self._unfinished():
            yield Batch(batch.requests(), frozenset(pending))

    def _unfinished(self) -> Iterator[tuple[_Batch, list[Key]]]:
        """The batches with the keys of their requests that are not on record."""
        for number, batch in enumerate(self._batches):
            if self._is_ours(number):
                recorded_keys = self._recorded.get(batch.task.name, ())
                pending = [key for key in batch.answers() if key[1:] not in recorded_keys]
                if pending:
                    yield batch, pending


def _order(task: Task, samples: Samples, repeats: int, batch_size: int) -> array[int]:
    """The places of all answers to a task in the order of the plan: longest first in each window."""
    if task.template is None:
        lengths = array("q", (samples.length(index) for index in range(len(samples))))
    else:
        lengths = array("q", (length_of(task.messages(sample)) for sample in samples))
    count, window = len(samples), batch_size * _WINDOW
    order = array("q")
    for start in range(0, count * repeats, window):
        numbers = range(start, min(start + window, count * repeats))
        order.extend(sorted(numbers, key=lambda number: lengths[number % count], reverse=True))
    return order
