"""A chat model and generators of media that act as one any-to-any model: `agent/FILE.yaml`.

The design follows "Align Anything" (arXiv 2412.15838): the chat model decides on the parts of the answer
and writes the text and the prompts for media; generators make the media.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import msgspec

from eval_anything.concurrency import all_of
from eval_anything.content import Failure, Latency, Modality, Part, Response, TextPart
from eval_anything.errors import UserError
from eval_anything.files.hashing import seed_of, sha256_of
from eval_anything.media import MediaError, MediaStore
from eval_anything.models.agent.file import AgentFile, read_agent_file
from eval_anything.models.agent.generators.base import (
    BatchedGenerator,
    Generator,
    GeneratorContext,
    GeneratorError,
    Order,
)
from eval_anything.models.agent.generators.model import ModelGenerator
from eval_anything.models.agent.instructions import (
    ABOUT,
    DECIDED_BY_FORM,
    AgentInstructions,
    Form,
)
from eval_anything.models.agent.planner import PlannedAnswer, Planner, ServerPlanner
from eval_anything.models.agent.references import model_at
from eval_anything.models.base import Model, Request
from eval_anything.models.openai.model import ChatModel
from eval_anything.sampling import GenerationSettings, Sampling
from eval_anything.servers.secrets import with_hidden_addresses

if TYPE_CHECKING:
    from eval_anything.tasks.task import Task


# Chat models may take hundreds of requests at once; smaller batches are recorded earlier.
_LARGEST_BATCH = 32


class _GeneratedMedium(NamedTuple):
    """The file for one order, or the reason why there is none, and the seconds that its batch took."""

    medium: bytes | GeneratorError
    seconds: float


class AgentModel(Model):
    """A chat model with the generators of images, sounds and clips that a YAML file names."""

    chats = False

    def __init__(self, spec: str, path: Path, arguments: Mapping[str, str]) -> None:
        self.spec = spec
        self.name = path.stem
        self.file, generators = read_agent_file(path)
        folder = path.resolve().parent
        chat = model_at(self.file.model, {**self.file.arguments, **arguments}, folder, f"{path}: model")
        if not chat.chats:
            raise UserError(f"{path}: model: {self.file.model} is no chat model")
        self._chat = chat
        self.paid_as = chat.paid_as
        if self.file.generation is not msgspec.UNSET:
            self.own_settings = self.file.generation
        self.batch_size = min(chat.batch_size, _LARGEST_BATCH)
        # While generators work for some samples, the chat model writes the plans of others.
        self.concurrency = max(2, chat.concurrency)
        self._chatting = asyncio.Semaphore(chat.concurrency)
        self._generators: dict[Modality, Generator] = {}
        for modality, (cls, settings) in generators.items():
            context = GeneratorContext(modality, folder, f"{path}: generators.{modality}")
            self._generators[modality] = cls(settings, context)
        self._batched = {m: BatchedGenerator(generator) for m, generator in self._generators.items()}
        about = {m: settings.about or ABOUT[m] for m, (_, settings) in generators.items()}
        _check_examples(self.file, about, path)
        self._instructions = AgentInstructions(
            self.file.system,
            about,
            self.file.examples,
            self.file.most_parts,
            self.file.most_characters,
        )
        self._form, self._form_note = _form_of(chat, self.file, path)
        if isinstance(chat, ChatModel) and _has_all_forms(chat):
            form = None if self._form == "auto" else self._form
            self._planner: Planner = ServerPlanner(chat, self._instructions, form)
        else:
            assert self._form in ("json", "text")
            self._planner = Planner(chat, self._instructions, self._form)
        self.arguments = {**chat.arguments, "form": self._form}

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether the path is a YAML file."""
        return path.suffix in (".yaml", ".yml") and path.is_file()

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> AgentModel:
        path = Path(reference).expanduser()
        if not str(reference) or not path.is_file():
            raise UserError(
                f"--model {spec}: there is no such file: agent/FILE.yaml names an agent's file"
            )
        return cls(spec, path, arguments)

    @property
    def inputs(self) -> Collection[Modality] | None:
        return self._chat.inputs

    @property
    def generation_settings(self) -> Collection[str]:
        """Those of its chat model, but for texts that end an answer: they would cut a plan."""
        return frozenset(self._chat.generation_settings) - {"stop"}

    def check_sampling(self, sampling: Sampling) -> list[str]:
        for name in sampling.extra_body or ():
            if name in DECIDED_BY_FORM:
                raise UserError(
                    f"--extra-body {name}: the form of plans decides it: leave it out, or choose "
                    "`form:` in the agent's file"
                )
        notes = self._chat.check_sampling(sampling)
        return [*notes, self._form_note] if self._form_note else notes

    def checkpoint_settings(self) -> GenerationSettings:
        return self._chat.checkpoint_settings()

    def weights(self) -> str:
        """sha256 of the agent's file, its instructions, the chat model and the generators."""
        generators = {str(m): generator.weights() for m, generator in self._generators.items()}
        instructions = [self._instructions.text(form) for form in get_args(Form)]
        without_keys = msgspec.json.decode(
            with_hidden_addresses(msgspec.json.encode(self.file).decode())
        )
        return sha256_of([without_keys, instructions, self._chat.weights(), generators])

    def prepare(
        self, tasks: Sequence[Task], keys: Iterable[tuple[str, str, int]], task_names: Collection[str]
    ) -> None:
        """Prepares the chat model and the models of generators, and has them count what they spend."""
        media_models = self._media_models
        for model in (self._chat, *media_models):
            model.spending = self.spending
        if self.spending is not None:
            self.spending.must_know([m.paid_as for m in media_models if m.paid_as is not None])
        self._chat.prepare(tasks, keys, task_names)
        for model in media_models:
            model.prepare((), (), task_names)

    def answered_before(self) -> None:
        for model in (self._chat, *self._media_models):
            model.answered_before()

    def load(self) -> None:
        self._chat.load()
        self._planner.load()
        for generator in self._generators.values():
            generator.load()

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        """Has plans written for all requests, then the media made, and joins both to responses."""
        start = time.perf_counter()
        async with self._chatting:
            plans = await self._planner.plans(requests, store)
        media = await self._generate_media(requests, plans)
        seconds = time.perf_counter() - start
        return [
            await asyncio.to_thread(_response, row, planned, media, seconds, store)
            for row, planned in enumerate(plans)
        ]

    async def close(self) -> None:
        await self._chat.close()
        for generator in self._generators.values():
            await generator.close()

    @property
    def _media_models(self) -> list[Model]:
        """The models that generate media."""
        return [g.model for g in self._generators.values() if isinstance(g, ModelGenerator)]

    async def _generate_media(
        self, requests: Sequence[Request], plans: Sequence[PlannedAnswer]
    ) -> dict[tuple[int, int], _GeneratedMedium]:
        """The media of all plans, by the row of the request and the position in its plan.

        All generators work at the same time. ServerError leaves the samples pending.
        """
        orders_by_modality: dict[Modality, dict[tuple[int, int], Order]] = {}
        for i, (request, planned) in enumerate(zip(requests, plans, strict=True)):
            for n, plan_item in enumerate(planned.plan):
                if plan_item.modality in self._generators:
                    order = Order(plan_item.content, seed_of(request.seed, n))
                    orders_by_modality.setdefault(plan_item.modality, {})[i, n] = order

        async def make(
            modality: Modality, orders: dict[tuple[int, int], Order]
        ) -> list[_GeneratedMedium]:
            start = time.perf_counter()
            media = await self._batched[modality].make(list(orders.values()))
            seconds = round(time.perf_counter() - start, 4)
            return [_GeneratedMedium(medium, seconds) for medium in media]

        batches = await all_of(make(modality, orders) for modality, orders in orders_by_modality.items())
        return {
            key: generated
            for orders, outcomes in zip(orders_by_modality.values(), batches, strict=True)
            for key, generated in zip(orders, outcomes, strict=True)
        }


