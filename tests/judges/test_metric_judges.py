"""Judges of kind metric: each equals its reference implementation; which samples each applies to."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eval_anything.content import Contract, Message, Modality, Part, Response, Sample, Score, TextPart
from eval_anything.errors import UserError
from eval_anything.judges.assemble import make_judge
from eval_anything.judges.folder import find_judges
from eval_anything.judges.registry import read_judge_file
from eval_anything.judges.scorer import Scorer, score_response
from eval_anything.media import MediaStore
from eval_anything.media.encode import encode_png, encode_wav
from tests.support.helpers import TASK_YAML, Cli, Result, answers, make_task, write_jsonl
from tests.support.tiny_sounds import tiny_wav2vec2

RATE = 22050
TEXT, IMAGE, AUDIO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO
WITHOUT_MODEL = ["audio_checks", "pitch", "image_similarity", "audio_similarity"]
Samples = NDArray[np.float64]
Pixels = NDArray[np.uint8]


def judge(name: str, model: Path | None = None) -> Scorer:
    return make_judge(find_judges()[name], False, None if model is None else str(model))


def sample(
    *prompt: Part, required: Sequence[Modality] = (), allowed: Sequence[Modality] = (), **targets: Any
) -> Sample:
    messages = (Message("user", prompt),) if prompt else ()
    return Sample("s", messages, Contract(tuple(required), tuple(allowed)), targets)


def scored(scorer: Scorer, for_sample: Sample, *parts: Part) -> dict[str, Score]:
    return asyncio.run(score_response([scorer], for_sample, Response(parts)))


def values(scorer: Scorer, for_sample: Sample, *parts: Part) -> dict[str, float | None]:
    return {name: score.value for name, score in scored(scorer, for_sample, *parts).items()}


def tone(seconds: float = 1.0, hertz: float = 440, level: float = 0.5, rate: int = RATE) -> Samples:
    found: Samples = level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    return found


def gradient(height: int = 24, width: int = 32) -> Pixels:
    found: Pixels = np.zeros((height, width, 3), np.uint8)
    found[..., 0] = np.linspace(0, 255, width)
    found[..., 1] = np.linspace(0, 255, height)[:, None]
    return found


def noisy(pixels: Pixels, most: int = 60) -> Pixels:
    noise = np.random.default_rng(0).integers(-most, most, pixels.shape)
    return (pixels + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture
def store(tmp_path: Path) -> MediaStore:
    return MediaStore(tmp_path / "media")


# --- all of them --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_MODEL)
def test_a_missing_medium_scores_the_worst_and_an_optional_one_nothing(
    name: str, store: MediaStore
) -> None:
    modality = IMAGE if name == "image_similarity" else AUDIO
    data = encode_png(gradient()) if modality is IMAGE else encode_wav(tone(), RATE)
    medium = store.put(data, modality)
    metrics = read_judge_file(find_judges()[name]).metrics
    required = sample(medium, required=[modality], pitch_hz=440)
    worst = {metric: declared.worst for metric, declared in metrics.items()}
    assert values(judge(name), required, TextPart("none")) == worst
    assert values(judge(name), sample(medium, allowed=[TEXT, modality], pitch_hz=440)) == {}
    forbidden = sample(medium, required=[TEXT], pitch_hz=440)
    assert values(judge(name), forbidden, medium) == {}
    allowed = sample(medium, allowed=[TEXT, modality], pitch_hz=440)
    assert set(values(judge(name), allowed, medium)) == set(metrics)


@pytest.mark.parametrize("name", [*WITHOUT_MODEL, "word_error_rate"])
def test_a_missing_package_is_named_before_anything_runs(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed here: pip install '\.\[metrics\]'"):
        judge(name, tmp_path if name == "word_error_rate" else None)


# --- audio_checks -------------------------------------------------------------------------------


def stereo(left: Samples, right: Samples) -> bytes:
    import io
    import wave

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        both = np.stack([left, right], axis=1).clip(-1, 1)
        file.writeframes((both * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


SOUNDS = {
    "sine": encode_wav(tone(), RATE),
    "silence": encode_wav(np.zeros(RATE), RATE),
    "clipped": encode_wav(tone(level=4), RATE),
    "half silent": encode_wav(np.concatenate([tone(), np.zeros(RATE)]), RATE),
    "faint": encode_wav(tone(level=5e-4), RATE),
    "48 kHz": encode_wav(tone(rate=48000), 48000),
    "one channel clipped": stereo(tone(level=4), tone(level=0.1)),
}


@pytest.mark.parametrize("kind", SOUNDS)
def test_audio_checks_equal_librosa_and_numpy(kind: str, store: MediaStore) -> None:
    import librosa
    import soundfile

    part = store.put(SOUNDS[kind], AUDIO)
    sound, rate = soundfile.read(part.path, always_2d=True)
    sound = sound.T
    heard = sum(b - a for a, b in librosa.effects.split(sound, top_db=60, ref=1.0))
    power = float(np.mean(sound**2))
    assert values(judge("audio_checks"), sample(required=[AUDIO]), part) == {
        "silence_share": pytest.approx(1 - heard / sound.shape[1], abs=1e-9),
        "clipping_share": pytest.approx(float(np.mean(np.abs(sound) >= 32767 / 32768)), abs=1e-9),
        "loudness_dbfs": pytest.approx(10 * math.log10(power) if power else -120, abs=1e-5),
        "duration_s": pytest.approx(sound.shape[1] / rate),
    }


def test_audio_checks_know_the_plain_cases(store: MediaStore) -> None:
    checks = judge("audio_checks")
    found = {
        kind: values(checks, sample(required=[AUDIO]), store.put(data, AUDIO))
        for kind, data in SOUNDS.items()
    }
    assert found["sine"]["silence_share"] == found["sine"]["clipping_share"] == 0
    assert found["sine"]["loudness_dbfs"] == pytest.approx(20 * math.log10(0.5) - 3.0103, abs=0.01)
    assert found["silence"]["silence_share"] == found["faint"]["silence_share"] == 1
    # |4 sin x| > 1 for all but asin(1/4) of each quarter wave
    clipped = 1 - math.asin(0.25) / (math.pi / 2)
    assert found["clipped"]["clipping_share"] == pytest.approx(clipped, abs=0.01)
    assert found["one channel clipped"]["clipping_share"] == pytest.approx(clipped / 2, abs=0.01)
    assert found["half silent"]["silence_share"] == pytest.approx(0.5, abs=0.05)
    assert found["half silent"]["duration_s"] == pytest.approx(2)


def test_several_sounds_count_as_one_after_the_other(store: MediaStore) -> None:
    parts = [store.put(SOUNDS[kind], AUDIO) for kind in ("silence", "48 kHz")]
    found = values(judge("audio_checks"), sample(required=[AUDIO]), *parts)
    assert found["duration_s"] == pytest.approx(2)
    assert found["silence_share"] == pytest.approx(0.5)


# --- pitch --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hertz", "target", "cents"),
    [(440, 440, 0), (220, 220, 0), (1000, 1000, 0), (440 * 2 ** (1 / 12), 440, 100), (880, 440, 1200)],
)
def test_pitch_of_known_tones(hertz: float, target: float, cents: float, store: MediaStore) -> None:
    part = store.put(encode_wav(tone(0.5, hertz), RATE), AUDIO)
    found = values(judge("pitch"), sample(required=[AUDIO], pitch_hz=target), part)
    assert found["pitch_cents_error"] == pytest.approx(cents, abs=6)  # pyin's grid is 10 cents
    assert found["pitch_within_50_cents"] == float(cents <= 50)


def test_pitch_equals_librosa(store: MediaStore) -> None:
    import librosa
    import soundfile

    part = store.put(encode_wav(tone(0.5, 333) + tone(0.5, 666, 0.2), RATE), AUDIO)
    sound, rate = soundfile.read(part.path, dtype="float32")
    low, high = (float(librosa.note_to_hz(note)) for note in ("C2", "C7"))
    expected = np.nanmedian(librosa.pyin(sound, fmin=low, fmax=high, sr=rate)[0])
    score = scored(judge("pitch"), sample(required=[AUDIO], pitch_hz=330), part)["pitch_cents_error"]
    assert score.details["median_hz"] == pytest.approx(expected, rel=1e-9)
    assert score.value == pytest.approx(1200 * math.log2(expected / 330), abs=1e-6)


def test_pitch_needs_a_target_that_can_be_heard_and_a_pitch(store: MediaStore) -> None:
    part = store.put(SOUNDS["silence"], AUDIO)
    pitch = judge("pitch")
    assert values(pitch, sample(required=[AUDIO]), part) == {}
    silent = scored(pitch, sample(required=[AUDIO], pitch_hz=440), part)
    assert {name: score.value for name, score in silent.items()} == {
        "pitch_cents_error": 1200,
        "pitch_within_50_cents": 0,
    }
    assert silent["pitch_cents_error"].explanation == "no pitch is heard"
    wrong = scored(pitch, sample(required=[AUDIO], pitch_hz=20000), part)["pitch_cents_error"]
    assert wrong.value is None
    assert "outside 65.4..2093.0 Hz" in wrong.explanation


# --- image_similarity and audio_similarity ------------------------------------------------------


@pytest.mark.parametrize("shape", [(24, 32), (48, 40)], ids=["same size", "resized"])
def test_image_similarity_equals_torchmetrics(shape: tuple[int, int], store: MediaStore) -> None:
    import torch
    from PIL import Image
    from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

    wanted, found = gradient(), noisy(gradient(*shape))
    prompt, part = store.put(encode_png(wanted), IMAGE), store.put(encode_png(found), IMAGE)
    resized = np.asarray(Image.fromarray(found).resize((32, 24), Image.Resampling.BICUBIC))
    a, b = (
        torch.tensor(pixels / 255, dtype=torch.float32).permute(2, 0, 1)[None]
        for pixels in (resized, wanted)
    )
    assert values(judge("image_similarity"), sample(prompt, required=[IMAGE]), part) == {
        "image_ssim": pytest.approx(
            float(StructuralSimilarityIndexMeasure(data_range=1.0)(a, b)), abs=1e-6
        ),
        "image_psnr_db": pytest.approx(float(PeakSignalNoiseRatio(data_range=1.0)(a, b)), abs=1e-4),
    }


def test_image_similarity_of_the_same_image(store: MediaStore) -> None:
    part = store.put(encode_png(gradient()), IMAGE)
    found = values(judge("image_similarity"), sample(part, required=[IMAGE]), part)
    assert found == {"image_ssim": pytest.approx(1, abs=1e-5), "image_psnr_db": 100}
    assert values(judge("image_similarity"), sample(TextPart("draw"), required=[IMAGE]), part) == {}


@pytest.mark.parametrize("seconds", [1.0, 0.7, 1.3], ids=["same length", "shorter", "longer"])
def test_audio_similarity_equals_torchmetrics(seconds: float, store: MediaStore) -> None:
    import soundfile
    import torch
    from torchmetrics.audio import ScaleInvariantSignalDistortionRatio, SignalNoiseRatio

    rate = 16000
    generator = np.random.default_rng(0)
    found = tone(seconds, rate=rate) * 0.8 + generator.normal(0, 0.05, int(seconds * rate))
    prompt = store.put(encode_wav(tone(rate=rate), rate), AUDIO)
    part = store.put(encode_wav(found, rate), AUDIO)
    wanted = torch.tensor(soundfile.read(prompt.path, dtype="float32")[0])
    heard = torch.zeros_like(wanted)
    raw = torch.tensor(soundfile.read(part.path, dtype="float32")[0])[: len(wanted)]
    heard[: len(raw)] = raw
    assert values(judge("audio_similarity"), sample(prompt, required=[AUDIO]), part) == {
        "audio_si_sdr_db": pytest.approx(
            float(ScaleInvariantSignalDistortionRatio()(heard, wanted)), abs=1e-4
        ),
        "audio_snr_db": pytest.approx(float(SignalNoiseRatio()(heard, wanted)), abs=1e-4),
    }


def test_audio_similarity_at_its_ends(store: MediaStore) -> None:
    similarity = judge("audio_similarity")
    sound, silence = (store.put(SOUNDS[kind], AUDIO) for kind in ("sine", "silence"))
    same = values(similarity, sample(sound, required=[AUDIO]), sound)
    assert same == {"audio_si_sdr_db": 60, "audio_snr_db": 60}
    silent = values(similarity, sample(sound, required=[AUDIO]), silence)
    assert silent == {"audio_si_sdr_db": -60, "audio_snr_db": pytest.approx(0, abs=1e-4)}
    undefined = scored(similarity, sample(silence, required=[AUDIO]), sound)["audio_snr_db"]
    assert undefined.value is None
    assert "the prompt's sound is silent" in undefined.explanation


# --- the model behind a metric ------------------------------------------------------------------

OWN_JUDGE = """\
version: 1
kind: metric
title: t
description: d
sees: [text]
factory: score.py:make
metrics: {length: {range: [0, 10]}}
"""
OWN_CODE = """\
from pathlib import Path
from eval_anything.content import Score
from eval_anything.scoring.media import LocalModel

