"""Kind `rubric`: a chat model on an OpenAI-compatible server scores a response against a rubric.

The rubric is the system message. Request and response are the user message, the response between
lines marked with a random fence, so that it cannot pass for the rubric. The verdict is JSON; one
that cannot be read or is out of range leaves the sample unscored.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from eval_anything.content import MediaPart, Modality, Part, Response, Sample, Score, TextPart
from eval_anything.errors import InfrastructureError, UserError
from eval_anything.judges import JudgeFile, JudgeFolder
from eval_anything.media import MediaError, read_video
from eval_anything.scorers.base import Scorer
from eval_anything.tasks.task import render_template, sha256_of

_FRAMES = 4
_ATTEMPTS = 4
_TIMEOUT = 120.0
_LONGEST_REPLY = 50_000
_MOST_BRACES = 200


class Verdict(Struct, frozen=True):
    """What the judge model must answer: a grade for each metric, on the judge's scale."""

    explanation: str
    grades: dict[str, float]


class RubricScorer(Scorer):
    """A rubric with the model that applies it."""

    kind = "rubric"

    def __init__(self, folder: JudgeFolder, file: JudgeFile, spec: str) -> None:
        assert file.template is not None
        assert file.scale is not None
        self.name = folder.name
        self.metrics = file.metrics
        self.scale = file.scale
        self.sees = file.sees
        self.model, self.base_url = _server(folder.name, spec)
        self._rubric = (folder.path / file.template).read_text("utf-8")
        self.fingerprint = sha256_of([self._rubric, file.metrics, file.scale, self.model])
        self._client: Any = None

    async def score(self, sample: Sample, response: Response) -> dict[str, Score]:
        missing = [m for m in sample.contract.required if m not in response.modalities]
        if missing:
            reason = f"no {', '.join(missing)}, which is required"
            return {name: Score(m.worst, explanation=reason) for name, m in self.metrics.items()}
        try:
            messages = self._messages(sample, response)
        except MediaError as error:
            return self.unscored(f"the judge could not be shown the response: {error}")
        try:
            verdict = self._verdict(await self._ask(messages))
        except ValueError as error:
            return self.unscored(f"no usable verdict of {self.model}: {error}")
        low, high = self.scale
        return {
            name: Score(
                metric.range[0]
                + (verdict.grades[name] - low) / (high - low) * (metric.range[1] - metric.range[0]),
                explanation=verdict.explanation,
                details={"grade": verdict.grades[name], "model": self.model},
            )
            for name, metric in self.metrics.items()
        }

    def _messages(self, sample: Sample, response: Response) -> list[dict[str, Any]]:
        fence = secrets.token_hex(8)
        expected = sample.targets.get(next(iter(self.metrics)), {})
        rubric = render_template(self._rubric, fence=fence, expected=expected)
        low, high = self.scale
        form = ", ".join(f'"{name}": {low:g} to {high:g}' for name in self.metrics)
        system = (
            f"{rubric.strip()}\n\nAnswer with one JSON object and nothing else: "
            f'{{"explanation": "one or two sentences", "grades": {{{form}}}}}'
        )
        content: list[dict[str, Any]] = [{"type": "text", "text": "The request:"}]
        for part in (part for message in sample.messages for part in message.parts):
            content += _shown(part)
        content.append({"type": "text", "text": f"--- begin answer {fence} ---"})
        for part in response.parts:
            content.append({"type": "text", "text": f"[{part.modality}]"})
            content += _shown(part)
        content.append({"type": "text", "text": f"--- end answer {fence} ---"})
        return [{"role": "system", "content": system}, {"role": "user", "content": content}]

    async def _ask(self, messages: list[dict[str, Any]]) -> str:
        """The model's text. ValueError if there is none; other errors stop the run."""
        import openai

        if self._client is None:
            self._client = openai.AsyncOpenAI(
                base_url=self.base_url,
                api_key=os.environ.get("OPENAI_API_KEY") or "none",
                max_retries=_ATTEMPTS - 1,
                timeout=_TIMEOUT,
            )
        try:
            reply = await self._client.chat.completions.create(
                model=self.model, messages=messages, temperature=0.0
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise UserError(
                f"judge {self.name}: the server refuses the key ({error.status_code}). "
                "Set OPENAI_API_KEY to one that it accepts."
            ) from None
        except openai.NotFoundError:
            raise UserError(f"judge {self.name}: the server has no model {self.model!r} (404)") from None
        except openai.APIStatusError as error:
            if error.status_code < 500 and error.status_code != 429:
                raise ValueError(f"the server answered {error.status_code}") from None
            raise InfrastructureError(
                f"judge {self.name}: the server answered {error.status_code} {_ATTEMPTS} times; "
                "run the same command again when it is back"
            ) from None
        except openai.APIConnectionError as error:
            raise InfrastructureError(
                f"judge {self.name}: no answer from {self._client.base_url}: {error.__cause__ or error}"
            ) from None
        text = reply.choices[0].message.content if reply.choices else None
        if not text:
            raise ValueError("an empty reply")
        return str(text)

    def _verdict(self, text: str) -> Verdict:
        """The last verdict in the text. ValueError if there is none, or a grade is out of range."""
        found = _last_verdict(text)
        if found is None:
            raise ValueError(f"no JSON verdict in {text[:80]!r}")
        low, high = self.scale
        for name in self.metrics:
            grade = found.grades.get(name)
            if grade is None:
                raise ValueError(f"no grade for {name}")
            if not low <= grade <= high:
                raise ValueError(f"grade {grade} for {name} is outside {low:g} to {high:g}")
        return found


def make(folder: JudgeFolder, file: JudgeFile, model: str | None, allow_code: bool) -> Scorer:
    """The scorer of a judge folder of kind rubric; it runs no code of the folder."""
    assert model is not None
    return RubricScorer(folder, file, model)


def _server(judge: str, spec: str) -> tuple[str, str | None]:
    """Model name and base URL of `openai/NAME[@URL]`; without a URL the environment says it."""
    match = re.fullmatch(r"openai/([^@]+)(?:@(https?://\S+))?", spec)
    if match is None:
        raise UserError(
            f"--judge {judge}={spec}: a judge model is openai/NAME@http://host:port/v1, "
            "or openai/NAME with OPENAI_BASE_URL set"
        )
    try:
        import openai  # noqa: F401
    except ImportError:
        raise UserError(f"--judge {judge}: pip install 'eval-anything[judges]' first") from None
    if match[2] is None and not os.environ.get("OPENAI_API_KEY"):
        raise UserError(f"--judge {judge}={spec}: set OPENAI_API_KEY, or name a server with @URL")
    return match[1], match[2]


def _last_verdict(text: str) -> Verdict | None:
    """The last JSON object in the text that is a verdict. Only the end of a long reply is read."""
    decoder = json.JSONDecoder()
    text = text[-_LONGEST_REPLY:]
    for start in reversed([m.start() for m in re.finditer(r"\{", text)][-_MOST_BRACES:]):
        try:
            return msgspec.convert(decoder.raw_decode(text, start)[0], Verdict)
        except (ValueError, RecursionError):  # a ValidationError is a ValueError
            continue
    return None


def _shown(part: Part) -> list[dict[str, Any]]:
    """A part as chat content: images and sounds by their bytes, a clip as frames in order."""
    if isinstance(part, TextPart):
        return [{"type": "text", "text": part.text}]
    if part.modality is Modality.VIDEO:
        return [_image(data, "image/png") for data in _frames(part)]
    data = part.path.read_bytes()
    if part.modality is Modality.IMAGE:
        return [_image(data, part.mime)]
    form = {"audio/wav": "wav", "audio/mpeg": "mp3"}.get(part.mime)
    if form is None:
        raise MediaError(f"{part.mime} is neither WAV nor MP3")
    encoded = base64.b64encode(data).decode()
    return [{"type": "input_audio", "input_audio": {"data": encoded, "format": form}}]


def _image(data: bytes, mime: str) -> dict[str, Any]:
    url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _frames(part: MediaPart) -> Iterator[bytes]:
    """Frames at the middles of equal spans of the clip, as PNG."""
    import io

    from PIL import Image

    frames = read_video(Path(part.path)).frames
    count = min(_FRAMES, len(frames))
    for i in range(count):
        buffer = io.BytesIO()
        Image.fromarray(frames[int((i + 0.5) * len(frames) / count)]).save(buffer, "PNG")
        yield buffer.getvalue()
