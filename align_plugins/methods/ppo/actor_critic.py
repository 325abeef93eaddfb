"""The actor-critic: a policy with a value head, which estimates the return of the state before each
token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from align_plugins.policies.base import Policy, response_columns


class ActorCriticOutput(NamedTuple):
    """Output for the response tokens of a batch, one response after another.

    Attributes:
        logprobs: natural log-probability of each token at the policy's temperature, float32 (tokens,).
        values: value of the state in which each token was chosen, float32 (tokens,).
    """

    logprobs: torch.Tensor
    values: torch.Tensor


class ActorCritic(torch.nn.Module):  # type: ignore[misc]  # its types are not read
    """A language model with logits divided by the sampling temperature, and a linear value head on the
    hidden states that the logits are computed from.

    The head is initialised to 0. `values` are those of the last forward pass, (rows, positions whose
    logits were computed).
    """

    def __init__(self, policy: Policy, model: Any, temperature: float) -> None:
        super().__init__()
        self.model = model
        self._head = (policy.head,)  # in a tuple, so that torch does not register it twice
        self.temperature = temperature
        weight = model.get_output_embeddings().weight
        self.value_head = torch.nn.Linear(weight.shape[1], 1, device=weight.device)
        torch.nn.init.zeros_(self.value_head.weight)
        torch.nn.init.zeros_(self.value_head.bias)
        self.values: torch.Tensor | None = None
        self._no_split_modules = getattr(model, "_no_split_modules", None)  # for a sharding by layers

    def optimiser(self, rate: float, decay: float) -> Any:
        """AdamW for the trained weights; weight decay applies to matrices, not to biases and norms."""
        weights = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=rate)

    def forward(self, **inputs: Any) -> Any:
        """Output of the model, with `logits` at the temperature."""
        hidden_states: list[torch.Tensor] = []
        hook = self._head[0].register_forward_pre_hook(lambda _, args: hidden_states.append(args[0]))
        try:
            output = self.model(**inputs)
        finally:
            hook.remove()
        output.logits = output.logits / self.temperature
        head = self.value_head
        with torch.autocast(head.weight.device.type, enabled=False):  # returns need all their digits
            self.values = head(hidden_states[0].to(head.weight.dtype))[..., 0]
        output["hidden_states"] = (self.values,)  # processes look there for weights that have a part
        return output


def actor_critic_output(policy: Policy, module: Any, batch: Mapping[str, Any]) -> ActorCriticOutput:
    """Log-probabilities and values for the response tokens of a batch.

    Args:
        policy: whose batch it is.
        module: an ActorCritic, perhaps wrapped.
        batch: as `Policy.collate` returns it, on the module's device.
    """
    from accelerate.utils import extract_model_from_parallel

    tokens = policy.logprobs(batch, module)
    actor: Any = extract_model_from_parallel(module)
    values = actor.values.float()
    actor.values = None
    if values.shape[1] != tokens.mask.shape[1]:  # an architecture that gives the logits of all positions
        values = values[:, response_columns(batch)]
    return ActorCriticOutput(tokens.values[tokens.mask], values[tokens.mask])
