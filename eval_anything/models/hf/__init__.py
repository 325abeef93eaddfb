"""Checkpoints of transformers: any that one of the families can serve."""

from __future__ import annotations

from eval_anything.models.hf.model import TransformersModel

__all__ = ["TransformersModel"]
