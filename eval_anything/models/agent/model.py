"""A chat model with generators of media as one any-to-any model: `agent/FILE.yaml`.

As in "Align Anything" (arXiv 2412.15838): the chat model writes a text and the prompts of the media
that it wants, or leaves them out; generators make the media.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import msgspec

from eval_anything.concurrency import all_of
from eval_anything.content import Failure, Latency, Modality, Part, Response, TextPart
from eval_anything.errors import UserError
from eval_anything.files.hashing import seed_of, sha256_of
from eval_anything.media import MediaError, MediaStore
from eval_anything.models.agent.file import AgentFile, read_agent_file
from eval_anything.models.agent.generators.base import GeneratorError, Order, Place, Workshop
from eval_anything.models.agent.generators.model import ModelGenerator
from eval_anything.models.agent.instructions import ABOUT, Form, Telling
from eval_anything.models.agent.planner import PlanAsker, Planned, ServerAsker
from eval_anything.models.agent.references import model_at
from eval_anything.models.base import Model, Request
from eval_anything.models.openai.model import ChatModel

if TYPE_CHECKING:
    from eval_anything.tasks.task import Task


# Of a chat model that takes hundreds at once: what is made should be recorded now and then.
_LARGEST_BATCH = 32


class _Result(NamedTuple):
    """What the generator gave for one order, and in how many seconds it was done with its batch."""

    medium: bytes | GeneratorError
    seconds: float


class AgentModel(Model):
    """A chat model with generators of images, sounds and clips, as a YAML file names them."""

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
        self.arguments = chat.arguments
        self.batch_size = min(chat.batch_size, _LARGEST_BATCH)
        # While generators work for some samples, the chat model writes the plans of others.
        self.concurrency = max(2, chat.concurrency)
        self._chatting = asyncio.Semaphore(chat.concurrency)
        self._workshops = {
            modality: Workshop(cls(settings, Place(modality, folder, f"{path}: generators.{modality}")))
            for modality, (cls, settings) in generators.items()
        }
        about = {m: settings.about or ABOUT[m] for m, (_, settings) in generators.items()}
        self._telling = Telling(self.file.system, about)
        self._asker = _asker(chat, self._telling, self.file, path)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.suffix in (".yaml", ".yml") and path.is_file()

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> AgentModel:
        path = Path(reference).expanduser()
        if not str(reference) or not path.is_file():
            raise UserError(
                f"--model {spec}: there is no such file: agent/FILE.yaml names an agent's file"
            )
        return cls(spec, path, arguments)

    def weights(self) -> str:
        generators = {str(m): shop.generator.weights() for m, shop in self._workshops.items()}
        told = [self._telling.instructions(form) for form in get_args(Form)]
        return sha256_of([msgspec.to_builtins(self.file), told, self._chat.weights(), generators])

    def prepare(
        self, tasks: Sequence[Task], keys: Iterable[tuple[str, str, int]], task_names: Collection[str]
    ) -> None:
        makers = [
            shop.generator.model
            for shop in self._workshops.values()
            if isinstance(shop.generator, ModelGenerator)
        ]
        for model in (self._chat, *makers):
            model.spending = self.spending
        if self.spending is not None:
            self.spending.must_know([m.paid_as for m in makers if m.paid_as is not None])
        self._chat.prepare(tasks, keys, task_names)
        for model in makers:
            model.prepare((), (), task_names)

    def load(self) -> None:
        self._chat.load()
        for shop in self._workshops.values():
            shop.generator.load()

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        start = time.perf_counter()
        async with self._chatting:
            plans = await self._asker.plans(requests, store)
        made = await self._made(requests, plans)
        seconds = time.perf_counter() - start
        return [
            await asyncio.to_thread(_response, i, planned, made, seconds, store)
            for i, planned in enumerate(plans)
        ]

    async def close(self) -> None:
        await self._chat.close()
        for shop in self._workshops.values():
            await shop.generator.close()

    async def _made(
        self, requests: Sequence[Request], plans: Sequence[Planned]
    ) -> dict[tuple[int, int], _Result]:
        """What became of each medium, by the place of its request and its own place in the plan.

        All generators work at the same time. ServerError leaves the samples pending.
        """
        wanted: dict[Modality, dict[tuple[int, int], Order]] = {}
        for i, (request, planned) in enumerate(zip(requests, plans, strict=True)):
            for n, item in enumerate(planned.plan):
                if item.modality in self._workshops:
                    order = Order(item.content, seed_of(request.seed, n))
                    wanted.setdefault(item.modality, {})[i, n] = order

        async def make(modality: Modality, orders: dict[tuple[int, int], Order]) -> list[_Result]:
            start = time.perf_counter()
            media = await self._workshops[modality].make(list(orders.values()))
            seconds = round(time.perf_counter() - start, 4)
            return [_Result(medium, seconds) for medium in media]

        made = await all_of(make(modality, orders) for modality, orders in wanted.items())
        return {
            key: result
            for orders, results in zip(wanted.values(), made, strict=True)
            for key, result in zip(orders, results, strict=True)
        }


def _asker(chat: Model, telling: Telling, file: AgentFile, path: Path) -> PlanAsker:
    """How this chat model is asked: in all forms only at the chat endpoint of a server."""
    if isinstance(chat, ChatModel) and chat.settings.api == "chat" and chat.settings.stream == "false":
        return ServerAsker(chat, telling, None if file.form == "auto" else file.form)
    if file.form not in ("auto", "text"):
        raise UserError(
            f"{path}: form: {file.form} is for chat models on a server; {chat.spec} takes text"
        )
    return PlanAsker(chat, telling)


def _response(
    i: int,
    planned: Planned,
    made: Mapping[tuple[int, int], _Result],
    seconds: float,
    store: MediaStore,
) -> Response:
    """The parts that could be made, in the order of the plan.

    A medium that could not be made fails the response, as a broken one of any model does: else a
    generator that fails would earn the scores of an answer that the agent did not choose. The other
    parts are kept for the record.
    """
    parts: list[Part] = []
    told: list[dict[str, Any]] = []
    took: dict[str, float] = {}
    for n, item in enumerate(planned.plan):
        if item.modality is Modality.TEXT:
            parts.append(TextPart(item.content))
            told.append({"modality": "text"})
            continue
        told.append({"modality": str(item.modality), "prompt": item.content})
        result = made.get((i, n))
        try:
            if result is None:
                raise GeneratorError(f"this agent has no generator of {item.modality}")
            took[str(item.modality)] = result.seconds
            if isinstance(result.medium, GeneratorError):
                raise result.medium
            parts.append(store.put(result.medium, item.modality))
        except (GeneratorError, MediaError) as reason:
            told[-1]["error"] = str(reason)
    failed = [f"{item['modality']}: {item['error']}" for item in told if "error" in item]
    error = Failure("generator_failed", "; ".join(failed)) if failed else planned.error
    details: dict[str, Any] = {"form": planned.form, "plan": told}
    if planned.outside:
        details["outside"] = planned.outside
    return Response(
        parts=tuple(parts),
        order_known=planned.order_known,
        stop_reason=planned.stop_reason,
        usage=planned.usage,
        latency=Latency(total=round(seconds, 4), plan=planned.latency.total or 0.0, **took),
        error=error,
        details=details,
    )
