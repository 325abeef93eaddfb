"""Interface of a kind of judges: the common keys of judge.yaml, and the methods of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from msgspec import Struct

from eval_anything.content import Metric, Modality
from eval_anything.errors import UserError
from eval_anything.files.mistakes import Mistakes
from eval_anything.files.places import content_folder
from eval_anything.judges.folder import JudgeFolder
from eval_anything.judges.scorer import Scorer


class JudgeFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """The keys of judge.yaml that all kinds have. A subclass is a kind, with its own keys.

    A package adds a kind as an entry point of the group `eval_anything.scorers` under the name of the
    kind, which is also the subclass's tag:

        class LengthFile(JudgeFile, tag=LengthScorer.kind, frozen=True, kw_only=True):
            longest: int
            scorer_type = LengthScorer

            def make(self, folder, model, allow_code):
                return LengthScorer(folder.name, self.metrics, self.longest)

    Attributes:
        version: version of the format.
        title: a short name for listings.
        description: a sentence for listings.
        metrics: the metrics of the judge, by name.
        sees: the modalities that the judge can perceive in a response.
        scorer_type: the class of its scorers. Its attributes define whether a model decides the scores,
            whether they are exact, and whether they compare with another run.
        model_form: form of the value of `--judge NAME=`: SPEC of a chat model, or PATH of a checkpoint.
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
        """Name of the kind."""
        return self.scorer_type.kind

    @property
    def needs_model(self) -> bool:
        """Whether the judge can score only with a model that the user names for it."""
        return False

    @property
    def asks_a_chat_model(self) -> bool:
        """Whether it needs a chat model, which can serve several judges."""
        return self.needs_model and self.model_form == "SPEC"

    @classmethod
    def starter(cls) -> Path:
        """The folder of a commented judge of this kind, and a task `demo` that it scores: `judges new`
        copies it with the name of the new judge in place of NAME. It may be missing."""
        return content_folder("judges") / "_new" / cls.scorer_type.kind

    def check(self, folder: Path, mistakes: Mistakes) -> None:
        """Adds mistakes that types do not cover: in values, and in the files that the keys name.

        It must not run code of the folder or ask a model.
        """
        if not self.metrics:
            mistakes.add("metrics is empty: declare one", "metrics")
        if not self.sees:
            mistakes.add("sees is empty: name the modalities that the judge can perceive", "sees")

    def with_arguments(self, name: str, arguments: Mapping[str, str]) -> JudgeFile:
        """The keys with those that `--judge-arg` replaces.

        Args:
            name: name of the judge, for errors.
            arguments: texts by the name of the argument.

        Raises:
            UserError: for an argument that the kind does not take, or a wrong text.
        """
        if arguments:
            raise UserError(f"--judge-arg {name}: a {self.kind} judge has no arguments")
        return self

    def make(self, folder: JudgeFolder, model: str | None, allow_code: bool) -> Scorer:
        """Makes the scorer; nothing is loaded yet.

        Args:
            folder: the judge's folder.
            model: the model that the user names; never None if `needs_model`.
            allow_code: whether code of a folder that is not `trusted` may be executed.

        Raises:
            UserError: for a model that does not exist, or code that is not allowed.
        """
        # A struct cannot be an abstract class: msgspec's metaclass and abc's exclude each other.
        raise TypeError(f"{type(self).__name__} does not implement `make`")


def check_exists(folder: Path, path: str, mistakes: Mistakes, key: str) -> bool:
    """Whether the path in a key, without its `:function`, is in the folder. If not, adds a mistake."""
    exists = (folder / path.partition(":")[0]).exists()
    if not exists:
        mistakes.add(f"{key}: {path} does not exist", key)
    return exists
