"""Interface of a kind of judges: the common keys of judge.yaml, and what each kind says about itself."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from msgspec import Struct

from eval_anything.content import Metric, Modality
from eval_anything.files.mistakes import Mistakes
from eval_anything.judges.folder import JudgeFolder
from eval_anything.judges.scorer import Scorer


class JudgeFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """judge.yaml: the keys of all kinds. A subclass is a kind: its own keys and what they mean.

    `sees` names the modalities that the judge can perceive in a response. A package adds a kind as an
    entry point of the group `eval_anything.scorers` under the name of the kind, which is also the
    subclass's tag:

        class LengthFile(JudgeFile, tag=LengthScorer.kind, frozen=True, kw_only=True):
            longest: int
            scorer_type = LengthScorer

            def make(self, folder, model, allow_code):
                return LengthScorer(folder.name, self.metrics, self.longest)

    Attributes:
        scorer_type: the class of its scorers, which says whether a model decides the scores, whether
            they are exact, and whether they compare with another run.
        model_form: the form of `--judge NAME=`: SPEC of a chat model, or PATH of a checkpoint.
    """

    version: int
    title: str
    description: str
    metrics: dict[str, Metric]
    sees: list[Modality]

    scorer_type: ClassVar[type[Scorer]]
    model_form: ClassVar[Literal["SPEC", "PATH"]] = "SPEC"

    @property
    def kind(self) -> str:
        """The name of the kind."""
        return self.scorer_type.kind

    @property
    def needs_model(self) -> bool:
        """Whether the judge scores nothing until the user names a model for it."""
        return False

    @property
    def asks_a_chat_model(self) -> bool:
        """Whether the model that it needs is one that chats: one such model can serve several judges."""
        return self.needs_model and self.model_form == "SPEC"

    def check(self, folder: Path, mistakes: Mistakes) -> None:
        """Notes what the types cannot say: mistakes in values, and in the files that the keys name. Runs
        no code of the folder and asks no model."""
        if not self.metrics:
            mistakes.add("metrics is empty: declare one", "metrics")

    def make(self, folder: JudgeFolder, model: str | None, allow_code: bool) -> Scorer:
        """The scorer, with the model that the user names, if any; nothing is loaded yet. It is never
        called without a model if the judge needs one.

        UserError for a model that is not there, or code of the folder that is not allowed.
        """
        raise NotImplementedError


def check_exists(folder: Path, path: str, mistakes: Mistakes, key: str) -> bool:
    """Whether `path`, the value of the key, is in the folder (a `:function` aside); if not, notes it."""
    exists = (folder / path.partition(":")[0]).exists()
    if not exists:
        mistakes.add(f"{key}: {path} does not exist", key)
    return exists
