"""A policy with a head that says what is still to be gained: a value for the state before each token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from align_plugins.policies.base import Policy, response_columns


class Read(NamedTuple):
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

    def __init__(self, model: Any, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        weight = model.get_output_embeddings().weight
        self.value_head = torch.nn.Linear(weight.shape[1], 1, device=weight.device)
        torch.nn.init.zeros_(self.value_head.weight)
        torch.nn.init.zeros_(self.value_head.bias)
        self.values: torch.Tensor | None = None

    def forward(self, **inputs: Any) -> Any:
        """What the model gives, with `logits` at the temperature."""
        seen: list[torch.Tensor] = []
        hook = self.model.get_output_embeddings().register_forward_pre_hook(
            lambda module, given: seen.append(given[0])
        )
        try:
            output = self.model(**inputs)
        finally:
            hook.remove()
        output.logits = output.logits / self.temperature
        self.values = self.value_head(seen[0].to(self.value_head.weight.dtype))[..., 0]
        return output


def read(policy: Policy, module: Any, batch: Mapping[str, Any]) -> Read:
    """What a (wrapped) ActorCritic says of a batch."""
    from accelerate.utils import extract_model_from_parallel

    tokens = policy.logprobs(batch, module)
    actor: Any = extract_model_from_parallel(module)
    values = actor.values.float()
    actor.values = None
    if values.shape[1] != tokens.mask.shape[1]:  # an architecture that gives the logits of all positions
        values = values[:, response_columns(batch)]
    return Read(tokens.values[tokens.mask], values[tokens.mask])