def make(path):
    model = LocalModel(path, lambda path: float(Path(path, "sub", "weights").read_text()))
    def score(sample, response):
        with model.use() as weights:
            return {"length": Score(weights)}
    return score
"""
YAML = TASK_YAML.replace("judges: [selection_contract]", "judges: [own, selection_contract]")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A task with a judge whose model is a number in a file; returns the model's folder."""
    folder = tmp_path / "judges" / "own"
    folder.mkdir(parents=True)
    (folder / "judge.yaml").write_text(OWN_JUDGE)
    (folder / "score.py").write_text(OWN_CODE)
    make_task(tmp_path, yaml=YAML)
    write_jsonl(tmp_path / "rows.jsonl", answers([f"s{i}" for i in range(4)]))
    (tmp_path / "model" / "sub").mkdir(parents=True)
    (tmp_path / "model" / "sub" / "weights").write_text("7")
    return tmp_path / "model"


def run(cli: Cli, out: str, *more: str) -> Result:
    arguments = ["score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--out", out]
    return cli(*arguments, "--include", "mine", "--include", "judges", "--allow-code", *more)


def test_without_its_model_a_metric_stays_unscored_and_the_option_is_shown(cli: Cli, own: Path) -> None:
    result = run(cli, "run")
    assert result.code == 0, result.err
    assert "unscored: own has no model" in result.out
    assert "add --judge own=PATH to its command:\n  eval-anything score --outputs run " in result.out
    results = json.loads(Path("run/results.json").read_bytes())
    assert results["tasks"]["mine/demo"]["metrics"]["length"]["unscored"] == 4
    assert results["judges"]["own"]["available"] is False


