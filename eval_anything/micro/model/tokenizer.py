"""The tokenizer of micro checkpoints, as transformers loads it."""

from __future__ import annotations

from typing import Any

from eval_anything.micro.model import vocabulary as vocab


def make_tokenizer() -> Any:
    """A PreTrainedTokenizerFast with the vocabulary's ids; finds structure and code tokens verbatim."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(vocab.ids(), unk_token=vocab.UNK))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"[a-z0-9]+|[^\sa-z0-9]"), "removed", invert=True
    )
    # Joins words with spaces and puts punctuation to the word before; no token has its prefix.
    tokenizer.decoder = decoders.WordPiece(prefix="<none>", cleanup=True)
    tokenizer.add_special_tokens(
        [
            AddedToken(token, normalized=False, special=True)
            for token in vocab.tokens()
            if token.startswith("<")
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=vocab.UNK,
        pad_token=vocab.PAD,
        eos_token=vocab.EOS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
