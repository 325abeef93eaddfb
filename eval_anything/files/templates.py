"""Jinja templates of pages, where every value is escaped, and of prompts, rendered in a sandbox."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from eval_anything.files.mistakes import Mistakes, Problem
from eval_anything.files.places import content_folder


def page_templates() -> Any:
    """The Jinja environment for the pages in `leaderboard/templates`; an undefined name is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(content_folder("leaderboard") / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_template(source: str, **variables: Any) -> str:
    """A prompt template rendered in a sandbox; an undefined name is an error."""
    rendered: str = compile_template(source).render(**variables)
    return rendered


@lru_cache(maxsize=32)
def compile_template(source: str) -> Any:
    """The compiled template, cached. jinja2.TemplateSyntaxError has the line of a mistake."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=False
    )
    return environment.from_string(source)


def read_template(
    path: Path, mistakes: Mistakes, compile_source: Callable[[str], Any] = compile_template
) -> str | None:
    """The source of a template; None if it cannot be read or does not compile, which is noted."""
    import jinja2

    try:
        source = path.read_text("utf-8-sig")
        compile_source(source)
    except jinja2.TemplateSyntaxError as error:
        mistakes.append(Problem(path, error.lineno, f"template: {error.message}"))
    except (OSError, ValueError) as error:
        mistakes.append(Problem(path, 0, f"template: cannot be read: {error}"))
    else:
        return source
    return None
