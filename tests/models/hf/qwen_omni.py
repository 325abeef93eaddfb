"""Qwen2.5-Omni and Qwen3-Omni, whose processors need torchvision: run by test_omni.py, which has it."""

from __future__ import annotations

import json
import shutil
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from eval_anything.content import MODALITIES, Message, Modality, Part, Response, TextPart
from eval_anything.errors import UserError
from eval_anything.media import read_audio, read_video
from eval_anything.media.encode import encode_wav
from eval_anything.models.hf import TransformersModel
from eval_anything.models.hf.families.omni import OmniFamily
from eval_anything.runs.directory import read_run
from tests.support.asking import NEW, ask, loaded, medium, next_logits, requests_of, user
from tests.support.helpers import Cli, mp4, png, wav
from tests.support.streamed import streamed
from tests.support.tiny_omni import tiny_qwen2_5_omni, tiny_qwen3_omni

CODES = 10
SYSTEM = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving "
    "auditory and visual inputs, as well as generating text and speech."
)
PLACEHOLDERS = ["<|image_pad|>", "<|audio_pad|>", "<|video_pad|>"]
BRIEF = Message("system", (TextPart("Be brief."),))
CLIP = 32  # frames, 8 a second


class Omni(NamedTuple):
    """A checkpoint, and what its model card says of it."""

    path: Path
    architecture: str
    fps: float
    system: str
    speaker: str
    stop: dict[str, Any]

    def load(self, **arguments: str) -> TransformersModel:
        return loaded(self.path, talker_max_new_tokens=str(CODES), **arguments)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def qwen25(tmp_path_factory: pytest.TempPathFactory) -> Omni:
    path = tiny_qwen2_5_omni(tmp_path_factory.mktemp("qwen25") / "qwen2_5_omni")
    stop = {"talker_eos_token_id": [60, 62]}
    return Omni(path, "Qwen2_5OmniForConditionalGeneration", 2.0, SYSTEM, "Chelsie", stop)


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Omni:
    path = tiny_qwen3_omni(tmp_path_factory.mktemp("qwen3") / "qwen3_omni")
    return Omni(path, "Qwen3OmniMoeForConditionalGeneration", 1.0, "", "Ethan", {})


@pytest.fixture(scope="module", params=["qwen25", "qwen3"])
def omni(request: pytest.FixtureRequest) -> Omni:
    made: Omni = request.getfixturevalue(request.param)
    return made


@pytest.fixture(scope="module")
def speaking(omni: Omni) -> TransformersModel:
    return omni.load()


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Part]:
    folder = tmp_path_factory.mktemp("media")
    return {
        "image": medium(folder / "a.png", png(size=56, noise=1), "image"),
        "audio": medium(folder / "a.wav", wav(seconds=1.5), "audio"),
        "video": medium(folder / "a.mp4", mp4(CLIP), "video"),
    }


@pytest.fixture(scope="module")
def prompts(media: dict[str, Part]) -> list[tuple[Message, ...]]:
    return [
        user("Hello there."),
        user("Look: ", media["image"], "What is this?"),
        user(media["audio"], "What sounds?"),
        user(media["video"], "What moves?"),
        user(media["image"], "and", media["video"], "and", media["audio"], "Which?"),
    ]


def conversation_of(messages: tuple[Message, ...], system: str) -> list[dict[str, Any]]:
    """Media as arrays: their files are decoded here, as torchvision cannot decode without its compiled
    part."""

    def content(part: Part) -> dict[str, Any]:
        if isinstance(part, TextPart):
            return {"type": "text", "text": part.text}
        if part.modality is Modality.IMAGE:
            return {"type": "image", "image": Image.open(part.path).convert("RGB")}
        if part.modality is Modality.AUDIO:
            return {"type": "audio", "audio": read_audio(part.path, 16000)}
        return {"type": "video", "video": read_video(part.path).frames}

    turns = [{"role": m.role, "content": [content(part) for part in m.parts]} for m in messages]
    first = {"role": "system", "content": [{"type": "text", "text": system}]}
    return [first, *turns] if system else turns


