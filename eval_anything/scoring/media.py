"""What metrics on media share: which samples they apply to, which media they compare, their models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from eval_anything.content import MediaPart, Modality, Response, Sample
from eval_anything.errors import UserError

Loaded = TypeVar("Loaded")


def applies(sample: Sample, response: Response, modality: Modality) -> bool:
    """Whether a response to the sample is to be measured in this modality: it must have it, or has
    and may. A missing medium that is only allowed is no fault, so there is nothing to measure."""
    contract = sample.contract
    if modality in contract.required:
        return True
    return modality in contract.allowed and modality in response.modalities


def media_of(response: Response, modality: Modality) -> list[MediaPart]:
    """The media of one modality, in order."""
    return [p for p in response.parts if isinstance(p, MediaPart) and p.modality is modality]


def prompt_medium(sample: Sample, modality: Modality) -> MediaPart | None:
    """The first medium of that modality in the messages: what a response is compared with."""
    parts = (part for message in sample.messages for part in message.parts)
    return next((p for p in parts if isinstance(p, MediaPart) and p.modality is modality), None)


class LocalModel(Generic[Loaded]):
    """A model that is loaded at its first use, and used by one thread at a time."""

    def __init__(self, path: str, load: Callable[[str], Loaded]) -> None:
        self.path = path
        self._load = load
        self._loaded: Loaded | None = None
        self._lock = threading.Lock()

    @contextmanager
    def use(self) -> Iterator[Loaded]:
        """The loaded model. UserError if what lies at the path does not load."""
        with self._lock:
            if self._loaded is None:
                try:
                    self._loaded = self._load(self.path)
                except Exception as error:
                    reason = f"{type(error).__name__}: {error}"
                    raise UserError(f"the judge's model {self.path} does not load: {reason}") from error
            yield self._loaded
