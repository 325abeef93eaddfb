"""Base of judges that ask a chat model: the common keys of judge.yaml, and the common scorer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from eval_anything.errors import UserError
from eval_anything.files.mistakes import Mistakes, Problem
from eval_anything.files.places import is_bundled
from eval_anything.files.reading import read_text
from eval_anything.files.templates import Template, TemplateError, read_template
from eval_anything.judges.asking.ask import JudgeAsker
from eval_anything.judges.asking.present import Clips
from eval_anything.judges.folder import JudgeFolder
from eval_anything.judges.kind import JudgeFile, check_exists
from eval_anything.judges.scorer import Scorer
from eval_anything.servers.body import NO_CHANGES, BodyChanges, read_changes, split_changes
from eval_anything.servers.chat import parse_server

_FENCE = "0123456789abcdef"


SENT = ("model", "messages", "temperature", "response_format")
"""Fields of every request to a chat model that judges."""


class ChatScorer(Scorer):
    """Base of scorers that ask a chat model with a template."""

    def __init__(self, folder: JudgeFolder, file: ChatJudgeFile, spec: str) -> None:
        self.name = folder.name
        self.metrics = file.metrics
        self.server = parse_server(spec, f"--judge {folder.name}={spec}")
        self.paid_as = self.server.model
        path = folder.path / file.template
        self._template = Template(read_text(path), is_bundled(path))
        self._clips = file.clips
        self.arguments = file.body.arguments()
        self.changes = [self.arguments] if self.arguments else []  # a part of fingerprints
        option = f"--judge-arg {self.name}"
        self._asker = JudgeAsker(f"judge {self.name}", self.server, file.body, option)

    @property
    def kept_verdicts(self) -> int:
        return self._asker.kept

    def answered_before(self) -> None:
        self._asker.answered_before()

    async def close(self) -> None:
        await self._asker.close()


class ChatJudgeFile(JudgeFile, frozen=True, kw_only=True):
    """Common keys of judge.yaml for judges that ask a chat model.

    Attributes:
        template: file with the system message (Jinja2), whose variables are below.
        video: `frames` shows a clip as pictures, `file` as a whole.
        frames: number of pictures of a clip; 4 if left out.
        body: changes to the fields of each request.
        variables: what a template gets, by name.
    """

    template: str
    video: Literal["frames", "file"] = "frames"
    frames: int | None = None
    body: BodyChanges = NO_CHANGES

    variables: ClassVar[Mapping[str, str]] = {
        "fence": "the random code in the lines around a response; a template must have it"
    }
    template_variables: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    """Examples of the variables that a template gets besides `fence`; it must render with each."""

    scorer_type: ClassVar[type[ChatScorer]]

    @property
    def needs_model(self) -> bool:
        return True

    @property
    def clips(self) -> Clips:
        """Form in which clips are shown to the model."""
        return Clips(self.frames or 4, self.video == "file")

    def check(self, folder: Path, mistakes: Mistakes) -> None:
        super().check(folder, mistakes)
        if self.frames is not None and self.frames < 1:
            mistakes.add("frames must be at least 1", "frames")
        if self.frames is not None and self.video == "file":
            mistakes.add("a clip that is shown as a file has all its frames: remove `frames:`", "frames")
        for key, problem in self.body.problems(SENT):
            mistakes.add(f"body.{key}: {problem}", "body", key)
        if check_exists(folder, self.template, mistakes, "template"):
            self._check_template(folder / self.template, mistakes)

    def _check_template(self, path: Path, mistakes: Mistakes) -> None:
        """Adds the first mistake in a template to the mistakes."""
        template = read_template(path, mistakes)
        if template is None:
            return
        rendered = ""
        for variables in self.template_variables:
            try:
                rendered = template.render(fence=_FENCE, **variables)
            except TemplateError as error:
                names = " and ".join(f"`{name}`" for name in ("fence", *variables))
                message = f"template: {error}; a {self.kind} knows {names}"
                mistakes.append(Problem(path, error.line, message))
                return
        if _FENCE not in rendered:
            message = "template: {{ fence }} is missing: the model needs it to recognise the response"
            mistakes.append(Problem(path, 0, message))

    def with_arguments(self, name: str, arguments: Mapping[str, str]) -> ChatJudgeFile:
        about_body, unknown = split_changes(arguments)
        if unknown:
            key = next(iter(unknown))
            raise UserError(f"--judge-arg {name}:{key}: a judge takes body.rename, body.drop, body.add")
        changes = read_changes(about_body, SENT, f"--judge-arg {name}", self.body)
        return msgspec.structs.replace(self, body=changes)

    def make(self, folder: JudgeFolder, model: str | None, allow_code: bool) -> Scorer:
        assert model is not None
        return self.scorer_type(folder, self, model)