def _check_examples(file: AgentFile, about: Mapping[Modality, str], path: Path) -> None:
    """UserError for an example with a medium that the agent cannot make."""
    for number, example in enumerate(file.examples):
        for part in example.parts:
            if part.modality not in (Modality.TEXT, *about):
                raise UserError(
                    f"{path}: examples[{number}] has {part.modality}, for which the agent has no "
                    "generator: add one, or leave that part out"
                )
            if not part.content.strip():
                raise UserError(f"{path}: examples[{number}] has a part without content")


def _has_all_forms(chat: ChatModel) -> bool:
    """Whether tools and structured output can be asked for: at the chat endpoint, without a stream."""
    return chat.settings.api == "chat" and chat.settings.stream == "false"


def _form_of(chat: Model, file: AgentFile, path: Path) -> tuple[Form | Literal["auto"], str]:
    """The form of plans that is known before the run, and a line about it for people (or none)."""
    if isinstance(chat, ChatModel) and _has_all_forms(chat):
        return file.form, ""
    problem = chat.schema_problem()
    if file.form == "tools" or (file.form == "json" and problem is not None):
        reason = problem or "a checkpoint calls no tools"
        raise UserError(f"{path}: form: {file.form} does not work with {chat.spec}: {reason}")
    if file.form == "text" or problem is not None:
        loose = file.form == "auto" and not chat.saved_answers
        return (
            "text",
            f"plans are in sections of text, and nothing enforces it: {problem}" if loose else "",
        )
    return "json", "plans are held to their JSON schema, token by token (llguidance)"


def _response(
    row: int,
    planned: PlannedAnswer,
    media: Mapping[tuple[int, int], _GeneratedMedium],
    seconds: float,
    store: MediaStore,
) -> Response:
    """The response with all parts that could be made, in the order of the plan.

    It has an error if a medium could not be made, as with a broken medium of any model: otherwise a
    failing generator would earn the scores of an answer that the agent did not choose. The other parts
    stay for the record.
    """
    parts: list[Part] = []
    plan_details: list[dict[str, Any]] = []
    took: dict[str, float] = {}
    for n, plan_item in enumerate(planned.plan):
        if plan_item.modality is Modality.TEXT:
            parts.append(TextPart(plan_item.content))
            plan_details.append({"modality": "text"})
            continue
        plan_details.append({"modality": str(plan_item.modality), "prompt": plan_item.content})
        generated = media.get((row, n))
        try:
            if generated is None:
                raise GeneratorError(f"this agent has no generator of {plan_item.modality}")
            took[str(plan_item.modality)] = generated.seconds
            if isinstance(generated.medium, GeneratorError):
                raise generated.medium
            parts.append(store.put(generated.medium, plan_item.modality))
        except (GeneratorError, MediaError) as reason:
            plan_details[-1]["error"] = str(reason)
    errors = [f"{detail['modality']}: {detail['error']}" for detail in plan_details if "error" in detail]
    error = Failure("generator_failed", "; ".join(errors)) if errors else planned.error
    details: dict[str, Any] = {"form": planned.form, "plan": plan_details}
    if planned.outside:
        details["outside"] = planned.outside
    if planned.thoughts:
        details["thoughts"] = planned.thoughts
    return Response(
        parts=tuple(parts),
        order_known=planned.order_known,
        stop_reason=planned.stop_reason,
        usage=planned.usage,
        latency=Latency(total=round(seconds, 4), plan=planned.latency.total or 0.0, **took),
        error=error,
        details=details,
    )