class Documented:
    """The calls that the documentation shows, but for three things that fail there: pixels must go to
    the thinker alone, the ids that stop are those of the real checkpoint, and the talker of Qwen3-Omni
    lacks a setting for sounds beside pictures."""

    def __init__(self, omni: Omni) -> None:
        import transformers

        self.omni = omni
        self.processor = transformers.AutoProcessor.from_pretrained(omni.path)
        self.model = getattr(transformers, omni.architecture).from_pretrained(omni.path).eval()
        self.model.talker.config.audio_config = self.model.thinker.config.audio_config

    def inputs(self, messages: tuple[Message, ...], system: str) -> Any:
        more: dict[str, Any] = {}
        if any(part.modality is Modality.VIDEO for m in messages for part in m.parts):
            more = {"fps": self.omni.fps, "do_sample_frames": True}
            more["video_metadata"] = [{"total_num_frames": CLIP, "fps": 8.0, "duration": CLIP / 8}]
        return self.processor.apply_chat_template(
            conversation_of(messages, system),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=more,
        )

    def options(self) -> dict[str, Any]:
        tokenizer = self.processor.tokenizer
        never = tokenizer.convert_tokens_to_ids(PLACEHOLDERS)
        return {
            "max_new_tokens": NEW,
            "eos_token_id": tokenizer.eos_token_id,
            "suppress_tokens": never,
        }

    def words(self, ids: Any, inputs: Any) -> str:
        new = ids[0, inputs["input_ids"].shape[1] :]
        return streamed(self.processor.tokenizer, new).strip()

    def text(self, messages: tuple[Message, ...]) -> str:
        inputs = self.inputs(messages, "")
        ids = self.model.thinker.generate(**inputs, do_sample=False, **self.options())
        return self.words(ids, inputs)

    def speech(self, messages: tuple[Message, ...], seed: int) -> tuple[str, Any]:
        inputs = self.inputs(messages, self.omni.system)
        given = {(f"thinker_{k}" if k.startswith("pixel") else k): v for k, v in inputs.items()}
        torch.manual_seed(seed)
        ids, samples = self.model.generate(
            **given,
            **{f"thinker_{key}": value for key, value in self.options().items()},
            **self.omni.stop,
            talker_max_new_tokens=CODES,
            speaker=self.omni.speaker,
        )
        return self.words(ids, inputs), samples.reshape(-1)


def whole_of(model: TransformersModel) -> Any:
    """Thinker, talker and vocoder."""
    assert isinstance(model.family, OmniFamily)
    return model.family.full_model


def spoken(response: Response) -> bytes:
    """The WAV of a response of text, then speech."""
    assert response.error is None, response.error
    assert [part.modality for part in response.parts] == [Modality.TEXT, Modality.AUDIO]
    return response.parts[1].path.read_bytes()


def test_text_and_speech_as_the_documented_call(
    omni: Omni,
    speaking: TransformersModel,
    prompts: list[tuple[Message, ...]],
    tmp_path: Path,
) -> None:
    assert speaking.family.inputs == MODALITIES
    responses = ask(speaking, prompts, tmp_path)
    documented = Documented(omni)
    for request, response in zip(requests_of(prompts), responses, strict=True):
        words, samples = documented.speech(request.messages, request.seed)
        made = spoken(response)
        assert response.text == words
        assert made == encode_wav(samples.numpy(), 24000)
        with wave.open(str(response.parts[1].path)) as file:
            assert file.getframerate() == 24000
            numbers = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert np.abs(numbers.astype(int)).max() > 20
    assert len({response.text for response in responses}) == len(prompts)


def test_text_alone_is_the_thinkers(
    omni: Omni, prompts: list[tuple[Message, ...]], tmp_path: Path
) -> None:
    """The talker is not even loaded, and prompts share batches."""
    model = omni.load(output="text")
    assert model.family.batched
    assert not any("talker" in name for name, _ in model.family.model.named_parameters())
    responses = ask(model, [*prompts, user("Hi.")], tmp_path)
    documented = Documented(omni)
    for response, prompt in zip(responses, [*prompts, user("Hi.")], strict=True):
        assert [part.modality for part in response.parts] == [Modality.TEXT]
        assert response.text == documented.text(prompt)


@pytest.mark.parametrize("kind", ["image", "audio", "video"])
def test_a_medium_counts(
    speaking: TransformersModel, media: dict[str, Part], tmp_path: Path, kind: str
) -> None:
    """Another one changes the thinker's scores; without any, what is written or heard is another too."""
    files = {"image": png(size=56, noise=2), "audio": wav(1.5, hertz=900), "video": mp4(CLIP - 8)}
    other = medium(tmp_path / f"b{media[kind].path.suffix}", files[kind], kind)
    prompts = [(BRIEF, *user(*given, "What is this?")) for given in ([media[kind]], [other], [])]
    scores = [next_logits(speaking, prompt) for prompt in prompts]
    assert not torch.allclose(scores[0], scores[1])
    assert not torch.allclose(scores[0], scores[2])
    (with_it,) = ask(speaking, prompts[:1], tmp_path)
    (without,) = ask(speaking, prompts[2:], tmp_path)  # of the same seed
    assert (with_it.text, spoken(with_it)) != (without.text, spoken(without))


def test_an_answer_depends_on_its_seed_and_not_on_its_batch(
    speaking: TransformersModel, tmp_path: Path
) -> None:
    prompts = [
        user("Hello there."),
        user("A long question, which is another one."),
        user("Hello there."),
    ]
    first, _, again = ask(speaking, prompts, tmp_path, temperature=1)
    (alone,) = ask(speaking, prompts[:1], tmp_path, temperature=1)
    assert (alone.text, spoken(alone)) == (first.text, spoken(first))
    assert again.text != first.text
    assert spoken(again) != spoken(first)


