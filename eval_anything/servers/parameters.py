"""Fields of a request that a server refuses by their names, and the option that helps.

Servers say it in many ways: OpenAI's `param`, the `loc` of pydantic (vLLM, Mistral), or words alone
(Gemini, Anthropic, LiteLLM, TGI). The fields that hold the request itself are not looked for: what is
wrong with them is a matter of that sample, and so is an answer that does not fit behind a long prompt.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from eval_anything.files.json_text import decode_strict
from eval_anything.sampling import GenerationSettings
from eval_anything.servers.body import BodyChanges, as_option, change_option

_CONTENT = ("model", "messages", "input", "prompt", "images", "audios", "videos", "input_reference")


# The answer is too long for what is left behind this prompt.
_TOO_LONG = re.compile(
    r"context.{0,20}(?:length|window|size|limit)|\b(?:prompt|input)s?\b[^.]{0,20}\btokens?\b"
    r"|messages resulted in|too many tokens",
    re.I,
)


_CONTEXT = re.compile(r"maximum context length is (\d+)|max_model_len ?= ?(\d+)", re.I)


# The most tokens that any answer of the model may have.
_MOST = re.compile(
    r"at most (\d+) (?:completion|output) tokens|> (\d+), which is the maximum allowed number of output"
    r"|max_\w*tokens\D{0,40}(?:\[\d+, ?(\d+)\]|(?:less than or equal to|<=|at most|up to) [`'\"]?(\d+))",
    re.I,
)


_REFUSED = re.compile(
    r"unsupported|not (?:\w+ )?(?:support|permit|allow|recogni[sz]e|accept|valid|expect)"
    r"|n[o']t (?:\w+ )?support|unknown|unrecogni[sz]ed|unexpected|extraneous|extra (?:inputs|fields?)"
    r"|cannot (?:\w+ )*both|cannot be (?:used|set|specified)|can(?:not|'t) set|cannot find field"
    r"|deprecated|invalid|illegal|must |may only|should be|out of range"
    r"|only .{0,40}(?:allowed|supported)|no such (?:field|parameter|argument)|does ?n.t exist",
    re.I,
)


_LIMIT = 1024  # tokens of an answer, for servers that must be told


_MISSING = re.compile(r"field required|is required|missing|required (?:parameter|field|property)", re.I)


# After these words a message lists the fields that the server would take.
_LISTED = re.compile(
    r"expected one of|(?<!not )\b(?:supported|allowed|accepted|permitted|valid) "
    r"(?:parameters|params|fields|arguments|keys|values)\b|\ballowed:",
    re.I,
)


_INSTEAD = (
    r"use\s+[`'\"]?(\w+)[`'\"]?\s+instead",
    r"did you mean\s+[`'\"]?(\w+)",
    r"(?:renamed to|replaced by|in favou?r of|use)\s+[`'\"]?(\w*_\w+)",
)


class RefusedFields(NamedTuple):
    """The fields of a body that a server refuses.

    Attributes:
        names: their names, as they were sent, or the name of one that the server misses.
        instead: the field that the server wants in place of the first.
        missing: whether the field was not sent, and the server wants it.
        most: the largest value that the server takes for the first, where it says so.
    """

    names: tuple[str, ...]
    instead: str | None = None
    missing: bool = False
    most: int | None = None


def refused_fields(error: Any, sent: Mapping[str, Any]) -> RefusedFields | None:
    """The fields that an error (400 or 422) names as the reason; None if it names none of them.

    Args:
        error: the body of the reply in any shape, decoded or not, or its message alone.
        sent: the fields of the request.

    Example:
        >>> refused_fields({"message": 'Unknown name "seed": Cannot find field.'}, {"seed": 1})
        RefusedFields(names=('seed',), instead=None, missing=False, most=None)
    """
    error = _decoded(error)
    message = "\n".join(_texts(error))
    structured = [name for name in _structured(error) if name not in ("None", "null")]
    if any(name in _CONTENT for name in structured):
        return None
    most = _most(message, sent)
    if most is None and _TOO_LONG.search(message):
        return None
    fields = [name for name in sent if name not in _CONTENT]
    refused = [name for name in structured if name in fields]
    reason = _LISTED.split(message, maxsplit=1)[0]
    if not refused and (most or _REFUSED.search(reason)):
        positions = {name: _position(name, reason) for name in fields}
        mentioned = {name: at for name, at in positions.items() if at is not None}
        refused = sorted(mentioned, key=lambda name: mentioned[name])
    if refused:
        return RefusedFields(tuple(dict.fromkeys(refused)), _instead(message, sent), most=most)
    if _MISSING.search(message):
        for name in (*structured, *re.findall(r"\b(max_\w+)\b", message)):
            if name not in sent and not re.search("key|auth", name, re.I):
                return RefusedFields((name,), missing=True)
    return None


def advice(refused: RefusedFields, changes: BodyChanges, option: str) -> str:
    """The option that makes the server take the request, to be copied.

    Args:
        refused: the fields that the server refuses.
        changes: the changes that the request had already; the option includes them.
        option: the option that changes the body: "--model-arg".

    Example:
        >>> advice(RefusedFields(("seed",)), BodyChanges(drop=["temperature"]), "--model-arg")
        '--model-arg body.drop=temperature,seed'
    """
    first = refused.names[0]
    sources = {new: old for old, new in changes.rename.items()}
    source = sources.get(first, first)
    if refused.missing:
        value = _LIMIT if "tokens" in first else "..."
        return change_option(option, "add", {**changes.add, first: value})
    if refused.most is not None:
        if first in changes.add:
            return change_option(option, "add", {**changes.add, first: refused.most})
        return as_option(option, "max_tokens", str(refused.most))
    if first in changes.add:
        added = {name: value for name, value in changes.add.items() if name not in refused.names}
        return change_option(option, "add", added) if added else f"{option} without body.add"
    if refused.instead == source:  # the server wants the name that was changed
        renames = {old: new for old, new in changes.rename.items() if new != first}
        return change_option(option, "rename", renames) if renames else f"{option} without body.rename"
    if refused.instead is not None:
        return change_option(option, "rename", {**changes.rename, source: refused.instead})
    words = change_option(option, "drop", [*changes.drop, *(sources.get(n, n) for n in refused.names)])
    renames = {old: new for old, new in changes.rename.items() if new not in refused.names}
    if len(renames) < len(changes.rename):
        words += f" {change_option(option, 'rename', renames)}" if renames else " without body.rename"
    return words


def explain(refused: RefusedFields, changes: BodyChanges, option: str) -> str:
    """A sentence on the fields and the option."""
    names = ", ".join(refused.names)
    verb = "wants" if refused.missing else "does not take"
    flags = [f"--{name.replace('_', '-')}" for name in refused.names if name in _OPTIONS]
    leave = f"leave out {' '.join(flags)}, or " if flags and not refused.missing else ""
    return f"The server {verb} {names} as sent: {leave}use {advice(refused, changes, option)}"


_OPTIONS = frozenset(GenerationSettings.__struct_fields__) - {"temperature", "max_new_tokens", "stop"}
"""Fields that are only sent if an option, a preset or a task sets them."""


def _decoded(error: Any, depth: int = 0) -> Any:
    """The error with all texts decoded that are JSON, as servers pass on the errors of others."""
    if isinstance(error, str) and error.lstrip()[:1] in ("{", "["):
        try:
            decoded = decode_strict(error, object)
        except ValueError:
            return error
        return _decoded(decoded, depth + 1) if depth < 8 else error
    if depth < 8 and isinstance(error, Mapping):
        return {key: _decoded(field, depth + 1) for key, field in error.items()}
    if depth < 8 and isinstance(error, list | tuple):
        return [_decoded(field, depth + 1) for field in error]
    return error


def _texts(error: Any, depth: int = 0) -> Iterator[str]:
    """All texts in an error, its messages first met first; `loc` and the repeated input are left out."""
    if isinstance(error, str):
        yield error
    elif depth < 8 and isinstance(error, Mapping):
        for key, field in error.items():
            if key not in ("loc", "input", "url", "ctx", "code", "type", "param", "status"):
                yield from _texts(field, depth + 1)
    elif depth < 8 and isinstance(error, list | tuple):
        for field in error:
            yield from _texts(field, depth + 1)


def _structured(error: Any, depth: int = 0) -> Iterator[str]:
    """Names of top fields of the request in `param` and `loc`, wherever they are in an error."""
    if depth > 8:
        return
    if isinstance(error, Mapping):
        if isinstance(error.get("param"), str):
            yield from re.findall(r"^(?:body\.)?(\w+)", error["param"])
        location = error.get("loc")
        if isinstance(location, list | tuple) and len(location) > 1 and location[0] == "body":
            yield str(location[1])
        for field in error.values():
            yield from _structured(field, depth + 1)
    elif isinstance(error, list | tuple):
        for field in error:
            yield from _structured(field, depth + 1)
    elif isinstance(error, str):  # the error of pydantic, printed
        yield from re.findall(r"""loc['"]?:\s*[\[(]['"]body['"],\s*['"](\w+)""", error)


def _most(message: str, sent: Mapping[str, Any]) -> int | None:
    """The most tokens of an answer that a message allows; None if it allows what was asked for."""
    match = _MOST.search(message)
    if match is not None:
        return next(int(number) for number in match.groups() if number)
    context = _CONTEXT.search(message)
    if context is None:
        return None
    tokens = int(context[1] or context[2])
    asked_for = (value for name, value in sent.items() if re.fullmatch(r"max_\w*tokens", name))
    too_many = any(isinstance(value, int) and value >= tokens for value in asked_for)
    return tokens // 2 if too_many else None


def _position(name: str, message: str) -> int | None:
    """The place where a message names a field, None if it does not.

    A name such as `temperature` is a word, too: it counts in quotation marks, after "parameter" and
    the like, as the first word of a line, or before "=" or a verb.
    """
    word = re.escape(name)
    if "_" in name:
        pattern = rf"\b{word}\b"
    else:
        pattern = (
            rf"['\"`\[]{word}['\"`\],:]|(?:parameters?|arguments?|fields?|keys?|propert(?:y|ies)|supplied"
            rf"|invalid|illegal|unknown|support|both|and|range of)[^\w\n]{{1,3}}{word}\b|^{word}\b"
            rf"|\b{word}(?:=| (?:is|was|are|must|may|should|cannot|does|and|parameter)\b)"
            rf"|[:,] {word}(?=[,.]|$)"
        )
    match = re.search(pattern, message, re.I | re.M)
    return match.start() if match else None


def _instead(message: str, sent: Collection[str]) -> str | None:
    """The name of a field that a message offers in place of another."""
    for pattern in _INSTEAD:
        for name in re.findall(pattern, message, re.I):
            if name not in sent and name not in _CONTENT and name.isascii():
                return str(name)
    return None
