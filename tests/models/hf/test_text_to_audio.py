"""Models that turn a text into sound, on tiny real checkpoints: as by the documented calls of
transformers, sample for sample."""

from __future__ import annotations

import io
import shutil
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval_anything.content import Modality, Response
from eval_anything.errors import UserError
from eval_anything.media.encode import encode_wav
from eval_anything.models.hf import TransformersModel
from eval_anything.runs.directory import read_run
from tests.support.asking import NEW, ask, loaded, medium, requests_of, user
from tests.support.helpers import Cli, png
from tests.support.lanes import full
from tests.support.tiny_sounds import tiny_bark, tiny_hifigan, tiny_musicgen, tiny_speecht5, tiny_vits

TEXTS = ["Hello there.", "it's the lamp, isn't it?"]
Call = Callable[[Path, str, int, dict[str, Any]], tuple[Any, int]]


def musicgen(path: Path, text: str, seed: int, drawing: dict[str, Any]) -> tuple[Any, int]:
    from transformers import AutoProcessor, MusicgenForConditionalGeneration

    processor = AutoProcessor.from_pretrained(path)
    model = MusicgenForConditionalGeneration.from_pretrained(path).eval()
    inputs = processor(text=[text], padding=True, return_tensors="pt")
    torch.manual_seed(seed)
    samples = model.generate(**inputs, max_new_tokens=NEW, **drawing)
    return samples[0], model.config.audio_encoder.sampling_rate


def vits(
    path: Path, text: str, seed: int, drawing: dict[str, Any], speaker: int | None = None
) -> tuple[Any, int]:
    from transformers import VitsModel, VitsTokenizer

    model = VitsModel.from_pretrained(path).eval()
    inputs = VitsTokenizer.from_pretrained(path)(text=text, return_tensors="pt")
    more = {} if speaker is None else {"speaker_id": speaker}
    torch.manual_seed(seed)
    return model(**inputs, **more).waveform, model.config.sampling_rate


def vits_of_several(path: Path, text: str, seed: int, drawing: dict[str, Any]) -> tuple[Any, int]:
    return vits(path, text, seed, drawing, 2)


def speecht5(path: Path, text: str, seed: int, drawing: dict[str, Any]) -> tuple[Any, int]:
    from transformers import SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5Processor

    inputs = SpeechT5Processor.from_pretrained(path)(text=text, return_tensors="pt")
    model = SpeechT5ForTextToSpeech.from_pretrained(path).eval()
    vocoder = SpeechT5HifiGan.from_pretrained(path / "hifigan").eval()
    voice = torch.from_numpy(np.load(path / "voice.npy"))[None]
    torch.manual_seed(seed)
    samples = model.generate_speech(inputs["input_ids"], voice, vocoder=vocoder)
    return samples[None], vocoder.config.sampling_rate


def bark(
    path: Path, text: str, seed: int, drawing: dict[str, Any], preset: str | None = None
) -> tuple[Any, int]:
    from transformers import AutoProcessor, BarkModel

    model = BarkModel.from_pretrained(path).eval()
    inputs = AutoProcessor.from_pretrained(path)(text, voice_preset=preset)
    torch.manual_seed(seed)
    samples = model.generate(**inputs, semantic_max_new_tokens=NEW, **drawing)
    return samples, model.generation_config.sample_rate


