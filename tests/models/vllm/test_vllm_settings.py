"""`vllm/PATH` without vLLM: its settings, what it refuses, and the message where vLLM is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eval_anything.errors import UserError
from eval_anything.models.base import Sampling, check_settings
from eval_anything.models.vllm import VllmModel, engine
from eval_anything.models.vllm.engine import note_of_version, sampling_fields

FIXED = {"seed": 7, "max_tokens": 5, "stop_token_ids": [2]}


@pytest.mark.parametrize(
    ("sampling", "fields"),
    [
        (Sampling(), {"temperature": 0.0}),
        (
            Sampling(0.7, top_p=0.9, top_k=4, min_p=0.1),
            {"temperature": 0.7, "top_p": 0.9, "top_k": 4, "min_p": 0.1},
        ),
        (
            Sampling(repetition_penalty=1.1, presence_penalty=0.2, frequency_penalty=-0.3),
            {
                "temperature": 0.0,
                "repetition_penalty": 1.1,
                "presence_penalty": 0.2,
                "frequency_penalty": -0.3,
            },
        ),
    ],
)
def test_settings_have_the_names_of_vllm(sampling: Sampling, fields: dict[str, float]) -> None:
    made = sampling_fields(sampling, seed=7, max_tokens=5, stop=[2], ends=(), suppressed=())
    assert made == {**FIXED, **fields}


def test_stop_texts_and_suppressed_tokens() -> None:
    made = sampling_fields(Sampling(), seed=7, max_tokens=5, stop=[2], ends=["END"], suppressed=[9])
    assert made == {**FIXED, "temperature": 0.0, "stop": ["END"], "logit_bias": {9: -100.0}}


def test_a_setting_that_vllm_does_not_take_is_refused_by_name(tiny: Path) -> None:
    model = VllmModel.from_spec("vllm/tiny", tiny, {})
    with pytest.raises(UserError, match=re.escape("--extra-body: vllm/")):
        check_settings(model, {"extra_body": "--extra-body"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device_map": "auto"}, "--model-arg device_map: a model of vLLM does not take it"),
        ({"trust_remote_code": "true"}, "--model-arg trust_remote_code: a model of vLLM"),
        ({"max_model_length": "5"}, "Did you mean max_model_len"),
        ({"tensor_parallel_size": "0"}, "must be at least 1"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, str], message: str, tiny: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        VllmModel.from_spec("vllm/tiny", tiny, arguments)


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(UserError, match="there is no such folder: vllm/PATH names a checkpoint"):
        VllmModel.from_spec("vllm/nowhere", "nowhere/at-all", {})


def test_variables_that_the_template_does_not_read_are_refused(tiny: Path) -> None:
    model = VllmModel.from_spec("vllm/tiny", tiny, {})
    with pytest.raises(UserError, match="does not read it"):
        model.check_sampling(Sampling(chat_template_kwargs={"enable_thinking": False}))


def test_a_temperature_that_vllm_would_change_is_refused(tiny: Path) -> None:
    model = VllmModel.from_spec("vllm/tiny", tiny, {})
    with pytest.raises(UserError, match=r"--temperature 0\.005: vLLM would raise it to 0\.01"):
        model.check_sampling(Sampling(0.005))


def test_missing_vllm_is_said(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    model = VllmModel.from_spec("vllm/tiny", tiny, {})
    assert "pip install vllm" in model.check_sampling(Sampling())[-1]
    with pytest.raises(UserError, match=r"vLLM is not installed: .*pip install vllm"):
        model.load()


@pytest.mark.parametrize(("version", "lines"), [("0.32.0", 0), ("0.32.0+cpu", 0), ("9.1", 1), (None, 1)])
def test_a_version_that_was_not_tried_is_said(
    version: str | None, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: object())
    monkeypatch.setattr(engine, "installed_version", lambda: version)
    monkeypatch.setattr(engine, "TRIED", ("0.32.0",))
    notes = note_of_version()
    assert len(notes) == lines
    assert all("was not tried" in note for note in notes)
