"""Tiny real checkpoints that read all media and speak: Qwen2.5-Omni and Qwen3-Omni, whose processors
need torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.tiny import tiny_tokenizer

_NAMES = {
    "image_token": "<|image_pad|>",
    "audio_token": "<|audio_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
_TALK = ["<|im_start|>", "<|im_end|>", "<tts_pad>", "<tts_start>", "<tts_end>"]
_ROLES = ["system", "user", "assistant"]
_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
    "{% if c.type == 'text' %}{{ c.text }}"
    "{% elif c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c.type == 'audio' %}<|audio_start|><|audio_pad|><|audio_end|>"
    "{% elif c.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
_AUDIO = {
    "num_mel_bins": 16,
    "d_model": 32,
    "encoder_layers": 1,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "output_dim": 32,
}
_VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 32}
SPEAKERS = ("Chelsie", "Ethan")


def _text_sizes(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_parameters": _ROPE,
    }


def _tokenizer() -> Any:
    """Control tokens as Qwen names them; the names of roles are one token each, as there."""
    from tokenizers import AddedToken

    tokenizer = tiny_tokenizer([*_NAMES.values(), *_TALK], extra_special_tokens=_NAMES)
    tokenizer.add_tokens([AddedToken(role, normalized=False) for role in _ROLES])
    tokenizer.eos_token = "<|im_end|>"
    return tokenizer


def _save(model: Any, processor: Any, path: Path, vocoder: str) -> None:
    """Weights are scaled up, those of the talker's attention most: at the usual scale a random model
    hardly looks at its input, and what it says is too faint for 16 bits."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "lm_head" not in name:
                looks = name.startswith("talker") and (".o_proj." in name or ".v_proj." in name)
                weight.mul_(5 if name.startswith(vocoder) else 20 if looks else 3)
    model.save_pretrained(path)
    processor.save_pretrained(path)


def tiny_qwen2_5_omni(path: Path) -> Path:
    """Qwen2.5-Omni: thinker and talker, two speakers, and a vocoder at 24 kHz."""
    import torch
    from transformers import (
        Qwen2_5OmniConfig,
        Qwen2_5OmniForConditionalGeneration,
        Qwen2_5OmniProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        WhisperFeatureExtractor,
    )

    tokenizer = _tokenizer()
    ids = dict(zip(_NAMES, tokenizer.convert_tokens_to_ids(list(_NAMES.values())), strict=True))
    media = {f"{kind}_token_index": ids[f"{kind}_token"] for kind in ("audio", "image", "video")}
    sounds = {
        "audio_start_token_id": ids["audio_bos_token"],
        "audio_end_token_id": ids["audio_eos_token"],
    }
    sights = {
        "vision_start_token_id": ids["vision_bos_token"],
        "vision_end_token_id": ids["vision_eos_token"],
    }
    processor = Qwen2_5OmniProcessor(
        Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 56}),
        Qwen2VLVideoProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 4 * 56 * 56}),
        WhisperFeatureExtractor(feature_size=16),
        tokenizer,
        chat_template=_CHAT,
    )
    pad, start, end = tokenizer.convert_tokens_to_ids(["<tts_pad>", "<tts_start>", "<tts_end>"])
    torch.manual_seed(0)
    config = Qwen2_5OmniConfig(
        thinker_config={
            "audio_config": _AUDIO,
            "vision_config": _VISION | {"fullatt_block_indexes": [1]},
            "text_config": _text_sizes(len(tokenizer)),
            "user_token_id": tokenizer.convert_tokens_to_ids("user"),
            **media,
            **sounds,
            **sights,
        },
        talker_config=_text_sizes(64)
        | {
            "head_dim": 8,
            "embedding_size": 32,
            "tts_text_start_token_id": start,
            "tts_text_end_token_id": end,
            "tts_text_pad_token_id": pad,
            "tts_codec_pad_token_id": 60,
            "tts_codec_start_token_id": 61,
            "tts_codec_end_token_id": 62,
            "tts_codec_mask_token_id": 63,
            **media,
            **sounds,
            **sights,
        },
        token2wav_config={
            "dit_config": {
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "head_dim": 8,
                "emb_dim": 16,
                "num_embeds": 65,
                "look_ahead_layers": [1],
                "look_backward_layers": [0],
                "enc_emb_dim": 8,
                "enc_dim": 16,
                "enc_channels": [16, 16, 16, 16, 48],
                "enc_attention_channels": 8,
                "enc_se_channels": 8,
            },
            "bigvgan_config": {"upsample_initial_channel": 64},
        },
    )
    model = Qwen2_5OmniForConditionalGeneration(config)
    with torch.no_grad():  # a random talker that hardly ever stops at once
        model.talker.codec_head.weight[[60, 62]] = 0
    _save(model, processor, path, "token2wav.code2wav_bigvgan_model")
    speakers = {
        name: {"bos_token": start, "cond": torch.randn(1, 8), "ref_mel": torch.randn(1, 20, 80)}
        for name in SPEAKERS
    }
    torch.save(speakers, path / "spk_dict.pt")
    return path


