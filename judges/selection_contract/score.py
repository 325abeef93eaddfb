"""Modality selection by code: exact match, share of votes, log score, redundancy, omission."""

from __future__ import annotations

import math

from eval_anything import MODALITIES, MediaPart, Modality, Response, Sample, Score

# The paper's items have 25 votes; a combination nobody chose counts as half a vote, so that one
# odd choice costs much and not everything.
SMALLEST_SHARE = 0.5 / 25
LETTERS = {Modality.TEXT: "t", Modality.IMAGE: "i", Modality.AUDIO: "a", Modality.VIDEO: "v"}
MOST_REDUNDANT = 4


def selection(sample: Sample, response: Response) -> dict[str, Score]:
    """All metrics of selection_contract, which judge.yaml describes."""
    contract = sample.contract
    present = set(response.modalities)
    omitted = [m for m in MODALITIES if m in contract.required and m not in present]
    unwanted = [
        m for m in MODALITIES if m in present and m not in (*contract.required, *contract.allowed)
    ]
    share = _share_of_votes(sample, present)
    redundant = _redundant_parts(sample, response)
    exact = bool(present) and not omitted and not unwanted
    reasons = [
        *(f"no {m}, which is required" for m in omitted),
        *(f"{m} is forbidden" for m in unwanted),
        *([] if present else ["nothing was produced"]),
    ]
    return {
        "selection": Score(float(exact), explanation="; ".join(reasons)),
        "vote_share": Score(share, details={"produced": _letters(present)}),
        "log_score": Score(math.log(max(share, SMALLEST_SHARE))),
        "redundant": Score(float(min(redundant, MOST_REDUNDANT))),
        "omitted": Score(float(len(omitted))),
    }


def _letters(modalities: set[Modality]) -> str:
    return "".join(LETTERS[m] for m in MODALITIES if m in modalities)


def _share_of_votes(sample: Sample, present: set[Modality]) -> float:
    """Share of votes for the combination that is present; without votes, the required one has all."""
    votes = sample.targets.get("votes") or {_letters(set(sample.contract.required)): 1.0}
    total = sum(votes.values())
    combination = _letters(present)
    same = (share for name, share in votes.items() if sorted(name) == sorted(combination))
    return float(sum(same)) / total if combination else 0.0


def _redundant_parts(sample: Sample, response: Response) -> int:
    permitted = {*sample.contract.required, *sample.contract.allowed}
    hashes: set[str] = set()
    count = 0
    for part in response.parts:
        repeated = isinstance(part, MediaPart) and part.sha256 in hashes
        if isinstance(part, MediaPart):
            hashes.add(part.sha256)
        count += repeated or part.modality not in permitted
    return count
