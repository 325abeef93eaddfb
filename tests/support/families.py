"""Tiny checkpoints that see, hear or draw, with rows that need it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from align_plugins.data.files import read_rows
from align_plugins.policies.base import Policy
from eval_anything import plugins
from eval_anything.content import MediaPart, Message, Modality, Part, TextPart
from eval_anything.media import media_part
from eval_anything.models.spec import resolve
from eval_anything.runs.directory import read_run, read_run_file
from tests.support.configs import batch_of, config, load, logged, program_judge, weights
from tests.support.helpers import (
    TASK_YAML,
    Cli,
    answers,
    jpeg,
    make_task,
    medium_sample,
    mp4,
    png,
    wav,
    write_jsonl,
)
from tests.support.tiny_image_out import tiny_chameleon, tiny_emu3, tiny_janus
from tests.support.tiny_media import tiny_llava, tiny_qwen2_5_vl, tiny_qwen2_audio


class Family(NamedTuple):
    """How a checkpoint is made, what it is shown, two media of the same size, and whether it draws."""

    make: Callable[[Path], Path]
    modality: Modality
    suffix: str
    media: tuple[bytes, bytes]
    draws: bool = False


JUDGE_YAML = """\
version: 1
kind: reward_model
title: A reward model
description: Says how good an answer is.
sees: [text, image, audio, video]
metrics:
  reward: {range: [0, 1]}
