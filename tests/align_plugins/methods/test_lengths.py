"""Rows whose prompts carry media: their length, and what is said of one that is too long or broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from align_plugins.data.files import read_rows
from align_plugins.policies.base import RowError
from align_plugins.training.sampling import sample
from eval_anything import plugins
from tests.support.configs import batch_of, config, load, program_judge
from tests.support.helpers import Cli, Result, jpeg, wav, write_jsonl
from tests.support.tiny_media import tiny_llava, tiny_qwen2_audio

METHODS = ["sft", "dpo", "reward", "ppo"]
NEW = 4
"""Tokens of a response under ppo."""


@pytest.fixture(scope="module")
def hears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to which a second of sound is 25 tokens, and which takes 128."""
    return shortened(tiny_qwen2_audio(tmp_path_factory.mktemp("hears")), 128)


@pytest.fixture(scope="module")
def sees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to which every image is as long."""
    return tiny_llava(tmp_path_factory.mktemp("sees"))


def shortened(model: Path, positions: int) -> Path:
    """The checkpoint as one that takes so many tokens."""
    saved = json.loads((model / "config.json").read_bytes())
    saved["text_config"]["max_position_embeddings"] = positions
    (model / "config.json").write_text(json.dumps(saved))
    return model


def rows(folder: Path, method: str, media: dict[str, bytes | None]) -> Path:
    """A row of each medium, called as it, for a method; without one it is of text alone."""
    learned: dict[str, Any] = {"chosen": text("A house."), "rejected": text("Nothing at all.")}
    learned = {"sft": {"response": text("A house.")}, "ppo": {}}.get(method, learned)
    found = []
    for name, data in media.items():
        shown = []
        if data is not None:
            (folder / name).write_bytes(data)
            modality = "audio" if name.endswith("wav") else "image"
            shown = [{"modality": modality, "path": name}]
        message = {"role": "user", "parts": [*shown, *text(f"What is {name}?")]}
        found.append({"id": name, "messages": [message], **learned})
    return write_jsonl(folder / "rows.jsonl", found)


def text(words: str) -> list[dict[str, str]]:
    return [{"modality": "text", "text": words}]


def settings(folder: Path, method: str, model: Path, data: Path, **more: Any) -> Path:
    if method == "ppo":
        judges = program_judge(folder, "wordy", "len(response.text) % 7 / 6")
        more |= {"rewards": [{"judge": "wordy"}], "include": [str(judges)], "allow_code": True}
        more |= {"rollout": 4, "max_new_tokens": NEW}
    if method == "reward":
        more |= {"held_out": 0.0}
    return config(
        folder, data, **{"model": str(model), "per_device_train_batch_size": 4, "max_steps": 1, **more}
    )


def train(cli: Cli, folder: Path, method: str, model: Path, data: Path, **more: Any) -> Result:
    return cli("train", method, "--config", settings(folder, method, model, data, **more))


def collated(trainer: Any, item: Any) -> int:
    """The length of the batch that one item makes, with the longest response of ppo."""
    if trainer.name != "ppo":
        return int(batch_of(trainer, item)["inputs"]["input_ids"].shape[1])
    answered = trainer.policy.with_response(item.prompt, [0] * NEW)
    return int(trainer.policy.collate([answered])["inputs"]["input_ids"].shape[1])


@pytest.mark.parametrize("method", METHODS)
def test_a_length_is_that_of_the_batch(method: str, hears: Path, tmp_path: Path) -> None:
    sounds = {"short.wav": wav(0.5), "longer.wav": wav(1.5), "none": None}
    data = rows(tmp_path, method, sounds)
    path = settings(tmp_path, method, hears, data, max_tokens=1000)
    trainer = plugins.load(plugins.TRAINERS, method).from_config(path)
    load(trainer)
    found = read_rows(data)
    items = [trainer.encode(row) for row in found]
    lengths = [item.tokens for item in items]
    assert lengths == [collated(trainer, item) for item in items]
    assert lengths[1] - lengths[0] > 20
    # Without `max_tokens` no medium is read before its batch is made; text is counted all the same.
    path.write_text(path.read_text().replace("max_tokens: 1000\n", ""))
    trainer = plugins.load(plugins.TRAINERS, method).from_config(path)
    load(trainer)
    for name in ("short.wav", "longer.wav"):
        (tmp_path / name).unlink()
    *unread, last = (trainer.encode(row).tokens for row in found)
    assert last == lengths[2]
    assert all(count < length for count, length in zip(unread, lengths[:2], strict=True))


def test_a_length_with_an_image_is_that_of_the_batch(sees: Path, tmp_path: Path) -> None:
    data = rows(tmp_path, "dpo", {"one.jpg": jpeg()})
    path = settings(tmp_path, "dpo", sees, data, max_tokens=1000)
    trainer = plugins.load(plugins.TRAINERS, "dpo").from_config(path)
    load(trainer)
    item = trainer.encode(read_rows(data)[0])
    assert item.tokens == collated(trainer, item)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "ppo"])
def test_what_is_too_long_is_left_out(method: str, hears: Path, cli: Cli, tmp_path: Path) -> None:
    sounds = {f"{n}.wav": wav(0.4, hertz=300 + 100 * n) for n in range(3)} | {"long.wav": wav(8)}
    data = rows(tmp_path, method, sounds)
    done = train(cli, tmp_path, method, hears, data, max_tokens=110)
    assert done.code == 0, done.err
    assert "left out: 1 of 4 rows have more than 110 tokens" in done.err
    assert f"{method}: 3 rows" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_row_beyond_the_positions_is_named(method: str, hears: Path, cli: Cli, tmp_path: Path) -> None:
    data = rows(tmp_path, method, {"short.wav": wav(0.4), "long.wav": wav(8)})
    done = train(cli, tmp_path, method, hears, data)
    assert done.code == 2
    assert "row 'long.wav': has 2" in done.err
    assert "tokens, the model takes 128: set max_tokens to leave it out" in done.err
    assert not (tmp_path / "out" / "final").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "limit"), [*((name, None) for name in METHODS), ("sft", 1000)])
def test_a_broken_medium_is_named(
    method: str, limit: int | None, sees: Path, cli: Cli, tmp_path: Path
) -> None:
    data = rows(tmp_path, method, {"good.jpg": jpeg(), "broken.jpg": jpeg()[:200]})
    more = {} if limit is None else {"max_tokens": limit}
    done = train(cli, tmp_path, method, sees, data, **more)
    assert done.code == 2
    assert "row 'broken.jpg': " in done.err
    assert "broken.jpg does not decode" in done.err


def test_what_nobody_can_be_blamed_for_is_raised(sees: Path, tmp_path: Path) -> None:
    """Where sampling fails, prompts are looked through for one that cannot be read."""
    data = rows(tmp_path, "ppo", {"good.jpg": jpeg(), "gone.jpg": jpeg(noise=5)})
    trainer = plugins.load(plugins.TRAINERS, "ppo").from_config(settings(tmp_path, "ppo", sees, data))
    load(trainer)
    asked = [trainer.encode(row) for row in read_rows(data)]
    conversations = [one.sample.messages for one in asked]
    prompts = [one.prompt for one in asked]
    with pytest.raises(IndexError):
        sample(trainer.policy, conversations, prompts, seeds=[1])
    (tmp_path / "gone.jpg").unlink()
    with pytest.raises(RowError) as caught:
        sample(trainer.policy, conversations, prompts, seeds=[1, 2])
    assert caught.value.row == "gone.jpg"
