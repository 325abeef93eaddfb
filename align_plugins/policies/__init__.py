"""Policies: what turns parts into tokens and back, and gives log-probabilities, by family of models."""

from __future__ import annotations

from align_plugins.policies.base import Policy
from eval_anything import plugins
from eval_anything.models.spec import resolve


def policy_of(spec: str, dtype: str = "float32") -> Policy:
    """The policy of a SPEC, not loaded yet: of its model's architecture, or else `chat`. UserError if it
    is none that can be trained."""
    model = resolve(spec, {})
    is_named = model.architecture in plugins.names(plugins.POLICIES)
    cls: type[Policy] = plugins.load(plugins.POLICIES, model.architecture if is_named else "chat")
    return cls.of(model, dtype)
