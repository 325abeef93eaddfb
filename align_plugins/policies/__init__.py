"""Policies: what turns parts into tokens and back, and gives log-probabilities, by family of models."""

from __future__ import annotations

from pathlib import Path

from align_plugins.policies.base import Policy
from eval_anything.errors import UserError
from eval_anything.models.hf.source import find_source


def policy_of(spec: str, dtype: str = "float32") -> Policy:
    """The policy of a SPEC, not loaded yet: `micro`, a checkpoint's folder, `hf/ID`. UserError if it is
    none that can be trained."""
    from align_plugins.policies.chameleon import ChameleonPolicy
    from align_plugins.policies.chat import ChatPolicy
    from align_plugins.policies.emu3 import Emu3Policy
    from align_plugins.policies.janus import JanusPolicy
    from align_plugins.policies.micro import MicroPolicy
    from eval_anything.micro.model.adapter import BUNDLED

    if spec == "micro":
        return MicroPolicy(BUNDLED, dtype)
    path = Path(spec).expanduser()
    if (path / "codec.json").is_file():
        return MicroPolicy(path, dtype)
    if path.exists() or spec.startswith("hf/"):
        source = find_source(path if path.exists() else spec.removeprefix("hf/"), "", "")
        own = {"janus": JanusPolicy, "emu3": Emu3Policy, "chameleon": ChameleonPolicy}
        return own.get(source.model_type, ChatPolicy)(source, dtype)
    raise UserError(f"model: {spec} is no folder with a checkpoint; a model of the hub is hf/ID")
