"""Scores a selection of modalities against votes, in addition to the paper's share of votes."""

from __future__ import annotations

from eval_anything import MODALITIES, Modality, Response, Sample, Score
from eval_anything.scoring import brier, checked_votes

LETTERS = {Modality.TEXT: "t", Modality.IMAGE: "i", Modality.AUDIO: "a", Modality.VIDEO: "v"}


def against_votes(sample: Sample, response: Response) -> dict[str, Score]:
    """`brier`, and `best_share`: the agreement among the item's voters."""
    votes = checked_votes(sample.targets["votes"])
    produced = "".join(LETTERS[m] for m in MODALITIES if m in response.modalities)
    return {
        "brier": Score(brier(votes, produced), details={"produced": produced}),
        "best_share": Score(max(votes.values())),
    }
