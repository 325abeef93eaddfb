"""Checkpoints of the micro world: ordinary decoders over one vocabulary of words and media codes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eval_anything.content import MODALITIES, Failure, Latency, Modality, Response, TextPart, Usage
from eval_anything.errors import UserError
from eval_anything.files.hashing import hash_files
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request, typed_arguments
from eval_anything.models.local.checkpoint import check_complete, name_of_checkpoint
from eval_anything.sampling import PENALTIES, RESTRICTIONS

if TYPE_CHECKING:
    from eval_anything.models.base import TextModel
    from eval_anything.models.local.text import LoadedCheckpoint, Turns


BUNDLED = Path(__file__).resolve().parent.parent / "checkpoint"


class MicroModel(Model):
    """Runs a checkpoint with a codec.json; `micro` without a path is the bundled one."""

    default_suite = "micro"
    chats: ClassVar[bool] = False
    replicable = True
    architecture = "micro"
    generation_settings = frozenset(
        {"temperature", "system", "max_new_tokens", *RESTRICTIONS, *PENALTIES}
    )

    def __init__(self, spec: str, path: Path, arguments: Mapping[str, str]) -> None:
        check_complete(path)
        self.spec = spec
        self.name = "micro" if path == BUNDLED else name_of_checkpoint(path)
        self.path = path
        self.arguments = typed_arguments(
            arguments, {"batch_size": 64, "max_new_tokens": 128}, "a micro model"
        )
        self.batch_size = self.arguments["batch_size"]
        self._loaded: Any = None
        self._tokenizer: Any = None

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return (path / "codec.json").is_file()

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> MicroModel:
        if not reference:
            return cls(spec, BUNDLED, arguments)
        path = Path(reference)
        if not cls.recognises(path):
            raise UserError(f"--model {spec}: no checkpoint of the micro world at {path}")
        return cls(spec, path, arguments)

    def weights(self) -> str:
        return hash_files([self.path / "model.safetensors", self.path / "codec.json"])

    @property
    def inputs(self) -> tuple[Modality, ...]:
        return MODALITIES

    def load(self) -> None:
        from eval_anything.models.local.generation import load_causal_lm

        self._loaded = load_causal_lm(self.path, "float32")

    def text(self) -> TextModel:
        from eval_anything.models.local.text import LocalText

        return LocalText(self._checkpoint)

    def _checkpoint(self) -> LoadedCheckpoint:
        from transformers import AutoTokenizer

        from eval_anything.models.local.batches import Batcher
        from eval_anything.models.local.text import LoadedCheckpoint

        if self._tokenizer is None:
            self._tokenizer = AutoTokenizer.from_pretrained(self.path)
        batcher = Batcher(self.batch_size, 2**62, self.arguments["max_new_tokens"])
        return LoadedCheckpoint(
            self._loaded, self._tokenizer, batcher, [self._tokenizer.eos_token_id], _written_out
        )

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        return await asyncio.to_thread(self._generate, requests, store)

    def _generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        from eval_anything.micro.model import codec, vocabulary
        from eval_anything.models.local.decoding import decode

        ids, sampling = vocabulary.ids(), requests[0].sampling
        start = time.perf_counter()
        prompts = [codec.encode_prompt(request.messages) for request in requests]
        answers = decode(
            self._loaded,
            prompts,
            seeds=[request.seed for request in requests],
            sampling=sampling,
            max_new_tokens=sampling.max_new_tokens or self.arguments["max_new_tokens"],
            pad=ids[vocabulary.PAD],
            stop=[ids[vocabulary.EOS]],
        )
        seconds = time.perf_counter() - start
        return [
            self._response(len(prompt), answer.ids, seconds, store)
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def _response(
        self, prompt_tokens: int, ids: list[int], seconds: float, store: MediaStore
    ) -> Response:
        from eval_anything.micro.model import codec, vocabulary

        decoded = codec.decode(ids)
        parts = (
            TextPart(part) if isinstance(part, str) else store.put(part.data, part.modality)
            for part in decoded.parts
        )
        error = Failure("invalid_output", "; ".join(decoded.problems)) if decoded.problems else None
        return Response(
            parts=tuple(parts),
            stop_reason="stop" if ids and ids[-1] == vocabulary.ids()[vocabulary.EOS] else "length",
            usage=Usage(prompt_tokens, len(ids)),
            latency=Latency(total=round(seconds, 4)),
            error=error,
        )


def _written_out(turns: Turns, open_for_answer: bool) -> str:
    """The text of a conversation, with the tokens of its roles."""
    from eval_anything.micro.model.vocabulary import ROLES

    written = "".join(f"{ROLES[turn['role']]} {turn['content']} " for turn in turns)
    return written + ROLES["assistant"] if open_for_answer else written.rstrip()
