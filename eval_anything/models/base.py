"""The interface of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from eval_anything.content import Message, Response
from eval_anything.errors import EvalError, UserError, near
from eval_anything.files.hashing import seed_of
from eval_anything.media import MediaStore
from eval_anything.servers.prices import Spending

if TYPE_CHECKING:
    from eval_anything.tasks.task import Task


class Sampling(Struct, frozen=True):
    """How answers are drawn: temperature 0 is greedy. The seed is the run's."""

    temperature: float = 0.0
    seed: int = 0


class Request(Struct, frozen=True):
    """One answer that is asked for; `turn` counts the answers of the same sample before it."""

    task: str
    sample_id: str
    repeat: int
    messages: tuple[Message, ...]
    sampling: Sampling
    turn: int = 0

    @property
    def key(self) -> tuple[str, str, int]:
        """Task, sample and repeat: what identifies the record of the answer within a run."""
        return self.task, self.sample_id, self.repeat

    @property
    def seed(self) -> int:
        """A 63-bit seed of this request alone: the answer does not depend on what else is in a batch."""
        later_turn = (self.turn,) if self.turn else ()
        return seed_of(self.sampling.seed, self.task, self.sample_id, self.repeat, *later_turn)


class Model(ABC):
    """A model under evaluation. Making one is cheap; `load` is what takes time.

    Attributes:
        name: short, for directories and tables.
        spec: the SPEC by which it was named; left as it is by a class that is used from Python alone.
        arguments: `--model-arg` values, after defaults; part of what a resumed run must repeat.
        batch_size: how many requests one `generate` takes.
        concurrency: how many calls of `generate` may be under way at once.
        default_suite: where a bare task name is looked up.
        chats: whether it follows instructions in text, so that an agent may plan with it.
        architecture: the name of its policy (`eval_anything.policies`) or the `model_type` of its
            checkpoint; empty for what cannot be trained.
        paid_as: the name under which its tokens are priced; None for a local model.
        spending: counts what the run pays; set by the engine.
    """

    default_suite: ClassVar[str] = "open"
    chats: ClassVar[bool] = True
    architecture: str = ""
    batch_size: int = 1
    concurrency: int = 1
    paid_as: str | None = None
    spending: Spending | None = None
    name: str
    spec: str = "an object"
    arguments: Mapping[str, Any] = {}

    @classmethod
    def families(cls) -> list[dict[str, Any]]:
        """What `models list` shows of the architectures that it serves, where these are several: name,
        about, model_types, inputs, outputs, modes and holes (each with what and reason)."""
        return []

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a model of this class lies at an existing path."""
        return False

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> Model:
        """The model for a SPEC: `reference` is its path, or what follows the prefix in `spec`."""
        raise UserError(f"{spec}: {cls.__name__} is used from Python alone: ea.evaluate(model=...)")

    @abstractmethod
    def weights(self) -> str:
        """sha256 of what makes the model answer as it does: a resumed run must have the same."""

    def prepare(
        self, tasks: Sequence[Task], asked: Iterable[tuple[str, str, int]], known: Collection[str]
    ) -> None:
        """Called once before anything runs, with the tasks, the (task, sample id, repeat) that will
        be asked for, and the names of all tasks in reach. UserError stops the run."""

    def load(self) -> None:
        """Loads the weights, before the first `generate` and only if there is one. Any exception
        stops the run."""

    @abstractmethod
    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        """One response a request, in order; media are put into the store.

        A request that the model cannot answer gets a response with an error. An exception fails the
        whole batch: the engine then asks one by one. InfrastructureError leaves them pending.
        """

    def text(self) -> TextModel | None:
        """This model as one that goes on with plain text; None if it is none. It costs nothing, but
        what it gives is asked only after `load`."""
        return None

    async def close(self) -> None:
        """Called when nothing more is asked for now, in the event loop that asked."""


def typed_arguments(
    arguments: Mapping[str, str], defaults: Mapping[str, int | float | str], what: str
) -> dict[str, Any]:
    """`--model-arg` values as the types of their defaults. UserError for unknown keys and bad values."""
    values: dict[str, Any] = dict(defaults)
    for key, text in arguments.items():
        if key not in defaults:
            known = ", ".join(defaults) or "none"
            raise UserError(f"{what} has no argument {key!r}.{near(key, defaults)} Known: {known}.")
        default = defaults[key]
        kind = type(default)
        if kind is bool and text.lower() not in ("true", "false"):
            raise UserError(f"--model-arg {key}={text}: must be true or false")
        try:
            value = text.lower() == "true" if kind is bool else kind(text)
        except ValueError:
            raise UserError(f"--model-arg {key}={text}: must be {kind.__name__}") from None
        if isinstance(value, int) and value < (least := min(1, int(default))):
            raise UserError(f"--model-arg {key}={text}: must be at least {least}")
        values[key] = value
    return values


class Ending(Struct, frozen=True):
    """Where a continuation ends: before any of these texts, and after so many tokens."""

    until: tuple[str, ...]
    max_tokens: int

    def cut(self, text: str) -> str:
        """The text up to the first of the endings."""
        for end in filter(None, self.until):
            text = text.split(end)[0]
        return text


class TextModel(ABC):
    """Goes on with the text of requests. `scores` says whether it tells likelihoods too."""

    scores: bool = False

    @abstractmethod
    async def go_on(
        self, requests: Sequence[Request], ending: Ending, store: MediaStore
    ) -> list[Response | EvalError]:
        """For each request, in order, what follows its messages: a response of one text, which may be
        empty, or what kept a server from giving it. The model's own failure is in the response."""
