"""A generator that asks any model: on a server (`api: images`, `speech`, `videos`) or a local one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from eval_anything.content import Failure, Message, Response, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.agent.generators.base import (
    Generator,
    GeneratorContext,
    GeneratorError,
    GeneratorSettings,
    Order,
)
from eval_anything.models.agent.references import model_at
from eval_anything.models.base import Request, Sampling, check_settings, with_system
from eval_anything.models.openai.model import ChatModel
from eval_anything.sampling import GenerationSettings
from eval_anything.servers.trial import EarlyRefusalError


class ModelSettings(GeneratorSettings, frozen=True, kw_only=True):
    """The settings of a generator that asks a model.

    Attributes:
        model: SPEC of the model; a path is relative to the agent's file.
        arguments: of the model, as for `--model-arg`.
        temperature: of its decoding; 0 is greedy.
        generation: further settings of generation, with the names of options of `eval-anything run`.
    """

    model: str
    arguments: dict[str, str | int | float | bool] = {}
    temperature: float = 0.0
    generation: GenerationSettings | UnsetType = UNSET


class ModelGenerator(Generator):
    """Sends the prompt as the only message to a model, and takes the first medium of its answer."""

    settings_type = ModelSettings

    def __init__(self, settings: GeneratorSettings, context: GeneratorContext) -> None:
        assert isinstance(settings, ModelSettings)
        self.model = model_at(settings.model, settings.arguments, context.folder, context.name)
        if isinstance(self.model, ChatModel):
            self.model.option = f"{context.name}.arguments:"
        self.batch_size = self.model.batch_size
        self.concurrency = self.model.concurrency
        self._modality = context.modality
        values = {} if settings.generation is UNSET else settings.generation.values()
        try:
            self._sampling = Sampling(**{"temperature": settings.temperature, **values})
        except ValueError as error:
            raise UserError(f"{context.name}.generation: {error}") from None
        check_settings(self.model, {name: f"{context.name}.generation.{name}" for name in values})
        if values:
            self.model.check_sampling(self._sampling)

    def weights(self) -> str:
        return self.model.weights()

    def load(self) -> None:
        self.model.load()

    async def generate(self, orders: Sequence[Order]) -> list[bytes]:
        """The first medium of the modality in the answer to each prompt, as the bytes of its file."""
        requests = [
            Request(
                "",
                str(number),
                0,
                with_system((Message("user", (TextPart(order.prompt),)),), self._sampling.system),
                msgspec.structs.replace(self._sampling, seed=order.seed),
            )
            for number, order in enumerate(orders)
        ]
        with tempfile.TemporaryDirectory(prefix="eval-anything-") as folder:
            try:
                responses = await self.model.generate(requests, MediaStore(Path(folder)))
            except EarlyRefusalError as error:
                error.failure = Failure("generator_failed", error.failure.message)
                raise
            return [self._medium(response) for response in responses]

    def _medium(self, response: Response) -> bytes:
        medium = response.first(self._modality)
        if response.error is not None:
            raise GeneratorError(response.error.message)
        if medium is None:
            raise GeneratorError(f"no {self._modality}, but: {response.text[:200] or 'nothing'}")
        return medium.path.read_bytes()

    async def close(self) -> None:
        await self.model.close()