def test_with_its_model_it_scores_and_the_fingerprint_covers_all_its_files(cli: Cli, own: Path) -> None:
    prints = []
    for out, weights in (("a", "7"), ("b", "7"), ("c", "8")):
        (own / "sub" / "weights").write_text(weights)
        (own / ".cache").write_text(out)  # what a download leaves there is not the model
        result = run(cli, out, "--judge", "own=model", "--json")
        assert result.code == 0, result.err
        assert result.json["tasks"]["mine/demo"]["metrics"]["length"]["value"] == float(weights)
        prints.append(result.json["judges"]["own"]["fingerprint"])
    assert prints[0] == prints[1] != prints[2]


def test_a_model_that_is_missing_or_does_not_load_is_the_users_error(cli: Cli, own: Path) -> None:
    missing = run(cli, "a", "--judge", "own=elsewhere")
    assert missing.code == 2
    assert "--judge own=elsewhere: there is no such folder" in missing.err
    (own / "sub" / "weights").write_text("no number")
    broken = run(cli, "b", "--judge", "own=model")
    assert broken.code == 2
    assert "does not load: ValueError: could not convert string to float" in broken.err


def test_a_factory_that_fails_is_the_users_error(cli: Cli, own: Path) -> None:
    (own.parent / "judges" / "own" / "score.py").write_text("def make(path):\n    return 1 / 0\n")
    failed = run(cli, "a", "--judge", "own=model")
    assert failed.code == 2
    assert "makes no scorer: ZeroDivisionError" in failed.err