def bark_with_a_preset(path: Path, text: str, seed: int, drawing: dict[str, Any]) -> tuple[Any, int]:
    return bark(path, text, seed, drawing, "anna")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Such small models are slower with several, much slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Case:
    """A checkpoint, how it is asked here, and the documented call."""

    def __init__(self, path: Path, call: Call, **arguments: str) -> None:
        self.path = path
        self.call = call
        self.model = loaded(path, **arguments)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SpeechT5 with a vocoder, and two voices beside it."""
    path = tiny_speecht5(tmp_path_factory.mktemp("speech") / "speecht5")
    tiny_hifigan(path / "hifigan")
    for seed, name in enumerate(("voice", "other")):
        np.save(path / f"{name}.npy", np.random.default_rng(seed).normal(0, 5, 8).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vits(tmp_path_factory.mktemp("voices") / "vits", speakers=3)


@pytest.fixture(scope="module")
def barking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bark(tmp_path_factory.mktemp("barking") / "bark")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_musicgen(tmp_path_factory.mktemp("music") / "musicgen")


def speaking(path: Path, voice: str = "voice") -> dict[str, str]:
    return {"speaker": str(path / f"{voice}.npy"), "vocoder": str(path / "hifigan")}


KINDS = ["musicgen", "voices", "speecht5", "preset"]
if full("families"):
    KINDS += ["stereo", "vits", "bark"]


@pytest.fixture(scope="module", params=KINDS)
def case(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    music: Path,
    voices: Path,
    speech: Path,
    barking: Path,
) -> Case:
    new = tmp_path_factory.mktemp("new") / "model"
    if request.param == "musicgen":
        return Case(music, musicgen)
    if request.param == "stereo":
        return Case(tiny_musicgen(new, channels=2), musicgen)
    if request.param == "vits":
        return Case(tiny_vits(new), vits)
    if request.param == "voices":
        return Case(voices, vits_of_several, speaker="2")
    if request.param == "speecht5":
        return Case(speech, speecht5, **speaking(speech))
    if request.param == "bark":
        return Case(barking, bark)
    return Case(barking, bark_with_a_preset, speaker="anna")


def sound(response: Response) -> bytes:
    """The WAV of a response that is one sound."""
    assert response.error is None, response.error
    (part,) = response.parts
    assert part.modality is Modality.AUDIO
    return part.path.read_bytes()


def opened(data: bytes) -> tuple[int, int, Any]:
    """Hz, channels, int16 samples."""
    with wave.open(io.BytesIO(data)) as file:
        frames = file.readframes(file.getnframes())
        return file.getframerate(), file.getnchannels(), np.frombuffer(frames, "<i2")


@pytest.mark.families
@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_as_the_documented_call(case: Case, tmp_path: Path, temperature: float) -> None:
    prompts = [user(text) for text in TEXTS]
    responses = ask(case.model, prompts, tmp_path, temperature)
    drawn = case.call.__name__.startswith(("musicgen", "bark"))
    drawing = {"do_sample": True, "temperature": temperature} if drawn and temperature else {}
    for text, request, response in zip(TEXTS, requests_of(prompts), responses, strict=True):
        with torch.inference_mode():
            samples, rate = case.call(case.path, text, request.seed, drawing)
        made = sound(response)
        assert made == encode_wav(samples.numpy().T, rate)
        hertz, channels, numbers = opened(made)
        assert (hertz, channels) == (rate, samples.shape[0])
        assert np.abs(numbers.astype(int)).max() > 100
        assert response.usage.input > 0
    assert sound(responses[0]) != sound(responses[1])


@pytest.mark.families
@pytest.mark.slow
def test_an_answer_depends_on_its_seed_and_not_on_its_batch(case: Case, tmp_path: Path) -> None:
    prompts = [user(TEXTS[0]), user(TEXTS[1]), user(TEXTS[0])]
    first, _, again = ask(case.model, prompts, tmp_path)
    (alone,) = ask(case.model, prompts[:1], tmp_path)
    assert sound(alone) == sound(first)
    assert sound(again) != sound(first)  # the same words, of another sample


def test_why_a_sound_ends(music: Path, speech: Path, barking: Path, tmp_path: Path) -> None:
    prompt = [user("abcdefgh")]
    (music_,) = ask(loaded(music), prompt, tmp_path)
    assert (music_.stop_reason, music_.usage.output) == ("length", NEW)
    (cut,) = ask(loaded(barking), prompt, tmp_path)
    assert (cut.stop_reason, cut.usage.output) == ("length", NEW)
    model = loaded(speech, **speaking(speech))
    (babble,) = ask(model, prompt, tmp_path)
    assert babble.stop_reason == "length"
    with torch.no_grad():
        model.family.model.speech_decoder_postnet.prob_out.bias.fill_(50)
    (short,) = ask(model, prompt, tmp_path)
    assert short.stop_reason == "stop"
    assert len(sound(short)) < len(sound(babble))


def test_another_voice_is_another_sound(voices: Path, speech: Path, tmp_path: Path) -> None:
    prompt = [user(TEXTS[0])]
    for path, one, other in (
        (voices, {"speaker": "0"}, {"speaker": "1"}),
        (speech, speaking(speech), speaking(speech, "other")),
    ):
        (first,) = ask(loaded(path, **one), prompt, tmp_path)
        (second,) = ask(loaded(path, **other), prompt, tmp_path)
        assert sound(first) != sound(second)


def test_what_cannot_be_read_fails_alone(voices: Path, barking: Path, tmp_path: Path) -> None:
    picture = medium(tmp_path / "a.png", png(), "image")
    model = loaded(voices, speaker="0")
    fine, foreign, silent = ask(model, [user("Hi"), user("Hi", picture), user("你好")], tmp_path)
    assert fine.error is None
    assert foreign.error is not None
    assert foreign.error.message == "this checkpoint takes text; it cannot read image"
    assert silent.error is not None
    assert "knows no character of this text" in silent.error.message
    (long,) = ask(loaded(barking), [user("a 1 " * 200)], tmp_path)
    assert long.error is not None
    assert long.error.kind == "unsupported_input"  # Bark itself would cut the text
    assert "257 positions" in long.error.message


def test_samples_that_are_no_numbers_are_no_sound(music: Path, tmp_path: Path) -> None:
    model = loaded(music)
    with torch.no_grad():
        model.family.model.audio_encoder.decoder.layers[-1].conv.bias.fill_(float("nan"))
    (response,) = ask(model, [user("Hi")], tmp_path)
    assert response.error is not None
    assert "infinite or no numbers" in response.error.message


def test_voices_that_are_not_there(voices: Path, speech: Path, barking: Path, tmp_path: Path) -> None:
    vocoder = {"vocoder": str(speech / "hifigan")}
    pickled, wide = tmp_path / "pickled.npy", tmp_path / "wide.npy"
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(wide, np.zeros(9))
    for path, arguments, message in (
        (voices, {}, "has 3 speakers: must be 0 to 2"),
        (voices, {"speaker": "3"}, "must be 0 to 2"),
        (tiny_vits(tmp_path / "one"), {"speaker": "0"}, "has one voice"),
        (speech, vocoder, "must be given: --model-arg speaker=FILE.npy, a NumPy file of 8 numbers"),
        (speech, {**vocoder, "speaker": "no.npy"}, "must be a NumPy file of 8 numbers"),
        (speech, {**vocoder, "speaker": str(wide)}, "must be a NumPy file of 8 numbers"),
        (speech, {**vocoder, "speaker": str(pickled)}, "allow_pickle=False"),
        (speech, {**speaking(speech), "vocoder": str(tmp_path)}, "must be a HiFi-GAN of transformers"),
        (barking, {"speaker": "berta"}, r"one of the checkpoint's presets \(1: anna\)"),
    ):
        with pytest.raises(UserError, match=message):
            loaded(path, **arguments)


@pytest.mark.slow
def test_another_file_of_a_voice_is_another_model(
    cli: Cli, speech: Path, barking: Path, tmp_path: Path
) -> None:
    """What options name is part of what a resumed run must repeat, and so are a checkpoint's presets."""
    path = shutil.copytree(speech, tmp_path / "speech")
    run = ["run", "--model", path, "--tasks", "open/selection", "--first", "1", "--out", "run"]
    voice = [f"--model-arg={key}={value}" for key, value in speaking(path).items()]
    assert cli(*run, *voice).code == 0
    first = TransformersModel(str(path), path, speaking(path)).weights()
    shutil.copy(path / "other.npy", path / "voice.npy")
    changed = cli(*run, *voice)
    assert changed.code == 2
    assert "the model's weights" in changed.err
    second = TransformersModel(str(path), path, speaking(path)).weights()
    weights = path / "hifigan" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    third = TransformersModel(str(path), path, speaking(path)).weights()
    assert len({first, second, third}) == 3
    preset = shutil.copytree(barking, tmp_path / "barking")
    before = TransformersModel(str(preset), preset, {"speaker": "anna"}).weights()
    for file in preset.rglob("*.npy"):
        np.save(file, np.load(file)[..., ::-1])
    assert TransformersModel(str(preset), preset, {"speaker": "anna"}).weights() != before


