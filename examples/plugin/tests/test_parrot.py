"""Tests of the package, for `pytest` once it is installed."""

from __future__ import annotations

import eval_anything as ea
from eval_anything.testing import check_model


def test_a_parrot_keeps_the_promises_of_a_model() -> None:
    check_model("parrot", model_args={"times": "2"})


def test_a_parrot_repeats_what_it_was_told() -> None:
    [response, *_] = check_model("parrot", samples=1)
    assert response.parts[0].modality is ea.Modality.TEXT