def test_the_temperature_is_the_texts(omni: Omni, speaking: TransformersModel, tmp_path: Path) -> None:
    """A prompt with a system message is the same in both modes."""
    prompt = (BRIEF, *user("Hello there."))
    texts = {}
    for temperature in (0.0, 1.0):
        (both,) = ask(speaking, [prompt], tmp_path, temperature)
        (written,) = ask(omni.load(output="text"), [prompt], tmp_path, temperature)
        assert both.text == written.text
        texts[temperature] = both.text
    assert texts[0.0] != texts[1.0]


def test_speakers(omni: Omni, speaking: TransformersModel, tmp_path: Path) -> None:
    other = next(name for name in ("Chelsie", "Ethan") if name != omni.speaker)
    prompt = [user("Hello there.")]
    (one,) = ask(speaking, prompt, tmp_path)
    (same,) = ask(omni.load(speaker=omni.speaker), prompt, tmp_path)
    (another,) = ask(omni.load(speaker=other), prompt, tmp_path)
    assert spoken(one) == spoken(same) != spoken(another)
    assert one.text == another.text
    with pytest.raises(UserError, match=r"speaker=.*: .* speaks as [Cc]helsie, [Ee]than"):
        omni.load(speaker="Nobody")


def test_nothing_to_say_is_no_failure(omni: Omni, tmp_path: Path) -> None:
    """One token is no speech; and a talker may stop before its first code."""
    (short,) = ask(omni.load(max_new_tokens="1"), [user("Hello there.")], tmp_path)
    assert short.error is None
    assert all(part.modality is Modality.TEXT for part in short.parts)
    assert short.usage.output == 1
    model = omni.load()
    head = whole_of(model).talker.codec_head
    bias = torch.full((head.out_features,), -1e4)
    bias[[60, 62] if omni.stop else [72]] = 1e4  # the ids that end speech
    head.bias = torch.nn.Parameter(bias)
    (silent,) = ask(model, [user("Hello there.")], tmp_path)
    assert silent.error is None
    assert [part.modality for part in silent.parts] == [Modality.TEXT]


def test_a_failure_while_speaking_is_said(omni: Omni, tmp_path: Path) -> None:
    model = omni.load()
    whole = whole_of(model)
    vocoder = whole.token2wav if omni.stop else whole.code2wav
    with torch.no_grad():
        for weight in vocoder.parameters():
            weight.fill_(float("nan"))
    (response,) = ask(model, [user("Hello there.")], tmp_path)
    assert response.error is not None
    assert "infinite or no numbers" in response.error.message


def test_a_checkpoint_without_a_talker(omni: Omni, tmp_path: Path) -> None:
    path = shutil.copytree(omni.path, tmp_path / "thinking")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"enable_audio_output": False}))
    (path / "spk_dict.pt").unlink(missing_ok=True)
    (response,) = ask(loaded(path), [user("Hello there.")], tmp_path)
    assert [part.modality for part in response.parts] == [Modality.TEXT]
    with pytest.raises(UserError, match="has no talker"):
        loaded(path, output="text+audio")


class Harm:
    """A pickle that would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "run")


def test_speakers_are_read_without_running_code(qwen25: Omni, tmp_path: Path) -> None:
    path = shutil.copytree(qwen25.path, tmp_path / "copy")
    before = TransformersModel(str(path), path, {}).weights()
    speakers = path / "spk_dict.pt"
    for harmful in (Harm(tmp_path / "harm"), {"Chelsie": Harm(tmp_path / "harm")}, {"Chelsie": 3}):
        torch.save(harmful, speakers)
        with pytest.raises(UserError, match="no dictionary of speakers that can be read without"):
            loaded(path)
    assert not (tmp_path / "harm").exists()
    assert TransformersModel(str(path), path, {}).weights() != before
    speakers.unlink()
    with pytest.raises(UserError, match=r"spk_dict.pt is missing.*--model-arg output=text"):
        loaded(path)
    (response,) = ask(loaded(path, output="text"), [user("Hello there.")], tmp_path)
    assert response.error is None


def test_a_run(cli: Cli, omni: Omni, tmp_path: Path) -> None:
    run = ["run", "--model", omni.path, "--tasks", "open/selection", "--first", "2", "--out", "run"]
    more = [f"max_new_tokens={NEW}", f"talker_max_new_tokens={CODES}"]
    done = cli(*run, *(word for argument in more for word in ("--model-arg", argument)))
    assert done.code == 0, done.err
    records = read_run(tmp_path / "run", "open/selection")
    assert len(records) == 2
    for record in records:
        text, speech = record.parts
        assert (text.modality, speech.modality) == (Modality.TEXT, Modality.AUDIO)
        assert speech.path.is_relative_to(tmp_path / "run" / "media")
