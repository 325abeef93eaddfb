"""eval-anything: evaluation of any-to-any models (text, images, audio and video, in and out)."""

from __future__ import annotations

_FUNCTIONS = {
    "__version__": "eval_anything.version",
    "compare": "eval_anything.comparison",
    "gate": "eval_anything.gating.gate",
}


def __getattr__(name: str) -> object:
    """`from eval_anything import compare, gate`, imported when they are asked for."""
    if name in _FUNCTIONS:
        import importlib

        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
