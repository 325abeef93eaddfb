"""Checkpoints of transformers, each served by the family of its architecture."""

from __future__ import annotations

from eval_anything.models.hf.model import TransformersModel

__all__ = ["TransformersModel"]