def test_an_alphabet_that_needs_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("phonemizer", "uroman"):
        monkeypatch.setattr(f"transformers.utils.is_{package}_available", lambda: False)
    phonemes = tiny_vits(tmp_path / "phonemes", phonemize=True)
    with pytest.raises(UserError, match="pip install phonemizer"):
        loaded(phonemes)
    letters = tiny_vits(tmp_path / "letters", is_uroman=True)
    with pytest.raises(UserError, match="pip install uroman"):
        loaded(letters)


def test_a_run(cli: Cli, music: Path, tmp_path: Path) -> None:
    run = ["run", "--model", music, "--tasks", "open/selection", "--first", "2", "--out", "run"]
    done = cli(*run, "--model-arg", "max_new_tokens=40")
    assert done.code == 0, done.err
    records = list(read_run(tmp_path / "run", "open/selection"))
    assert len(records) == 2
    for record in records:
        (part,) = record.parts
        assert part.modality is Modality.AUDIO
        assert part.path.is_relative_to(tmp_path / "run" / "media")
        assert opened(part.path.read_bytes())[0] == 8000
    refused = cli(*run[:-1], "text", "--model-arg", "output=text")
    assert refused.code == 2
    assert "a checkpoint of type musicgen answers with audio" in refused.err


def test_the_families_and_their_holes_are_listed(cli: Cli) -> None:
    rows = {row["name"]: row for row in cli("models", "list", "--json").json}
    families = {family["name"]: family for family in rows["hf"]["families"]}
    for name in ("musicgen", "vits", "speecht5", "bark"):
        family = families[name]
        assert (family["inputs"], family["outputs"]) == (["text"], ["audio"])
        assert "roles of a conversation" in [hole["what"] for hole in family["holes"]]
    for name in ("qwen2_5_omni", "qwen3_omni"):
        family = families[name]
        assert family["inputs"] == ["text", "image", "audio", "video"]
        assert (family["outputs"], family["modes"]) == (["text", "audio"], ["text+audio", "text"])
        assert "sound of clips" in [hole["what"] for hole in family["holes"]]
