"""Judges that ask a chat model: the keys of judge.yaml that they share, and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from eval_anything.files.mistakes import Mistakes, Problem
from eval_anything.files.templates import compile_template, render_template
from eval_anything.judges.asking.ask import Asker
from eval_anything.judges.asking.present import Clips
from eval_anything.judges.folder import JudgeFolder
from eval_anything.judges.kind import JudgeFile, check_exists
from eval_anything.judges.scorer import Scorer
from eval_anything.servers.chat import parse_server

_FENCE = "0123456789abcdef"


class ChatScorer(Scorer):
    """A template with the chat model that reads it."""

    def __init__(self, folder: JudgeFolder, file: ChatJudgeFile, spec: str) -> None:
        self.name = folder.name
        self.metrics = file.metrics
        self.server = parse_server(spec, f"--judge {folder.name}={spec}")
        self.paid_as = self.server.model
        self._template = (folder.path / file.template).read_text("utf-8")
        self._clips = file.clips
        self._asker = Asker(f"judge {self.name}", self.server)

    async def close(self) -> None:
        await self._asker.close()


class ChatJudgeFile(JudgeFile, frozen=True, kw_only=True):
    """Keys of judges that ask a chat model. `template` (Jinja2) is the system message; clips are shown
    as `frames` pictures (4 if left out), or whole if `video` is `file`."""

    template: str
    video: Literal["frames", "file"] = "frames"
    frames: int | None = None

    template_variables: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    """Examples of the variables that a template gets beside `fence`; it must render with each."""

    scorer_type: ClassVar[type[ChatScorer]]

    @property
    def needs_model(self) -> bool:
        return True

    @property
    def clips(self) -> Clips:
        """The way in which clips are shown."""
        return Clips(self.frames or 4, self.video == "file")

    def check(self, folder: Path, mistakes: Mistakes) -> None:
        super().check(folder, mistakes)
        if self.frames is not None and self.frames < 1:
            mistakes.add("frames must be at least 1", "frames")
        if self.frames is not None and self.video == "file":
            mistakes.add("a clip that is shown as a file has all its frames: remove `frames:`", "frames")
        if check_exists(folder, self.template, mistakes, "template"):
            mistake = self._template_mistake(folder / self.template)
            if mistake is not None:
                mistakes.append(Problem(folder / self.template, *mistake))

    def _template_mistake(self, path: Path) -> tuple[int, str] | None:
        """The line (0 if it has none) and the message of the first mistake in a template."""
        import jinja2

        try:
            source = path.read_text("utf-8")
            compile_template(source)
        except jinja2.TemplateSyntaxError as error:
            return error.lineno, f"template: {error.message}"
        except (OSError, ValueError) as error:
            return 0, f"template: cannot be read: {error}"
        rendered = ""
        for variables in self.template_variables:
            try:
                rendered = render_template(source, fence=_FENCE, **variables)
            except Exception as error:  # a template can do anything that an expression can
                names = " and ".join(f"`{name}`" for name in ("fence", *variables))
                return _line_in_template(error), f"template: {error}; a {self.kind} knows {names}"
        if _FENCE not in rendered:
            return 0, "template: {{ fence }} is nowhere: the judge must be told what marks the answer"
        return None

    def make(self, folder: JudgeFolder, model: str | None, allow_code: bool) -> Scorer:
        assert model is not None
        return self.scorer_type(folder, self, model)


def _line_in_template(error: Exception) -> int:
    """The line of the template that failed; Jinja2 rewrites tracebacks so that they have it."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
