"""Reward models as judges: the bundled one of the micro world, and text checkpoints of a user."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Contract, Message, Modality, Response, Sample, Score, TextPart
from eval_anything.judges.assemble import make_judge
from eval_anything.judges.folder import find_judges
from eval_anything.judges.kinds.reward.head import Head
from eval_anything.judges.scorer import Scorer
from eval_anything.media import MediaStore
from eval_anything.micro.pairs.preferences import RenderedPair, render_pair, synergy_calibration
from eval_anything.runs.directory import read_run
from tests.support.helpers import Cli, answers, make_task, png, text_sample, wav, write_jsonl
from tests.support.tiny import tiny_reward_model

BUNDLED = "micro_synergy_rm"
PAIRS = synergy_calibration(24)

JUDGE_YAML = """\
version: 1
kind: reward_model
title: A reward model
description: Says how good a text is.
sees: [text]
metrics:
  reward: {range: [0, 10]}
"""
TASK_YAML = """\
version: 1
title: A task
description: What it measures.
licence: CC0-1.0
inputs: [text]
outputs: [text, image]
judges: [my_rm]
primary: reward
contract: {required: [text], allowed: [image]}
"""


@pytest.fixture(scope="module")
def bundled() -> Scorer:
    return make_judge(find_judges()[BUNDLED], False, None)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedPair]:
    folder = tmp_path_factory.mktemp("pairs")
    return [render_pair(pair, folder, f"p{number}") for number, pair in enumerate(PAIRS)]


@pytest.fixture(scope="module")
def text_model(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text reward model with random weights; not to be changed."""
    return tiny_reward_model(tmp_path_factory.mktemp("checkpoints") / "text_rm", tiny)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with the judge `my_rm`, without a checkpoint, and the task `mine/demo` that uses it."""
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(5)], yaml=TASK_YAML)
    judge = tmp_path / "mine" / "my_rm"
    judge.mkdir()
    (judge / "judge.yaml").write_text(JUDGE_YAML)
    return tmp_path / "mine"


def ask(scorer: Scorer, questions: Sequence[tuple[Sample, Response]]) -> list[dict[str, Score]]:
    """Scores of questions that are asked at the same time."""

    async def all_at_once() -> list[dict[str, Score]]:
        return list(await asyncio.gather(*(scorer.score(*question) for question in questions)))

    return asyncio.run(all_at_once())


def _sides(rendered: Sequence[RenderedPair]) -> list[tuple[Sample, Response]]:
    return [(pair.sample, response) for pair in rendered for response in (pair.a, pair.b)]


# --- the bundled judge -----------------------------------------------------------------------------


def test_a_batch_gives_the_same_values_as_single_questions(
    bundled: Scorer, rendered: list[RenderedPair]
) -> None:
    questions = _sides(rendered)
    together = ask(bundled, questions)
    for question, scores in zip(questions, together, strict=True):
        (alone,) = ask(bundled, [question])
        assert alone.keys() == scores.keys()
        for name, score in scores.items():
            assert score.value == pytest.approx(alone[name].value, abs=1e-5)
            assert score.value == round(score.value or 0.0, 6)
    assert len({scores["synergy"].value for scores in together}) > 20


def test_the_values_are_those_that_the_figures_are_made_of(
    bundled: Scorer, rendered: list[RenderedPair]
) -> None:
    from eval_anything.micro.making.reward import CHECKPOINT, judged, load

    of_ids = judged(load(find_judges()[BUNDLED].path / CHECKPOINT), PAIRS)
    of_files = iter(ask(bundled, _sides(rendered)))
    for side in (side for pair in of_ids for side in pair):
        scores = next(of_files)
        assert {n: s.value for n, s in scores.items() if n != "synergy"} == pytest.approx(side, abs=1e-5)
        assert scores["synergy"].value == pytest.approx(sum(side.values()) / len(side), abs=1e-5)


def test_questions_that_come_together_share_a_batch(
    bundled: Scorer, rendered: list[RenderedPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    scalars = Head.scalars

    def counted(self: Head, questions: Any) -> Any:
        sizes.append(len(questions))
        return scalars(self, questions)

    monkeypatch.setattr(Head, "scalars", counted)
    scorer = make_judge(find_judges()[BUNDLED], False, None)
    ask(scorer, _sides(rendered))
    assert max(sizes) == 32
    assert len(sizes) <= 4


def test_a_missing_part_or_medium_of_nothing_scores_the_floor_without_the_model(
    rendered: list[RenderedPair], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = next(p for p in rendered if len(p.sample.contract.required) == 3)
    picture = next(part for part in pair.a.parts if part.modality is Modality.IMAGE)
    silence = MediaStore(tmp_path).put(wav(0.5, level=0.0), Modality.AUDIO)
    scorer = make_judge(find_judges()[BUNDLED], False, None)
    three = Response((TextPart("a red circle at the top left, one high flat tone."), picture, silence))
    (scores,) = ask(scorer, [(pair.sample, three)])
    assert scores["text_audio"].value == scores["image_audio"].value == 0.0
    assert "shows nothing" in scores["text_audio"].explanation
    assert str(tmp_path) not in scores["text_audio"].explanation
    assert (scores["text_image"].value or 0.0) > 0.0

    def never(self: Head, questions: Any) -> Any:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(Head, "scalars", never)
    scorer = make_judge(find_judges()[BUNDLED], False, None)
    for parts in ((), (picture,)):
        (scores,) = ask(scorer, [(pair.sample, Response(parts))])
        assert set(scores) == {"text_image", "text_audio", "image_audio", "synergy"}
        assert {score.value for score in scores.values()} == {0.0}
    assert "no text, audio" in scores["text_audio"].explanation


def test_a_pair_with_a_modality_that_the_judge_does_not_see_is_unscored(
    rendered: list[RenderedPair], tmp_path: Path
) -> None:
    shutil.copytree(find_judges()[BUNDLED].path, tmp_path / "blind")
    yaml = tmp_path / "blind" / "judge.yaml"
    yaml.write_text(yaml.read_text().replace("sees: [text, image, audio, video]", "sees: [text, image]"))
    scorer = make_judge(find_judges([tmp_path])["blind"], False, None)
    pair = next(p for p in rendered if len(p.sample.contract.required) == 3)
    (scores,) = ask(scorer, [(pair.sample, pair.a)])
    assert scores["text_image"].value is not None
    assert scores["text_audio"].value is None
    assert "audio, which this judge cannot see" in scores["text_audio"].explanation
    assert scores["synergy"].value is None


def test_a_prompt_that_the_judge_cannot_read_leaves_the_sample_unscored(
    bundled: Scorer, rendered: list[RenderedPair], tmp_path: Path
) -> None:
    silence = MediaStore(tmp_path).put(wav(0.5, level=0.0), Modality.AUDIO)
    pair = rendered[0]
    sample = Sample("x", (Message("user", (silence,)),), pair.sample.contract)
    (scores,) = ask(bundled, [(sample, pair.a)])
    assert {score.value for score in scores.values()} == {None}


def test_the_fingerprint_covers_weights_and_metrics(bundled: Scorer, tmp_path: Path) -> None:
    for name, file, old, new in (
        ("same", "judge.yaml", b"", b""),
        ("metric", "judge.yaml", b"image_audio: {range: [0, 1],", b"image_audio: {range: [0, 2],"),
        ("weights", "checkpoint/model.safetensors", b"\x00\x3c", b"\x01\x3c"),
    ):
        path = tmp_path / name
        shutil.copytree(find_judges()[BUNDLED].path, path)
        data = (path / file).read_bytes()
        (path / file).write_bytes(data.replace(old, new) if old else data)
        other = make_judge(find_judges([tmp_path])[name], False, None)
        assert (other.fingerprint == bundled.fingerprint) == (name == "same")


def test_a_run_has_a_judged_metric_without_a_network(cli: Cli, tmp_path: Path) -> None:
    command = ["run", "--model", "micro", "--tasks", "micro/synergy_judged", "--limit", "10"]
    done = cli(*command, "--json", "--out", "run")
    assert done.code == 0, done.err
    result = done.json["tasks"]["micro/synergy_judged"]
    assert result["primary"] == "synergy"
    metric = result["metrics"]["synergy"]
    assert metric["n"] == 10
    assert metric["unscored"] == 0
    assert 0.05 < metric["value"] < 0.95
    records = read_run(tmp_path / "run", "micro/synergy_judged")
    assert {r.scores["synergy"].judge for r in records if r.error is None} == {BUNDLED}


# --- text reward models --------------------------------------------------------------------------


def score_texts(cli: Cli, mine: Path, texts: Sequence[str], *more: str | Path) -> Any:
    """A run that judges these answers; the task's later samples have none."""
    rows = [row for i, text in enumerate(texts) for row in answers([f"s{i}"], text)]
    write_jsonl(mine.parent / "answers.jsonl", rows)
    command = ["score", "--outputs", "answers.jsonl", "--tasks", "mine/demo", "--include", mine]
    return cli(*command, "--first", str(len(texts)), "--json", "--out", "run", *more)


