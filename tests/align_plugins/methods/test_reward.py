"""Reward models with heads for aspects: what is learned, measured, and judged with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from align_plugins.losses.reward import aspect_loss, reward_loss
from eval_anything.content import Score
from eval_anything.judges.kinds.reward.classes import heads_of
from eval_anything.runs.directory import read_run
from tests.support.configs import config, logged
from tests.support.families import JUDGE_YAML
from tests.support.helpers import TASK_YAML, Cli, answers, make_task, text_sample, write_jsonl
from tests.support.tiny import tiny_llama


def _text(text: str) -> list[dict[str, str]]:
    return [{"modality": "text", "text": text}]


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Pairs whose chosen response is the shorter one. Either response may be the polite one; every
    third pair is not rated on that."""
    rows = []
    for n in range(48):
        polite = (n % 2) * 2 - 1
        chosen, rejected = f"Answer {n}", f"There is no answer to question {n}, or none that I know of"
        chosen, rejected = (
            f"{t}{', please' * (s > 0)}" for t, s in ((chosen, polite), (rejected, -polite))
        )
        aspects = {"brief": 2, **({"polite": 3 * polite} if n % 3 else {"polite": 0})}
        prompt = [{"role": "user", "parts": _text(f"Question {n}?")}]
        rows.append(
            {
                "messages": prompt,
                "chosen": _text(chosen),
                "rejected": _text(rejected),
                "aspects": aspects,
            }
        )
    return write_jsonl(tmp_path / "pairs.jsonl", rows)


def test_aspects_by_hand() -> None:
    """The first pair: better by 1 in one aspect, not rated in the other; the second: worse in both."""
    chosen = torch.tensor([[2.0, 9.0], [1.0, 0.0]])
    rejected = torch.tensor([[1.0, -9.0], [3.0, 1.0]])
    differences = torch.tensor([[0.5, 0.0], [-2.0, -1.0]])
    softplus = [math.log1p(math.exp(-margin)) for margin in (2 - 1, 3 - 1, 1 - 0)]
    found = aspect_loss(chosen, rejected, differences, regulariser=0)
    assert found.item() == pytest.approx(sum(softplus) / 3)
    squares = (2**2 + 1**2 + 1**2 + 3**2 + 0**2 + 1**2) / 6
    found = aspect_loss(chosen, rejected, differences, regulariser=0.01)
    assert found.item() == pytest.approx(sum(softplus) / 3 + 0.01 * squares)


def test_pairs_that_nobody_rated_teach_an_aspect_nothing() -> None:
    chosen = torch.tensor([[2.0]], requires_grad=True)
    loss = aspect_loss(chosen, torch.tensor([[1.0]]), torch.zeros(1, 1))
    loss.backward()
    assert (loss.item(), chosen.grad) == (0.0, torch.zeros(1, 1))


def test_an_aspect_rated_as_the_whole_has_the_loss_of_the_whole() -> None:
    chosen, rejected = torch.randn(5, 1), torch.randn(5, 1)
    found = aspect_loss(chosen, rejected, torch.ones(5, 1))
    assert found.item() == pytest.approx(reward_loss(chosen[:, 0], rejected[:, 0]).item())


@pytest.mark.parametrize(
    ("labels", "heads"),
    [
        ({}, ("reward",)),
        ({"id2label": {"0": "LABEL_0"}}, ("reward",)),
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, ("reward",)),
        ({"id2label": {"1": "clarity", "0": "reward"}}, ("reward", "clarity")),
    ],
)
def test_the_names_of_heads(labels: dict[str, Any], heads: tuple[str, ...]) -> None:
    assert heads_of(labels) == heads


