"""The families by model_type: entry points of `eval_anything.hf_families`, generic for any other."""

from __future__ import annotations

from eval_anything import plugins
from eval_anything.errors import UserError
from eval_anything.models.hf.family import Family
from eval_anything.models.hf.generic import GenericFamily


def families() -> dict[type[Family], list[str]]:
    """All families that can be imported, with the values of config.model_type that they serve.

    The generic family is the first, with none.
    """
    served: dict[type[Family], list[str]] = {GenericFamily: []}
    for model_type, cls in plugins.load_all(plugins.HF_FAMILIES).items():
        if not isinstance(cls, UserError):
            served.setdefault(cls, []).append(model_type)
    return served


def family_of(model_type: str) -> type[Family]:
    """The class that serves a config.model_type. UserError if it cannot be imported."""
    family: type[Family] = plugins.find(plugins.HF_FAMILIES, model_type, GenericFamily)
    return family
