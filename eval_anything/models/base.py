"""The interfaces of a model under evaluation, and the requests that it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from eval_anything.content import Failure, Message, Modality, Response, TextPart
from eval_anything.errors import EvalError, UserError, near
from eval_anything.files.hashing import seed_of
from eval_anything.media import MediaError, MediaStore
from eval_anything.sampling import GenerationSettings
from eval_anything.sampling import Sampling as Sampling
from eval_anything.servers.prices import Spending

if TYPE_CHECKING:
    from eval_anything.tasks.task import Task


def failure_of(error: Exception) -> Failure:
    """The failure for an exception of a model. A medium of the question that cannot be read is no fault
    of the model.

    Example:
        >>> failure_of(KeyError("x")).message
        "KeyError: 'x'"
    """
    if isinstance(error, MediaError):
        return Failure("unreadable_input", str(error))
    return Failure("model_error", f"{type(error).__name__}: {error}")


def with_system(messages: tuple[Message, ...], system: str | None) -> tuple[Message, ...]:
    """The messages behind a system prompt. System messages that they have are joined with it, since
    chat templates take no second one."""
    if not system:
        return messages
    parts = tuple(part for m in messages if m.role == "system" for part in m.parts)
    conversation = (message for message in messages if message.role != "system")
    return (Message("system", (TextPart(system), *parts)), *conversation)


class Request(Struct, frozen=True):
    """A request for one answer.

    Attributes:
        task: name of the task, "suite/task".
        sample_id: id of the sample within the task.
        repeat: number of the repeat of this sample, from 0.
        messages: the conversation so far, the system prompt included; the last message is answered.
        sampling: settings of generation, and the seed of the run.
        turn: number of earlier answers to the same sample.
        schema: a JSON schema that the answer is held to, for models without a `schema_problem`.
    """

    task: str
    sample_id: str
    repeat: int
    messages: tuple[Message, ...]
    sampling: Sampling
    turn: int = 0
    schema: Mapping[str, Any] | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """Task, sample id and repeat, which identify the record of the answer within a run."""
        return self.task, self.sample_id, self.repeat

    @property
    def seed(self) -> int:
        """A 63-bit seed of this request alone, so that an answer does not depend on its batch.

        Example:
            >>> Request("suite/task", "a", 0, (), Sampling(seed=1)).seed
            1271007773743180761
        """
        later_turn = (self.turn,) if self.turn else ()
        return seed_of(self.sampling.seed, self.task, self.sample_id, self.repeat, *later_turn)


class Model(ABC):
    """A model under evaluation. The constructor is cheap; `load` takes the time.

    Attributes:
        name: short, for tables and sites.
        folder: the name of a run's directory in runs/, where it is not that of the model.
        spec: the SPEC that the user gave; a class that is used from Python alone leaves it as it is.
        arguments: `--model-arg` values, after defaults; a resumed run must repeat them.
        batch_size: how many requests one `generate` takes.
        concurrency: how many calls of `generate` may be under way at once.
        default_suite: the suite in which a bare task name is looked up.
        chats: whether it follows instructions in text, so that an agent may plan with it.
        replicable: whether it is loaded on this machine, so that `--replicas` can load it several times.
        architecture: the name of its policy (`eval_anything.policies`) or the `model_type` of its
            checkpoint; empty for a model that cannot be trained.
        left_out: keys of requests that are not part of the run, as saved outputs do not answer them;
            known after `prepare`.
        paid_as: the name under which its tokens are priced; None for a local model.
        spending: counts what the run pays; set by the engine.
        own_settings: settings of generation in a file that describes it, such as that of an agent;
            options and presets win.
        saved_answers: whether its answers are there already, so that it is not asked.
        loaded: whether `load` was called; set by the engine.

    Example:
        >>> from eval_anything.content import TextPart
        >>> class Echo(Model):
        ...     name = "echo"
        ...
        ...     def weights(self) -> str:
        ...         return "echo-1"
        ...
        ...     async def generate(self, requests, store):
        ...         return [Response(request.messages[-1].parts) for request in requests]
        >>> import asyncio
        >>> request = Request("suite/task", "a", 0, (Message("user", (TextPart("hi"),)),), Sampling())
        >>> asyncio.run(Echo().generate([request], store=None))[0].text
        'hi'
    """

    default_suite: str = "open"
    chats: ClassVar[bool] = True
    replicable: ClassVar[bool] = False
    architecture: str = ""
    batch_size: int = 1
    concurrency: int = 1
    left_out: Collection[tuple[str, str, int]] = frozenset()
    paid_as: str | None = None
    spending: Spending | None = None
    own_settings: GenerationSettings = GenerationSettings()
    saved_answers: ClassVar[bool] = False
    loaded: bool = False
    name: str
    folder: str | None = None
    spec: str = "an object"
    arguments: Mapping[str, Any] = {}

    @classmethod
    def families(cls) -> list[dict[str, Any]]:
        """Rows of `models list`, one for each architecture, for a class that serves several.

        The keys of a row are name, about, model_types, inputs, outputs, modes and holes; each hole has
        the keys what and reason.
        """
        return []

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether an existing path holds a model of this class."""
        return False

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> Model:
        """The model that a SPEC names, not loaded yet.

        Args:
            spec: the SPEC as the user wrote it.
            reference: its path, or the text after the prefix ("ID" of hf/ID).
            arguments: `--model-arg` values, not converted yet.

        Raises:
            UserError: there is no such model, or an argument is wrong.
        """
        raise UserError(f"{spec}: {cls.__name__} is used from Python alone: ea.evaluate(model=...)")

    @property
    def generation_settings(self) -> Collection[str]:
        """Names of the settings of generation that it takes; any other one that is set is refused."""
        return frozenset({"temperature", "system"})

    @property
    def inputs(self) -> Collection[Modality] | None:
        """The modalities that it reads, as far as that is known before `load`; None if it is not."""
        return None

    @abstractmethod
    def weights(self) -> str:
        """sha256 of all files that decide the model's answers; a resumed run must have the same."""

    def prepare(
        self, tasks: Sequence[Task], keys: Iterable[tuple[str, str, int]], task_names: Collection[str]
    ) -> None:
        """Checks and reads what the run needs; called once, before anything else runs.

        Args:
            tasks: the tasks of the run.
            keys: (task, sample id, repeat) of all requests that will come.
            task_names: names of all installed tasks, in the run or not.

        Raises:
            UserError: the model cannot answer these requests; the run stops.
        """

    def check_sampling(self, sampling: Sampling) -> list[str]:
        """Checks settings of generation whose names it takes; called before `load`, and cheap.

        Returns:
            Lines for people on what else decides its answers.

        Raises:
            UserError: a value that it cannot take, such as a variable that its chat template lacks.
        """
        return []

    def schema_problem(self) -> str | None:
        """The reason why `Request.schema` does not hold its answers to a schema, as a sentence; None if
        it does. Cheap, and called before `load`."""
        return f"{self.spec} has no way to hold its answers to a JSON schema"

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        """Raises UserError for a schema that its answers cannot be held to; called after `load`."""

    def checkpoint_settings(self) -> GenerationSettings:
        """The settings that the maker of its weights recommends (`--sampling checkpoint`).

        UserError if there are none.
        """
        raise UserError(f"--sampling checkpoint: {self.spec} is no checkpoint with settings of its own")

    def answered_before(self) -> None:
        """Notes that the run has answers of this model on record; called before `load`."""

    def load(self) -> None:
        """Loads the weights; called before the first `generate`, and only if there is one.

        Any exception stops the run.
        """

    @abstractmethod
    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        """Answers a batch of requests.

        Args:
            requests: at most `batch_size` of them, of any tasks.
            store: takes the media of the answers and returns the parts that refer to them.

        Returns:
            One response for each request, in order; a response with an error where the model cannot
            answer.

        Raises:
            InfrastructureError: nothing can be answered now; the requests stay pending. After any other
                exception the engine sends the requests of the batch again, one by one.
        """

    def text(self) -> TextModel | None:
        """This model as one that continues plain text, None if it cannot; cheap, even before `load`."""
        return None

    async def close(self) -> None:
        """Closes connections once no more requests come, in the event loop that sent them."""


