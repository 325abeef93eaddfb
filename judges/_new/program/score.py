"""The score of NAME: which of the wanted words a response has."""

from __future__ import annotations

from eval_anything import Response, Sample, Score


def score(sample: Sample, response: Response) -> dict[str, Score]:
    """Scores by metric. It is called from several threads at once, also for a response without parts:
    a sample that the model failed scores the floor of the metrics that are returned for one."""
    wanted = sample.targets.get("words", [])  # targets of samples.jsonl are free: any JSON
    if not wanted:
        return {}  # the metric does not apply to this sample
    text = response.text.casefold()  # all texts of the response; media are response.parts with a `path`
    lacking = [word for word in wanted if word.casefold() not in text]
    explanation = f"without {', '.join(lacking)}" if lacking else ""
    return {"words_found": Score(1 - len(lacking) / len(wanted), explanation=explanation)}
