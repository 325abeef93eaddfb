"""A model whose batches are answered by replicas. Plan, scores and records stay in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from eval_anything.content import Modality, Response
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request
from eval_anything.models.checked import kept
from eval_anything.models.replicas.base import Answer, Recipe
from eval_anything.models.replicas.engine import ReplicaEngine
from eval_anything.models.spec import parse_spec, place_spec, resolve
from eval_anything.sampling import GenerationSettings, Sampling
from eval_anything.tasks.task import Task


class ModelRecipe(Recipe, frozen=True):
    """The way in which a replica makes a model from its SPEC.

    Attributes:
        spec: the SPEC, with absolute paths.
        arguments: `--model-arg` values as the user gave them, and those of a preset.
        batch_size: requests of a batch.
        weights: those that it must have; empty for those that it has.
    """

    spec: str
    arguments: Mapping[str, str]
    batch_size: int
    weights: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        spec = parse_spec(self.spec)
        path = Path(spec.reference) if spec.path is None else spec.path
        texts = [str(path), *self.arguments.values()]
        return tuple(text for text in texts if text.startswith("/") and Path(text).exists())

    @property
    def on_cpu(self) -> bool:
        return self.arguments.get("device") == "cpu"

    def make(self) -> Answer:
        model = resolve(self.spec, dict(self.arguments))
        model.batch_size = self.batch_size
        if self.weights and model.weights() != self.weights:
            raise UserError(f"{self.about}: its weights are others here than where the run is")
        model.load()
        runner = asyncio.Runner()

        def answer(requests: Sequence[Request], store: MediaStore) -> list[Response]:
            answers = runner.run(model.generate(requests, store))
            return [kept(a, store) if isinstance(a, Response) else a for a in answers]

        return answer


class ReplicatedModel(Model):
    """A model as several replicas on an engine.

    Args:
        model: the model, which is not loaded here.
        engine: the machines that load it.
        count: number of replicas.
        arguments: `--model-arg` values as the user gave them, and those of a preset.

    Raises:
        UserError: the model is none that is loaded from its SPEC.
    """

    def __init__(
        self, model: Model, engine: ReplicaEngine, count: int, arguments: Mapping[str, str]
    ) -> None:
        if not model.replicable or model.spec == Model.spec:
            raise UserError(
                f"--replicas, --engine: {model.spec} is no model that is loaded on a machine from its "
                "SPEC. --concurrency asks a server for several answers at the same time"
            )
        self._model = model
        here = Path.cwd()
        recipe = ModelRecipe(
            about=f"--model {model.spec}",
            spec=place_spec(model.spec, here),
            arguments={key: _placed(text, here) for key, text in arguments.items()},
            batch_size=model.batch_size,
            weights=self._weights if engine.remote else "",
        )
        self._pool = engine.pool(recipe, count)
        self.name, self.folder, self.spec = model.name, model.folder, model.spec
        self.arguments = model.arguments
        self.batch_size = model.batch_size
        self.concurrency = count
        self.architecture = model.architecture
        self.default_suite = model.default_suite
        self.own_settings = model.own_settings

    @property
    def inputs(self) -> Collection[Modality] | None:
        return self._model.inputs

    @property
    def generation_settings(self) -> Collection[str]:
        return self._model.generation_settings

    def check_sampling(self, sampling: Sampling) -> list[str]:
        return self._model.check_sampling(sampling)

    def checkpoint_settings(self) -> GenerationSettings:
        return self._model.checkpoint_settings()

    @cached_property
    def _weights(self) -> str:
        return self._model.weights()

    def weights(self) -> str:
        return self._weights

    def prepare(
        self, tasks: Sequence[Task], keys: Iterable[tuple[str, str, int]], task_names: Collection[str]
    ) -> None:
        self._model.prepare(tasks, keys, task_names)

    def load(self) -> None:
        """Starts all replicas; they load at the same time."""
        self._pool.start()

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        answers: list[Response] = await self._pool.answer(list(requests), store)
        return answers

    async def close(self) -> None:
        self._pool.end()


def _placed(text: str, folder: Path) -> str:
    """An argument of a model, absolute if it is a path with a slash that exists in the folder."""
    path = folder / text
    return str(path) if "/" in text and path.exists() else text
