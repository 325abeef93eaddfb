"""The score of NAME: the words that a recogniser of speech hears in a response."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from eval_anything import Modality, Response, Sample, Score
from eval_anything.media import read_audio
from eval_anything.scoring import LocalModel, ScoreFunction, applies, media_of


def make(path: str) -> ScoreFunction:
    """The scoring function for the model at a path. It is called once a run, so nothing is loaded here:
    LocalModel loads at the first use."""
    recogniser: LocalModel[Recogniser] = LocalModel(path, Recogniser)

    def score(sample: Sample, response: Response) -> dict[str, Score]:
        # Called from several threads at once, and also for a response without parts: a sample that the
        # model failed scores the floor of the metrics that are returned for one.
        if "transcript" not in sample.targets or not applies(sample, response, Modality.AUDIO):
            return {}  # the metric does not apply to this sample
        sounds = media_of(response, Modality.AUDIO)
        if not sounds:
            return {"words_heard": Score(0.0, explanation="no sound, which is required")}
        with recogniser.use() as model:  # one thread at a time, for models that are not thread-safe
            heard = " ".join(model.text(part.path) for part in sounds)
        share = words_in_order(heard, str(sample.targets["transcript"]))
        return {"words_heard": Score(share, details={"heard": heard})}

    return score


def words_in_order(heard: str, transcript: str) -> float:
    """Share of the words of a transcript that were heard, in its order."""
    wanted = re.findall(r"\w+", transcript.casefold())
    same = SequenceMatcher(None, wanted, re.findall(r"\w+", heard.casefold()), autojunk=False)
    return sum(block.size for block in same.get_matching_blocks()) / max(1, len(wanted))


class Recogniser:
    """A recogniser of speech of transformers, loaded from a folder."""

    def __init__(self, path: str) -> None:
        from transformers import pipeline  # here, so that `judges list` needs no torch

        self._pipeline: Any = pipeline("automatic-speech-recognition", model=path)

    def text(self, path: Path) -> str:
        """The words in a sound file."""
        rate = self._pipeline.feature_extractor.sampling_rate
        sound = read_audio(
            path, rate
        )  # numpy, mono, in a process of its own that a bad file cannot break
        return str(self._pipeline({"raw": sound, "sampling_rate": rate})["text"])
