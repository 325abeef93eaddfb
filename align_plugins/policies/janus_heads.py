"""Janus with the logits of both heads in one forward pass.

The forward of transformers gives the logits of text only; its `generate` alone uses the head for image
codes. Here codes are processed as `generate` does, all positions at once.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
import transformers
from transformers.modeling_outputs import CausalLMOutputWithPast


class Positions(NamedTuple):
    """Positions of a batch: int64 indices of rows and of columns; every row is combined with every
    column."""

    rows: torch.Tensor
    columns: torch.Tensor

    def of(self, batch: torch.Tensor) -> torch.Tensor:
        """Values of a tensor (rows, length, ...) at the positions, (len(rows), len(columns), ...)."""
        return batch[self.rows[:, None], self.columns]


class Logits(NamedTuple):
    """Logits of each head at its positions, (rows, columns, vocabulary of the head)."""

    text: torch.Tensor
    codes: torch.Tensor

    def __truediv__(self, temperature: float) -> Logits:
        return Logits(self.text / temperature, self.codes / temperature)


# Its name is what config.json says of a checkpoint that is saved.
class JanusForConditionalGeneration(transformers.JanusForConditionalGeneration):  # type: ignore[misc]
    """The model of transformers; ids from the size of its text vocabulary on are image codes."""

    @functools.wraps(transformers.JanusForConditionalGeneration.forward)  # `generate` asks what it takes
    def forward(
        self,
        *args: Any,
        text_at: Positions | None = None,
        codes_at: Positions | None = None,
        **kwargs: Any,
    ) -> Any:
        """Forward pass of transformers. With `text_at` and `codes_at` the logits are `Logits`, and only
        attention_mask and pixel_values are accepted beside input_ids."""
        if text_at is None or codes_at is None:
            return super().forward(*args, **kwargs)
        output = self.model(
            inputs_embeds=self._embedded(kwargs["input_ids"]),
            attention_mask=kwargs.get("attention_mask"),
            pixel_values=kwargs.get("pixel_values"),
            use_cache=False,
        )
        states = output.last_hidden_state
        text = self.lm_head(text_at.of(states))
        return CausalLMOutputWithPast(
            logits=Logits(text, self.model.generation_head(codes_at.of(states)))
        )

    def _embedded(self, ids: torch.Tensor) -> torch.Tensor:
        words = self.config.text_config.vocab_size
        is_code = ids >= words
        embeddings = self.get_input_embeddings()(ids.masked_fill(is_code, 0))
        of_codes = self.prepare_embeddings_for_image_generation(ids[is_code] - words)
        return embeddings.masked_scatter(is_code[..., None], of_codes.to(embeddings.dtype))
