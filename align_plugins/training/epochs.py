"""The optimiser steps of a training: how many there are, and which rows each process reads in them.

An epoch reads every row once. It is cut into optimiser steps of `batch size x accumulation x processes`
rows, of which the last has what is left; the next epoch begins with a step of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from align_plugins.settings import TrainSettings


def optimiser_steps(settings: TrainSettings, rows: int, processes: int) -> int:
    """Number of optimiser steps: `max_steps`, or those of all epochs, of which the last may be a part.

    Example:
        >>> nine_a_step = dict(per_device_train_batch_size=1, gradient_accumulation_steps=8)
        >>> settings = TrainSettings(model="", data="", out="", num_train_epochs=10, **nine_a_step)
        >>> optimiser_steps(settings, rows=9, processes=1)  # 8 rows and 1 in each epoch
        20
    """
    if settings.max_steps is not None:
        return settings.max_steps
    size = settings.per_device_train_batch_size * settings.gradient_accumulation_steps * processes
    whole_epochs = int(settings.num_train_epochs)
    last_rows = rows_in(settings.num_train_epochs - whole_epochs, rows)
    return max(1, whole_epochs * math.ceil(rows / size) + math.ceil(last_rows / size))


def rows_in(epochs: float, rows: int) -> int:
    """Number of rows that so many epochs read, rounded up. 1.1 epochs of 10 rows are 11, although in
    floating point 10 * 1.1 is more.
    """
    return math.ceil(round(epochs * rows, 6))


class RowBatches:
    """Batches of one process, as lists of indices of rows: a batch sampler of PyTorch.

    Rows come in an order that depends on seed and epoch alone, so an optimiser step has the same rows
    however many processes share it. All processes have the same number of batches in each step. Where
    rows are too few for that, at the end of an epoch, some processes have empty batches: no row is read
    twice in an epoch.

    Attributes:
        epoch: the epoch that iterating gives, from 0.
    """

    def __init__(self, rows: int, size: int, seed: int, process: int, processes: int) -> None:
        """`size` is the number of rows of a batch; `process` counts from 0."""
        self._rows = rows
        self._size = size
        self._seed = seed
        self._process = process
        self._processes = processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch; transformers calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self._rows / (self._size * self._processes))

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self._seed + self.epoch)
        order: list[int] = torch.randperm(self._rows, generator=generator).tolist()
        for number in range(len(self)):
            start = (number * self._processes + self._process) * self._size
            yield order[start : start + self._size]
