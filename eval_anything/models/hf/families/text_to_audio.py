"""Families of models that turn text into speech or music, and give no other answers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from eval_anything.content import Modality, TextPart, Usage
from eval_anything.errors import UserError
from eval_anything.files.hashing import combined
from eval_anything.media import MediaStore
from eval_anything.models.base import Request
from eval_anything.models.hf import loading
from eval_anything.models.hf.families.sounds import IdStreamer, sound_part
from eval_anything.models.hf.family import EncodedPrompt, Family, GeneratedAnswer, Hole

# The most frames of SpeechT5 for each letter: the default of `generate_speech`.
_LONGEST = 20.0


_ROLES = Hole(
    "roles of a conversation",
    "these models know no turns; the texts of all messages are joined by line breaks",
)


class GeneratedSound(NamedTuple):
    """Samples (n,) or (channels, n) at `rate` Hz, the stop reason, and the number of sampled codes."""

    samples: Any
    rate: int
    stop_reason: str = "stop"
    codes: int | None = None


class _TextToAudio(Family):
    """A model that answers one request at a time, with the seed of the request.

    A temperature above 0 is for the codes of sound, in models that sample codes. At 0 the checkpoint's
    generation config decides, and most of them sample: greedy codes sound much worse (according to the
    page of MusicGen in the documentation of transformers). VITS and SpeechT5 have no temperature.
    """

    modalities_in: ClassVar[tuple[Modality, ...]] = (Modality.TEXT,)
    modalities_out: ClassVar[tuple[Modality, ...]] = (Modality.AUDIO,)
    modes: ClassVar[tuple[str, ...]] = ("audio",)
    holes: ClassVar[tuple[Hole, ...]] = (_ROLES,)
    architecture: ClassVar[str]
    batched = False
    processor: Any = None

    def load(self) -> None:
        import transformers

        self.processor = self._load_processor()
        cls = getattr(transformers, self.architecture)
        self.model = loading.load_model(cls, self.source, self.settings)
        self._prepare()

    def _load_processor(self) -> Any:
        return loading.load_processor(self.source, self.settings)

    def _prepare(self) -> None:
        """Checks and loads what else is needed. Raises UserError for what is missing or wrong."""

    @abstractmethod
    def _sound(self, inputs: Mapping[str, Any], prompt: EncodedPrompt) -> GeneratedSound:
        """The sound for one prompt, by the documented call of the architecture."""

    def prompt(self, request: Request) -> EncodedPrompt:
        parts = [part for message in request.messages for part in message.parts]
        text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
        return EncodedPrompt(request, self._length(text), data=text)

    def _length(self, text: str) -> int:
        tokenizer = getattr(self.processor, "tokenizer", self.processor)
        return len(tokenizer(text)["input_ids"])

    def build_inputs(self, prompts: Sequence[EncodedPrompt]) -> Mapping[str, Any]:
        if prompts[0].tokens <= self._length(""):
            raise ValueError("the tokenizer knows no character of this text")
        inputs: Mapping[str, Any] = self._processed(prompts[0].data).to(self.model.device)
        return inputs

    def _processed(self, text: str) -> Any:
        return self.processor(text=text, return_tensors="pt")

    def generate(self, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt]) -> GeneratedSound:
        import torch

        from eval_anything.models.local.generation import seeded

        with seeded(prompts[0].request.seed), torch.inference_mode():
            return self._sound(inputs, prompts[0])

    def decode(
        self,
        output: GeneratedSound,
        inputs: Mapping[str, Any],
        prompts: Sequence[EncodedPrompt],
        store: MediaStore,
    ) -> list[GeneratedAnswer]:
        part = sound_part(output.samples, output.rate, store)
        return [GeneratedAnswer((part,), output.stop_reason, Usage(prompts[0].tokens, output.codes))]


def _sampling_arguments(prompt: EncodedPrompt) -> dict[str, Any]:
    """Arguments of `generate` for a temperature above 0; at 0 the generation config decides."""
    temperature = prompt.request.sampling.temperature
    return {"do_sample": True, "temperature": temperature} if temperature > 0 else {}


class MusicGenFamily(_TextToAudio):
    """MusicGen: music from a description, mono or stereo; max_new_tokens is its length."""

    name = "musicgen"
    architecture = "MusicgenForConditionalGeneration"
    holes = (
        _ROLES,
        Hole("melody to go on from", "a prompt of sound is continued, not answered; text alone goes in"),
    )

    def _sound(self, inputs: Mapping[str, Any], prompt: EncodedPrompt) -> GeneratedSound:
        new = self.new_tokens([prompt])
        samples = self.model.generate(**inputs, max_new_tokens=new, **_sampling_arguments(prompt))[0]
        rate = self.model.config.audio_encoder.sampling_rate
        return GeneratedSound(samples[0] if samples.shape[0] == 1 else samples, rate, "length", new)


class VitsFamily(_TextToAudio):
    """VITS and MMS-TTS: speech; a checkpoint of several speakers wants speaker=NUMBER."""

    name = "vits"
    architecture = "VitsModel"
    generation_settings = frozenset[str]()
    options: ClassVar[Mapping[str, int | float | str]] = {"speaker": ""}
    holes = (
        _ROLES,
        Hole("characters outside of its alphabet", "its tokenizer drops them without a word"),
    )

    def _load_processor(self) -> Any:
        """The tokenizer. UserError if it needs a package that is not installed.

        Without the package it would drop characters that it cannot read, or fail at every sample.
        """
        from transformers.utils import is_phonemizer_available, is_uroman_available

        tokenizer = loading.load_tokenizer(self.source, self.settings)
        where = self.source.location
        if tokenizer.phonemize and not is_phonemizer_available():
            raise UserError(
                f"{where} reads phonemes: pip install phonemizer (which itself needs espeak-ng)"
            )
        if tokenizer.is_uroman and not is_uroman_available():
            raise UserError(f"{where} reads its language in Roman letters: pip install uroman")
        return tokenizer

    def _prepare(self) -> None:
        speakers = self.model.config.num_speakers
        speaker = str(self.option("speaker"))
        numbers = [str(number) for number in range(speakers)]
        if speakers > 1 and speaker not in numbers:
            raise UserError(
                f"--model-arg speaker={speaker}: {self.source.location} has {speakers} speakers: must "
                f"be 0 to {speakers - 1}"
            )
        if speakers == 1 and speaker:
            raise UserError(
                f"--model-arg speaker={speaker}: {self.source.location} has one voice: leave it out"
            )

    def _sound(self, inputs: Mapping[str, Any], prompt: EncodedPrompt) -> GeneratedSound:
        speaker = self.option("speaker")
        samples = self.model(**inputs, speaker_id=int(speaker) if speaker else None).waveform[0]
        return GeneratedSound(samples, self.model.config.sampling_rate)


class SpeechT5Family(_TextToAudio):
    """SpeechT5: speech in the voice of speaker=FILE.npy, through the HiFi-GAN vocoder=FOLDER."""

    name = "speecht5"
    architecture = "SpeechT5ForTextToSpeech"
    generation_settings = frozenset[str]()
    options: ClassVar[Mapping[str, int | float | str]] = {
        "speaker": "",
        "vocoder": "microsoft/speecht5_hifigan",
    }
    holes = (
        _ROLES,
        Hole(
            "voice of its own",
            "no checkpoint brings one: a vector of speaker_embedding_dim numbers must be given",
        ),
    )

    def _prepare(self) -> None:
        self.positions = self.model.config.max_text_positions + 1
        self._voice = self._load_voice()
        self._vocoder = self._load_vocoder()

    def weights(self) -> str:
        """sha256 of the checkpoint, the voice and the vocoder (or its commit on the hub)."""
        vocoder = Path(str(self.option("vocoder")))
        if vocoder.is_dir():
            return super().weights()
        return combined(super().weights(), self._commit_of_vocoder())

    def named_files(self) -> list[Path]:
        """The file of the voice and the files of a local vocoder."""
        voice, vocoder = (Path(str(self.option(name))) for name in ("speaker", "vocoder"))
        parts = [file for kind in ("*.json", "*.safetensors") for file in vocoder.glob(kind)]
        return [*super().named_files(), *([voice] if voice.is_file() else []), *parts]

    def _commit_of_vocoder(self) -> str:
        """The commit of a vocoder on the hub, which is the name of its folder in the cache."""
        from huggingface_hub import hf_hub_download

        where = str(self.option("vocoder"))
        try:
            return Path(hf_hub_download(where, "config.json")).parent.name
        except Exception as error:
            raise _wrong_vocoder(where, error) from error

    def _load_voice(self) -> Any:
        """The speaker embedding, (1, speaker_embedding_dim), on the model's device and in its dtype."""
        import numpy as np
        import torch

        file = str(self.option("speaker"))
        size = self.model.config.speaker_embedding_dim
        description = f"a NumPy file of {size} numbers, an x-vector of the voice"
        if not file:
            raise UserError(
                f"{self.source.location} speaks in a voice that must be given: --model-arg "
                f"speaker=FILE.npy, {description}"
            )
        try:
            numbers = np.load(file, allow_pickle=False)
            voice = torch.tensor(numbers, dtype=torch.float32).reshape(1, size)
        except (OSError, ValueError, TypeError, RuntimeError, EOFError) as error:
            raise UserError(f"--model-arg speaker={file}: must be {description} ({error})") from None
        return voice.to(self.model.device, self.model.dtype)

    def _load_vocoder(self) -> Any:
        from transformers import SpeechT5HifiGan

        where = str(self.option("vocoder"))
        source = self.source._replace(location=where, path=None, revision=None, adapter=None)
        try:
            return loading.load_model(SpeechT5HifiGan, source, self.settings)
        except (OSError, ValueError) as error:
            raise _wrong_vocoder(where, error) from error

    def _sound(self, inputs: Mapping[str, Any], prompt: EncodedPrompt) -> GeneratedSound:
        ids, per_step = inputs["input_ids"], self.model.config.reduction_factor
        samples = self.model.generate_speech(
            ids, self._voice, vocoder=self._vocoder, maxlenratio=_LONGEST
        )
        most = int(ids.shape[1] * _LONGEST / per_step) * per_step
        frames = samples.shape[0] // math.prod(self._vocoder.config.upsample_rates)
        rate = self._vocoder.config.sampling_rate
        return GeneratedSound(samples, rate, "length" if frames >= most else "stop")