"""

FAMILIES = {
    "llava": Family(
        tiny_llava, Modality.IMAGE, "jpg", (jpeg((200, 30, 30)), jpeg((20, 30, 250), noise=5))
    ),
    "qwen2_audio": Family(tiny_qwen2_audio, Modality.AUDIO, "wav", (wav(0.5), wav(0.5, hertz=1500))),
    "emu3": Family(
        tiny_emu3, Modality.IMAGE, "png", (png(size=24, noise=1), png((0, 0, 90), 24)), draws=True
    ),
    "chameleon": Family(
        partial(tiny_chameleon, decoder=True),
        Modality.IMAGE,
        "png",
        (png(size=32, noise=1), png((0, 0, 90), 32)),
        draws=True,
    ),
    # Its responses are text here; images are in test_policies_janus.py.
    "janus": Family(tiny_janus, Modality.IMAGE, "png", (png(size=24, noise=1), png((0, 0, 90), 24))),
    # Their processor needs torchvision: see needs_torchvision.py.
    "qwen2_5_vl": Family(
        tiny_qwen2_5_vl, Modality.IMAGE, "png", (png(size=56, noise=1), png(size=56, noise=2))
    ),
    "qwen2_5_vl_clips": Family(tiny_qwen2_5_vl, Modality.VIDEO, "mp4", (mp4(16), mp4(16, size=48))),
}


def asked(*parts: Part) -> tuple[Message, ...]:
    """A prompt of one message."""
    return (Message("user", parts),)


def medium(folder: Path, name: str, data: bytes, modality: Modality) -> MediaPart:
    """A medium in a file."""
    (folder / name).write_bytes(data)
    return media_part(folder / name, modality)


def sums(policy: Policy, *rows: tuple[Any, tuple[Part, ...]]) -> list[float]:
    """Log-probabilities of responses, as one batch."""
    with torch.no_grad():
        tokens = policy.logprobs(policy.collate([policy.encode(*row) for row in rows]))
    return tokens.sums().sum(1).tolist()


def by_hand(policy: Policy, messages: Any, response: tuple[Part, ...]) -> float:
    """The log-probability of a response alone in its batch, from the full logits."""
    item = policy.encode(messages, response)
    batch = policy.collate([item])
    ids = batch["inputs"]["input_ids"]
    with torch.no_grad():
        logits = policy.model(**batch["inputs"]).logits.log_softmax(-1)[0]
    start = ids.shape[1] - len(item.response)
    return sum(logits[start - 1 + i, token].item() for i, token in enumerate(item.response))


def check_logprobs(family: Family, policy: Policy, folder: Path) -> None:
    """Its medium counts, and a response has the same log-probability in any company."""
    question, answer = TextPart("What is this?"), (TextPart("A lighthouse."),)
    shown = [
        medium(folder, f"{n}.{family.suffix}", data, family.modality)
        for n, data in enumerate(family.media)
    ]
    rows = [asked(shown[0], question), asked(shown[1], question), asked(question)]
    alone = [sums(policy, (row, answer))[0] for row in rows]
    assert len({round(value, 4) for value in alone}) == 3, alone
    # A batch of rows with and without a medium, of different length, says the same.
    assert sums(policy, *((row, answer) for row in rows)) == pytest.approx(alone, abs=2e-3)
    assert alone[0] == pytest.approx(by_hand(policy, rows[0], answer), abs=1e-3)


def _text(text: str) -> list[dict[str, str]]:
    return [{"modality": "text", "text": text}]


def _rows(family: Family, method: str) -> list[dict[str, Any]]:
    """Two rows that differ in their medium alone."""
    one, other = (
        [{"modality": family.modality.value, "path": f"{n}.{family.suffix}"}] for n in range(2)
    )
    good, bad = _text("A house."), _text("Nothing at all.")
    if family.draws:
        good, bad = good + one, other + bad
    pair = {"chosen": good, "rejected": bad}
    learned = {"sft": {"response": good}, "ppo": {}}.get(method, pair)
    return [
        {"messages": [{"role": "user", "parts": [*shown, *_text("What?")]}], **learned}
        for shown in (one, other)
    ]


def check_lora_step(family: Family, method: str, cli: Cli, folder: Path) -> None:
    """Two steps of LoRA: the medium reaches the model, finite losses, changed adapters, and what was
    saved is evaluated by itself or, of a reward model, judges."""
    for n, data in enumerate(family.media):
        (folder / f"{n}.{family.suffix}").write_bytes(data)
    tasks = _task(folder, family)
    model = family.make(folder / "model")
    data = write_jsonl(folder / "rows.jsonl", _rows(family, method))
    # Room for an image of Chameleon.
    asking = {"max_new_tokens": "20", "output": "any"} if family.draws else {"max_new_tokens": "4"}
    evaluate = {"tasks": ["mine/demo"], "include": [str(tasks)], "start": False, "model_args": asking}
    more: dict[str, Any] = {"held_out": 0.0} if method == "reward" else {"evaluate": evaluate}
    if method == "ppo":
        judges = program_judge(folder, "wordy", "len(response.text) % 7 / 6")
        more |= {"rewards": [{"judge": "wordy"}], "include": [str(judges)], "allow_code": True}
        more |= {"rollout": 8, "max_new_tokens": 8}
    settings = {"per_device_train_batch_size": 2, "max_steps": 2, "lora": {"rank": 4}, **more}
    path = config(folder, data, model=str(model), **settings)
    _check_the_medium_arrives(plugins.load(plugins.TRAINERS, method).from_config(path))

    done = cli("train", method, "--config", path, "--json")
    assert done.code == 0, done.err
    losses = [line["loss"] for line in logged(folder / "out") if "loss" in line]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
    assert method == "ppo" or losses[1] < losses[0]
    checkpoint = folder / "out" / "checkpoints" / "checkpoint-2"
    changed = {n for n, t in weights(checkpoint).items() if "lora_B" in n and t.abs().sum() > 0}
    assert changed
    assert not any("vqmodel" in name for name in weights(checkpoint))
    if method == "reward":
        _check_it_judges(cli, family, folder)
        return
    run = read_run_file(folder / "out" / "runs" / "step-000002")
    assert run.weights not in ("", resolve(str(model), {}).weights())
    records = read_run(folder / "out" / "runs" / "step-000002", "mine/demo")
    assert [r.error.kind if r.error else "empty_output" for r in records] == ["empty_output"] * 2


def _task(folder: Path, family: Family, judged_by: str = "selection_contract") -> Path:
    """A task mine/demo with a sample for each medium."""
    names = [f"{n}.{family.suffix}" for n in range(2)]
    yaml = TASK_YAML.replace("selection_contract", judged_by)
    if judged_by != "selection_contract":
        yaml = yaml.replace("primary: selection", "primary: reward")
    samples = [medium_sample(f"s{n}", family.modality.value, name) for n, name in enumerate(names)]
    task = make_task(folder / judged_by, samples=samples, yaml=yaml)
    for name, data in zip(names, family.media, strict=True):
        (task / name).write_bytes(data)
    return folder / judged_by


def _check_it_judges(cli: Cli, family: Family, folder: Path) -> None:
    """The same answer to two prompts that differ in their medium gets two values."""
    tasks = _task(folder, family, "my_rm")
    (tasks / "mine" / "my_rm").mkdir()
    (tasks / "mine" / "my_rm" / "judge.yaml").write_text(JUDGE_YAML)
    write_jsonl(folder / "answers.jsonl", answers(["s0", "s1"], "A house."))
    scored = cli(
        "score", "--outputs", "answers.jsonl", "--tasks", "mine/demo", "--include", tasks, "--json",
        "--judge", f"my_rm={folder / 'out' / 'final'}", "--out", "judged",
    )  # fmt: skip
    # An untrained judge may well reward the canaries, which makes its metric INVALID.
    assert scored.code == 0 or "canary" in scored.err, scored.err
    values = [r.scores["reward"].value for r in read_run(folder / "judged", "mine/demo")]
    assert None not in values
    assert len(set(values)) == 2


def _check_the_medium_arrives(trainer: Any) -> None:
    """Batches of a method with two media of the same size give the model something else to say."""
    model = load(trainer)
    rows = read_rows(Path(trainer.settings.data))
    if trainer.name == "ppo":  # its batches are made of its own answers
        policy = trainer.policy
        end = [policy.model.generation_config.eos_token_id]
        answered = [policy.with_response(trainer.encode(row).prompt, end) for row in rows]
        batches = [policy.collate([row]) for row in answered]
    else:
        batches = [batch_of(trainer, trainer.encode(row)) for row in rows]
    with torch.no_grad():
        one, other = (model(**batch["inputs"]).logits[..., -1, :] for batch in batches)
    assert float((one - other).abs().max()) > 1e-4