@pytest.mark.slow
def test_aspects_are_learned_measured_and_judged_with(cli: Cli, tmp_path: Path, rated: Path) -> None:
    model = tiny_llama(tmp_path / "model")
    aspects = ["polite", "brief"]
    path = config(
        tmp_path, rated, model=str(model), num_train_epochs=12.0, learning_rate=3e-3, aspects=aspects
    )
    done = cli("train", "reward", "--config", path, "held_out=0.25", "--json")
    assert done.code == 0, done.err
    found = done.json["aspects"]
    assert list(found) == aspects
    assert done.json["accuracy"]["value"] == found["brief"]["value"] == 1.0
    assert found["polite"]["value"] > 0.8
    # Every third pair is not rated on politeness, and does not count.
    assert found["brief"]["n"] == done.json["accuracy"]["n"] == 12
    assert 4 <= found["polite"]["n"] < 12
    assert found["polite"]["ci95"][0] <= found["polite"]["value"] <= found["polite"]["ci95"][1]
    assert {"accuracy", "accuracy_polite", "accuracy_brief"} <= set(logged(tmp_path / "out")[-2])
    shown = cli("train", "reward", "--config", path, "held_out=0.25").out
    assert "polite: " in shown
    assert "rated on it" in shown

    polite, curt = _judged(cli, tmp_path, "reward", *aspects)
    assert set(polite) == {"reward", *aspects}
    assert (polite["polite"].value or 0) > 0.5 > (curt["polite"].value or 1)
    assert len({score.value for score in polite.values()}) == 3
    # One metric of another name is the overall head; several must be heads.
    whole, _ = _judged(cli, tmp_path, "quality")
    assert whole["quality"].value == polite["reward"].value
    with pytest.raises(AssertionError, match="metrics must be among them, not clarity"):
        _judged(cli, tmp_path, "reward", "clarity")


def _judged(cli: Cli, folder: Path, *metrics: str) -> list[Mapping[str, Score]]:
    """The scores of a polite answer and of one that is not, by the model that was trained."""
    root = folder / "-".join(metrics)
    yaml = TASK_YAML.replace("selection_contract", "my_rm").replace("selection", metrics[0])
    make_task(root, samples=[text_sample(f"s{n}", f"Question {n}?") for n in range(2)], yaml=yaml)
    judge = root / "mine" / "my_rm"
    judge.mkdir()
    lines = "".join(f"  {name}: {{range: [0, 1]}}\n" for name in metrics)
    (judge / "judge.yaml").write_text(JUDGE_YAML.partition("  reward:")[0] + lines)
    texts = ("Answer 0, please", "Answer 1")
    rows = [row for n, text in enumerate(texts) for row in answers([f"s{n}"], text)]
    scored = cli(
        "score", "--outputs", write_jsonl(root / "answers.jsonl", rows), "--tasks", "mine/demo",
        "--include", root, "--judge", f"my_rm={folder / 'out' / 'final'}", "--out", root / "run",
    )  # fmt: skip
    assert scored.code == 0 or "canary" in scored.err, scored.err
    return [record.scores for record in read_run(root / "run", "mine/demo")]


@pytest.mark.parametrize(
    ("aspects", "message"),
    [
        (["polit"], "no pair has ratings of 'polit' that differ. Did you mean polite?"),
        (["brief", "brief"], "aspects must differ"),
        (["reward"], "aspects must differ from each other and from 'reward'"),
    ],
)
def test_wrong_aspects_are_named(
    aspects: list[str], message: str, cli: Cli, tmp_path: Path, rated: Path
) -> None:
    done = cli("train", "reward", "--config", config(tmp_path, rated, aspects=aspects))
    assert done.code == 2
    assert message in done.err


@pytest.mark.slow
def test_pairs_must_be_left_to_learn_from(cli: Cli, tmp_path: Path, rated: Path) -> None:
    model = tiny_llama(tmp_path / "model")
    path = config(tmp_path, rated, model=str(model), held_out=0.99, allow_contamination=True)
    done = cli("train", "reward", "--config", path)
    assert done.code == 2
    assert "held_out: no pairs are left to learn from" in done.err
