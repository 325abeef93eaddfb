"""Scores whether each required part shows the attributes that the prompt asks for."""

from __future__ import annotations

from eval_anything import Response, Sample, Score
from eval_anything.micro import perceive_response


def instruction_following(sample: Sample, response: Response) -> dict[str, Score]:
    """`if_<modality>` for each required modality: 10 times the share of requested attributes that it
    shows; and their mean.
    """
    percepts = perceive_response(response)
    scores: dict[str, Score] = {}
    for modality in sample.contract.required:
        requested = sample.targets[modality]
        percept = percepts.get(modality)
        attributes = {} if percept is None else dict(percept.attributes)
        right = sum(attributes.get(name) == attribute for name, attribute in requested.items())
        if percept is None:
            explanation = f"{modality} is missing"
        else:
            explanation = percept.problem or f"asked for {requested}, shows {attributes}"
        scores[f"if_{modality}"] = Score(
            10 * right / len(requested), explanation=explanation, details={"shown": attributes}
        )
    values = [score.value or 0.0 for score in scores.values()]
    scores["instruction_following"] = Score(sum(values) / len(values))
    return scores
