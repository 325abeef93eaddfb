"""Text checkpoints of transformers: a directory, or `hf/ID` from the hub."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_anything.content import Failure, Message, Response, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request, hash_files, typed_arguments
from eval_anything.models.checkpoint import check_complete, weight_files

_DEFAULTS: dict[str, int | float | str] = {
    "batch_size": 8,
    "max_new_tokens": 512,
    "device": "auto",
    "dtype": "auto",
}


class TransformersModel(Model):
    """A causal language model with its tokenizer; text in, text out.

    Prompts go through the tokenizer's chat template where it has one. No code of the checkpoint is
    run, and weights must be safetensors.
    """

    def __init__(self, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> None:
        self.spec = spec
        self.source = str(reference)
        path = Path(reference)
        self.path = path if path.is_dir() else None
        if self.path is not None:
            check_complete(self.path)
        self.name = path.resolve().name if self.path is not None else self.source.replace("/", "--")
        self.arguments = typed_arguments(arguments, _DEFAULTS, "a transformers model")
        self.batch_size = self.arguments["batch_size"]
        self._tokenizer: Any = None
        self._model: Any = None

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return (path / "config.json").is_file() and not (path / "codec.json").is_file()

    @classmethod
    def from_spec(
        cls, spec: str, reference: str | Path, arguments: Mapping[str, str]
    ) -> TransformersModel:
        if not str(reference):
            raise UserError("--model hf needs an id: hf/ORG/NAME, or the path of a checkpoint")
        return cls(spec, reference, arguments)

    def weights(self) -> str:
        if self.path is not None:
            return hash_files([self.path / "config.json", *weight_files(self.path)])
        from huggingface_hub import HfApi  # the commit that the id stands for names its weights

        try:
            commit = HfApi().model_info(self.source).sha
        except Exception as error:
            raise UserError(
                f"--model {self.spec}: the hub does not answer for {self.source!r} "
                f"({type(error).__name__}); give a local path if there is no network"
            ) from error
        return hashlib.sha256(f"{self.source}@{commit}".encode()).hexdigest()

    def load(self) -> None:
        import torch
        from transformers import AutoTokenizer

        from eval_anything.models.generation import load_causal_lm

        device = self.arguments["device"]
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = AutoTokenizer.from_pretrained(self.source)
        self._model = load_causal_lm(self.source, self.arguments["dtype"]).to(device)

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        return await asyncio.to_thread(self._generate, requests)

    def _generate(self, requests: Sequence[Request]) -> list[Response]:
        from eval_anything.models.generation import generate_ids

        answers: list[Response | None] = [_unsupported(r.messages) for r in requests]
        open_ = [i for i, answer in enumerate(answers) if answer is None]
        if open_:
            tokenizer, model = self._tokenizer, self._model
            prompts = [_prompt_ids(tokenizer, requests[i].messages) for i in open_]
            start = time.perf_counter()
            stop = _stop_ids(tokenizer, model)
            generated = generate_ids(
                model,
                prompts,
                seeds=[requests[i].seed for i in open_],
                temperature=requests[0].sampling.temperature,
                max_new_tokens=self.arguments["max_new_tokens"],
                pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stop[0],
                stop=stop,
            )
            seconds = time.perf_counter() - start
            for i, prompt, ids in zip(open_, prompts, generated, strict=True):
                text = tokenizer.decode(ids, skip_special_tokens=True).strip()
                answers[i] = Response(
                    parts=(TextPart(text),) if text else (),
                    stop_reason="stop" if ids and ids[-1] in stop else "length",
                    usage={"input": len(prompt), "output": len(ids)},
                    latency={"total": round(seconds, 4)},
                )
        return [answer for answer in answers if answer is not None]


def _unsupported(messages: Sequence[Message]) -> Response | None:
    media = {p.modality for m in messages for p in m.parts if not isinstance(p, TextPart)}
    if not media:
        return None
    names = ", ".join(sorted(media))
    return Response(error=Failure("unsupported_input", f"a text model cannot read {names}"))


def _prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    turns = [
        {"role": m.role, "content": "\n".join(p.text for p in m.parts if isinstance(p, TextPart))}
        for m in messages
    ]
    if tokenizer.chat_template:
        encoded = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
        return list(encoded["input_ids"])
    return list(tokenizer("\n\n".join(turn["content"] for turn in turns))["input_ids"])


def _stop_ids(tokenizer: Any, model: Any) -> list[int]:
    """Where the answer ends: what the checkpoint's generation config says, else its tokenizer."""
    stop = model.generation_config.eos_token_id
    stop = [stop] if isinstance(stop, int) else list(stop or [])
    if not stop and tokenizer.eos_token_id is not None:
        stop = [tokenizer.eos_token_id]
    if not stop:
        raise UserError("the checkpoint names no end-of-text token: set eos_token_id in its config")
    return stop
