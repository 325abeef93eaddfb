"""Word error rate of a response's speech, transcribed by a checkpoint of transformers."""

from __future__ import annotations

import unicodedata
from typing import Any

from eval_anything import Modality, Response, Sample, Score
from eval_anything.media import read_audio
from eval_anything.scoring import LocalModel, ScoreFunction, applies, media_of

# Longest input, in seconds, of a transcriber such as Whisper.
WINDOW_S = 30
# Options for longer sounds by type of pipeline: CTC in overlapping windows, Whisper by timestamps.
_LONG: dict[str, dict[str, Any]] = {
    "ctc": {"chunk_length_s": WINDOW_S},
    "ctc_with_lm": {"chunk_length_s": WINDOW_S},
    "seq2seq_whisper": {"return_timestamps": True},
}


def make(path: str) -> ScoreFunction:
    """The scorer with the transcriber in a folder."""
    transcriber: LocalModel[Transcriber] = LocalModel(path, Transcriber)

    def score(sample: Sample, response: Response) -> dict[str, Score]:
        own_text = "transcript" not in sample.targets
        if not applies(sample, response, Modality.AUDIO):
            return {}
        if own_text and not applies(sample, response, Modality.TEXT):
            return {}
        reference = words(response.text if own_text else str(sample.targets["transcript"]))
        sounds = media_of(response, Modality.AUDIO)
        if not sounds or not reference:
            missing = "words to compare with" if sounds else "sound, which is required"
            return {"word_error_rate": Score(1.0, explanation=f"no {missing}")}
        with transcriber.use() as model:
            heard = " ".join(model.text(part.path) for part in sounds)
        rate = word_error_rate(words(heard), reference)
        return {"word_error_rate": Score(min(rate, 1.0), details={"heard": heard, "rate": rate})}

    return score


def words(text: str) -> str:
    """Text normalised for comparison: NFKC, casefolded, without apostrophes, other punctuation replaced
    by spaces, and single spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    joined = folded.replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
    spaced = (" " if unicodedata.category(c).startswith("P") else c for c in joined)
    return " ".join("".join(spaced).split())


def word_error_rate(heard: str, reference: str) -> float:
    """Edits per word of the reference, 0 or more."""
    from torchmetrics.functional.text import word_error_rate as of_torchmetrics

    return float(of_torchmetrics([heard], [reference]))


class Transcriber:
    """An `automatic-speech-recognition` pipeline, loaded; on the GPU if there is one."""

    def __init__(self, path: str) -> None:
        import torch
        from transformers import pipeline
        from transformers.utils import logging

        logging.disable_progress_bar()
        device = 0 if torch.cuda.is_available() else -1
        # safetensors only: other files of weights can run code
        kwargs = {"use_safetensors": True}
        self._pipeline: Any = pipeline(
            "automatic-speech-recognition", model=path, device=device, model_kwargs=kwargs
        )
        model = self._pipeline.model
        architecture, saved = type(model).__name__, model.config.architectures
        if saved != [architecture]:  # the head would have random weights
            raise ValueError(f"{path} is no transcriber: it holds {saved}, not {architecture}")
        self._rate = self._pipeline.feature_extractor.sampling_rate

    def text(self, path: Any) -> str:
        """Transcript of a sound file."""
        sound = read_audio(path, self._rate)
        is_long = len(sound) > WINDOW_S * self._rate
        options = _LONG.get(self._pipeline.type, {}) if is_long else {}
        transcript = self._pipeline({"raw": sound, "sampling_rate": self._rate}, **options)
        return str(transcript["text"])
