"""The interface of a family: it prompts the checkpoints of one architecture and decodes their outputs.

A generic family serves all checkpoints that the documented calls of transformers serve: processor, chat
template, `generate`, decode. A class in families/<name>.py is only for architectures where transformers
lacks something. Features that stay unsupported are listed in `holes`.

To write a family:

- give it a `name`, and register it as an entry point of `eval_anything.hf_families` under each
  config.model_type that it serves;
- list its modalities in `modalities_in` and `modalities_out`; where one checkpoint takes fewer (for
  want of an image processor), narrow `self.inputs` in `load`;
- a model that needs an instruction what to make (text *or* image) lists its `modes`; the first is the
  default, the user chooses with `--model-arg output=image`, and `self.mode` has the choice. The model
  never sees the contract of a sample, which has the answer to selection tasks;
- further `--model-arg` (height, speaker ...) go to `options`, name and default; `self.option(name)`;
- a model that samples by itself sets `batched = False` and runs inside
  `generation.seeded(prompt.request.seed)`; a model of which only logits are needed uses
  `generation.generate_ids`. Either way an answer depends on the seed and sampling of its request,
  and not on its batch.

A request passes through `prompt`, batches of one `kind`, `build_inputs`, `generate` and `decode`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from msgspec import Struct

from eval_anything.content import Modality, Part, TextPart, Usage
from eval_anything.errors import UserError
from eval_anything.files.hashing import combined, hash_files
from eval_anything.media import MediaStore
from eval_anything.models.base import Request
from eval_anything.sampling import Sampling

if TYPE_CHECKING:
    from eval_anything.models.hf.source import Source


# Tokens of a medium in the estimate of a prompt's length.
MEDIUM_TOKENS = 600


class Hole(NamedTuple):
    """A feature that an architecture has and transformers lacks, and the reason."""

    what: str
    reason: str


class FamilySettings(Struct, frozen=True, kw_only=True):
    """The `--model-arg` values of every family; `more` has the values of the family's own `options`."""

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
    """A request that is ready for a batch.

    Attributes:
        request: the request.
        tokens: its length, exact or estimated, for sorting and for the memory that it takes.
        kind: only prompts of the same kind share a batch.
        data: anything that `build_inputs` of the family needs, such as token ids.
    """

    request: Request
    tokens: int
    kind: str = ""
    data: Any = None


class GeneratedAnswer(NamedTuple):
    """The answer to one request.

    Attributes:
        parts: its parts in their order; thoughts may be at the start of the first text.
        stop_reason: stop or length.
        usage: tokens read and written.
        opened: whether the prompt ended with the mark that opens thoughts; None if that is not known.
    """

    parts: tuple[Part, ...]
    stop_reason: str
    usage: Usage
    opened: bool | None = None


class Family(ABC):
    """One loaded checkpoint of an architecture.

    Attributes:
        name: its name in listings.
        modalities_in: modalities that its checkpoints can take.
        modalities_out: modalities of their answers.
        modes: values of `--model-arg output`; "text" alone where there is no choice.
        holes: features that transformers lacks.
        options: further `--model-arg`, with their defaults.
        batched: whether several requests may share one `generate`.
        inputs: modalities that this checkpoint takes; final after `load`.
        positions: a prompt of so many `tokens` fails; None where `tokens` is only an estimate.
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

    @property
    def generation_settings(self) -> Collection[str]:
        """Names of the settings of generation that it takes."""
        return frozenset({"temperature", "max_new_tokens"})

    def expected_inputs(self) -> tuple[Modality, ...]:
        """Modalities that this checkpoint takes, as its config says before `load`."""
        return self.inputs

    @classmethod
    def described(cls, model_types: Sequence[str]) -> dict[str, Any]:
        """The row of `models list`; `model_types` are the values of config.model_type that it serves."""
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
        """sha256 of all that decides its answers: the checkpoint, and the files that options name."""
        files = self.named_files()
        return combined(self.source.weights(), hash_files(files)) if files else self.source.weights()

    def named_files(self) -> list[Path]:
        """The existing files that options name and answers depend on; `load` reports missing ones."""
        if self.settings.chat_template in ("auto", "none"):
            return []
        file = Path(self.settings.chat_template)
        return [file] if file.is_file() else []

    def check_sampling(self, sampling: Sampling) -> list[str]:
        """Checks settings of generation, before `load`; see `Model.check_sampling`."""
        return []

    def schema_problem(self) -> str | None:
        """The reason why answers cannot be held to a JSON schema; see `Model.schema_problem`."""
        return f"answers of the family {self.name} are not held to a JSON schema"

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        """Raises UserError for a schema that cannot hold; called after `load`."""

    def new_tokens(self, prompts: Sequence[EncodedPrompt]) -> int:
        """The most new tokens of an answer, which is the same in a batch."""
        return prompts[0].request.sampling.max_new_tokens or self.settings.max_new_tokens

    @abstractmethod
    def load(self) -> None:
        """Loads processor and weights (`loading.load_processor`, `loading.load_model`).

        It sets `self.model`. Raises UserError if the checkpoint cannot be used as it is.
        """

    def prompt(self, request: Request) -> EncodedPrompt:
        """The encoded prompt of one request; no medium is read yet.

        Only prompts with the same kinds of media share a batch, since processors take batches in which
        either all or none of the prompts have images.
        """
        parts = [part for message in request.messages for part in message.parts]
        tokens = sum(len(p.text) // 3 + 4 if isinstance(p, TextPart) else MEDIUM_TOKENS for p in parts)
        kinds = sorted({part.modality.value for part in parts} - {"text"})
        return EncodedPrompt(request, tokens, "+".join(kinds))

    @abstractmethod
    def build_inputs(self, prompts: Sequence[EncodedPrompt]) -> Mapping[str, Any]:
        """The inputs of `generate` for a batch: padded tensors on the model's device, in its dtype."""

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
        """One answer for each prompt, without the prompt and without tokens after the end.

        Media are encoded (`encode.encode_png` and others) and put into the store.
        """

    def answer(self, prompts: Sequence[EncodedPrompt], store: MediaStore) -> list[GeneratedAnswer]:
        """The answers to a batch of prompts: `build_inputs`, `generate` and `decode` in turn."""
        inputs = self.build_inputs(prompts)
        return self.decode(self.generate(inputs, prompts), inputs, prompts, store)
