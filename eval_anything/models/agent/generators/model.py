"""Any model as a generator: on a server (`api: images`, `speech`, `videos`), of transformers, other."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from eval_anything.content import Message, Response, TextPart
from eval_anything.media import MediaStore
from eval_anything.models.agent.generators.base import (
    Generator,
    GeneratorError,
    GeneratorSettings,
    Order,
    Place,
)
from eval_anything.models.agent.references import model_at
from eval_anything.models.base import Request, Sampling


class ModelSettings(GeneratorSettings, frozen=True, kw_only=True):
    """The SPEC of a model, and its arguments as of `--model-arg`."""

    model: str
    arguments: dict[str, str | int | float | bool] = {}
    temperature: float = 0.0


class ModelGenerator(Generator):
    """Asks a model with the prompt as the one message of a user, and takes the first medium."""

    settings_type = ModelSettings

    def __init__(self, settings: GeneratorSettings, place: Place) -> None:
        assert isinstance(settings, ModelSettings)
        self.model = model_at(settings.model, settings.arguments, place.folder, place.name)
        self.batch_size = self.model.batch_size
        self.concurrency = self.model.concurrency
        self._modality = place.modality
        self._temperature = settings.temperature

    def weights(self) -> str:
        return self.model.weights()

    def load(self) -> None:
        self.model.load()

    async def generate(self, orders: Sequence[Order]) -> list[bytes]:
        requests = [
            Request(
                "",
                str(number),
                0,
                (Message("user", (TextPart(order.prompt),)),),
                Sampling(self._temperature, order.seed),
            )
            for number, order in enumerate(orders)
        ]
        with tempfile.TemporaryDirectory(prefix="eval-anything-") as folder:
            responses = await self.model.generate(requests, MediaStore(Path(folder)))
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