def test_a_text_reward_model_gives_the_sigmoid_of_its_scalar_on_the_range(
    cli: Cli, mine: Path, text_model: Path
) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaForSequenceClassification

    texts = ["Paris", "The capital of France is Paris, and it lies on the Seine.", "no", "Paris? Paris!"]
    done = score_texts(cli, mine, texts, "--judge", f"my_rm={text_model}")
    assert done.code == 0, done.err
    tokenizer = AutoTokenizer.from_pretrained(text_model)
    model = LlamaForSequenceClassification.from_pretrained(text_model, dtype=torch.float32).eval()
    values = {r.sample_id: r.scores["reward"].value for r in read_run(Path("run"), "mine/demo")}
    for i, text in enumerate(texts):
        turns = [
            {"role": "user", "content": "What is the capital of France?"},
            {"role": "assistant", "content": text},
        ]
        ids = tokenizer.apply_chat_template(turns, return_dict=True, return_tensors="pt")
        with torch.inference_mode():
            scalar = model(**ids).logits.item()
        assert values[f"s{i}"] == pytest.approx(10 / (1 + math.exp(-scalar)), abs=1e-4)
    assert len(set(values.values())) == len(texts)


def test_a_checkpoint_in_the_judge_s_folder_needs_no_option(
    cli: Cli, mine: Path, text_model: Path
) -> None:
    shutil.copytree(text_model, mine / "my_rm" / "weights")
    (mine / "my_rm" / "judge.yaml").write_text(JUDGE_YAML + "checkpoint: weights\n")
    done = score_texts(cli, mine, ["Paris", "London"])
    assert done.code == 0, done.err
    assert done.json["tasks"]["mine/demo"]["metrics"]["reward"]["n"] == 2
    (mine / "my_rm" / "judge.yaml").write_text(JUDGE_YAML + "checkpoint: ../demo\n")
    done = score_texts(cli, mine, ["Paris"], "--out", "other")
    assert done.code == 2
    assert "outside" in done.err


