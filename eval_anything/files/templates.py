"""Jinja templates of pages, where every value is escaped, and of prompts, rendered in a sandbox.

The sandbox keeps a template from running code, not from taking all time and memory. The templates of
folders that are not bundled are therefore compiled and rendered in a child process (`template_worker`).
"""

from __future__ import annotations

import base64
import importlib
import pickle
import traceback
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from eval_anything.errors import UserError
from eval_anything.files.mistakes import Mistakes, Problem
from eval_anything.files.places import content_folder, is_bundled
from eval_anything.files.reading import read_text
from eval_anything.isolation import GoneError, Worker, WorkerPool

SECONDS = 10.0
"""Time to render a template of others once."""


MEMORY = 512 * 2**20
"""Address space of the process that renders it."""


LONGEST = 4 * 2**20
"""Characters that it may give."""


class TemplateError(UserError, ValueError):
    """A template that is not valid or fails. `line` is that of the mistake, 0 if it has none."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class Filters(NamedTuple):
    """Filters of a template beside those of Jinja2: the function that makes them, as `module:function`,
    and its arguments. `keep_newline`: whether a newline at the end of the template stays."""

    maker: str = ""
    arguments: tuple[Any, ...] = ()
    keep_newline: bool = False


NO_FILTERS = Filters()


class Template(NamedTuple):
    """A prompt template. Only one that is `trusted` is rendered in this process."""

    source: str
    trusted: bool
    filters: Filters = NO_FILTERS

    def render(self, /, **variables: Any) -> str:
        """The text. TemplateError if it is not valid or fails; an undefined name is an error."""
        return self.render_here(variables) if self.trusted else _isolated(self, variables)

    def check(self) -> None:
        """TemplateError if it does not compile."""
        if self.trusted:
            self.compile_here()
        else:
            _isolated(self, None)

    def compile_here(self) -> Any:
        """The compiled template, made in this process."""
        import jinja2

        try:
            return _compiled(self.source, self.filters)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(error.message or "it is not valid", error.lineno) from None
        except MemoryError:
            raise
        except Exception as error:  # constant expressions are computed
            raise TemplateError(_words(error)) from None

    def render_here(self, variables: dict[str, Any]) -> str:
        """The text, made in this process."""
        compiled = self.compile_here()
        pieces: list[str] = []
        length = 0
        try:
            for piece in compiled.generate(variables):
                length += len(piece)
                if length > LONGEST:
                    raise ValueError(f"it gives more than {LONGEST:,} characters")
                pieces.append(piece)
        except MemoryError:
            raise
        except Exception as error:  # a template can do anything that an expression can
            raise TemplateError(_words(error), _line_of(error)) from None
        return "".join(pieces)


def page_templates() -> Any:
    """The Jinja environment for the pages in `leaderboard/templates`, which may include a style of
    `leaderboard/styles`; an undefined name is an error."""
    import jinja2

    content = content_folder("leaderboard")
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([content / "templates", content / "styles"]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def read_template(path: Path, mistakes: Mistakes, filters: Filters = NO_FILTERS) -> Template | None:
    """A template; None if it cannot be read or does not compile, which is noted."""
    try:
        template = Template(read_text(path), is_bundled(path), filters)
        template.check()
    except TemplateError as error:
        mistakes.append(Problem(path, error.line, f"template: {error}"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        mistakes.append(Problem(path, 0, f"template: cannot be read: {reason}"))
    else:
        return template
    return None


@lru_cache(maxsize=32)
def _compiled(source: str, filters: Filters) -> Any:
    return _environment(filters).from_string(source)


@lru_cache(maxsize=8)
def _environment(filters: Filters) -> Any:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=filters.keep_newline
    )
    if filters.maker:
        module, _, function = filters.maker.partition(":")
        maker = getattr(importlib.import_module(module), function)
        environment.filters |= maker(*filters.arguments)
    return environment


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:1000]


def _line_of(error: Exception) -> int:
    """Line of the template that failed, which Jinja2 puts into the traceback; 0 if there is none."""
    steps = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in steps if frame.f_code.co_filename == "<template>"]
    return lines[-1] if lines else 0


def _start() -> Worker:
    arguments = [str(int(SECONDS) + 5), str(MEMORY)]
    environment = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    return Worker(
        *("eval_anything.files.template_worker", arguments, "render", "renderer"),
        environment=environment,
    )


_pool = WorkerPool(1, _start)


def _isolated(template: Template, variables: dict[str, Any] | None) -> str:
    """The text of a template that a child process renders; without variables it is only compiled."""
    request = {"job": base64.b64encode(pickle.dumps((template, variables))).decode()}
    try:
        reply = _pool.use(lambda worker: worker.ask(request, SECONDS))
    except GoneError as gone:
        raise TemplateError(f"it {gone}: at most {SECONDS:g} s are allowed") from None
    if "memory" in reply:
        raise TemplateError(f"it needs more than the {MEMORY // 2**20} MiB that are allowed")
    if "error" in reply:
        raise TemplateError(str(reply["error"]), int(reply["line"]))
    return str(reply["text"])
