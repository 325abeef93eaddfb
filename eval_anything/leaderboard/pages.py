"""index.html: the page with its scripts beside it, or everything in one file."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from eval_anything.errors import UserError
from eval_anything.files.places import content_folder
from eval_anything.files.templates import page_templates
from eval_anything.media.sniff import EXTENSIONS

LARGEST_FILE = 25_000_000
"""Largest size in bytes of a site in one file: browsers still open it at once."""


SCRIPTS = (
    "core.js",
    "route.js",
    "numbers.js",
    "svg.js",
    "windowed.js",
    "dialogs.js",
    "export.js",
    "leaders.js",
    "board.js",
    "cell.js",
    "model.js",
    "training.js",
    "parts.js",
    "turns.js",
    "sound.js",
    "samples.js",
    "paired.js",
    "diff.js",
    "duel.js",
    "compare.js",
    "keys.js",
)
"""Scripts of the page, in the order in which they run, before the one that draws: `app.js`."""


_STYLES = ("base.css", "board.css", "pages.css", "charts.css")


def write_index(site: Path, table: dict[str, Any]) -> None:
    """Writes index.html with its styles and scripts. `table` is for browsers without scripts.

    The scripts are joined into one file, as the styles are: a browser opens files one after another, and
    two dozen of them took more time than drawing the first rows of a board.
    """
    content = content_folder("leaderboard")
    for folder in ("styles", "scripts"):
        (site / folder).mkdir()
    (site / "styles" / "site.css").write_text(_style(), "utf-8")
    (site / "scripts" / "site.js").write_text(_script(*SCRIPTS), "utf-8")
    for copied in ("styles/icon.svg", "scripts/app.js"):
        (site / copied).write_bytes((content / copied).read_bytes())
    # Not every browser takes 'self' to mean the files beside a page from a disk: `file:` allows them.
    beside_page = "'self' file:"
    policy = _policy(beside_page, beside_page, beside_page)
    page = _render(table, policy=policy, inline=None)
    (site / "index.html").write_bytes(page)


def single_file(site: Path, table: dict[str, Any]) -> bytes:
    """Bytes of one page with all data and media of `site` inline. UserError above `LARGEST_FILE`."""
    style, script = _style(), _script(*SCRIPTS, "app.js")
    media_files = sorted(p for f in ("media", "thumbs") for p in (site / f).rglob("*") if p.is_file())
    chunk_files = sorted(p for p in (site / "data").rglob("*.js"))
    size = len(style) + len(script) + sum(p.stat().st_size for p in chunk_files)
    size += sum(4 * (p.stat().st_size // 3 + 1) for p in media_files)
    if size > LARGEST_FILE:
        raise UserError(
            f"the site would be one file of {size / 1e6:.0f} MB; --single-file makes at most "
            f"{LARGEST_FILE / 1e6:.0f} MB. Leave it out, or give fewer runs."
        )
    policy = _policy(_hash(script), _hash(style), "data:")
    inline = {
        "style": style,
        "script": script,
        "data": [_call(p.read_bytes()) for p in chunk_files],
        "files": [
            (
                p.relative_to(site).as_posix(),
                EXTENSIONS[p.suffix[1:]],
                base64.b64encode(p.read_bytes()).decode(),
            )
            for p in media_files
        ],
    }
    return _render(table, policy=policy, inline=inline)


def _style() -> str:
    folder = content_folder("leaderboard") / "styles"
    return "".join((folder / name).read_text("utf-8") for name in _STYLES)


def _script(*names: str) -> str:
    folder = content_folder("leaderboard") / "scripts"
    return "\n".join((folder / name).read_text("utf-8") for name in names)


def _call(chunk: bytes) -> tuple[str, str]:
    """Key and JSON of a chunk `EA.put("key",JSON);`."""
    head, _, arguments = chunk.partition(b",")
    return head.split(b'"')[1].decode(), arguments[: arguments.rindex(b");")].decode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _policy(scripts: str, styles: str, media: str) -> str:
    """Content-Security-Policy: nothing from elsewhere, no inline script, no markup made by scripts."""
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src {media}; "
        f"media-src {media}; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types chunks"
    )


def _render(table: dict[str, Any], **variables: Any) -> bytes:
    html: str = page_templates().get_template("site.html").render(**variables, **table)
    return html.encode()
