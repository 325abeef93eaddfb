"""Texts of users in which control tokens are words: `</s>` in a question does not end it.

A text is marked first: each control token in it gets two private characters around it, as transformers
does within `apply_chat_template(sanitize_control_tokens=True)`. A marked text may become part of a
prompt with control tokens of its own, such as those of a chat template, and only these stay tokens.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any


def marked(tokenizer: Any, text: str, tokens: Sequence[str] | None = None) -> str:
    """The text with these tokens marked as words, by default all control tokens."""
    from transformers.utils.chat_template_utils import mark_control_tokens

    tokens = control_tokens(tokenizer) if tokens is None else tokens
    if not tokens or not any(token in text for token in tokens):
        return text
    broken = _produced(tokenizer, [token for token in tokens if token in text])
    for token in broken:
        text = text.replace(token, _apart(token))
    text = mark_control_tokens(text, _pattern([token for token in tokens if token not in broken]))
    return str(text)


def encoded(tokenizer: Any, text: str, special: bool = True, *, goes_on: bool = True) -> list[int]:
    """Token ids of a text that may be marked.

    Args:
        tokenizer: of transformers.
        text: the text.
        special: whether the tokens that the tokenizer adds around a text are added.
        goes_on: whether more follows, as after a prompt of a decoder; then those at its end are not, as
            no model goes on behind an end of text.
    """
    from transformers.utils.chat_template_utils import encode_marked_chat

    before, after = _added(tokenizer) if special else ([], [])
    if _MARKS.search(text):
        ids: list[int] = [*before, *encode_marked_chat(tokenizer, text), *after]
    else:
        ids = list(tokenizer(text, add_special_tokens=special)["input_ids"])
    return ids[: len(ids) - len(after)] if goes_on else ids


def ids_after(tokenizer: Any, before: str, text: str) -> list[int]:
    """Token ids of a text that may be marked, behind another one whose own ids stay as they are.

    A tokenizer may begin a text with a space of its own, and writes none behind other words. Where its
    first token would join with the end of the text before it, it stands behind a word that does not.
    """
    for context in filter(None, (before, "\n", "a")):
        context_ids = encoded(tokenizer, context, special=False)
        ids = encoded(tokenizer, context + text, special=False)
        if ids[: len(context_ids)] == context_ids:
            return ids[len(context_ids) :]
    return encoded(tokenizer, text, special=False)


def chat_ids(
    tokenizer: Any, turns: Sequence[Mapping[str, str]], template: str, variables: Mapping[str, Any] = {}
) -> list[int]:
    """Token ids of a conversation, open for the next answer; only the template's tokens are tokens.

    `variables` are further ones that the template reads.
    """
    options: dict[str, Any] = dict(variables)
    if "sanitize_control_tokens" in inspect.signature(tokenizer.apply_chat_template).parameters:
        options["sanitize_control_tokens"] = True
        tokens = control_tokens(tokenizer)
        broken = _produced(tokenizer, [t for t in tokens if any(t in m["content"] for m in turns)])
        for token in broken:
            turns = [{**m, "content": m["content"].replace(token, _apart(token))} for m in turns]
    prompt = tokenizer.apply_chat_template(
        list(turns), chat_template=template, add_generation_prompt=True, return_dict=True, **options
    )
    return list(prompt["input_ids"])


def control_tokens(tokenizer: Any) -> list[str]:
    """The special tokens of a tokenizer, the longest first; none for one without such a list."""
    decoder = getattr(tokenizer, "added_tokens_decoder", None) or {}
    tokens = {str(token.content) for token in decoder.values() if token.special}
    return sorted(filter(None, tokens), key=lambda token: (-len(token), token))


_MARKS = re.compile("[\U000f0000\U000f0001]")


def _pattern(tokens: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tokens)) or "(?!)")


def _produced(tokenizer: Any, tokens: Sequence[str]) -> list[str]:
    """The tokens that the tokenizer makes of plain text too, for they are pieces of its vocabulary."""
    from transformers.utils.chat_template_utils import encode_marked_chat, mark_control_tokens

    produced = []
    for token in tokens:
        try:
            encode_marked_chat(tokenizer, mark_control_tokens(token, _pattern([token])))
        except ValueError:
            produced.append(token)
    return produced


def _apart(token: str) -> str:
    """The token as two words."""
    return f"{token[0]} {token[1:]}"


def _added(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The token ids that the tokenizer adds before and after a text."""
    alone = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    full = list(tokenizer("a")["input_ids"])
    for start in range(len(full) - len(alone) + 1):
        if full[start : start + len(alone)] == alone:
            return full[:start], full[start + len(alone) :]
    return [], []
