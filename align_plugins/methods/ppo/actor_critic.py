"""A policy with a head that says what is still to be gained: a value for the state before each token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from align_plugins.policies.base import Policy, response_columns


class ActorCriticOutput(NamedTuple):
    """What actor and critic say of the tokens of the responses in a batch, one response after another.

    Attributes:
        logprobs: natural log-probability of each token at the policy's temperature, float32 (tokens,).
        values: of the state in which each token was chosen, float32 (tokens,).
    """

    logprobs: torch.Tensor
    values: torch.Tensor


class ActorCritic(torch.nn.Module):  # type: ignore[misc]  # its types are not read
    """A language model whose logits are divided by the temperature that it is sampled at, and a linear
    value head on the hidden states that its logits are made of.

    The head begins at 0: no state is worth anything until something was learned of it. `values` are
    those of the last forward pass, (rows, positions whose logits were asked for).
    """

    def __init__(self, policy: Policy, model: Any, temperature: float) -> None:
        super().__init__()
        self.model = model
        self._head = (policy.head,)  # in a tuple, since it is a part of the model already
        self.temperature = temperature
        weight = model.get_output_embeddings().weight
        self.value_head = torch.nn.Linear(weight.shape[1], 1, device=weight.device)
        torch.nn.init.zeros_(self.value_head.weight)
        torch.nn.init.zeros_(self.value_head.bias)
        self.values: torch.Tensor | None = None
        self._no_split_modules = getattr(model, "_no_split_modules", None)  # for a sharding by layers

    def optimiser(self, rate: float, decay: float) -> Any:
        """AdamW of what is trained; matrices decay, biases and norms do not."""
        weights = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=rate)

    def forward(self, **inputs: Any) -> Any:
        """What the model gives, with `logits` at the temperature."""
        hidden_states: list[torch.Tensor] = []
        hook = self._head[0].register_forward_pre_hook(
            lambda module, inputs_of_head: hidden_states.append(inputs_of_head[0])
        )
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
    """What a (wrapped) ActorCritic says of a batch."""
    from accelerate.utils import extract_model_from_parallel

    tokens = policy.logprobs(batch, module)
    actor: Any = extract_model_from_parallel(module)
    values = actor.values.float()
    actor.values = None
    if values.shape[1] != tokens.mask.shape[1]:  # an architecture that gives the logits of all positions
        values = values[:, response_columns(batch)]
    return ActorCriticOutput(tokens.values[tokens.mask], values[tokens.mask])
