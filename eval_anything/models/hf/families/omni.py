"""Qwen2.5-Omni and Qwen3-Omni: a thinker that writes text, and a talker that reads it aloud."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

from eval_anything.content import Message, Modality, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.hf import loading
from eval_anything.models.hf.families.sounds import IdStreamer, sound_part
from eval_anything.models.hf.family import EncodedPrompt, FamilySettings, GeneratedAnswer, Hole
from eval_anything.models.hf.generic import OF_TEXT, GenericFamily
from eval_anything.models.hf.source import Source
from eval_anything.models.local.batches import is_out_of_memory

_SPEAKERS = "spk_dict.pt"


# Inputs for the thinker alone: without the prefix `thinker_` the talker gets them too, and fails.
_OF_THINKER = ("pixel_values", "pixel_values_videos")


class SpokenAnswer(NamedTuple):
    """The output for one request: new token ids, and the speech (samples,) or None if it is silent."""

    ids: list[int]
    speech: Any


class OmniFamily(GenericFamily):
    """The thinker writes text, the talker speaks it with the default sampling settings of `generate`.

    The temperature is for the text. Speech is sampled with the seed of its request, one request at a
    time.
    """

    modalities_out: ClassVar[tuple[Modality, ...]] = (Modality.TEXT, Modality.AUDIO)
    modes: ClassVar[tuple[str, ...]] = ("text+audio", "text")
    holes: ClassVar[tuple[Hole, ...]] = (
        Hole(
            "sound of clips",
            "its processor weaves in the sound of a file that it opens by itself, and files are decoded "
            "here; give the sound as an audio part of its own",
        ),
        Hole(
            "batches of spoken answers",
            "talker and vocoder draw from one random state, so an answer would depend on its batch",
        ),
    )
    options: ClassVar[Mapping[str, int | float | str]] = {"speaker": "", "talker_max_new_tokens": 4096}

    architecture: ClassVar[str]
    thinker: ClassVar[str]
    speaker: ClassVar[str]
    # Frames for a second of a clip; the processor needs it and no config has it.
    fps: ClassVar[float]
    # Hz of the speech: no config has it (the examples of the model cards use it).
    rate: ClassVar[int] = 24000

    def __init__(self, source: Source, settings: FamilySettings) -> None:
        super().__init__(source, settings)
        if not source.config.get("enable_audio_output", True):
            if settings.output == "text+audio":
                raise UserError(
                    f"--model-arg output=text+audio: {source.location} has no talker: leave it out"
                )
            self.mode = "text"
        self.batched = self.mode == "text"
        self.full_model: Any = None

    def _load_processing(self, reads_media: bool) -> Any:
        holder = super()._load_processing(reads_media)
        video = self.processor.video_processor
        if video.fps is None and video.num_frames is None:
            video.fps = self.fps
        return holder

    def _load_weights(self, auto: Any) -> Any:
        import transformers

        if self.mode == "text":
            return loading.load_model(getattr(transformers, self.thinker), self.source, self.settings)
        self.full_model = self._load_full_model(getattr(transformers, self.architecture))
        speakers = self._speakers()
        if self._speaker not in speakers:
            raise UserError(
                f"--model-arg speaker={self._speaker}: {self.source.location} speaks as "
                f"{', '.join(sorted(speakers))}"
            )
        return self.full_model.thinker

    def _load_full_model(self, cls: Any) -> Any:
        return loading.load_model(cls, self.source, self.settings)

    @abstractmethod
    def _speakers(self) -> Mapping[str, Any]:
        """The speakers of the checkpoint, by name."""

    @abstractmethod
    def _end_of_speech(self) -> dict[str, Any]:
        """Arguments of `generate` that make the talker stop."""

    @property
    def _speaker(self) -> str:
        return str(self.option("speaker")) or self.speaker

    @property
    def generation_settings(self) -> frozenset[str]:
        """All of text; but speech is of the whole text, which so cannot end early."""
        return OF_TEXT if self.mode == "text" else OF_TEXT - {"stop"}

    def generate(self, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt]) -> list[Any]:
        """The output for each prompt: of the thinker alone, or of thinker and talker."""
        if self.mode == "text":
            return [SpokenAnswer(ids, None) for ids in super().generate(inputs, prompts)]
        return [self._speak(inputs, prompts[0])]

    def _speak(self, inputs: Mapping[str, Any], prompt: EncodedPrompt) -> SpokenAnswer:
        from eval_anything.models.local.generation import sampling_arguments, seeded, until_stop

        seed, new = prompt.request.seed, self.new_tokens([prompt])
        sampling = prompt.request.sampling
        arguments = sampling_arguments([seed], sampling, new, self.pad, self.stop, self._suppressed)
        arguments |= {"max_new_tokens": new, "eos_token_id": self.stop}
        written, spoken = IdStreamer(), IdStreamer()
        model_inputs = {f"thinker_{key}" if key in _OF_THINKER else key: inputs[key] for key in inputs}
        try:
            with seeded(seed):
                sequences, speech = self.full_model.generate(
                    **model_inputs,
                    **{f"thinker_{key}": setting for key, setting in arguments.items()},
                    **self._end_of_speech(),
                    talker_max_new_tokens=self.option("talker_max_new_tokens"),
                    speaker=self._speaker,
                    thinker_streamer=written,
                    talker_streamer=spoken,
                )
        except (RuntimeError, IndexError, ValueError) as error:
            # If thinker or talker stop at once, transformers continues with empty tensors and fails.
            if is_out_of_memory(error) or not (written.stopped_at_once or spoken.stopped_at_once):
                raise
            return SpokenAnswer(written.ids, None)
        length = inputs["input_ids"].shape[1]
        return SpokenAnswer(
            until_stop(sequences[0, length:].tolist(), set(self.stop)), speech.reshape(-1)
        )

    def decode(
        self, output: Any, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt], store: MediaStore
    ) -> list[GeneratedAnswer]:
        answers = super().decode([spoken.ids for spoken in output], inputs, prompts, store)
        return [
            answer
            if spoken.speech is None
            else answer._replace(parts=(*answer.parts, sound_part(spoken.speech, self.rate, store)))
            for answer, spoken in zip(answers, output, strict=True)
        ]


class Qwen25OmniFamily(OmniFamily):
    """Qwen2.5-Omni: text, images, sounds and clips in, text and speech out."""

    name = "qwen2_5_omni"
    architecture = "Qwen2_5OmniForConditionalGeneration"
    thinker = "Qwen2_5OmniThinkerForConditionalGeneration"
    speaker = "Chelsie"
    fps = 2.0
    # The model card of Qwen/Qwen2.5-Omni-7B says that speech may not work without this prompt.
    system = (
        "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving "
        "auditory and visual inputs, as well as generating text and speech."
    )

    def _load_full_model(self, cls: Any) -> Any:
        """Loads the model without its own `from_pretrained`, and then the speakers.

        Its own `from_pretrained` opens the file of speakers without useful errors.
        """
        from transformers import PreTrainedModel

        plain = PreTrainedModel.from_pretrained.__func__
        bound = SimpleNamespace(from_pretrained=lambda *args, **kwargs: plain(cls, *args, **kwargs))
        model = loading.load_model(bound, self.source, self.settings)
        self._load_speakers(model)
        return model

    def _load_speakers(self, model: Any) -> None:
        """Loads the speakers from a pickle, of which torch reads tensors and names and runs no code."""
        from transformers.utils import cached_file

        where = self.source.location
        try:
            path = cached_file(where, _SPEAKERS, revision=self.source.revision)
        except OSError:
            raise UserError(
                f"{where}: {_SPEAKERS} is missing, which says how its speakers sound (save_pretrained "
                "leaves it out): copy it from the original checkpoint, or ask for text: "
                "--model-arg output=text"
            ) from None
        try:
            model.load_speakers(path)
            for voice in model.speaker_map.values():
                voice["bos_token"], voice["cond"].shape, voice["ref_mel"].shape
        except Exception as error:
            raise UserError(
                f"{path} is no dictionary of speakers that can be read without running code "
                f"({type(error).__name__}): copy it from the original checkpoint"
            ) from error

    def _speakers(self) -> Mapping[str, Any]:
        return dict(self.full_model.speaker_map)

    def _end_of_speech(self) -> dict[str, Any]:
        talker = self.full_model.talker
        return {"talker_eos_token_id": [talker.codec_pad_token, talker.codec_eos_token]}

    def _processed(
        self, batch: Sequence[Sequence[Message]], variables: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        if self.mode == "text":
            return super()._processed(batch, variables)
        first = Message("system", (TextPart(self.system),))
        has_system = [any(message.role == "system" for message in messages) for messages in batch]
        return super()._processed(
            [m if system else (first, *m) for m, system in zip(batch, has_system, strict=True)],
            variables,
        )


class Qwen3OmniFamily(OmniFamily):
    """Qwen3-Omni: text, images, sounds and clips in, text and speech out."""

    name = "qwen3_omni"
    architecture = "Qwen3OmniMoeForConditionalGeneration"
    thinker = "Qwen3OmniMoeThinkerForConditionalGeneration"
    speaker = "ethan"
    fps = 1.0

    def _load_full_model(self, cls: Any) -> Any:
        """Loads the model and copies `audio_config` from the thinker's config into the talker's.

        The talker needs it for the positions of sounds beside images or clips (an AttributeError in
        transformers 5.23).
        """
        model = super()._load_full_model(cls)
        if not hasattr(model.talker.config, "audio_config"):
            model.talker.config.audio_config = model.thinker.config.audio_config
        return model

    def _speakers(self) -> Mapping[str, Any]:
        return dict(self.full_model.config.talker_config.speaker_id or {})

    @property
    def _speaker(self) -> str:
        return super()._speaker.lower()

    def _end_of_speech(self) -> dict[str, Any]:
        return {}
