"""Intervals for numbers of lm_eval that are no plain means."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest

from eval_anything.errors import UserError
from eval_anything.lm_eval.generation import read_generation
from eval_anything.lm_eval.metrics import NO_END, document_score, ends_of, summaries
from eval_anything.runs.results_file import MetricResult
from eval_anything.statistics.intervals import student


def perplexity(items: list[tuple[float, int]]) -> float:
    return math.exp(-sum(ll for ll, _ in items) / sum(n for _, n in items))


def task(metric: str, aggregate: Any, higher: bool = True) -> Any:
    return SimpleNamespace(
        aggregation=lambda: {metric: aggregate}, higher_is_better=lambda: {metric: higher}
    )


def summary(metric: str, aggregate: Any, raw: list[Any], stderr: Any = "N/A") -> MetricResult:
    row = {f"{metric},none": aggregate(raw), f"{metric}_stderr,none": stderr, "alias": "x"}
    documents = {i: [{"filter": "none", metric: one}] for i, one in enumerate(raw)}
    return summaries(task(metric, aggregate, higher=False), row, documents, [])[metric]


def test_a_perplexity_gets_an_interval_that_covers() -> None:
    """exp of a mean of normal log-likelihoods: the truth is known."""
    generator = random.Random(0)
    covered = 0
    for _ in range(200):
        raw = [(generator.gauss(-20, 4), 10) for _ in range(60)]
        found = summary("word_perplexity", perplexity, raw)
        assert found.ci95 is not None
        low, high = found.ci95
        covered += low <= math.exp(2) <= high
    assert found.stderr is None
    assert found.better == "lower"
    assert 180 <= covered <= 199


def test_a_value_that_is_no_number_is_invalid() -> None:
    found = summary("word_perplexity", lambda raw: math.inf, [(-math.inf, 3)])
    assert found.value is None
    assert found.invalid == "lm_eval gives inf"


def test_ends_stay_in_the_range_and_never_close_on_no_evidence() -> None:
    low, high = ends_of("f1", 0.0, 0.0, 10, 9)
    assert low == 0
    assert 0.2 < high < 0.4
    assert ends_of("f1", 0.5, None, 1, 0) == (0.0, 1.0)
    assert ends_of("mcc", 1.0, 0.1, 50, 49)[1] == 1.0
    width = student(9) * 2.0
    assert ends_of("bits_per_byte", 10.0, 2.0, 10, 9) == (10 - width, 10 + width)
    assert ends_of("a_new_one", 3.0, None, 1, 0) == (-NO_END, NO_END)


def test_what_one_document_says() -> None:
    rolling = document_score(task("word_perplexity", perplexity), "word_perplexity", (-20.0, 10))
    assert rolling.value == pytest.approx(math.exp(2))
    assert document_score(task("acc", sum), "acc", True).value == 1.0
    f1 = document_score(task("f1", sum), "f1", (1, 0))
    assert f1.value is None
    assert "the task's number alone" in f1.explanation


def test_generation_settings() -> None:
    found = read_generation({"until": "\n", "max_new_tokens": 5, "temperature": 0.5, "top_p": 1.0}, "t")
    assert (found.ending.until, found.ending.max_tokens) == (("\n",), 5)
    assert found.sampling.recorded() == {"temperature": 0.5, "top_p": 1.0}
    greedy = read_generation({"do_sample": False, "temperature": 1.0, "top_k": 5}, "t")
    assert (greedy.sampling.recorded(), greedy.ending.max_tokens) == ({"temperature": 0.0}, 256)
    kwargs = {"repetition_penalty": 1.2, "do_sample": True, "temperature": 1, "top_k": -1}
    looping = read_generation(kwargs, "t")
    assert looping.sampling.recorded() == {"temperature": 1.0, "top_k": 0, "repetition_penalty": 1.2}
    with pytest.raises(UserError, match=r"t: generation_kwargs: .*top_p"):
        read_generation({"do_sample": True, "temperature": 1, "top_p": 2}, "t")
    assert greedy.ending.cut("whole") == "whole"
    assert found.ending.cut("one\ntwo") == "one"
