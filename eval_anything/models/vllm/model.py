"""A checkpoint in vLLM, in this process: `vllm/PATH`. Prompts, settings, thoughts and texts are those of
`hf`; only the tokens come from another engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec

from eval_anything.content import Modality
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.hf import loading
from eval_anything.models.hf.architecture import auto_class
from eval_anything.models.hf.conversation import conversations
from eval_anything.models.hf.families import family_of
from eval_anything.models.hf.family import EncodedPrompt, Family, GeneratedAnswer, Hole
from eval_anything.models.hf.generation_config import scores_of
from eval_anything.models.hf.generic import GenericFamily
from eval_anything.models.hf.model import TransformersModel
from eval_anything.models.hf.template import template_variables
from eval_anything.models.local.batches import Batcher
from eval_anything.models.vllm.engine import (
    LEAST_TEMPERATURE,
    note_of_version,
    sampling_fields,
    start_engine,
)
from eval_anything.sampling import Sampling

_NOT_TAKEN = (
    *("device", "device_map", "attn_implementation", "quantization", "trust_remote_code"),
    *("adapter", "revision", "output"),
)


class VllmFamily(GenericFamily):
    """Language models, and those that look: text and images in, text out, by vLLM."""

    name: ClassVar[str] = "vllm"
    modalities_in: ClassVar[tuple[Modality, ...]] = (Modality.TEXT, Modality.IMAGE)
    holes: ClassVar[tuple[Hole, ...]] = ()
    options: ClassVar[Mapping[str, int | float | str]] = {
        "max_model_len": 0,
        "gpu_memory_utilization": 0.9,
        "kv_cache_gib": 2,
        "tensor_parallel_size": 1,
        "enforce_eager": False,
    }

    def load(self) -> None:
        """Loads tokenizer or processor, and starts the engine."""
        from transformers import AutoConfig, GenerationConfig

        location = self.source.location
        _, reads_media = auto_class(location, self.source.config, False)
        self.load_processing(reads_media)
        config = AutoConfig.from_pretrained(location)
        try:
            generation = GenerationConfig.from_pretrained(location)
        except OSError:
            generation = GenerationConfig.from_model_config(config)
        settings = SimpleNamespace(generation_config=generation)
        self.stop = loading.stop_ids(self.tokenizer, settings, self.source)
        self.suppress_placeholders(config)
        options = {name: self.option(name) for name in self.options}
        if not options["max_model_len"]:
            del options["max_model_len"]
        assert self.source.path is not None
        self._engine = start_engine(self.source.path, {**options, "dtype": self.settings.dtype})
        self.positions = self._engine.llm_engine.model_config.max_model_len

    def _load_processing(self, reads_media: bool) -> Any:
        holder = super()._load_processing(reads_media)
        self.inputs = tuple(m for m in self.inputs if m in self.modalities_in)
        return holder

    def schema_problem(self) -> str | None:
        return "answers of vLLM in this process are not held to a JSON schema"

    def check_sampling(self, sampling: Sampling) -> list[str]:
        if 0 < sampling.temperature < LEAST_TEMPERATURE:
            raise UserError(
                f"--temperature {sampling.temperature:g}: vLLM would raise it to {LEAST_TEMPERATURE}: "
                "take 0 or that"
            )
        notes = super().check_sampling(sampling)
        scores = scores_of(self.source)
        penalty = scores.pop("repetition_penalty", None)
        if penalty is not None and sampling.repetition_penalty is None:
            notes.append(
                f"the checkpoint's generation_config.json has repetition_penalty {penalty}, which holds "
                "here: --repetition-penalty 1 turns that off"
            )
        if scores:
            notes.append(f"vLLM does not apply {', '.join(scores)} of generation_config.json")
        return [*notes, *note_of_version()]

    def answer(self, prompts: Sequence[EncodedPrompt], store: MediaStore) -> list[GeneratedAnswer]:
        from vllm import SamplingParams

        from eval_anything.models.local.thoughts import begins_in_thoughts

        inputs = [self._input(prompt) for prompt in prompts]
        opened = [begins_in_thoughts(self.tokenizer, i["prompt_token_ids"]) for i in inputs]
        parameters = [
            SamplingParams(**self._fields(prompt, bool(thinks)))
            for prompt, thinks in zip(prompts, opened, strict=True)
        ]
        outputs = self._engine.generate(inputs, parameters, use_tqdm=False)
        return [
            self._answer(list(o.outputs[0].token_ids), list(o.prompt_token_ids), prompt, thinks)
            for o, prompt, thinks in zip(outputs, prompts, opened, strict=True)
        ]

    def _fields(self, prompt: EncodedPrompt, thinks: bool) -> dict[str, Any]:
        """The settings of one request. Thoughts may have texts that end an answer, so that these are cut
        afterwards where a prompt opens thoughts."""
        sampling = prompt.request.sampling
        penalty = scores_of(self.source).get("repetition_penalty")
        if sampling.repetition_penalty is None and penalty is not None:
            sampling = msgspec.structs.replace(sampling, repetition_penalty=float(penalty))
        return sampling_fields(
            sampling,
            seed=prompt.request.seed,
            max_tokens=self.new_tokens([prompt]),
            stop=self.stop,
            ends=() if thinks else sampling.stop or (),
            suppressed=self._suppressed,
        )

    def _input(self, prompt: EncodedPrompt) -> dict[str, Any]:
        """The prompt for vLLM: token ids, in which a placeholder stands for each image."""
        if self.processor is None:
            return {"prompt_token_ids": prompt.data}
        from eval_anything.models.local.plain_text import encoded, marked

        [turns] = conversations([prompt.request.messages]).turns
        parts = [part for turn in turns for part in turn["content"]]
        for part in parts:
            if part["type"] == "text":
                part["text"] = marked(self.tokenizer, part["text"])
        text = self.processor.apply_chat_template(
            turns,
            chat_template=self.template,
            add_generation_prompt=True,
            tokenize=False,
            **template_variables(prompt.request.sampling),
        )
        ids = encoded(self.tokenizer, text, special=False)
        images = [part["image"] for part in parts if part["type"] == "image"]
        return {"prompt_token_ids": ids, **({"multi_modal_data": {"image": images}} if images else {})}

    def shut_down(self) -> None:
        """Frees the engine."""
        self._engine = None


class VllmModel(TransformersModel):
    """A checkpoint of transformers, run by vLLM in this process: text and images in, text out."""

    replicable = False

    def __init__(self, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> None:
        for name in _NOT_TAKEN:
            if name in arguments:
                raise UserError(f"--model-arg {name}: a model of vLLM does not take it: leave it out")
        super().__init__(spec, reference, arguments)
        self.arguments = {k: v for k, v in self.arguments.items() if k not in _NOT_TAKEN}

    def family_class(self) -> type[Family]:
        if family_of(self.architecture) is not GenericFamily:
            raise UserError(
                f"{self.spec}: vllm/PATH runs models that answer with text; {self.architecture} is "
                f"served by hf: --model {self.source.location}"
            )
        return VllmFamily

    @classmethod
    def families(cls) -> list[dict[str, Any]]:
        return []

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """No path: a folder alone is a checkpoint for transformers."""
        return False

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> VllmModel:
        path = Path(reference).expanduser()
        if not str(reference) or not path.is_dir():
            raise UserError(f"--model {spec}: there is no such folder: vllm/PATH names a checkpoint")
        return cls(spec, path, arguments)

    def check_sampling(self, sampling: Sampling) -> list[str]:
        return self.family.check_sampling(sampling)

    def load(self) -> None:
        """Starts the engine, which forms batches by itself: it gets all requests at once."""
        self.family.load()
        self._batcher = Batcher(self.batch_size, 2**62, self.arguments["max_new_tokens"])

    def text(self) -> None:
        """None: prompts of benchmarks of plain text need likelihoods, which `hf` computes."""
        return

    async def close(self) -> None:
        if isinstance(self.family, VllmFamily):
            self.family.shut_down()
