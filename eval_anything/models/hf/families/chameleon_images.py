"""Chameleon with the logits of image codes and the decoder from codes to pixels.

transformers (5.23) lacks both: its `forward` sets the logits of codes to the lowest number, and its VQ
model only has the encoder.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import nn
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.chameleon.modeling_chameleon import (
    ChameleonVQVAEEncoderAttnBlock,
    ChameleonVQVAEEncoderResnetBlock,
)

_DECODER = "model.vqmodel.decoder."


class CodeDecoder(nn.Module):  # type: ignore[misc]  # its types are not read
    """A decoder of latents (1, latent_channels, side, side) to pixels in -1..1 (1, 3, height, width).

    The decoder of taming-transformers (Esser et al. 2021, arXiv 2012.09841; `Decoder` in
    facebookresearch/chameleon, chameleon/inference/vqgan.py), built from the blocks that transformers
    has for the encoder. Weights have the names of checkpoints that contain them
    (huggingface/transformers #32013): the first of `up` is the level with the most pixels, which runs
    last. `JanusVQVAEDecoder` of transformers counts its levels the other way, and always has attention
    in the lowest one.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        widths = [config.base_channels * times for times in config.channel_multiplier]
        attends = config.attn_type == "vanilla"
        width = widths[-1]
        self.conv_in = nn.Conv2d(config.latent_channels, width, kernel_size=3, padding=1)
        self.mid = nn.ModuleDict(
            {
                "block_1": ChameleonVQVAEEncoderResnetBlock(config, width, width),
                "attn_1": ChameleonVQVAEEncoderAttnBlock(width) if attends else nn.Identity(),
                "block_2": ChameleonVQVAEEncoderResnetBlock(config, width, width),
            }
        )
        levels: list[nn.Module] = []
        for level, out in reversed(list(enumerate(widths))):
            blocks, attention = nn.ModuleList(), nn.ModuleList()
            for _ in range(config.num_res_blocks + 1):
                blocks.append(ChameleonVQVAEEncoderResnetBlock(config, width, out))
                width = out
                if attends and config.resolution // 2**level in (config.attn_resolutions or ()):
                    attention.append(ChameleonVQVAEEncoderAttnBlock(width))
            modules = nn.ModuleDict({"block": blocks, "attn": attention})
            if level:
                conv = nn.Conv2d(width, width, kernel_size=3, padding=1)
                modules["upsample"] = nn.ModuleDict({"conv": conv})
            levels.insert(0, modules)
        self.up = nn.ModuleList(levels)
        self.norm_out = nn.GroupNorm(32, width, eps=1e-6)
        self.conv_out = nn.Conv2d(width, config.in_channels, kernel_size=3, padding=1)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """The pixels of latents; the shapes are those in the description of the class."""
        states = self.conv_in(latents)
        for layer in self.mid.values():
            states = layer(states)
        for level in reversed(self.up):
            for number, block in enumerate(level["block"]):
                states = block(states)
                if len(level["attn"]):
                    states = level["attn"][number](states)
            if "upsample" in level:
                states = level["upsample"]["conv"](nn.functional.interpolate(states, scale_factor=2.0))
        pixels: torch.Tensor = self.conv_out(nn.functional.silu(self.norm_out(states)))
        return pixels


# The name of the class goes into config.json of saved checkpoints, so it must be that of transformers.
class ChameleonForConditionalGeneration(transformers.ChameleonForConditionalGeneration):  # type: ignore[misc]
    """The model of transformers, with the logits of all tokens and `model.vqmodel.decoder`.

    The decoder is None for a checkpoint without weights of it.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model.vqmodel.decoder = CodeDecoder(config.vq_config)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Loads a checkpoint as transformers does; the weights of the decoder may be missing."""
        model, report = super().from_pretrained(*args, **kwargs | {"output_loading_info": True})
        vqmodel = model.model.vqmodel
        decoder_keys = {_DECODER + name for name in vqmodel.decoder.state_dict()}
        if decoder_keys <= report["missing_keys"]:
            vqmodel.decoder = None
            report["missing_keys"] -= decoder_keys
        return (model, report) if kwargs.get("output_loading_info") else model

    @functools.wraps(  # `generate` inspects its parameters
        transformers.ChameleonForConditionalGeneration.forward
    )
    def forward(
        self, input_ids: Any = None, *, logits_to_keep: int | torch.Tensor = 0, **kwargs: Any
    ) -> CausalLMOutputWithPast:
        """The output with the logits of all tokens; there is no loss, so it takes no `labels`."""
        output = self.model(input_ids=input_ids, **kwargs)
        positions = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        return CausalLMOutputWithPast(
            logits=self.lm_head(output.last_hidden_state[:, positions]),
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )

    def decode_image_tokens(self, ids: Sequence[int]) -> torch.Tensor:
        """The pixels (3, height, width) of a square image; `ids` are the tokens of its codes."""
        code_of = self.model.vocabulary_mapping.bpe2img
        vqmodel, side = self.model.vqmodel, math.isqrt(len(ids))
        codes = torch.tensor([code_of[token] for token in ids], device=self.device)
        entries = vqmodel.quantize.embedding(codes).view(1, side, side, -1).permute(0, 3, 1, 2)
        pixels: torch.Tensor = vqmodel.decoder(vqmodel.post_quant_conv(entries))[0]
        return pixels
