"""`kind: length` in a judge.yaml: whether a response is short enough."""

from __future__ import annotations

from collections.abc import Mapping

import eval_anything as ea


class LengthScorer(ea.Scorer):
    """1 for a response of at most so many words, 0 for a longer one."""

    kind = "length"
    judged = False  # no model decides the scores,
    exact = True  # which are right by definition

    def __init__(self, name: str, metrics: Mapping[str, ea.Metric], longest: int) -> None:
        self.name = name
        self.metrics = metrics
        self.fingerprint = f"length 1: at most {longest}"  # changes whenever the scores can
        self._longest = longest

    async def score(self, sample: ea.Sample, response: ea.Response) -> dict[str, ea.Score]:
        words = len(response.text.split())
        fits = float(words <= self._longest)
        return {metric: ea.Score(fits, explanation=f"{words} words") for metric in self.metrics}


class LengthFile(ea.JudgeFile, tag=LengthScorer.kind, frozen=True, kw_only=True):
    """The keys of its judge.yaml beside those that every judge has."""

    longest: int

    scorer_type = LengthScorer

    def make(self, folder: ea.JudgeFolder, model: str | None, allow_code: bool) -> ea.Scorer:
        return LengthScorer(folder.name, self.metrics, self.longest)
