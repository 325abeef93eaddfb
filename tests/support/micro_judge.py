"""What a test server says as a judge of the micro world: exact perception, made wrong on purpose.

It looks at the media of each request as files and says which response's parts agree more, or how far
they agree. A known share of its verdicts is turned round, another known share follows the position. So
what a calibration must find is known. It is no model, and nothing that it says is a result.
"""

from __future__ import annotations

import base64
import json
import random
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from eval_anything.content import Modality, TextPart
from eval_anything.judges.calibration.labels import Labelled
from eval_anything.media import MediaStore
from eval_anything.micro.world.gold import gold_items
from eval_anything.micro.world.perceive import perceive, perceive_text
from eval_anything.micro.world.scenes import MOTIONS, Clip, path_of
from eval_anything.micro.world.synergy import Attributes, agreement, pairs_of, shared_names
from eval_anything.micro.world.words import read
from tests.support.judge_server import MARK, Asked

Seen = dict[Modality, Attributes]
Content = Sequence[dict[str, Any]]


class MicroJudge:
    """Replies for `JudgeServer.reply`, for `synergy_rubric` and `synergy_pairwise`.

    `right` is the share of askings about a pair (of both its responses together) with a right verdict,
    drawn anew when the same is asked again; `sticky` the share in which it takes what is shown first.
    """

    def __init__(
        self, rows: Iterable[Labelled], folder: Path, right: float, sticky: float = 0.0, seed: int = 0
    ) -> None:
        self._store = MediaStore(folder)
        self._right, self._sticky, self._seed = right, sticky, seed
        self._gold: dict[str, Attributes | None] = {}
        for row in rows:
            texts = [item for item in gold_items(row.sample) if isinstance(item, str)]
            self._gold[_request_of(row)] = read(texts[0]) if texts else None
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> tuple[int, str]:
        """The status and the reply to a request."""
        asked_for, *shown_answers = _fenced(asked.content)
        key = _words(asked_for) + _key(self._see(asked_for))
        answers = [self._see(content) for content in shown_answers]
        if key not in self._gold:
            return 400, "a request that is in no label"
        grades = [self._agreement(answer, self._gold[key]) for answer in answers]
        shown = [key, *map(_key, answers)]
        with self._lock:
            times = self._asked[str(shown)]
            self._asked[str(shown)] += 1
        if len(grades) == 1:
            draw = random.Random(f"{self._seed} {key} {times}")
            grade = grades[0] if draw.random() < self._right else 1 - grades[0]
            return 200, json.dumps(
                {"mark": MARK, "explanation": "seen", "grades": {"synergy": 10 * grade}}
            )
        draw = random.Random(f"{self._seed} {key} {sorted(shown)} {times}")
        first = (grades[0] > grades[1]) == (draw.random() < self._right)
        if draw.random() < self._sticky:
            first = True
        better = "first" if first else "second"
        return 200, json.dumps({"mark": MARK, "explanation": "seen", "better": better})

    def _see(self, content: Content) -> Seen:
        """What the parts show, by modality: several pictures in a row are the frames of a clip."""
        seen: Seen = {}
        pictures: list[Attributes] = []
        for part in content:
            if part["type"] == "text" and not part["text"].startswith("["):
                seen[Modality.TEXT] = perceive_text(part["text"]).attributes
            elif part["type"] == "input_audio":
                data = base64.b64decode(part["input_audio"]["data"])
                seen[Modality.AUDIO] = perceive(self._store.put(data, Modality.AUDIO)).attributes
            elif part["type"] == "image_url":
                data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                pictures.append(perceive(self._store.put(data, Modality.IMAGE)).attributes)
        if len(pictures) > 1:
            seen[Modality.VIDEO] = _clip(pictures)
        elif pictures:
            seen[Modality.IMAGE] = pictures[0]
        return seen

    def _agreement(self, seen: Seen, gold: Attributes | None) -> float:
        """The mean over the pairs of modalities, as the task micro/synergy has it."""
        values = [
            agreement(seen[pair[0]], seen[pair[1]], shared_names(pair, gold))
            for pair in pairs_of(tuple(seen))
        ]
        return round(sum(values) / len(values), 9)


def unlike(rows: Iterable[Labelled]) -> Iterator[Labelled]:
    """The rows of which no two show the judge the same request and response."""
    known: set[str] = set()
    for row in rows:
        request = _request_of(row)
        keys = {
            request + _key({p.modality: perceive(p).attributes for p in r.parts}) for r in row.responses
        }
        if len(keys) == len(row.responses) and not keys & known:
            yield row
        known |= keys


def _request_of(row: Labelled) -> str:
    """What tells a request from others: its words, and what its media show."""
    parts = [part for message in row.sample.messages for part in message.parts]
    words = "".join(part.text for part in parts if isinstance(part, TextPart))
    return words + _key({p.modality: perceive(p).attributes for p in parts})


def _words(content: Content) -> str:
    return "".join(part["text"] for part in content if part["type"] == "text")


def _clip(frames: Sequence[Attributes]) -> Attributes:
    def only(name: str) -> str | None:
        values = {frame.get(name) for frame in frames}
        return values.pop() if len(values) == 1 else None

    places = [(frame.get("row"), frame.get("col")) for frame in frames]
    steps = [place for i, place in enumerate(places) if i == 0 or place != places[i - 1]]
    paths = {m: [(f.row, f.col) for f in path_of(Clip("circle", "red", m))] for m in MOTIONS}
    motion = next((m for m, path in paths.items() if path == steps), None)
    return {"shape": only("shape"), "colour": only("colour"), "motion": motion}


def _key(seen: Seen) -> str:
    return json.dumps([[m, sorted(seen[m].items())] for m in Modality if m in seen])


def _fenced(content: Content) -> Iterator[Content]:
    """The request, and what stands between each pair of lines of the fence."""
    starts = [i for i, p in enumerate(content) if p.get("text", "").startswith("--- begin answer ")]
    ends = [i for i, p in enumerate(content) if p.get("text", "").startswith("--- end answer ")]
    yield content[1 : starts[0]]
    for start, end in zip(starts, ends, strict=True):
        yield content[start + 1 : end]
