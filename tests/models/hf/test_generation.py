"""Settings of generation on real tiny checkpoints: greedy answers are those of `transformers.generate`,
drawn ones have the distribution of its warpers, and both are independent of their batch."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from eval_anything.content import Message, Response, TextPart
from eval_anything.media import MediaStore
from eval_anything.models.base import Request, Sampling
from eval_anything.models.hf import TransformersModel
from eval_anything.models.local.decoding import decode
from eval_anything.models.local.generation import generate_ids, padded
from tests.support.streamed import streamed
from tests.support.tiny import CHAT, tiny_llama, tiny_tokenizer, tiny_writer

QUESTIONS = ("hi", "Draw a lighthouse at night.", "0 1 2 3 4 5")
NEW = 8


def tiny_of(path: Path, family: str) -> Path:
    """A tiny checkpoint of an architecture, whose answers loop unless a penalty keeps them from it."""
    import transformers

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT
    torch.manual_seed(1)
    shared = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    if family == "t5":
        config: Any = transformers.T5Config(
            **shared, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, decoder_start_token_id=2
        )
        model: Any = transformers.T5ForConditionalGeneration(config)
    elif family == "gpt2":
        config = transformers.GPT2Config(**shared, n_embd=32, n_layer=2, n_head=4, n_positions=512)
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.Qwen3Config(
            **shared,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=512,
        )
        model = transformers.Qwen3ForCausalLM(config)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TransformersModel]:
    models: dict[str, TransformersModel] = {}

    def model_of(family: str) -> TransformersModel:
        if family not in models:
            path = tmp_path_factory.mktemp(family) / "model"
            makers = {"llama": tiny_llama, "writer": partial(tiny_writer, tokens=WORDS)}
            makers.get(family, partial(tiny_of, family=family))(path)
            models[family] = TransformersModel(str(path), path, {"max_new_tokens": str(NEW)})
            models[family].load()
        return models[family]

    return model_of


def requests(sampling: Sampling, questions: Sequence[str] = QUESTIONS) -> list[Request]:
    return [
        Request("mine/demo", str(i), 0, (Message("user", (TextPart(text),)),), sampling)
        for i, text in enumerate(questions)
    ]


def answers(model: TransformersModel, asked: Sequence[Request], folder: Path) -> list[Response]:
    return asyncio.run(model.generate(asked, MediaStore(folder)))


def generated(model: TransformersModel, question: str, **arguments: Any) -> list[int]:
    """The new tokens of the documented call of transformers, for one question alone."""
    family: Any = model.family
    turns = [{"role": "user", "content": question}]
    inputs = family.tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    inputs.pop("token_type_ids", None)
    output = family.model.generate(
        **inputs, do_sample=False, max_new_tokens=arguments.pop("max_new_tokens", NEW), **arguments
    )
    start = 1 if family.model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    return [int(token) for token in output[0, start:]]


def by_hand(model: TransformersModel, question: str, presence: float, frequency: float) -> list[int]:
    """Greedy decoding with OpenAI's penalties, written out for one answer."""
    family: Any = model.family
    prompt = family.prompt(requests(Sampling(), [question])[0]).data
    written: list[int] = []
    while len(written) < NEW and not (written and written[-1] in family.stop):
        with torch.no_grad():
            logits = family.model(torch.tensor([[*prompt, *written]])).logits[0, -1].float()
        for token in set(written):
            logits[token] -= presence + frequency * written.count(token)
        written.append(int(logits.argmax()))
    return written


PENALISED = {
    "none": ({}, {}),
    "repetition": ({"repetition_penalty": 1.3}, {"repetition_penalty": 1.3}),
    "rewarded, and short": (
        {"repetition_penalty": 0.8, "max_new_tokens": 5},
        {"repetition_penalty": 0.8, "max_new_tokens": 5},
    ),
}


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "t5"])
def test_greedy_answers_are_those_of_generate(
    loaded: Callable[[str], TransformersModel], family: str, tmp_path: Path
) -> None:
    model = loaded(family)
    tokenizer: Any = model.family.tokenizer  # type: ignore[attr-defined]
    texts = {}
    for name, (settings, arguments) in PENALISED.items():
        got = answers(model, requests(Sampling(**settings)), tmp_path)
        expected = [generated(model, question, **arguments) for question in QUESTIONS]
        assert [r.usage.output for r in got] == [len(ids) for ids in expected], name
        decoded = [streamed(tokenizer, ids).strip() for ids in expected]
        assert [r.text for r in got] == decoded, name
        texts[name] = decoded
    assert family == "t5" or texts["none"] != texts["repetition"]


def test_presence_and_frequency_are_of_the_answer_alone(
    loaded: Callable[[str], TransformersModel], tmp_path: Path
) -> None:
    model = loaded("llama")
    tokenizer: Any = model.family.tokenizer  # type: ignore[attr-defined]
    for presence, frequency in ((0.5, 0.0), (-0.5, 0.2)):
        sampling = Sampling(presence_penalty=presence, frequency_penalty=frequency)
        got = answers(model, requests(sampling), tmp_path)
        expected = [by_hand(model, question, presence, frequency) for question in QUESTIONS]
        assert [r.usage.output for r in got] == [len(ids) for ids in expected]
        assert [r.text for r in got] == [streamed(tokenizer, ids).strip() for ids in expected]


WORDS = ("one", " two", " thr", "ee", ".", " Q", "=", " more")


