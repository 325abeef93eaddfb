"""`--model parrot`: says what it was told, text and media."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import eval_anything as ea


class ParrotModel(ea.Model):
    """Repeats the last message; `--model-arg times=2` says it twice."""

    batch_size = 8

    def __init__(self, spec: str, times: int) -> None:
        self.spec = spec
        self.name = "parrot"
        self.arguments = {"times": times}
        self._times = times

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> ParrotModel:
        times = arguments.get("times", "1")
        if set(arguments) - {"times"} or not times.isdecimal():
            raise ea.UserError("a parrot takes --model-arg times=NUMBER and nothing else")
        return cls(spec, int(times))

    def weights(self) -> str:
        return "parrot 1"  # of a checkpoint: the sha256 of its files

    async def generate(self, requests: Sequence[ea.Request], store: ea.MediaStore) -> list[ea.Response]:
        return [ea.Response(parts=self._repeated(request, store)) for request in requests]

    def _repeated(self, request: ea.Request, store: ea.MediaStore) -> tuple[ea.Part, ...]:
        parts = [
            part if isinstance(part, ea.TextPart) else store.put(part.path.read_bytes(), part.modality)
            for part in request.messages[-1].parts
        ]
        return tuple(parts) * self._times
