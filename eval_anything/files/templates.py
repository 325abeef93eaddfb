"""Jinja templates of pages: everything that is put into them is escaped."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from eval_anything.files.places import content_folder


def page_templates() -> Any:
    """The environment of the templates in `leaderboard/templates`; an undefined name is an error."""
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
    """The template, kept for its next use. jinja2.TemplateSyntaxError has the line of a mistake."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=False
    )
    return environment.from_string(source)
