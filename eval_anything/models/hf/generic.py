"""The family of all checkpoints that answer with text by the documented calls of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from eval_anything.answer_text import answer_text
from eval_anything.content import MODALITIES, Message, Modality, TextPart, Usage
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Request
from eval_anything.models.hf import loading
from eval_anything.models.hf.architecture import auto_class
from eval_anything.models.hf.conversation import conversations
from eval_anything.models.hf.family import EncodedPrompt, Family, FamilySettings, GeneratedAnswer, Hole
from eval_anything.models.hf.source import Source
from eval_anything.models.hf.template import check_template, template_variables
from eval_anything.models.hf.video_processor import VideoProcessor
from eval_anything.sampling import PENALTIES, GenerationSettings, Sampling

if TYPE_CHECKING:
    from eval_anything.models.local.constraint import Grammars

_PLACEHOLDERS = tuple(
    f"{medium}_token_{end}" for medium in ("image", "video", "audio") for end in ("id", "index")
)


OF_TEXT = frozenset(GenerationSettings.__struct_fields__) - {"extra_body"}
"""Settings of generation for answers of text: all but those of servers."""


class GenericFamily(Family):
    """Language models, and those that look and listen: text out.

    Text alone goes through the tokenizer (AutoModelForCausalLM, AutoModelForSeq2SeqLM), media through
    the processor (AutoModelForMultimodalLM): chat template, left padding, `generate`, decode.

    Attributes:
        processor: the processor, None for a checkpoint of text alone.
        tokenizer: the tokenizer.
        template: the chat template as Jinja, None for a model that continues plain text.
        stop: token ids that end an answer.
    """

    name: ClassVar[str] = "generic"
    modalities_in: ClassVar[tuple[Modality, ...]] = MODALITIES
    modalities_out: ClassVar[tuple[Modality, ...]] = (Modality.TEXT,)
    holes: ClassVar[tuple[Hole, ...]] = (
        Hole(
            "the sound of a clip",
            "video processors take frames alone; give the sound as an audio part of its own",
        ),
        Hole(
            "media out, for an architecture without a family of its own",
            "how its codes become pixels or samples differs from model to model",
        ),
    )

    def __init__(self, source: Source, settings: FamilySettings) -> None:
        super().__init__(source, settings)
        self.processor: Any = None
        self.tokenizer: Any = None
        self.template: str | None = None
        self.stop: list[int] = []
        self._grammars: Grammars | None = None
        self._suppressed: list[int] = []

    def expected_inputs(self) -> tuple[Modality, ...]:
        """Modalities that the processor takes, which is loaded for this; the weights are not."""
        _, reads_media = auto_class(
            self.source.location, self.source.config, self.settings.trust_remote_code
        )
        self._load_processing(reads_media)
        return self.inputs

    def load(self) -> None:
        """Loads tokenizer or processor and the weights, and checks that they belong together."""
        auto, reads_media = auto_class(
            self.source.location, self.source.config, self.settings.trust_remote_code
        )
        self.load_processing(reads_media)
        self.model = self._load_weights(auto)
        if self.source.processing != str(self.source.gguf):  # one file has both
            loading.check_vocabulary(self.tokenizer, self.model, self.source.processing)
        self.stop = loading.stop_ids(self.tokenizer, self.model, self.source)
        config = self.model.config
        if self.processor is None:
            self.positions = getattr(config, "max_position_embeddings", None)
        self.suppress_placeholders(config)

    def suppress_placeholders(self, config: Any) -> None:
        """Has the placeholders of media that a config names never be sampled."""
        self._suppressed = sorted({getattr(config, n) for n in _PLACEHOLDERS if hasattr(config, n)})

    def load_processing(self, reads_media: bool) -> None:
        """Loads tokenizer or processor and the chat template, which `conversation` needs."""
        holder = self._load_processing(reads_media)
        self.template = loading.load_chat_template(self.settings, holder, self.source.processing)
        if self.template is None and reads_media:
            raise UserError(
                f"{self.source.location} reads media, and only a chat template can say where they stand "
                "in the prompt: leave out --model-arg chat_template=none"
            )
        if self.template is not None and reads_media:
            self.template = loading.with_first_token(self.template, self.tokenizer)

    def _load_weights(self, auto: Any) -> Any:
        """The model that reads prompts and writes text; `auto` is the class of the whole checkpoint."""
        return loading.load_model(auto, self.source, self.settings)

    def _load_processing(self, reads_media: bool) -> Any:
        """Sets tokenizer, processor and inputs; returns the one that has the chat template."""
        if not reads_media:
            if self.tokenizer is None:
                self.tokenizer = loading.load_tokenizer(self.source, self.settings)
            self.inputs = (Modality.TEXT,)
            return self.tokenizer
        self.processor = loading.load_processor(self.source, self.settings)
        self.tokenizer = self.processor.tokenizer
        parts = {
            Modality.IMAGE: "image_processor",
            Modality.AUDIO: "feature_extractor",
            Modality.VIDEO: "video_processor",
        }
        media = [m for m, name in parts.items() if getattr(self.processor, name, None) is not None]
        if not media:
            raise UserError(
                f"{self.source.processing}: the processor is missing (preprocessor_config.json): save "
                "it with processor.save_pretrained beside the weights"
            )
        self.inputs = tuple(m for m in MODALITIES if m is Modality.TEXT or m in media)
        return self.processor

    @property
    def pad(self) -> int:
        """The token id of padding."""
        pad = self.tokenizer.pad_token_id
        return int(self.stop[0] if pad is None else pad)

    def chat(self, turns: Sequence[Mapping[str, str]], open_for_answer: bool) -> str:
        """The prompt of a conversation of texts, in which control tokens are marked as words.

        Args:
            turns: {"role", "content"} of each message.
            open_for_answer: whether the next answer follows, or (False) more of the last message.

        Raises:
            UserError: there is no chat template.
        """
        if self.template is None:
            raise UserError(
                f"{self.source.location} has no chat template: give --model-arg chat_template"
            )
        from eval_anything.models.local.plain_text import marked

        prompt: str = self.tokenizer.apply_chat_template(
            [{**turn, "content": marked(self.tokenizer, turn["content"])} for turn in turns],
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=open_for_answer,
            continue_final_message=not open_for_answer,
        )
        return prompt

    def prompt(self, request: Request) -> EncodedPrompt:
        """The encoded prompt: token ids for text alone, otherwise an estimate of its length."""
        if self.processor is not None:
            return super().prompt(request)
        ids = self._text_ids(request.messages, template_variables(request.sampling))
        return EncodedPrompt(request, len(ids), data=ids)

    def _text_ids(self, messages: Sequence[Message], variables: Mapping[str, Any]) -> list[int]:
        from eval_anything.models.local.plain_text import chat_ids, encoded, marked

        turns = [
            {"role": m.role, "content": "\n".join(p.text for p in m.parts if isinstance(p, TextPart))}
            for m in messages
        ]
        if self.template is None:
            text = "\n\n".join(turn["content"] for turn in turns)
            is_decoder = not self.source.config.get("is_encoder_decoder", False)
            return encoded(self.tokenizer, marked(self.tokenizer, text), goes_on=is_decoder)
        return chat_ids(self.tokenizer, turns, self.template, variables)

    def build_inputs(self, prompts: Sequence[EncodedPrompt]) -> Mapping[str, Any]:
        """Padded token ids and masks, or the tensors of the processor."""
        from eval_anything.models.local.generation import padded

        if self.processor is None:
            is_decoder = not self.model.config.is_encoder_decoder
            return padded(
                [p.data for p in prompts],
                self.pad,
                self.model.device,
                padding_side="left" if is_decoder else "right",
            )
        variables = template_variables(prompts[0].request.sampling)
        return self._processed([prompt.request.messages for prompt in prompts], variables)

    def conversation(self, messages: Sequence[Message]) -> Mapping[str, Any]:
        """The processor's tensors, with one row, for a conversation that ends with an answer.

        It needs no model, so the tensors are on the CPU.
        """
        inputs: Mapping[str, Any] = self._through_processor([messages], open_for_answer=False)
        return inputs

    def _processed(
        self, batch: Sequence[Sequence[Message]], variables: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The processor's tensors for prompts, on the model's device and in its dtype; `variables` are
        those of the chat template."""
        inputs = self._through_processor(batch, open_for_answer=True, variables=variables)
        on_device: Mapping[str, Any] = inputs.to(self.model.device, dtype=self.model.dtype)
        return on_device

    def _through_processor(
        self,
        batch: Sequence[Sequence[Message]],
        open_for_answer: bool,
        variables: Mapping[str, Any] = {},
    ) -> Any:
        """The processor's tensors; text that looks like a control token or a placeholder stays text."""
        audio = getattr(self.processor, "feature_extractor", None)
        rate = audio.sampling_rate if audio is not None else None
        video = getattr(self.processor, "video_processor", None)
        view = VideoProcessor(video) if video is not None else None
        sampler = view.sample if view is not None and view.samples else None
        batched = conversations(batch, rate, sampler, scaler=view)
        options: dict[str, Any] = {
            "padding": True,
            "padding_side": "left",
            "add_special_tokens": False,
        }
        if batched.videos:
            options |= {"video_metadata": batched.videos, "do_sample_frames": False}
        return self.processor.apply_chat_template(
            batched.turns,
            chat_template=self.template,
            add_generation_prompt=open_for_answer,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            sanitize_control_tokens=True,
            processor_kwargs=options,
            **variables,
        )

    def generate(self, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
        """New token ids for each prompt, up to and including the stop token."""
        return self._new_ids(inputs, prompts, self.new_tokens(prompts))

    def _new_ids(
        self,
        inputs: Mapping[str, Any],
        prompts: Sequence[EncodedPrompt],
        most: int,
        **extra_arguments: Any,
    ) -> list[list[int]]:
        """At most so many new token ids for each prompt; the arguments are those of `generate_ids`."""
        from eval_anything.models.local.generation import generate_ids

        sampling = prompts[0].request.sampling
        schemas = [prompt.request.schema for prompt in prompts]
        if any(schemas):
            extra_arguments["constraint"] = self._constraint(inputs, schemas)
        if sampling.stop:
            extra_arguments["stopping_criteria"] = self._stopping(inputs, sampling.stop)
        return generate_ids(
            self.model,
            inputs,
            seeds=[prompt.request.seed for prompt in prompts],
            sampling=sampling,
            max_new_tokens=most,
            pad=self.pad,
            stop=self.stop,
            suppress=self._suppressed,
            **extra_arguments,
        )

    def schema_problem(self) -> str | None:
        from eval_anything.models.local.constraint import library_problem

        return library_problem() if self.mode == "text" else super().schema_problem()

    def check_schema(self, schema: Mapping[str, Any]) -> None:
        self._loaded_grammars().matcher(schema)

    def _loaded_grammars(self) -> Grammars:
        from eval_anything.models.local.constraint import Grammars

        if self._grammars is None:
            self._grammars = Grammars(self.tokenizer, self.stop, self.source.processing)
        return self._grammars

    def _constraint(self, inputs: Mapping[str, Any], schemas: Sequence[Mapping[str, Any] | None]) -> Any:
        """The processor of scores that holds the answers of a batch to their schemas."""
        from eval_anything.models.local.thoughts import begins_in_thoughts

        opened = [begins_in_thoughts(self.tokenizer, ids) for ids in _read_ids(inputs)]
        return self._loaded_grammars().processor(schemas, opened)

    def _stopping(self, inputs: Mapping[str, Any], texts: Sequence[str]) -> Any:
        """The stopping criteria for texts that end an answer."""
        from eval_anything.models.local.stopping import stops_at
        from eval_anything.models.local.thoughts import begins_in_thoughts

        opened = [begins_in_thoughts(self.tokenizer, ids) for ids in _read_ids(inputs)]
        start = 1 if self.model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        return stops_at(self.tokenizer, texts, start, opened)

    def decode(
        self, output: Any, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt], store: MediaStore
    ) -> list[GeneratedAnswer]:
        from eval_anything.models.local.thoughts import begins_in_thoughts

        return [
            self._answer(ids, read, prompt, begins_in_thoughts(self.tokenizer, read))
            for ids, read, prompt in zip(output, _read_ids(inputs), prompts, strict=True)
        ]

    @property
    def generation_settings(self) -> frozenset[str]:
        """Penalties, texts that end an answer and its length are for answers of text."""
        return OF_TEXT if self.mode == "text" else OF_TEXT - {*PENALTIES, "stop", "max_new_tokens"}

    def check_sampling(self, sampling: Sampling) -> list[str]:
        if sampling.system or template_variables(sampling):
            _, reads_media = auto_class(
                self.source.location, self.source.config, self.settings.trust_remote_code
            )
            self.load_processing(reads_media)
            check_template(self.template, self.tokenizer, sampling, self.processor is not None)
        return super().check_sampling(sampling)

    def _answer(
        self, ids: list[int], read: list[int], prompt: EncodedPrompt, opened: bool | None
    ) -> GeneratedAnswer:
        """The answer of new token ids to a prompt of the ids `read`."""
        from eval_anything.models.local.stopping import before_stop
        from eval_anything.models.local.thoughts import decoded

        text, ends = decoded(self.tokenizer, ids), prompt.request.sampling.stop or ()
        until = before_stop(text, ends, opened)
        by_text = until is not None or (bool(ends) and len(ids) < self.new_tokens([prompt]))
        text = answer_text(text if until is None else until)
        return GeneratedAnswer(
            parts=(TextPart(text),) if text else (),
            stop_reason="stop" if by_text or (ids and ids[-1] in self.stop) else "length",
            usage=Usage(len(read), len(ids)),
            opened=opened,
        )


def _read_ids(inputs: Mapping[str, Any]) -> list[list[int]]:
    """The token ids of each prompt without its padding."""
    masks = inputs["attention_mask"].bool()
    return [row[mask].tolist() for row, mask in zip(inputs["input_ids"], masks, strict=True)]
