"""Scalar heads on a checkpoint of transformers, run in one thread on batches of what is waiting.

No code of a checkpoint is run, and its weights must be safetensors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from eval_anything.errors import UserError
from eval_anything.judges.kinds.reward.classes import heads_of, scored_class
from eval_anything.judges.kinds.reward.readers import (
    Reader,
    RewardModelInput,
    RewardQuery,
    UnreadableError,
)

_BATCH = 32


_PATIENCE = 0.005  # seconds that the first of a batch waits for others


Scalars = tuple[float, ...]
"""What the heads of a model give, the overall one first."""


class Head:
    """A checkpoint with its reader: questions in, scalars out. Loads at its first use."""

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path = path
        self.reader = reader
        self._model: Any = None

    def load(self) -> None:
        """UserError if the checkpoint does not load, or has no trained scalar head."""
        import torch
        from transformers import AutoConfig
        from transformers.utils import logging

        logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        # A large model keeps its own type on a GPU.
        own_type = device == "cuda" and not self.reader.exact
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
                dtype="auto" if own_type else torch.float32,
                output_loading_info=True,
            )
        except Exception as error:
            raise UserError(f"{self.path} does not load: {type(error).__name__}: {error}") from error
        missing = sorted(report["missing_keys"])
        if missing:
            raise UserError(f"{self.path} has no trained scalar head: {missing[0]} is missing")
        self._model = model.to(device).eval()

    def scalars(self, questions: Sequence[RewardQuery]) -> list[Scalars | UnreadableError]:
        """The scalars of each question, or why there are none."""
        if self._model is None:
            self.load()
        found: list[Scalars | UnreadableError] = [UnreadableError("")] * len(questions)
        readable: dict[int, RewardModelInput] = {}
        for place, question in enumerate(questions):
            try:
                readable[place] = self._read(question)
            except UnreadableError as error:
                found[place] = error
        pad = self._model.config.get_text_config(decoder=True).pad_token_id
        # Without a token for padding, sequences of different length cannot share a batch; nor do media,
        # whose values would depend on what they are padded with.
        plain = [place for place, read in readable.items() if pad is not None and not read.media]
        groups = [plain, *([place] for place in readable if place not in plain)]
        for group in groups:
            scalars = self._run([readable[place] for place in group], pad or 0) if group else []
            for place, scalar in zip(group, scalars, strict=True):
                found[place] = scalar
        return found

    def _read(self, question: RewardQuery) -> RewardModelInput:
        read = self.reader.read(question)
        config = self._model.config.get_text_config(decoder=True)
        longest = getattr(config, "max_position_embeddings", None)
        if longest is not None and len(read.ids) > longest:
            raise UnreadableError(f"{len(read.ids)} tokens, and the judge reads at most {longest}")
        return read

    def _run(self, readings: Sequence[RewardModelInput], pad: int) -> list[Scalars]:
        """Scalars of token ids, or of one reading with media. Padding is on the right and masked, so it
        does not change them."""
        import torch

        sequences = [read.ids for read in readings]
        media = {name: self._placed(value) for name, value in readings[0].media.items()}
        longest = max(map(len, sequences))
        rows = [[*ids, *[pad] * (longest - len(ids))] for ids in sequences]
        mask = [[1] * len(ids) + [0] * (longest - len(ids)) for ids in sequences]
        with torch.inference_mode():
            logits = self._model(
                input_ids=torch.tensor(rows, device=self._model.device),
                attention_mask=torch.tensor(mask, device=self._model.device),
                **media,
            ).logits
        return [tuple(row) for row in logits.float().tolist()]

    def _placed(self, value: Any) -> Any:
        """A tensor of media where the model is, in its type."""
        dtype = self._model.dtype if value.is_floating_point() else None
        return value.to(self._model.device, dtype=dtype)


class RewardBatcher:
    """Collects questions that are asked at the same time, and has them answered in one thread."""

    def __init__(
        self, answer: Callable[[Sequence[RewardQuery]], list[Scalars | UnreadableError]]
    ) -> None:
        self._answer = answer
        self._waiting: list[tuple[RewardQuery, asyncio.Future[Scalars]]] = []
        self._thread = ThreadPoolExecutor(1, "reward-model")

    async def __call__(self, question: RewardQuery) -> Scalars:
        """The scalars of a question. UnreadableError, or whatever the model raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Scalars] = loop.create_future()
        self._waiting.append((question, future))
        if len(self._waiting) >= _BATCH:
            self._start()
        else:
            loop.call_later(_PATIENCE, self._start)
        return await future

    def _start(self) -> None:
        """Sends off what is waiting; whoever waited for less has been served by another's call."""
        batch, self._waiting = self._waiting, []
        if batch:
            questions = [question for question, _ in batch]
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._answer, questions)
            work.add_done_callback(lambda done: _deliver(done, [future for _, future in batch]))


def _deliver(
    done: asyncio.Future[list[Scalars | UnreadableError]], futures: Sequence[asyncio.Future[Scalars]]
) -> None:
    for place, future in enumerate(futures):
        if future.done():  # who asked is gone
            continue
        if done.cancelled():
            future.cancel()
        elif (error := done.exception()) is not None:
            future.set_exception(error)
        elif isinstance(answer := done.result()[place], UnreadableError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
