"""Scalar heads of a checkpoint of transformers, run in one thread on batches of concurrent queries.

Code of a checkpoint is never executed, and its weights must be safetensors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from eval_anything.errors import UserError
from eval_anything.files.hashing import hash_files
from eval_anything.judges.kinds.reward.classes import heads_of, scored_class
from eval_anything.judges.kinds.reward.readers import (
    Reader,
    RewardModelInput,
    RewardQuery,
    UnreadableError,
    reader_of,
)
from eval_anything.media import MediaStore
from eval_anything.models.local.checkpoint import weight_files
from eval_anything.models.replicas.base import Answer, Recipe, ReplicaDiedError
from eval_anything.models.replicas.pool import ReplicaPool

_BATCH = 32


_PATIENCE = 0.005  # seconds that the first query of a batch waits for further ones


Scalars = tuple[float, ...]
"""Outputs of the heads of a model, the overall one first."""


class Head:
    """A checkpoint with its reader, which computes scalars of queries. It is loaded at its first use."""

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path = path
        self.reader = reader
        self._model: Any = None

    def load(self) -> None:
        """Loads the checkpoint. UserError if that fails, or if it has no trained scalar head."""
        import torch
        from transformers import AutoConfig
        from transformers.utils import logging

        logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        # On a GPU a large model has the dtype of its checkpoint.
        checkpoint_dtype = device == "cuda" and not self.reader.exact
        try:
            self.reader.load(self.path)
            safe = {"trust_remote_code": False, "local_files_only": True}
            config = AutoConfig.from_pretrained(self.path, **safe)
            if len(heads_of(config.to_dict())) == 1:
                config.num_labels = 1
            model, report = scored_class(config).from_pretrained(
                self.path,
                config=config,
                use_safetensors=True,
                **safe,
                dtype="auto" if checkpoint_dtype else torch.float32,
                output_loading_info=True,
            )
        except Exception as error:
            raise UserError(f"{self.path} does not load: {type(error).__name__}: {error}") from error
        missing = sorted(report["missing_keys"])
        if missing:
            raise UserError(f"{self.path} has no trained scalar head: {missing[0]} is missing")
        self._model = model.to(device).eval()

    def scalars(self, queries: Sequence[RewardQuery]) -> list[Scalars | UnreadableError]:
        """Scalars of each query, or the error that explains why there are none."""
        if self._model is None:
            self.load()
        outputs: list[Scalars | UnreadableError] = [UnreadableError("")] * len(queries)
        inputs: dict[int, RewardModelInput] = {}
        for index, query in enumerate(queries):
            try:
                inputs[index] = self._read(query)
            except UnreadableError as error:
                outputs[index] = error
        pad = self._model.config.get_text_config(decoder=True).pad_token_id
        # Without a token for padding, sequences of different length cannot share a batch; neither can
        # media, whose scalars would depend on the padding.
        batchable = [index for index, row in inputs.items() if pad is not None and not row.media]
        groups = [batchable, *([index] for index in inputs if index not in batchable)]
        for group in groups:
            scalars = self._run([inputs[index] for index in group], pad or 0) if group else []
            for index, row_scalars in zip(group, scalars, strict=True):
                outputs[index] = row_scalars
        return outputs

    def _read(self, query: RewardQuery) -> RewardModelInput:
        encoded = self.reader.read(query)
        config = self._model.config.get_text_config(decoder=True)
        longest = getattr(config, "max_position_embeddings", None)
        if longest is not None and len(encoded.ids) > longest:
            raise UnreadableError(f"{len(encoded.ids)} tokens, and the judge reads at most {longest}")
        return encoded

    def _run(self, inputs: Sequence[RewardModelInput], pad: int) -> list[Scalars]:
        """Scalars of several inputs of text, or of one with media. Padding is on the right and masked,
        so it does not change them."""
        import torch

        sequences = [row.ids for row in inputs]
        media = {name: self._to_device(tensor) for name, tensor in inputs[0].media.items()}
        longest = max(map(len, sequences))
        token_rows = [[*ids, *[pad] * (longest - len(ids))] for ids in sequences]
        mask = [[1] * len(ids) + [0] * (longest - len(ids)) for ids in sequences]
        with torch.inference_mode():
            logits = self._model(
                input_ids=torch.tensor(token_rows, device=self._model.device),
                attention_mask=torch.tensor(mask, device=self._model.device),
                **media,
            ).logits
        return [tuple(row) for row in logits.float().tolist()]

    def _to_device(self, tensor: Any) -> Any:
        """A tensor of media on the model's device, a floating-point one in the model's dtype."""
        dtype = self._model.dtype if tensor.is_floating_point() else None
        return tensor.to(self._model.device, dtype=dtype)


class HeadRecipe(Recipe, frozen=True):
    """The way in which a replica makes the model of a judge.

    Attributes:
        path: the checkpoint.
        weights: hash of all files that decide its scalars.
    """

    path: str
    weights: str

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,)

    def make(self) -> Answer:
        path = Path(self.path)
        reader = reader_of(path)
        if hash_of(path, reader) != self.weights:
            raise UserError(f"{self.about}: its weights are others here than where the run is")
        head = Head(path, reader)
        head.load()
        return lambda queries, store: head.scalars(queries)


def hash_of(path: Path, reader: Reader) -> str:
    """sha256 (hex) of all files of a checkpoint that decide its scalars."""
    files = [path / "config.json", *weight_files(path), *(path / name for name in reader.files)]
    return hash_files([p for p in files if p.is_file()])


AnswerQueries = Callable[[Sequence[RewardQuery]], Awaitable[list[Scalars | UnreadableError]]]
"""Computes the scalars of a batch."""


def in_thread(head: Head) -> AnswerQueries:
    """Scalars by a model that is loaded in this process, one batch at a time."""
    thread = ThreadPoolExecutor(1, "reward-model")

    async def answer(queries: Sequence[RewardQuery]) -> list[Scalars | UnreadableError]:
        return await asyncio.get_running_loop().run_in_executor(thread, head.scalars, queries)

    return answer


def in_pool(pool: ReplicaPool) -> AnswerQueries:
    """Scalars by the replicas of a pool. A query over which they die has none."""
    no_media = MediaStore(Path())

    async def answer(queries: Sequence[RewardQuery]) -> list[Scalars | UnreadableError]:
        try:
            scalars: list[Scalars | UnreadableError] = await pool.answer(queries, no_media)
            return scalars
        except ReplicaDiedError as error:
            if len(queries) == 1:
                return [UnreadableError(f"the judge's model failed: {error}")]
            return [scalars for query in queries for scalars in await answer([query])]

    return answer


class RewardBatcher:
    """Batches queries that arrive at the same time, and asks for the scalars of each batch."""

    def __init__(self, answer: AnswerQueries) -> None:
        self._answer = answer
        self._waiting: list[tuple[RewardQuery, asyncio.Future[Scalars]]] = []

    async def __call__(self, query: RewardQuery) -> Scalars:
        """Scalars of a query. Raises UnreadableError, and every exception of the model."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Scalars] = loop.create_future()
        self._waiting.append((query, future))
        if len(self._waiting) >= _BATCH:
            self._start()
        else:
            loop.call_later(_PATIENCE, self._start)
        return await future

    def _start(self) -> None:
        """Asks about the waiting queries; none may be left after an earlier call."""
        batch, self._waiting = self._waiting, []
        if batch:
            queries = [query for query, _ in batch]
            work = asyncio.ensure_future(self._answer(queries))
            work.add_done_callback(lambda answered: _deliver(answered, [future for _, future in batch]))


def _deliver(
    answered: asyncio.Future[list[Scalars | UnreadableError]], futures: Sequence[asyncio.Future[Scalars]]
) -> None:
    for index, future in enumerate(futures):
        if future.done():  # the caller was cancelled
            continue
        if answered.cancelled():
            future.cancel()
        elif (error := answered.exception()) is not None:
            future.set_exception(error)
        elif isinstance(answer := answered.result()[index], UnreadableError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
