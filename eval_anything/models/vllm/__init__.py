"""Checkpoints run by vLLM in this process: `vllm/PATH`, with the prompts of `hf`."""

from __future__ import annotations

from eval_anything.models.vllm.model import VllmModel

__all__ = ["VllmModel"]
