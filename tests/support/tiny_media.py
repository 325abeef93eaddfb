"""Tiny real checkpoints that see and hear: real classes and processors, only the sizes are reduced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.tiny import tiny_tokenizer

_TURNS = (
    "{%% for m in messages %%}{{ m.role }}: {%% for c in m.content %%}"
    "{%% if c.type == 'text' %%}{{ c.text }}%s{%% endif %%}"
    "{%% endfor %%}\n{%% endfor %%}{%% if add_generation_prompt %%}assistant:{%% endif %%}"
)


def chat(**placeholders: str) -> str:
    """A chat template that keeps the order of parts."""
    cases = [f"{{% elif c.type == '{kind}' %}}{text}" for kind, text in placeholders.items()]
    return _TURNS % "".join(cases)


def text_sizes(tokenizer: Any) -> dict[str, Any]:
    """The sizes of a tiny language model."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def save(model: Any, processor: Any, path: Path) -> Path:
    """Weights, which are scaled up (at the usual scale a random model hardly looks at its input), and
    processor at `path`."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "lm_head" not in name:
                weight.mul_(3)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def tiny_llava(path: Path) -> Path:
    """LLaVA: a CLIP tower of 28x28 pixels (4 patches) before a Llama."""
    import torch
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = tiny_tokenizer(["<image>"], extra_special_tokens={"image_token": "<image>"})
    size = {"height": 28, "width": 28}
    images = CLIPImageProcessor(size=size, crop_size=size)
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat(image="<image>"),
    )
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
        projection_dim=32,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(**text_sizes(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
    )
    return save(LlavaForConditionalGeneration(config), processor, path)


def tiny_qwen2_audio(path: Path) -> Path:
    """Qwen2-Audio: a Whisper encoder of windows of 30 s before a Qwen2."""
    import torch
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioEncoderConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        Qwen2Config,
        WhisperFeatureExtractor,
    )

    tokenizer = tiny_tokenizer(["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"])
    processor = Qwen2AudioProcessor(
        WhisperFeatureExtractor(feature_size=16),
        tokenizer,
        chat_template=chat(audio="<|audio_bos|><|AUDIO|><|audio_eos|>"),
    )
    torch.manual_seed(0)
    encoder = Qwen2AudioEncoderConfig(
        num_mel_bins=16,
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=64,
        max_source_positions=1500,
    )
    config = Qwen2AudioConfig(
        audio_config=encoder,
        text_config=Qwen2Config(**text_sizes(tokenizer)),
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    return save(Qwen2AudioForConditionalGeneration(config), processor, path)


def tiny_qwen2_5_vl(path: Path) -> Path:
    """Qwen2.5-VL: images and clips in patches of 14 pixels. Its processor needs torchvision."""
    import torch
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    marks = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer = tiny_tokenizer(marks)
    sizes = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(size=sizes),
        tokenizer,
        Qwen2VLVideoProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 4 * 56 * 56}),
        chat_template=chat(
            image="<|vision_start|><|image_pad|><|vision_end|>",
            video="<|vision_start|><|video_pad|><|vision_end|>",
        ),
    )
    torch.manual_seed(0)
    image, video, start, end = tokenizer.convert_tokens_to_ids(marks)
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        text_config=text_sizes(tokenizer)
        | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}},
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    return save(Qwen2_5_VLForConditionalGeneration(config), processor, path)
