"""Tiny real checkpoints of models with discrete images: real classes and processors, reduced sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny import tiny_tokenizer
from tiny_media import chat, save, text_sizes


def tiny_janus(path: Path, **generation: Any) -> Path:
    """Janus: a vision tower of 32x32 pixels before a Llama, images of 4x4 codes, 8x8 pixels each;
    `generation` goes to its generation_config.json."""
    import torch
    from transformers import (
        JanusConfig,
        JanusForConditionalGeneration,
        JanusProcessor,
        JanusVisionConfig,
        JanusVQVAEConfig,
        LlamaConfig,
    )
    from transformers.models.janus.image_processing_pil_janus import JanusImageProcessorPil

    marks = {
        "image_token": "<image_placeholder>",
        "boi_token": "<begin_of_image>",
        "eoi_token": "<end_of_image>",
    }
    tokenizer = tiny_tokenizer(list(marks.values()), extra_special_tokens=marks)
    half = [0.5, 0.5, 0.5]
    images = JanusImageProcessorPil(size={"height": 32, "width": 32}, image_mean=half, image_std=half)
    processor = JanusProcessor(
        images,
        tokenizer,
        chat_template=chat(image="<image_placeholder>"),
        num_image_tokens=16,
    )
    torch.manual_seed(0)
    vision = JanusVisionConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        projection_dim=32,
        num_image_tokens=16,
    )
    codes = JanusVQVAEConfig(
        embed_dim=8,
        num_embeddings=64,
        latent_channels=32,
        base_channels=32,
        channel_multiplier=[1, 1, 1, 1],
        num_res_blocks=1,
        projection_dim=32,
        image_token_embed_dim=32,
    )
    config = JanusConfig(
        vision_config=vision,
        vq_config=codes,
        text_config=LlamaConfig(**text_sizes(tokenizer)),
        image_token_id=tokenizer.image_token_id,
        tie_word_embeddings=False,
    )
    model = JanusForConditionalGeneration(config)
    model.generation_config.update(
        bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id, **generation
    )
    return save(model, processor, path)


def tiny_emu3(path: Path) -> Path:
    """Emu3: 64 codes of 8x8 pixels as tokens of a Llama's vocabulary; images in of up to 5x5 codes."""
    import torch
    from transformers import Emu3Config, Emu3ForConditionalGeneration, Emu3ImageProcessor, Emu3Processor

    marks = {
        "image_token": "<image>",
        "boi_token": "<|image start|>",
        "eoi_token": "<|image end|>",
        "image_wrapper_token": "<|image token|>",
        "eof_token": "<|extra_201|>",
    }
    visual = [f"<|visual token {i:06}|>" for i in range(64)]
    tokenizer = tiny_tokenizer([*marks.values(), "<|extra_200|>", *visual], extra_special_tokens=marks)
    processor = Emu3Processor(
        Emu3ImageProcessor(min_pixels=16 * 16, max_pixels=40 * 40),
        tokenizer,
        chat_template=chat(image="<image>"),
    )
    torch.manual_seed(0)
    codes = {
        "codebook_size": 64,
        "base_channels": 32,
        "channel_multiplier": [1, 1, 1, 1],
        "num_res_blocks": 1,
        "hidden_size": 32,
        "attn_resolutions": [],
        "temporal_downsample_factor": 2,
    }
    config = Emu3Config(
        vq_config=codes, text_config=text_sizes(tokenizer), vocabulary_map=tokenizer.get_vocab()
    )
    return save(Emu3ForConditionalGeneration(config), processor, path)


def tiny_chameleon(path: Path) -> Path:
    """Chameleon: images of 32x32 pixels become 16 of 64 codes, tokens of the vocabulary. As in the
    published checkpoints there is no chat template."""
    import torch
    from transformers import ChameleonConfig, ChameleonForConditionalGeneration, ChameleonProcessor
    from transformers.models.chameleon.image_processing_pil_chameleon import ChameleonImageProcessorPil

    letters = "ABCDEFGHIJ"
    codes = ["IMGIMG" + "".join(letters[int(d)] for d in str(i)) + "Z" for i in range(64)]
    tokenizer = tiny_tokenizer(
        ["<image>", "<racm3:break>", "<eoss>", "<reserved08706>", *codes],
        sep_token="<reserved08706>",
        extra_special_tokens={
            "image_token": "<image>",
            "boi_token": "<racm3:break>",
            "eoi_token": "<eoss>",
        },
    )
    size = {"height": 32, "width": 32}
    images = ChameleonImageProcessorPil(size={"shortest_edge": 32}, crop_size=size)
    processor = ChameleonProcessor(images, tokenizer, image_seq_length=16)
    torch.manual_seed(0)
    config = ChameleonConfig(
        **text_sizes(tokenizer),
        vq_config={
            "embed_dim": 8,
            "num_embeddings": 64,
            "latent_channels": 32,
            "resolution": 32,
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1, 1],
            "num_res_blocks": 1,
        },
        vocabulary_map=tokenizer.get_vocab(),
    )
    return save(ChameleonForConditionalGeneration(config), processor, path)