def check_settings(model: Model, words_by_name: Mapping[str, str]) -> None:
    """UserError for a setting of generation that a model does not take; `words_by_name` has the words
    by which the user knows each."""
    for name, words in words_by_name.items():
        if name in model.generation_settings:
            continue
        if model.saved_answers:
            raise UserError(f"{words}: the answers of {model.spec} are there already: leave it out")
        names = sorted(model.generation_settings)
        raise UserError(
            f"{words}: {model.spec} does not take it, so that nothing would come of it: leave it out."
            f"{near(name, names)} It takes {', '.join(names) or 'no settings of generation'}"
        )


def folder_name(model: Model, shard: tuple[int, int] | None = None) -> str:
    """The name of a run's directory in runs/: that of the model, without a slash, and without a dash or
    a dot at its start. That of a shard ends in its number and the number of shards."""
    name = (model.folder or model.name).strip("/").replace("/", "--").lstrip("-.") or "model"
    return name if shard is None else "{}.{}-of-{}".format(name, *shard)


def typed_arguments(
    arguments: Mapping[str, str], defaults: Mapping[str, int | float | str], owner: str
) -> dict[str, Any]:
    """All `--model-arg` values, converted to the types of their defaults.

    Args:
        arguments: the values that the user gave, by key.
        defaults: all keys with their defaults. An integer may not be below 1, or 0 if that is the
            default.
        owner: what the arguments belong to, for errors: "a replay".

    Raises:
        UserError: an unknown key or a bad value.

    Example:
        >>> typed_arguments({"frames": "4"}, {"frames": 8, "voice": "alloy"}, "a model")
        {'frames': 4, 'voice': 'alloy'}
    """
    typed: dict[str, Any] = dict(defaults)
    for key, text in arguments.items():
        if key not in defaults:
            keys = ", ".join(defaults) or "none"
            raise UserError(f"{owner} has no argument {key!r}.{near(key, defaults)} Known: {keys}.")
        default = defaults[key]
        kind = type(default)
        if kind is bool and text.lower() not in ("true", "false"):
            raise UserError(f"--model-arg {key}={text}: must be true or false")
        try:
            typed[key] = text.lower() == "true" if kind is bool else kind(text)
        except ValueError:
            raise UserError(f"--model-arg {key}={text}: must be {kind.__name__}") from None
        if isinstance(default, int) and typed[key] < (least := min(1, int(default))):
            raise UserError(f"--model-arg {key}={text}: must be at least {least}")
    return typed


class Ending(Struct, frozen=True):
    """The end of a continuation: before any of these texts, and after at most so many tokens."""

    until: tuple[str, ...]
    max_tokens: int

    def cut(self, text: str) -> str:
        """The text before the first of the endings.

        Example:
            >>> Ending(("\\n",), 16).cut("four\\nand more")
            'four'
        """
        for end in filter(None, self.until):
            text = text.split(end)[0]
        return text


class TextModel(ABC):
    """A model that continues plain text; `scores` says whether it computes likelihoods too."""

    scores: bool = False

    @abstractmethod
    async def go_on(
        self, requests: Sequence[Request], ending: Ending, store: MediaStore
    ) -> list[Response | EvalError]:
        """Continues the text of each request.

        Args:
            requests: their last messages have the texts to continue.
            ending: where the continuations end.
            store: takes media, for models that need one to answer.

        Returns:
            For each request, in order, a response of one text, which may be empty, or the error of a
            server. A failure of the model itself is a response with an error.
        """
