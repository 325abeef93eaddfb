"""The one rule for the text of an answer, whichever engine wrote it.

Engines end a text differently. transformers decodes half a character at the token limit as U+FFFD;
vLLM and llama.cpp hold it back until its other bytes come. A tokenizer of SentencePiece drops the space
before the first word where no prompt precedes it. Servers skip control tokens, unless one was told not
to, or does not know that a token ends a turn. None of this is the model's doing, so none of it is in an
answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ENDS_OF_TURN = frozenset(
    {
        "<|im_end|>",  # Qwen, SmolLM and all of ChatML
        "<|endoftext|>",  # GPT, Phi, Falcon
        "<|eot_id|>",  # Llama 3
        "<|eom_id|>",
        "<|eot|>",  # Llama 4
        "<|end_of_text|>",  # Llama 3, Granite
        "<|end|>",  # Phi
        "<|return|>",  # gpt-oss
        "<end_of_turn>",  # Gemma 2 and 3
        "<turn|>",  # Gemma 4
        "<eos>",
        "<|end_of_turn|>",  # OpenChat
        "<|END_OF_TURN_TOKEN|>",  # Command
        "<end_of_utterance>",  # SmolVLM
        "<\uff5cend\u2581of\u2581sentence\uff5c>",  # DeepSeek
        "[EOS]",  # Kimi
        "[EOT]",
        "<EOT>",
        "</s>",  # Llama 2, Mistral
    }
)
"""Control tokens that end a turn, in the families that have them. llama.cpp knows most of them by these
names, too (src/llama-vocab.cpp)."""

_CUT = "\ufffd"

_TAG = "</s>"  # of HTML, too


def _backwards(ends: Iterable[str]) -> re.Pattern[str]:
    """The pattern of what is left out at the end of a text, for the reversed text."""
    reversed_ends = (re.escape(end[::-1]) for end in sorted(ends))
    return re.compile(rf"(?:[\s{_CUT}]+|{'|'.join(reversed_ends)})*")


_END = _backwards(ENDS_OF_TURN)
_END_BUT_TAG = _backwards(ENDS_OF_TURN - {_TAG})


def answer_text(text: str) -> str:
    """The text of an answer without what an engine may leave at its ends.

    These are white space around it, U+FFFD at its end (a character that the token limit cut) and control
    tokens at its end that end a turn. `</s>` stays where the text has `<s`, since HTML has that tag. The
    rule holds for all engines, so it does not ask which one wrote the text; what it returns, it leaves.

    Example:
        >>> answer_text(" Paris.\\n"), answer_text("Paris \\ufffd"), answer_text("Paris<|im_end|>\\n")
        ('Paris.', 'Paris', 'Paris')
        >>> answer_text("\\ufffd is U+FFFD"), answer_text("A turn ends with `<|im_end|>`.")
        ('\ufffd is U+FFFD', 'A turn ends with `<|im_end|>`.')
    """
    end = (_END_BUT_TAG if "<s" in text else _END).match(text[::-1])
    return text[: len(text) - end.end()].lstrip() if end is not None else text
