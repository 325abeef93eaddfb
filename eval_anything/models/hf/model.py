"""Checkpoints of transformers: a directory, a GGUF file, or `hf/ID` from the hub."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from eval_anything.content import Failure, Latency, Modality, Part, Response, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request, failure_of, typed_arguments
from eval_anything.models.hf.families import families, family_of
from eval_anything.models.hf.family import EncodedPrompt, Family, FamilySettings, GeneratedAnswer
from eval_anything.models.hf.gguf_file import note_of_tokenizer
from eval_anything.models.hf.source import ADAPTER, GGUF, Source, find_source
from eval_anything.models.local.batches import Batcher, token_budget
from eval_anything.models.local.checkpoint import name_of_checkpoint
from eval_anything.sampling import GenerationSettings, Sampling
from eval_anything.thoughts import split_thoughts

if TYPE_CHECKING:
    from eval_anything.models.base import TextModel


# Requests of one `generate`, by the size of the weights: (largest number of bytes, requests). Small
# models answer many at once; a large one should not work for an hour before anything is recorded.
_WINDOWS = ((100 * 2**20, 512), (4 * 2**30, 128))


_LEAST_WINDOW = 64


class TransformersModel(Model):
    """Any checkpoint of transformers that a family serves: text, images, sounds, clips in.

    Code of the checkpoint only runs with trust_remote_code=true, and weights must be safetensors. The
    engine passes `batch_size` requests, which are sorted and cut into batches that fit into memory.

    Args:
        spec: the SPEC as the user wrote it.
        reference: a folder, a GGUF file, or an id of the hub.
        arguments: `--model-arg` values: fields of `FamilySettings`, batch_size, adapter, revision, and
            the options of the family.
    """

    replicable = True

    def __init__(self, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> None:
        self.spec = spec
        text = {key: arguments[key] for key in ("revision", "adapter") if key in arguments}
        self.source = find_source(reference, text.get("revision", ""), text.get("adapter", ""))
        path = Path(reference)
        id_name = str(reference).strip("/").replace("/", "--")
        self.name = name_of_checkpoint(path) if path.exists() else id_name
        self.architecture = self.source.model_type
        cls = self.family_class()
        shared = msgspec.structs.asdict(FamilySettings())
        del shared["more"]
        defaults = {"batch_size": "auto", **shared, "adapter": "", "revision": "", **cls.options}
        values = typed_arguments(arguments, defaults, "a transformers model")
        values["batch_size"] = _rows(values["batch_size"])
        self.arguments = values
        settings = FamilySettings(
            **{key: values[key] for key in shared}, more={key: values[key] for key in cls.options}
        )
        self.family: Family = cls(self.source, settings)
        chosen = values["batch_size"]
        self.batch_size = _window(self.source) if chosen == "auto" else chosen
        self._batcher: Batcher | None = None

    def family_class(self) -> type[Family]:
        """The class of the family that serves its architecture."""
        return family_of(self.architecture)

    @classmethod
    def families(cls) -> list[dict[str, Any]]:
        return [cls.described(model_types) for cls, model_types in families().items()]

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether it is a GGUF file, or a folder with one, or with the config of a checkpoint."""
        if path.is_file():
            return path.suffix == GGUF
        names = ("config.json", ADAPTER)
        if any(path.glob(f"*{GGUF}")):
            return True
        return any((path / n).is_file() for n in names) and not (path / "codec.json").is_file()

    @classmethod
    def from_spec(
        cls, spec: str, reference: str | Path, arguments: Mapping[str, str]
    ) -> TransformersModel:
        if not str(reference):
            raise UserError("--model hf needs an id: hf/ORG/NAME, or the path of a checkpoint")
        return cls(spec, reference, arguments)

    @property
    def inputs(self) -> Collection[Modality]:
        return self.family.expected_inputs()

    def weights(self) -> str:
        return self.family.weights()

    @property
    def generation_settings(self) -> Collection[str]:
        return self.family.generation_settings

    def check_sampling(self, sampling: Sampling) -> list[str]:
        from eval_anything.models.hf.generation_config import note_of_scores

        notes = [*self.family.check_sampling(sampling), *note_of_scores(self.source, sampling)]
        return notes if self.source.gguf is None else [*notes, *note_of_tokenizer(self.source.gguf)]

    def schema_problem(self) -> str | None:
        return self.family.schema_problem()

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        self.family.check_schema(schema)

    def checkpoint_settings(self) -> GenerationSettings:
        from eval_anything.models.hf.generation_config import recommended

        return recommended(self.source)

    def load(self) -> None:
        """Loads the weights and sets the bounds of batches."""
        self.family.load()
        new = self.arguments["max_new_tokens"]
        if not self.family.batched:
            self._batcher = Batcher(1, 1, new)
        elif self.arguments["batch_size"] == "auto":
            self._batcher = Batcher(self.batch_size, token_budget(self.family.model), new)
        else:
            self._batcher = Batcher(self.batch_size, 2**62, new)

    def text(self) -> TextModel | None:
        """The checkpoint as a model that continues text, if its family is the generic one."""
        from eval_anything.models.hf.generic import GenericFamily
        from eval_anything.models.local.text import LoadedCheckpoint, LocalText

        family = self.family
        if not isinstance(family, GenericFamily):
            return None

        def loaded() -> LoadedCheckpoint:
            assert self._batcher is not None
            return LoadedCheckpoint(
                family.model, family.tokenizer, self._batcher, family.stop, family.chat
            )

        return LocalText(loaded, not self.source.config.get("is_encoder_decoder", False))

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        """One response for each request, in order; the batches run in a thread."""
        return await asyncio.to_thread(self._generate, requests, store)

    def _generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        assert self._batcher is not None
        limits = [r.sampling.max_new_tokens or self.arguments["max_new_tokens"] for r in requests]
        self._batcher.new = max(limits, default=0)
        answers: list[Response | None] = [self._unsupported(request) for request in requests]
        prompts: list[EncodedPrompt] = []
        answerable: list[int] = []
        for i, request in enumerate(requests):
            if answers[i] is None:
                prompt = self.family.prompt(request)
                prompt = prompt._replace(kind=f"{prompt.kind} {request.sampling.kind}")
                answers[i] = self._too_long(prompt)
                if answers[i] is None:
                    prompts.append(prompt)
                    answerable.append(i)
        seconds: dict[tuple[str, str, int], float] = {}

        def answer(group: Sequence[EncodedPrompt]) -> list[GeneratedAnswer]:
            start = time.perf_counter()
            answers = self.family.answer(group, store)
            total = round(time.perf_counter() - start, 4)
            seconds.update({prompt.request.key: total for prompt in group})
            return answers

        outcomes = self._batcher.answer(prompts, answer)
        for i, outcome in zip(answerable, outcomes, strict=True):
            if isinstance(outcome, Exception):
                answers[i] = Response(error=failure_of(outcome))
            else:
                parts, details = _without_thoughts(outcome)
                answers[i] = Response(
                    parts=parts,
                    stop_reason=outcome.stop_reason,
                    usage=outcome.usage,
                    latency=Latency(total=seconds[requests[i].key]),
                    details=details,
                )
        return [answer for answer in answers if answer is not None]

    def _unsupported(self, request: Request) -> Response | None:
        """The failure of a request with a medium that this checkpoint cannot take."""
        parts = (p for m in request.messages for p in m.parts if not isinstance(p, TextPart))
        foreign = sorted({p.modality.value for p in parts if p.modality not in self.family.inputs})
        if not foreign:
            return None
        takes = " and ".join(m.value for m in self.family.inputs)
        reason = f"this checkpoint takes {takes}; it cannot read {' and '.join(foreign)}"
        return Response(error=Failure("unsupported_input", reason))

    def _too_long(self, prompt: EncodedPrompt) -> Response | None:
        """The failure of a prompt for which the model has no positions."""
        positions = self.family.positions
        if positions is None or prompt.tokens < positions:
            return None
        reason = f"the prompt has {prompt.tokens} tokens, the checkpoint {positions} positions"
        return Response(error=Failure("unsupported_input", reason))


def _without_thoughts(answer: GeneratedAnswer) -> tuple[tuple[Part, ...], dict[str, Any]]:
    """The parts of an answer without the thoughts at its start, and these as details of the response."""
    first, *after_first = answer.parts or (None,)
    if not isinstance(first, TextPart):
        return answer.parts, {}
    split = split_thoughts(first.text, answer.opened)
    parts = (TextPart(split.answer), *after_first) if split.answer else tuple(after_first)
    return parts, {"thoughts": split.thoughts} if split.thoughts else {}


def _rows(text: str) -> int | str:
    if text == "auto":
        return text
    try:
        rows = int(text)
    except ValueError:
        raise UserError(f"--model-arg batch_size={text}: must be auto or a whole number") from None
    if rows < 1:
        raise UserError(f"--model-arg batch_size={text}: must be at least 1")
    return rows


def _window(source: Source) -> int:
    size = source.weight_bytes
    if size is None:
        return _LEAST_WINDOW
    return next((rows for largest, rows in _WINDOWS if size <= largest), _LEAST_WINDOW)