@pytest.mark.parametrize("stop", [".", "two thr", "e. Q", " more", "never", "hree"])
def test_an_answer_ends_before_a_stop_text_and_its_tokens_are_those_of_generate(
    loaded: Callable[[str], TransformersModel], stop: str, tmp_path: Path
) -> None:
    model = loaded("writer")
    tokenizer: Any = model.family.tokenizer  # type: ignore[attr-defined]
    [got] = answers(
        model, requests(Sampling(stop=[stop, "nowhere"], max_new_tokens=12), ["hi"]), tmp_path
    )
    ids = generated(
        *(model, "hi"), stop_strings=[stop, "nowhere"], tokenizer=tokenizer, max_new_tokens=12
    )
    assert got.usage.output == len(ids)
    assert got.text == "".join(WORDS).split(stop)[0].strip()
    assert got.stop_reason == "stop"


def test_a_stop_text_in_thoughts_does_not_end_the_answer() -> None:
    from eval_anything.models.local.stopping import before_stop

    assert before_stop("<think>a. b</think>c. d", ["."], None) == "<think>a. b</think>c"
    assert before_stop("a. b</think>c", ["."], True) is None
    assert before_stop("no end", [".", ""], None) is None


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_the_decode_loop_and_generate_give_the_same_tokens_whatever_the_batch(
    loaded: Callable[[str], TransformersModel], temperature: float
) -> None:
    model: Any = loaded("llama").family.model
    prompts = [[5, 6, 7], [8, 9], [10, 11, 12, 13, 14], [20]]
    seeds = [1, 2, 3, 4]
    for settings in (
        {"repetition_penalty": 1.2},
        {"presence_penalty": 0.4, "frequency_penalty": 0.3},
        {"top_k": 5} if temperature else {},
        {"top_p": 0.7, "min_p": 0.02, "repetition_penalty": 1.1} if temperature else {},
    ):
        sampling = Sampling(temperature, **settings)
        shared: dict[str, Any] = {"max_new_tokens": 8, "pad": 2, "stop": [2, *range(300, 330)]}
        together = decode(model, prompts, seeds=seeds, sampling=sampling, **shared)
        by_generate = generate_ids(model, padded(prompts, 2), seeds=seeds, sampling=sampling, **shared)
        alone = [
            decode(model, [p], seeds=[s], sampling=sampling, **shared)[0].ids
            for p, s in zip(prompts, seeds, strict=True)
        ]
        assert [c.ids for c in together] == by_generate == alone, settings


def warped(logits: torch.Tensor, sampling: Sampling) -> Any:
    """Probabilities under the warpers that `generate(do_sample=True)` makes, in its own order."""
    from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

    helper = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=8, n_layer=1, n_head=1, n_positions=8))
    config = GenerationConfig(
        do_sample=True,
        temperature=float(sampling.temperature),
        top_k=sampling.top_k or 0,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
    )
    processors = helper._get_logits_processor(config, 1, logits_processor=[])
    scores: torch.Tensor = processors(torch.tensor([[0]]), logits[None].clone())[0]
    return np.asarray(scores.double().softmax(-1))


SAMPLERS: dict[str, dict[str, Any]] = {
    "temperature": {},
    "top_k": {"top_k": 4},
    "top_p": {"top_p": 0.8},
    "min_p": {"min_p": 0.15},
}
PAIRS = [*((name,) for name in SAMPLERS), *itertools.combinations(list(SAMPLERS)[1:], 2)]
DRAWS = 4000


@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_drawn_tokens_have_the_distribution_of_the_warpers(names: tuple[str, ...]) -> None:
    from eval_anything.models.local.processors import gumbel_processor, warpers

    sampling = Sampling(0.9, **{k: v for name in names for k, v in SAMPLERS[name].items()})
    logits = torch.tensor([2.0, 1.6, 1.1, 0.9, 0.2, -0.4, -1.0, -2.5])
    expected = warped(logits, sampling)
    scores = logits.repeat(DRAWS, 1)
    for processor in (*warpers(sampling), gumbel_processor(range(DRAWS))):
        scores = processor(torch.zeros(DRAWS, 1, dtype=torch.long), scores)
    counts = np.bincount(scores.argmax(1).numpy(), minlength=len(logits))
    possible = expected > 0
    assert counts[~possible].sum() == 0
    assert possible.sum() > 1
    test = stats.chisquare(counts[possible], expected[possible] * DRAWS)
    assert test.pvalue > 0.001


def test_an_answer_does_not_depend_on_its_batch(
    loaded: Callable[[str], TransformersModel], tmp_path: Path
) -> None:
    model = loaded("qwen3")
    sampling = Sampling(
        0.9, seed=3, top_k=30, top_p=0.9, min_p=0.01, repetition_penalty=1.2, frequency_penalty=0.2
    )
    together = [r.text for r in answers(model, requests(sampling), tmp_path)]
    alone = [answers(model, [request], tmp_path)[0].text for request in requests(sampling)]
    assert together == alone
    other = [r.text for r in answers(model, requests(Sampling(0.9, seed=4)), tmp_path)]
    assert together != other


def test_log_probabilities_of_a_restricted_draw_are_those_of_what_is_left(
    loaded: Callable[[str], TransformersModel],
) -> None:
    model: Any = loaded("llama").family.model
    [drawn] = decode(
        model, [[5, 6]], seeds=[1], sampling=Sampling(1.0, top_k=1), max_new_tokens=4, pad=2, stop=[2]
    )
    assert drawn.logprobs == pytest.approx([0.0] * len(drawn.ids))
