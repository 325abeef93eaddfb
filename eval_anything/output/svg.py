"""Elements of SVG as trees: [name, attributes, children or text]. Text in them is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

Tree = list[Any]


def svg(width: float, height: float, title: str, description: str, body: Sequence[Tree]) -> Tree:
    """A picture of a size in its own units, with a title and a description for screen readers (cut to
    2,000 characters)."""
    view = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "class": "chart",
        "role": "img",
        "aria-label": title,
    }
    return ["svg", view, [["desc", {}, description[:2000]], *body]]


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Tree:
    """A straight line."""
    ends = {"x1": number(x1), "y1": number(y1), "x2": number(x2), "y2": number(y2)}
    return ["line", ends | {"class": class_}, []]


def dot(x: float, y: float, radius: float = 5.5) -> Tree:
    """A filled circle around a point."""
    return ["circle", {"cx": number(x), "cy": number(y), "r": number(radius), "class": "dot"}, []]


def text(x: float, y: float, words: str, class_: str, anchor: str) -> Tree:
    """Words at a point, which is their start, middle or end."""
    return ["text", {"x": number(x), "y": number(y), "class": class_, "text-anchor": anchor}, words]


def path(points: Iterable[tuple[float, float]], class_: str, closed: bool = False) -> Tree:
    """Straight lines from point to point."""
    corners = " L".join(f"{number(x)} {number(y)}" for x, y in points)
    return ["path", {"d": f"M{corners}{' Z' if closed else ''}", "class": class_}, []]


def number(coordinate: float) -> str:
    """A coordinate to a tenth of a unit."""
    return f"{coordinate:.1f}".removesuffix(".0")


def markup(tree: Tree, style: str) -> str:
    """The picture as a file, with its style sheet."""
    name, attributes, children = tree
    root = {"xmlns": "http://www.w3.org/2000/svg", **attributes}
    return element([name, root, [["style", {}, style], *children]]) + "\n"


def element(tree: Tree) -> str:
    """The markup of an element, for a page that has its style."""
    name, attributes, content = tree
    words = "".join(f' {key}="{escape(setting)}"' for key, setting in attributes.items())
    inner = escape(content) if isinstance(content, str) else "\n".join(map(element, content))
    return f"<{name}{words}>{inner}</{name}>"