def test_a_response_with_media_is_unscored_by_a_text_reward_model(
    mine: Path, text_model: Path, tmp_path: Path
) -> None:
    scorer = make_judge(find_judges([mine])["my_rm"], False, str(text_model))
    picture = MediaStore(tmp_path).put(png(), Modality.IMAGE)
    contract = Contract(required=(Modality.TEXT,), allowed=(Modality.IMAGE,))
    plain = Sample("a", (Message("user", (TextPart("Draw a dog."),)),), contract)
    shown = Sample("b", (Message("user", (TextPart("What is it?"), picture)),), contract)
    text = TextPart("A dog.")
    both, unseen, only, long, missing, empty = ask(
        scorer,
        [
            (plain, Response((text, picture))),
            (shown, Response((text,))),
            (plain, Response((text,))),
            (plain, Response((TextPart("dog " * 3000),))),
            (plain, Response((picture,))),
            (plain, Response()),
        ],
    )
    assert both["reward"].value is None
    assert both["reward"].explanation == "the response has image, which this judge cannot see"
    assert unseen["reward"].value is None
    assert "the prompt has image" in unseen["reward"].explanation
    assert 0 < (only["reward"].value or 0) < 10
    assert long["reward"].value is None
    assert "at most 2048" in long["reward"].explanation
    assert missing["reward"].value == empty["reward"].value == 0.0


