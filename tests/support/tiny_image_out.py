"""Tiny real checkpoints of models with discrete images: real classes and processors, reduced sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.tiny import tiny_tokenizer
from tests.support.tiny_media import chat, save, text_sizes


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


def tiny_chameleon(path: Path, decoder: bool = False) -> Path:
    """Chameleon: images of 32x32 pixels become 16 of 64 codes, tokens of the vocabulary. As in the
    published checkpoints there is no chat template; with `decoder` there is what makes pixels of codes,
    as in those of Anole."""
    import torch
    from transformers import ChameleonConfig, ChameleonForConditionalGeneration, ChameleonProcessor
    from transformers.models.chameleon.image_processing_pil_chameleon import ChameleonImageProcessorPil

    letters = "ABCDEFGHIJ"
    codes = ["IMGIMG" + "".join(letters[int(d)] for d in str(i)) + "Z" for i in range(64)]
    tokenizer = tiny_tokenizer(
        ["<image>", "<racm3:break>", "<eoss>", "<reserved08706>", *reversed(codes)],
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
            "channel_multiplier": [1, 1, 1, 2],
            "num_res_blocks": 1,
            "attn_resolutions": [16],
            "out_channels": 3,
        },
        vocabulary_map=tokenizer.get_vocab(),
    )
    save(ChameleonForConditionalGeneration(config), processor, path)
    if decoder:
        _add_chameleon_decoder(path / "model.safetensors")
    return path


def _add_chameleon_decoder(file: Path) -> None:
    """Weights called as in huggingface/transformers #32013: the first level is that of 32x32 pixels."""
    import torch
    from safetensors.torch import load_file, save_file

    made: dict[str, Any] = {}

    def conv(name: str, wide: int, out: int, size: int) -> None:
        made[f"{name}.weight"] = torch.randn(out, wide, size, size) / (size * wide**0.5)
        made[f"{name}.bias"] = torch.randn(out) / 10

    def norm(name: str, wide: int) -> None:
        made[f"{name}.weight"], made[f"{name}.bias"] = 1 + torch.randn(wide) / 10, torch.randn(wide) / 10

    def block(name: str, wide: int, out: int) -> None:
        norm(f"{name}.norm1", wide)
        conv(f"{name}.conv1", wide, out, 3)
        norm(f"{name}.norm2", out)
        conv(f"{name}.conv2", out, out, 3)
        if wide != out:
            conv(f"{name}.nin_shortcut", wide, out, 1)

    def attention(name: str, wide: int) -> None:
        norm(f"{name}.norm", wide)
        for part in ("q", "k", "v", "proj_out"):
            conv(f"{name}.{part}", wide, wide, 1)

    conv("conv_in", 32, 64, 3)
    block("mid.block_1", 64, 64)
    attention("mid.attn_1", 64)
    block("mid.block_2", 64, 64)
    for level, first, wide in ((3, 64, 64), (2, 64, 32), (1, 32, 32), (0, 32, 32)):
        for place in range(2):
            block(f"up.{level}.block.{place}", wide if place else first, wide)
            if level == 1:  # 16x16 latents
                attention(f"up.{level}.attn.{place}", wide)
        if level:
            conv(f"up.{level}.upsample.conv", wide, wide, 3)
    norm("norm_out", 32)
    conv("conv_out", 32, 3, 3)
    added = {f"model.vqmodel.decoder.{name}": tensor for name, tensor in made.items()}
    save_file(load_file(file) | added, file, {"format": "pt"})


def tiny_chameleon_that_draws(path: Path) -> list[int]:
    """A Chameleon that answers "Draw." with text, an image and text, and the tokens of that answer: its
    head is solved for from the hidden states, of which there are fewer than dimensions."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import ChameleonForConditionalGeneration, ChameleonProcessor

    file = tiny_chameleon(path, decoder=True) / "model.safetensors"
    processor = ChameleonProcessor.from_pretrained(path)
    model = ChameleonForConditionalGeneration.from_pretrained(path).eval()
    start = processor.tokenizer.vocab["IMGIMGAZ"]
    codes = [start - 3 * i % 64 for i in range(16)]
    new = [
        *processor.tokenizer.encode("A:", add_special_tokens=False),
        processor.image_start_token_id,
        *codes,
        processor.image_end_token_id,
        *processor.tokenizer.encode("or</s>", add_special_tokens=False),
    ]
    prompt = processor(text="Draw.")["input_ids"][0].tolist()
    with torch.no_grad():
        states = model.model(input_ids=torch.tensor([[*prompt, *new[:-1]]])).last_hidden_state
        hidden = states[0, len(prompt) - 1 :].double()
        assert len(hidden) == len(new) <= hidden.shape[1]
        wanted = 10.0 * torch.nn.functional.one_hot(torch.tensor(new), len(model.lm_head.weight))
        model.lm_head.weight.copy_(torch.linalg.lstsq(hidden, wanted.double()).solution.T)
    save_file(
        load_file(file) | {"lm_head.weight": model.lm_head.weight.detach()}, file, {"format": "pt"}
    )
    return new