def _wrong_vocoder(where: str, error: Exception) -> UserError:
    reason = str(error).strip().partition("\n")[0]
    return UserError(
        f"--model-arg vocoder={where}: must be a HiFi-GAN of transformers with safetensors, a folder or "
        f"an id in reach ({reason})"
    )


class BarkFamily(_TextToAudio):
    """Bark: speech, laughter, some music; speaker=PRESET is a name of the checkpoint, or a .npz file."""

    name = "bark"
    architecture = "BarkModel"
    options: ClassVar[Mapping[str, int | float | str]] = {"speaker": ""}

    def named_files(self) -> list[Path]:
        """The file of the chosen voice, or the files of the presets, which are below the checkpoint."""
        voice = Path(str(self.option("speaker")))
        if voice.suffix == ".npz" and voice.is_file():
            return [*super().named_files(), voice]
        presets = () if self.source.path is None else sorted(self.source.path.rglob("*.npy"))
        return [*super().named_files(), *presets]

    def _prepare(self) -> None:
        # A longer text would be cut silently.
        self.positions = self.model.generation_config.semantic_config["max_input_semantic_length"] + 1
        voice = str(self.option("speaker"))
        presets = self.processor.available_voice_presets
        if voice and voice not in presets and not (voice.endswith(".npz") and Path(voice).is_file()):
            names = ", ".join(presets[:12]) or "none"
            raise UserError(
                f"--model-arg speaker={voice}: must be a .npz file or one of the checkpoint's presets "
                f"({len(presets)}: {names})"
            )

    def _length(self, text: str) -> int:
        return len(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _processed(self, text: str) -> Any:
        inputs = self.processor(text, voice_preset=str(self.option("speaker")) or None)
        if "history_prompt" in inputs:
            inputs["history_prompt"] = inputs["history_prompt"].to(self.model.device)
        return inputs

    def _sound(self, inputs: Mapping[str, Any], prompt: EncodedPrompt) -> GeneratedSound:
        most, codes = self.new_tokens([prompt]), IdStreamer()
        samples = self.model.generate(
            **inputs,
            semantic_max_new_tokens=most,
            semantic_streamer=codes,
            **_sampling_arguments(prompt),
        )
        count = len(codes.ids)
        rate = self.model.generation_config.sample_rate
        return GeneratedSound(samples[0], rate, "length" if count >= most else "stop", count)
