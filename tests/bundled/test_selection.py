"""judges/selection_contract: every metric, on responses made for it."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import (
    MODALITIES,
    Contract,
    Failure,
    MediaPart,
    Modality,
    Part,
    Response,
    Sample,
    TextPart,
)
from eval_anything.judges.scorer import score_response
from tests.support.helpers import bundled_judge

PARTS: dict[str, Part] = {
    "t": TextPart("words"),
    "T": TextPart("other words"),
    **{
        letter: MediaPart(modality, letter * 64, "x/y", Path("/") / letter)
        for letter, modality in (
            ("i", Modality.IMAGE),
            ("I", Modality.IMAGE),
            ("a", Modality.AUDIO),
            ("v", Modality.VIDEO),
        )
    },
}
BY_LETTER = {m[0]: m for m in MODALITIES}
JUDGE = bundled_judge("selection_contract")
SMALLEST = math.log(0.02)


def scores(
    response: str,
    required: str = "",
    allowed: str = "",
    votes: dict[str, float] | None = None,
    error: Failure | None = None,
) -> dict[str, Any]:
    """What the judge gives, by metric; responses and contracts are written as letters."""
    sample = Sample(
        "s",
        (),
        Contract(tuple(BY_LETTER[c] for c in required), tuple(BY_LETTER[c] for c in allowed)),
        {"votes": votes} if votes else {},
    )
    answer = Response(tuple(PARTS[c] for c in response), error=error)
    return {n: s.value for n, s in asyncio.run(score_response([JUDGE], sample, answer)).items()}


@pytest.mark.parametrize(
    ("response", "required", "allowed", "selection", "redundant", "omitted"),
    [
        ("t", "t", "", 1, 0, 0),
        ("ti", "ti", "", 1, 0, 0),
        ("it", "ti", "", 1, 0, 0),
        ("tiav", "tiav", "", 1, 0, 0),
        ("t", "ti", "", 0, 0, 1),
        ("v", "ti", "", 0, 1, 2),
        ("ti", "t", "", 0, 1, 0),
        ("ti", "t", "i", 1, 0, 0),
        ("t", "t", "i", 1, 0, 0),
        ("i", "t", "i", 0, 0, 1),
        ("i", "", "tia", 1, 0, 0),
        ("v", "", "tia", 0, 1, 0),
        ("tT", "t", "", 1, 0, 0),  # two texts are one answer in two pieces
        ("tt", "t", "", 1, 0, 0),
        ("iI", "i", "", 1, 0, 0),  # two different pictures
        ("ii", "i", "", 1, 1, 0),  # the same one twice
        ("iiiiii", "i", "", 1, 4, 0),  # five too many, at most 4 are counted
        ("tiiav", "t", "", 0, 4, 0),
        ("", "t", "", 0, 0, 1),
        ("", "", "t", 0, 0, 0),
        ("", "tiav", "", 0, 0, 4),
    ],
)
def test_the_contract(
    response: str, required: str, allowed: str, selection: int, redundant: int, omitted: int
) -> None:
    found = scores(response, required, allowed)
    assert found["selection"] == selection
    assert found["redundant"] == redundant
    assert found["omitted"] == omitted


def test_without_votes_the_required_combination_has_them_all() -> None:
    assert scores("ti", "ti")["vote_share"] == 1
    assert scores("it", "ti")["log_score"] == 0
    assert scores("t", "ti")["vote_share"] == 0
    assert scores("t", "ti")["log_score"] == pytest.approx(SMALLEST)
    assert scores("ti", "t", "i")["vote_share"] == 0


VOTES = {"t": 0.52, "ti": 0.28, "tai": 0.2}


@pytest.mark.parametrize(
    ("response", "share"),
    [
        ("t", 0.52),
        ("tT", 0.52),
        ("ti", 0.28),
        ("it", 0.28),
        ("tia", 0.2),
        ("ait", 0.2),
        ("a", 0),
        ("", 0),
    ],
)
def test_votes_give_their_share_to_the_combination_that_was_produced(
    response: str, share: float
) -> None:
    found = scores(response, "t", "ia", VOTES)
    assert found["vote_share"] == pytest.approx(share)
    assert found["log_score"] == pytest.approx(math.log(share) if share else SMALLEST)


def test_votes_may_be_counts() -> None:
    assert scores("ti", "t", "i", {"t": 13, "ti": 12})["vote_share"] == pytest.approx(12 / 25)


def test_the_two_spellings_of_one_combination_are_added() -> None:
    assert scores("ti", "t", "i", {"ti": 0.25, "it": 0.25, "t": 0.5})["vote_share"] == 0.5


def test_a_failed_response_scores_the_floor_whatever_it_holds() -> None:
    found = scores("t", "t", error=Failure("model_error", "broken"))
    assert found == {
        "selection": 0,
        "vote_share": 0,
        "log_score": pytest.approx(SMALLEST),
        "redundant": 4,
        "omitted": 4,
    }
