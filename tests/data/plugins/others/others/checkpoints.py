"""A family and a policy for checkpoints of type llama, and a reader for some reward models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align_plugins.policies.chat import ChatPolicy
from eval_anything.content import Modality, TextPart
from eval_anything.judges.kinds.reward.readers import Reader, RewardModelInput, RewardQuery
from eval_anything.media import MediaStore
from eval_anything.models.hf.family import EncodedPrompt, FamilySettings, GeneratedAnswer
from eval_anything.models.hf.generic import GenericFamily
from eval_anything.models.hf.source import Source


class LoudFamily(GenericFamily):
    """The generic family, in capitals."""

    name = "loud"

    def decode(
        self, output: Any, inputs: Mapping[str, Any], prompts: Sequence[EncodedPrompt], store: MediaStore
    ) -> list[GeneratedAnswer]:
        answers = super().decode(output, inputs, prompts, store)
        return [answer._replace(parts=(TextPart("LOUD"),)) for answer in answers]


class LoudPolicy(ChatPolicy):
    """Checkpoints of the loud family."""

    name = "loud"

    def _family_of(self, source: Source, dtype: str) -> LoudFamily:
        return LoudFamily(source, FamilySettings(dtype=dtype))


class UpsideDownReader(Reader):
    """Ids of the text of a response backwards, for checkpoints with a file upside_down.json."""

    sees = frozenset({Modality.TEXT})
    files = ("upside_down.json",)

    @classmethod
    def from_checkpoint(cls, path: Path) -> Reader | None:
        return cls() if (path / "upside_down.json").is_file() else None

    def load(self, path: Path) -> None:
        pass

    def read(self, question: RewardQuery) -> RewardModelInput:
        text = "".join(part.text for part in question.parts if isinstance(part, TextPart))
        return RewardModelInput([ord(character) % 90 for character in reversed(text)])
