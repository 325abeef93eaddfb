"""The reader of reward models that are checkpoints of the micro world."""

from __future__ import annotations

from pathlib import Path

from eval_anything.content import MODALITIES, MediaPart
from eval_anything.judges.kinds.reward.readers import (
    NothingShownError,
    Reader,
    RewardModelInput,
    RewardQuery,
    UnreadableError,
)


class MicroReader(Reader):
    """Reads prompt, parts and <eos> for checkpoints of the micro world, in its one vocabulary."""

    sees = frozenset(MODALITIES)
    files: tuple[str, ...] = ("codec.json",)
    exact = True

    @classmethod
    def from_checkpoint(cls, path: Path) -> Reader | None:
        return cls() if (path / "codec.json").is_file() else None

    def load(self, path: Path) -> None:
        from eval_anything.micro.model.vocabulary import check_description

        check_description(path)

    def read(self, question: RewardQuery) -> RewardModelInput:
        from eval_anything.micro.model import codec

        try:
            prompt = codec.encode_prompt(question.messages)
        except ValueError as error:
            raise UnreadableError(f"the judge cannot read the prompt: {error}") from None
        try:
            return RewardModelInput(prompt + codec.encode_response(question.parts))
        except ValueError as error:
            # Where a file lies is no part of what is wrong with it, and differs from run to run.
            reason = str(error)
            for part in question.parts:
                if isinstance(part, MediaPart):
                    reason = reason.replace(str(part.path), f"the {part.modality}")
            raise NothingShownError(f"a part that shows nothing: {reason}") from None