@pytest.mark.parametrize("keys", ["", "scorer: score.py:make\nfactory: score.py:make\n"])
def test_a_metric_has_either_a_scorer_or_a_factory(cli: Cli, own: Path, keys: str) -> None:
    path = own.parent / "judges" / "own" / "judge.yaml"
    path.write_text(OWN_JUDGE.replace("factory: score.py:make\n", keys))
    assert "judge.yaml:2: a metric judge needs `scorer:`, or `factory:`" in run(cli, "run").err


# --- clip_score ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights whose tokenizer knows bytes; texts are cut at 16 tokens."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    path = tmp_path_factory.mktemp("clip")
    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    small = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    torch.manual_seed(4)
    config = CLIPConfig(
        text_config={
            **small,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": 16,
            "bos_token_id": vocabulary["<|startoftext|>"],
            "eos_token_id": vocabulary["<|endoftext|>"],
        },
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(path)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    processor = CLIPProcessor(
        image_processor=CLIPImageProcessorPil(**sizes), tokenizer=CLIPTokenizer(vocabulary, merges=[])
    )
    processor.save_pretrained(path)
    return path


def by_hand(path: Path, pixels: Pixels, text: str) -> float:
    """CLIPScore from the towers of transformers' CLIPModel and the formula of torchmetrics."""
    import torch
    from transformers import CLIPModel, CLIPProcessor

    model, processor = CLIPModel.from_pretrained(path).eval(), CLIPProcessor.from_pretrained(path)
    tokens = processor.tokenizer(text, return_tensors="pt", truncation=True, max_length=16)
    seen = processor.image_processor(pixels, return_tensors="pt")
    with torch.no_grad():
        image = model.get_image_features(**seen).pooler_output
        words = model.get_text_features(**tokens).pooler_output
    image, words = (x / x.norm(p=2, dim=-1, keepdim=True) for x in (image, words))
    return max(float((100 * (image * words).sum(axis=-1)).mean()), 0.0)


TEXTS = ("a red square", "two dogs", "xyz", "night", "Hi!")
LONG = "Draw a lighthouse at night, and say in one sentence what it is for."


def test_clip_score_equals_transformers_and_the_formula(clip: Path, store: MediaStore) -> None:
    pictures = [gradient(40, 56), noisy(gradient(64, 48), 250)]
    parts = [store.put(encode_png(pixels), IMAGE) for pixels in pictures]
    scorer = judge("clip_score", clip)
    seen = set()
    for prompt, text in zip((*TEXTS, LONG), (LONG, *TEXTS), strict=True):
        task = sample(TextPart(prompt), required=[TEXT, IMAGE])
        found = scored(scorer, task, TextPart(text), *parts)
        for metric, words in (("clip_prompt", prompt), ("clip_text_image", text)):
            expected = [by_hand(clip, pixels, words) for pixels in pictures]
            assert found[metric].details["images"] == pytest.approx(expected, abs=1e-4)
            assert found[metric].value == pytest.approx(sum(expected) / 2, abs=1e-4)
            seen.update(expected)
    assert len(seen - {0.0}) > 3


def test_clip_score_equals_torchmetrics(clip: Path, store: MediaStore) -> None:
    import torch
    from torchmetrics.functional.multimodal import clip_score
    from transformers import CLIPModel, CLIPProcessor

    class Towers:
        """What torchmetrics expects of a model: tensors, which transformers 5 wraps."""

        def __init__(self) -> None:
            self.model = CLIPModel.from_pretrained(clip).eval()
            self.config, self.device = self.model.config, self.model.device

        def to(self, device: Any) -> Towers:
            return self

        def get_image_features(self, pixels: Any) -> Any:
            return self.model.get_image_features(pixels).pooler_output

        def get_text_features(self, ids: Any, mask: Any) -> Any:
            return self.model.get_text_features(ids, mask).pooler_output

    pixels = gradient(40, 56)
    part = store.put(encode_png(pixels), IMAGE)
    scorer = judge("clip_score", clip)
    picture = torch.tensor(pixels).permute(2, 0, 1)
    for text in TEXTS:  # of a long one torchmetrics cuts off the end mark, which CLIP's tokenizer keeps
        with torch.no_grad():
            expected = clip_score(picture, text, lambda: (Towers(), CLIPProcessor.from_pretrained(clip)))
        found = values(scorer, sample(TextPart(text), required=[IMAGE]), part)
        assert found == {"clip_prompt": pytest.approx(float(expected), abs=1e-4)}


def test_clip_score_of_what_is_missing(clip: Path, store: MediaStore) -> None:
    part = store.put(encode_png(gradient()), IMAGE)
    scorer = judge("clip_score", clip)
    both = sample(TextPart("a red square"), required=[TEXT, IMAGE])
    assert values(scorer, both) == {"clip_prompt": 0, "clip_text_image": 0}
    assert values(scorer, both, TextPart("words")) == {"clip_prompt": 0, "clip_text_image": 0}
    assert values(scorer, both, part)["clip_text_image"] == 0
    assert set(values(scorer, sample(part, required=[TEXT, IMAGE]), part)) == {"clip_text_image"}
    assert values(scorer, sample(TextPart("hi"), required=[TEXT]), TextPart("words")) == {}


# --- word_error_rate ----------------------------------------------------------------------------


def code_of_word_error_rate() -> Any:
    from eval_anything.files.code import load_function

    folder = find_judges()["word_error_rate"].path
    return {name: load_function(folder, f"score.py:{name}") for name in ("words", "word_error_rate")}


def test_words_are_made_alike() -> None:
    words = code_of_word_error_rate()["words"]
    assert words("  Don\N{RIGHT SINGLE QUOTATION MARK}t -- STOP, it's\n\u201cwell-known\u201d!") == (
        "dont stop its well known"
    )
    assert words("\N{LATIN SMALL LIGATURE FI}ne Stra\N{LATIN SMALL LETTER SHARP S}e") == "fine strasse"
    assert words("caf\N{LATIN SMALL LETTER E WITH ACUTE}") == words("cafe\N{COMBINING ACUTE ACCENT}")
    assert words("\u4f60\u597d\u3002 ...") == "\u4f60\u597d"


@pytest.mark.parametrize(
    ("heard", "reference"),
    [
        ("the cat sat", "the cat sat"),
        ("the cat sat on", "a cat on the mat"),
        ("", "one two"),
        ("a b c d e f", "x"),
        ("mat the on cat the", "the cat on the mat"),
    ],
)
def test_word_error_rate_equals_torchmetrics(heard: str, reference: str) -> None:
    from torchmetrics.text import WordErrorRate

    rate = code_of_word_error_rate()["word_error_rate"]
    assert rate(heard, reference) == pytest.approx(float(WordErrorRate()([heard], [reference])))
    assert rate(heard, reference) == pytest.approx(
        edits(heard.split(), reference.split()) / len(reference.split())
    )


def edits(a: list[str], b: list[str]) -> int:
    """Levenshtein's distance, by its definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(edits(a[1:], b) + 1, edits(a, b[1:]) + 1, edits(a[1:], b[1:]) + (a[0] != b[0]))


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Wav2Vec2 with a CTC head and random weights that hears letters."""
    return tiny_wav2vec2(tmp_path_factory.mktemp("wav2vec2"))


def heard_by_hand(path: Path, sound: Path) -> str:
    """The greedy transcript from transformers' model and processor."""
    import soundfile
    import torch
    from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

    model = Wav2Vec2ForCTC.from_pretrained(path).eval()
    processor = Wav2Vec2Processor.from_pretrained(path)
    samples, rate = soundfile.read(sound, dtype="float32")
    inputs = processor(samples, sampling_rate=rate, return_tensors="pt")
    with torch.no_grad():
        ids = model(inputs.input_values).logits.argmax(-1)
    return str(processor.batch_decode(ids)[0])


def test_word_error_rate_of_what_a_transcriber_hears(wav2vec2: Path, store: MediaStore) -> None:
    from torchmetrics.text import WordErrorRate

    noise = np.random.default_rng(0).normal(0, 0.1, 16000)
    part = store.put(encode_wav(noise, 16000), AUDIO)
    heard = heard_by_hand(wav2vec2, part.path)
    assert heard.strip()
    scorer = judge("word_error_rate", wav2vec2)
    own_text = sample(required=[TEXT, AUDIO])
    [score] = scored(scorer, own_text, TextPart(f"{heard.upper()}!"), part).values()
    assert (score.value, score.details["heard"]) == (0, heard)
    transcript = f"{heard} and four more words"
    [score] = scored(scorer, sample(required=[AUDIO], transcript=transcript), part).values()
    assert score.value == pytest.approx(float(WordErrorRate()([heard], [transcript])))
    assert 0 < (score.value or 0) < 1


def test_word_error_rate_of_what_is_missing(wav2vec2: Path, store: MediaStore) -> None:
    part = store.put(SOUNDS["sine"], AUDIO)
    scorer = judge("word_error_rate", wav2vec2)
    own_text = sample(required=[TEXT, AUDIO])
    assert values(scorer, own_text) == {"word_error_rate": 1}
    assert values(scorer, own_text, part) == {"word_error_rate": 1}
    assert values(scorer, own_text, TextPart("words")) == {"word_error_rate": 1}
    assert values(scorer, sample(required=[AUDIO]), part) == {}
    assert values(scorer, sample(required=[TEXT]), TextPart("words")) == {}


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper with random weights that hears bytes, with its timestamps."""
    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    path = tmp_path_factory.mktemp("whisper")
    letters = [*bytes_to_unicode().values(), "<|endoftext|>"]
    tokenizer = WhisperTokenizer({letter: i for i, letter in enumerate(letters)}, merges=[])
    marks = ["<|startoftranscript|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    times = [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    tokenizer.add_special_tokens({"additional_special_tokens": [*marks, *times]})
    end, start, plain = (
        tokenizer.convert_tokens_to_ids(t) for t in ("<|endoftext|>", marks[0], marks[3])
    )
    ids = {
        "eos_token_id": end,
        "bos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
    }
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_target_positions=32,
        begin_suppress_tokens=None,
        suppress_tokens=None,
        **ids,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        no_timestamps_token_id=plain, is_multilingual=False, max_length=24, **ids
    )
    model.save_pretrained(path)
    WhisperProcessor(feature_extractor=WhisperFeatureExtractor(), tokenizer=tokenizer).save_pretrained(
        path
    )
    return path


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_a_long_sound_is_transcribed_whole(
    kind: str, store: MediaStore, request: pytest.FixtureRequest
) -> None:
    model: Path = request.getfixturevalue(kind)
    part = store.put(encode_wav(np.random.default_rng(0).normal(0, 0.1, 31 * 16000), 16000), AUDIO)
    task = sample(required=[AUDIO], transcript="words")
    [score] = scored(judge("word_error_rate", model), task, part).values()
    assert score.details["heard"]


@pytest.mark.parametrize("name", ["clip_score", "word_error_rate"])
def test_a_checkpoint_of_another_kind_is_the_users_error(
    name: str, tiny: Path, store: MediaStore
) -> None:
    """transformers would give the parts that are missing random weights."""
    picture, sound = store.put(encode_png(gradient()), IMAGE), store.put(SOUNDS["sine"], AUDIO)
    task = sample(TextPart("x"), required=[TEXT, IMAGE, AUDIO])
    with pytest.raises(UserError, match="does not load"):
        scored(judge(name, tiny), task, TextPart("x"), picture, sound)


def test_a_transcriber_without_its_head_is_refused(wav2vec2: Path, store: MediaStore) -> None:
    path = wav2vec2.parent / "headless"
    shutil.copytree(wav2vec2, path)
    config = json.loads((path / "config.json").read_bytes())
    (path / "config.json").write_text(json.dumps(config | {"architectures": ["Wav2Vec2Model"]}))
    part = store.put(SOUNDS["sine"], AUDIO)
    with pytest.raises(UserError, match="is no transcriber: it holds"):
        scored(judge("word_error_rate", path), sample(required=[AUDIO], transcript="x"), part)
