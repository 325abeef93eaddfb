"""A family: how the checkpoints of one architecture are asked, and how their outputs become parts.

One generic family serves all that the documented calls of transformers serve: processor, chat
template, `generate`, decode. A class of its own, in families/<name>.py, is only for architectures
where transformers leaves something out. What is left out for good is said in `holes`.

To write one:

- give it a `name`, and register it as an entry point of `eval_anything.hf_families` under each
  config.model_type that it serves;
- say what goes in and out in `modalities_in` and `modalities_out`; where one checkpoint takes less
  (no image processor, say), narrow `self.inputs` in `load`;
- a model that must be told what to make (text *or* image) lists its `modes`; the first is the default,
  the user chooses with `--model-arg output=image`, and `self.mode` has it. The sample's contract is
  never shown to the model: that would answer the question that selection tasks ask;
- further `--model-arg` (height, speaker ...) go to `options`, name and default; `self.option(name)`;
- a model that draws random numbers by itself sets `batched = False` and draws inside
  `generation.seeded(prompt.request.seed)`; one that only needs logits uses `generation.generate_ids`.
  Either way an answer depends on its request's seed and temperature, and not on its batch.

The way of a request: `prompt` -> batches of one `kind` -> `build_inputs` -> `generate` -> `decode`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from msgspec import Struct

from eval_anything.content import Modality, Part, TextPart, Usage
from eval_anything.errors import UserError
from eval_anything.files.hashing import combined, hash_files
from eval_anything.media import MediaStore
from eval_anything.models.base import Request

if TYPE_CHECKING:
    from eval_anything.models.hf.source import Source


# What a medium counts in the estimate of a prompt's length, in tokens.
MEDIUM_TOKENS = 600


class Hole(NamedTuple):
    """Something that an architecture can do and transformers cannot."""

    what: str
    reason: str


class FamilySettings(Struct, frozen=True, kw_only=True):
    """What `--model-arg` asks of every family; `more` holds the options of the family itself."""

    max_new_tokens: int = 512
    device: str = "auto"
    device_map: str = ""
    dtype: str = "auto"
    attn_implementation: str = ""
    quantization: str = ""
    trust_remote_code: bool = False
    chat_template: str = "auto"
    output: str = "auto"
    more: Mapping[str, Any] = {}


class EncodedPrompt(NamedTuple):
    """A request, ready to be put into a batch.

    Attributes:
        tokens: its length, for sorting and for the memory that it takes; an estimate will do.
        kind: only prompts of the same kind share a batch.
        data: what the family keeps for `build_inputs`, token ids for example.
    """

    request: Request
    tokens: int
    kind: str = ""
    data: Any = None


class GeneratedAnswer(NamedTuple):
    """What the model made of one request: parts in their order, tokens read and written."""

    parts: tuple[Part, ...]
    stop_reason: str
    usage: Usage


class Family(ABC):
    """One loaded checkpoint of an architecture.

    Attributes:
        name: what listings call it.
        modalities_in: what its checkpoints can be shown.
        modalities_out: what they can answer with through this adapter.
        modes: what `--model-arg output` may ask for; "text" alone where there is no choice.
        holes: what transformers leaves out.
        options: further `--model-arg`, with their defaults.
        batched: whether several requests may share one `generate`.
        inputs: what this very checkpoint takes, known after `load`.
        positions: a prompt of so many `tokens` fails; None where the estimate is not exact.
    """

    name: ClassVar[str]
    modalities_in: ClassVar[tuple[Modality, ...]]
    modalities_out: ClassVar[tuple[Modality, ...]]
    modes: ClassVar[tuple[str, ...]] = ("text",)
    holes: ClassVar[tuple[Hole, ...]] = ()
    options: ClassVar[Mapping[str, int | float | str]] = {}
    batched: bool = True
    positions: int | None = None
    model: Any = None

    def __init__(self, source: Source, settings: FamilySettings) -> None:
        self.source = source
        self.settings = settings
        self.inputs: tuple[Modality, ...] = self.modalities_in
        if settings.output not in ("auto", *self.modes):
            raise UserError(
                f"--model-arg output={settings.output}: a checkpoint of type {source.model_type} "
                f"answers with {' or '.join(self.modes)}"
            )
        self.mode = self.modes[0] if settings.output == "auto" else settings.output

    @classmethod
    def described(cls, model_types: Sequence[str]) -> dict[str, Any]:
        """The row of `models list`, for the values of config.model_type that it serves."""
        return {
            "name": cls.name,
            "about": (inspect.getdoc(cls) or "").partition("\n")[0],
            "model_types": list(model_types),
            "inputs": [m.value for m in cls.modalities_in],
            "outputs": [m.value for m in cls.modalities_out],
            "modes": list(cls.modes),
            "holes": [hole._asdict() for hole in cls.holes],
        }

    def option(self, name: str) -> Any:
        """The value of one of the family's own `options`."""
        return self.settings.more[name]

    def weights(self) -> str:
        """sha256 of what makes it answer as it does: the checkpoint, and what options name."""
        files = self.named_files()
        return combined(self.source.weights(), hash_files(files)) if files else self.source.weights()

    def named_files(self) -> list[Path]:
        """The files that options name and that answers depend on, as far as they are there: `load` says
        what is missing."""
        file = Path(self.settings.chat_template)
        named = self.settings.chat_template not in ("auto", "none")
        return [file] if named and file.is_file() else []

    @abstractmethod
    def load(self) -> None:
        """Loads processor and weights (`loading.load_processor`, `loading.load_model`) and sets
        `self.model`. UserError if the checkpoint cannot be used as it is."""

    def prompt(self, request: Request) -> EncodedPrompt:
        """One request on its own: no medium is read yet. Prompts with the same media share batches, as
        processors want either no image or some."""
        parts = [part for message in request.messages for part in message.parts]
        tokens = sum(len(p.text) // 3 + 4 if isinstance(p, TextPart) else MEDIUM_TOKENS for p in parts)
        kinds = sorted({part.modality.value for part in parts} - {"text"})
        return EncodedPrompt(request, tokens, "+".join(kinds))

    @abstractmethod
    def build_inputs(self, prompts: Sequence[EncodedPrompt]) -> Mapping[str, Any]:
        """The inputs of `generate` for a batch: padded tensors on the model's device and in its type."""

    @abstractmethod
    def generate(self, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt]) -> Any:
        """The raw output for a batch: token ids, waveforms, pixels."""

    @abstractmethod
    def decode(
        self,
        output: Any,
        inputs: Mapping[str, Any],
        prompts: Sequence[EncodedPrompt],
        store: MediaStore,
    ) -> list[GeneratedAnswer]:
        """One answer a prompt, without the prompt and what follows the end; media are put into the
        store (`encode.encode_png` and its like)."""

    def answer(self, prompts: Sequence[EncodedPrompt], store: MediaStore) -> list[GeneratedAnswer]:
        """One batch from prompts to answers."""
        inputs = self.build_inputs(prompts)
        return self.decode(self.generate(inputs, prompts), inputs, prompts, store)