def test_without_a_checkpoint_the_judge_is_unavailable(cli: Cli, mine: Path) -> None:
    done = score_texts(cli, mine, ["Paris"])
    assert not done.json["judges"]["my_rm"]["available"]
    assert done.json["tasks"]["mine/demo"]["metrics"]["reward"]["unscored"] == 1


def _lose_weights(path: Path) -> None:
    (path / "model.safetensors").unlink()


def _cut_weights(path: Path) -> None:
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data[: len(data) // 2])


def _lose_tokenizer(path: Path) -> None:
    (path / "tokenizer.json").unlink()


def _two_labels(path: Path) -> None:
    from transformers import AutoConfig, LlamaForSequenceClassification

    config = AutoConfig.from_pretrained(path, num_labels=2)
    LlamaForSequenceClassification(config).save_pretrained(path)


def _no_head(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, path / "model.safetensors", {"format": "pt"})


def _of_another_kind(path: Path) -> None:
    config = json.loads((path / "config.json").read_bytes())
    (path / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLM"]}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_lose_weights, "model.safetensors is missing"),
        (_cut_weights, "truncated"),
        (_lose_tokenizer, "tokenizer is missing"),
        (_two_labels, "does not load"),
        (_no_head, "no trained scalar head"),
        (_of_another_kind, "LlamaForCausalLM, not a reward model"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_a_checkpoint_that_is_no_whole_reward_model_ends_with_exit_2(
    cli: Cli, mine: Path, text_model: Path, spoil: Any, message: str
) -> None:
    path = mine.parent / "spoilt"
    shutil.copytree(text_model, path)
    spoil(path)
    done = score_texts(cli, mine, ["Paris", "London"], "--judge", f"my_rm={path}")
    assert done.code == 2, done.err
    assert message in done.err


def test_metrics_that_one_scalar_cannot_give_end_with_exit_2(
    cli: Cli, mine: Path, text_model: Path
) -> None:
    option = ("--judge", f"my_rm={text_model}")
    for extra, message in (
        ("  other: {range: [0, 1]}\n", "gives one number"),
        ("  text_image: {range: [0, 1]}\n", "there is only 'synergy'"),
    ):
        (mine / "my_rm" / "judge.yaml").write_text(JUDGE_YAML + extra)
        done = score_texts(cli, mine, ["Paris"], *option)
        assert done.code == 2
        assert message in done.err
    done = cli("run", "--model", "micro", "--tasks", "micro/synergy_judged", "--judge",
               f"{BUNDLED}={text_model}")  # fmt: skip
    assert done.code == 2
    assert "cannot see the pair" in done.err


def test_the_page_says_how_good_the_judge_is(cli: Cli, tmp_path: Path) -> None:
    command = ["run", "--model", "micro", "--tasks", "micro/synergy_judged", "--limit", "4"]
    done = cli(*command, "--out", "run")
    assert done.code == 0, done.err
    assert "judge micro_synergy_rm: accuracy 0.764" in done.out
    assert (
        "Judge micro_synergy_rm (reward_model): accuracy 0.764"
        in (tmp_path / "run/report.html").read_text()
    )
