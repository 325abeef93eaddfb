"""Policies: by family of models they turn parts into tokens and back, and give log-probabilities."""

from __future__ import annotations

from align_plugins.policies.base import Policy
from eval_anything import plugins
from eval_anything.models.spec import resolve


def policy_of(spec: str, dtype: str = "float32") -> Policy:
    """Policy for the model of a SPEC, not loaded yet: that of its architecture, or else `chat`.
    UserError if the model cannot be trained."""
    model = resolve(spec, {})
    is_named = model.architecture in plugins.names(plugins.POLICIES)
    cls: type[Policy] = plugins.load(plugins.POLICIES, model.architecture if is_named else "chat")
    return cls.of(model, dtype)
