"""Tiny real checkpoints, made from configs, for tests that need a model of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_CORPUS = [
    "Draw a lighthouse at night and describe it in one sentence.",
    "What is the capital of France? The capital of France is Paris.",
    "0 1 2 3 4 5 6 7 8 9 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ .,;:!?'\"-",
]


CHAT = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""A chat template for text."""


def tiny_tokenizer(special: Sequence[str] = (), **more: Any) -> Any:
    """A byte-pair tokenizer of 400 tokens, trained on the spot, with further special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        _CORPUS,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<unk>", "<s>", "</s>", *special],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=raw, **names, **more)


def tiny_llama(path: Path, seed: int = 0) -> Path:
    """A Llama of 40k parameters with a byte-pair tokenizer and a chat template, saved at `path`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def tiny_reward_model(path: Path, base: Path) -> Path:
    """A text reward model with random weights, of the size and with the tokenizer of `base`."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(base)
    config = AutoConfig.from_pretrained(base, num_labels=1, pad_token_id=tokenizer.pad_token_id)
    torch.manual_seed(4)
    model = LlamaForSequenceClassification(config)
    torch.nn.init.normal_(model.score.weight, std=0.5)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def tiny_writer(
    path: Path, tokens: Sequence[str], special: Sequence[str] = (), template: str = CHAT
) -> Path:
    """A Llama that answers every prompt with these tokens and stops, saved at `path`.

    The tokens, each once, are added to the tokenizer; those in `special` as control tokens.
    """
    import torch
    from tokenizers import AddedToken
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    added = [AddedToken(t, normalized=False, special=t in special) for t in (*special, *tokens)]
    tokenizer.add_tokens(list({token.content: token for token in added}.values()))
    chain = tokenizer.convert_tokens_to_ids(list(tokens))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.model.norm.weight.fill_(1)
        model.model.embed_tokens.weight[:, 0] = 1  # after any other token the first one follows
        model.lm_head.weight[chain[0], 0] = 1
        following_ids = [*chain[1:], config.eos_token_id]
        for place, (token, following) in enumerate(zip(chain, following_ids, strict=True), 1):
            model.model.embed_tokens.weight[token, 0] = 0
            model.model.embed_tokens.weight[token, place] = 1
            model.lm_head.weight[following, place] = 1
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
