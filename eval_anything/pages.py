"""Jinja templates of pages: everything that is put into them is escaped."""

from __future__ import annotations

from typing import Any

from eval_anything.bundled import content_folder


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
