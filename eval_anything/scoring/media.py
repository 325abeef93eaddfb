"""Helpers for metrics on media: applicability to a sample, selection of media, models that they load."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from eval_anything.content import MediaPart, Modality, Response, Sample
from eval_anything.errors import UserError

Loaded = TypeVar("Loaded")


def applies(sample: Sample, response: Response, modality: Modality) -> bool:
    """Whether a metric on a modality applies to a response.

    It does if the contract requires the modality, or allows it and the response has it. A missing medium
    that is only allowed is no fault, so there is nothing to measure.

    Example:
        >>> from eval_anything.content import Contract
        >>> sample = Sample("1", (), Contract(required=(Modality.TEXT,), allowed=(Modality.IMAGE,)))
        >>> [applies(sample, Response(), modality) for modality in (Modality.TEXT, Modality.IMAGE)]
        [True, False]
    """
    contract = sample.contract
    if modality in contract.required:
        return True
    return modality in contract.allowed and modality in response.modalities


def media_of(response: Response, modality: Modality) -> list[MediaPart]:
    """Media of one modality in a response, in order."""
    return [p for p in response.parts if isinstance(p, MediaPart) and p.modality is modality]


def prompt_medium(sample: Sample, modality: Modality) -> MediaPart | None:
    """First medium of a modality in the messages of a sample, such as the reference of a similarity
    metric; None if there is none."""
    parts = (part for message in sample.messages for part in message.parts)
    return next((p for p in parts if isinstance(p, MediaPart) and p.modality is modality), None)


class LocalModel(Generic[Loaded]):
    """A model that is loaded at its first use, and used by one thread at a time.

    Args:
        path: folder or file of the model.
        load: loads the model from the path.

    Example:
        >>> vocabulary = LocalModel("red blue", str.split)
        >>> with vocabulary.use() as words:
        ...     "red" in words
        True
    """

    def __init__(self, path: str, load: Callable[[str], Loaded]) -> None:
        self.path = path
        self._load = load
        self._loaded: Loaded | None = None
        self._lock = threading.Lock()

    @contextmanager
    def use(self) -> Iterator[Loaded]:
        """The loaded model, locked for other threads inside `with`. UserError if it does not load."""
        with self._lock:
            if self._loaded is None:
                try:
                    self._loaded = self._load(self.path)
                except Exception as error:
                    reason = f"{type(error).__name__}: {error}"
                    raise UserError(f"the judge's model {self.path} does not load: {reason}") from error
            yield self._loaded
