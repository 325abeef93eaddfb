"""Tiny checkpoints as GGUF files, written as llama.cpp's converter writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_gguf(
    checkpoint: Path,
    path: Path,
    kind: str = "F32",
    *,
    architecture: str = "llama",
    template: bool = True,
    factors: Any = None,
    **metadata: Any,
) -> Path:
    """A Llama with a byte-pair tokenizer, as a GGUF file.

    Args:
        checkpoint: the folder of the Llama.
        path: of the file.
        kind: the type of the blocks of matrices, such as Q8_0.
        architecture: the name of the architecture in the file.
        template: whether the file has the chat template.
        factors: divisors of the frequencies of positions, as Llama 3.1 has them.
        metadata: further keys, with __ for a point; numbers, texts.
    """
    import gguf
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    writer = gguf.GGUFWriter(path, architecture)
    config = model.config
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    _add_tokenizer(writer, tokenizer, checkpoint, template)
    for key, value in metadata.items():
        add = writer.add_string if isinstance(value, str) else _adder(writer, value)
        add(key.replace("__", "."), value)
    _add_tensors(writer, model, kind)
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _adder(writer: Any, value: object) -> Any:
    return writer.add_float32 if isinstance(value, float) else writer.add_uint32


def _add_tokenizer(writer: Any, tokenizer: Any, checkpoint: Path, template: bool) -> None:
    import gguf

    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    added = tokenizer.added_tokens_decoder
    types = [
        (gguf.TokenType.CONTROL if added[i].special else gguf.TokenType.USER_DEFINED)
        if i in added
        else gguf.TokenType.NORMAL
        for i in range(len(vocabulary))
    ]
    merges = json.loads((checkpoint / "tokenizer.json").read_text())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(sorted(vocabulary, key=vocabulary.__getitem__))
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    if template:
        writer.add_chat_template(tokenizer.chat_template)


def _add_tensors(writer: Any, model: Any, kind: str) -> None:
    import gguf

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
    blocks = gguf.GGMLQuantizationType[kind]
    for name, tensor in model.state_dict().items():
        weights = tensor.float().numpy()
        count = next((heads[key] for key in heads if key in name), None)
        if count is not None:  # llama.cpp keeps the two halves of a head in turn
            shape = weights.shape
            weights = weights.reshape(count, 2, shape[0] // count // 2, shape[1]).swapaxes(1, 2)
            weights = weights.reshape(shape)
        stored = gguf.GGMLQuantizationType.F32 if weights.ndim < 2 else blocks
        name_there = names.get_name(name, try_suffixes=(".weight",))
        writer.add_tensor(name_there, gguf.quantize(weights, stored), raw_dtype=stored)
