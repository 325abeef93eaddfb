"""Policies: by family of models they turn parts into tokens and back, and give log-probabilities."""

from __future__ import annotations

from align_plugins.policies.base import Policy
from eval_anything import plugins
from eval_anything.models.spec import resolve


def policy_of(spec: str, dtype: str = "float32", chat_template: str = "auto") -> Policy:
    """Policy for the model of a SPEC, not loaded yet: that of its architecture, or else `chat`.

    Args:
        spec: SPEC of the model.
        dtype: of its weights.
        chat_template: `none` for a base model that goes on with plain text.

    Raises:
        UserError: the model cannot be trained.
    """
    model = resolve(spec, {} if chat_template == "auto" else {"chat_template": chat_template})
    is_named = model.architecture in plugins.names(plugins.POLICIES)
    cls: type[Policy] = plugins.load(plugins.POLICIES, model.architecture if is_named else "chat")
    return cls.of(model, dtype)