def tiny_qwen3_omni(path: Path) -> Path:
    """Qwen3-Omni: thinker and talker are mixtures of experts, two speakers, and a decoder of codes."""
    import torch
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        Qwen3OmniMoeConfig,
        Qwen3OmniMoeForConditionalGeneration,
        Qwen3OmniMoeProcessor,
        WhisperFeatureExtractor,
    )

    tokenizer = _tokenizer()
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in _NAMES.items()}
    roles = {f"{role}_token_id": tokenizer.convert_tokens_to_ids(role) for role in _ROLES}
    media = {f"{kind}_token_id": ids[f"{kind}_token"] for kind in ("audio", "image", "video")}
    starts = {
        "audio_start_token_id": ids["audio_bos_token"],
        "vision_start_token_id": ids["vision_bos_token"],
    }
    sizes = {"patch_size": 16}
    processor = Qwen3OmniMoeProcessor(
        Qwen2VLImageProcessor(size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64}, **sizes),
        Qwen2VLVideoProcessor(size={"shortest_edge": 32 * 32, "longest_edge": 4 * 64 * 64}, **sizes),
        WhisperFeatureExtractor(feature_size=16),
        tokenizer,
        chat_template=_CHAT,
    )
    pad, start, end = tokenizer.convert_tokens_to_ids(["<tts_pad>", "<tts_start>", "<tts_end>"])
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    codes = 1024 + 64  # the last 1,024 of the talker's vocabulary are control codes
    torch.manual_seed(0)
    config = Qwen3OmniMoeConfig(
        thinker_config={
            "audio_config": _AUDIO | {"downsample_hidden_size": 8},
            "vision_config": _VISION
            | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0], "patch_size": 16},
            "text_config": _text_sizes(len(tokenizer)) | experts | {"head_dim": 8},
            "user_token_id": roles["user_token_id"],
            **media,
            **starts,
        },
        talker_config={
            "text_config": _text_sizes(codes)
            | experts
            | {"head_dim": 8, "shared_expert_intermediate_size": 16},
            "code_predictor_config": {
                "vocab_size": 64,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 1,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "head_dim": 8,
                "num_code_groups": 4,
            },
            "num_code_groups": 4,
            "thinker_hidden_size": 32,
            "spatial_merge_size": 2,
            "accept_hidden_layer": 1,
            "codec_pad_id": 70,
            "codec_bos_id": 71,
            "codec_eos_token_id": 72,
            "codec_nothink_id": 73,
            "codec_think_bos_id": 74,
            "codec_think_eos_id": 75,
            "speaker_id": {name.lower(): 80 + i for i, name in enumerate(SPEAKERS)},
            **media,
            **starts,
        },
        code2wav_config={
            "codebook_size": 64,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "num_hidden_layers": 1,
            "num_quantizers": 4,
            "upsample_rates": [4, 3],
            "upsampling_ratios": [2],
            "decoder_dim": 32,
        },
        im_start_token_id=tokenizer.convert_tokens_to_ids("<|im_start|>"),
        im_end_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        tts_pad_token_id=pad,
        tts_bos_token_id=start,
        tts_eos_token_id=end,
        **roles,
    )
    model = Qwen3OmniMoeForConditionalGeneration(config)
    with torch.no_grad():  # transformers 5.23 leaves the talker's experts as the memory was
        for name, weight in model.talker.named_parameters():
            if ".experts." in name or ".gate." in name:
                weight.normal_(std=0.02)
    _save(model, processor, path, "code2wav")
    return path
