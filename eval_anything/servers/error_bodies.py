"""The bodies with which servers report errors, read into one form: their words, codes and field.

| shape | servers |
|---|---|
| `{"error": {"message", "type", "code", "param"}}` | OpenAI, vLLM, LiteLLM, Groq, DeepSeek, Ollama |
| `[{"error": {"code", "message", "status", "details": [{"reason"}]}}]` | Gemini |
| `{"error": {"message", "metadata": {"raw", "reasons"}}}` | OpenRouter: `raw` is the provider's |
| `{"error": {..., "innererror": {"code"}}}` | Azure |
| `{"type": "error", "error": {"type", "message"}}` | Anthropic |
| `{"error": "text"}`, `{"code": ..., "error": "text"}` | xAI, Hugging Face |
| `{"object": "error", "message", "type"}`, `{"code", "message"}` | Mistral, DashScope, SiliconFlow |
| `{"detail": "text"}`, `{"detail": [{"loc", "msg"}]}` | FastAPI |
| `{"base_resp": {"status_code", "status_msg"}}` | MiniMax |
| text, a page of HTML | proxies |

Some replies of status 200 hold an error, too (`error_inside`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from eval_anything.files.json_text import decode_json

_DEPTH = 6  # of objects inside each other; no server nests deeper


_MESSAGES = ("message", "msg", "detail", "error_msg", "error_message", "status_msg", "raw", "error")


_CODES = ("code", "type", "status", "reason", "reasons", "error_code", "status_code")


_INNER = ("error", "errors", "metadata", "innererror", "inner_error", "details", "detail", "base_resp")


# Endings of an answer that the model did not choose: the server failed. vLLM and SGLang abort, DeepSeek
# has too few resources, Zhipu's network fails.
_BROKEN_OFF = ("error", "abort", "aborted", "insufficient_system_resource", "network_error")


class ErrorBody(NamedTuple):
    """The content of an error.

    Attributes:
        words: the server's message on one line; empty if it has none.
        codes: its codes, types and reasons, separated by spaces.
        field: the field of the request that it names in a field of its own; empty if none.
    """

    words: str
    codes: str
    field: str


def read_error(body: Any) -> ErrorBody:
    """Reads an error: decoded JSON of any of the shapes above, or text.

    Example:
        >>> read_error([{"error": {"code": 400, "message": "API key not valid", "status": "INVALID"}}])
        ErrorBody(words='API key not valid', codes='400 INVALID', field='')
    """
    messages: list[str] = []
    codes: list[str] = []
    fields: list[str] = []
    _gather(body, messages, codes, fields, _DEPTH)
    lines = list(dict.fromkeys(filter(None, (" ".join(m.split()) for m in messages))))
    words = ": ".join(m for m in lines if not any(m != other and m in other for other in lines))
    return ErrorBody(words, " ".join(dict.fromkeys(codes)), fields[0] if fields else "")


def error_inside(reply: Any) -> Any:
    """The error inside of a reply of status 200, None if there is none.

    It stands in `error`, beside the choices or alone, in a choice, or in `base_resp`; or a choice or the
    whole response says that it was broken off, which then is the error.
    """
    if not isinstance(reply, Mapping):
        return None
    if _says_something(reply.get("error")):
        return reply["error"]
    base = reply.get("base_resp")
    if isinstance(base, Mapping) and base.get("status_code"):
        return base
    choices = reply.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, Mapping):
            continue
        if _says_something(choice.get("error")):
            return choice["error"]
        reason = choice.get("finish_reason")
        reason = reason.get("type") if isinstance(reason, Mapping) else reason
        if isinstance(reason, str) and reason.lower() in _BROKEN_OFF:
            return {"message": f"the answer ended with {reason!r}"}
    is_response = isinstance(reply.get("output"), list) or reply.get("object") == "response"
    if is_response and reply.get("status") in ("failed", "cancelled"):
        return {"message": f"the response is {reply['status']}"}
    return None


def _says_something(error: Any) -> bool:
    """Whether a field `error` is one: some servers send it empty with a good answer."""
    if isinstance(error, Mapping):
        return any(value not in (None, "", 0, "0", 200, "200") for value in error.values())
    return bool(error) and error != "null"


def _gather(body: Any, messages: list[str], codes: list[str], fields: list[str], depth: int) -> None:
    """Adds the messages, codes and fields of a part of an error."""
    if isinstance(body, str):
        inner = _json(body) if depth else None
        if inner is not None:
            _gather(inner, messages, codes, fields, depth - 1)
        else:
            messages.append(_text_of_page(body))
    elif isinstance(body, list):
        for value in body if depth else ():
            _gather(value, messages, codes, fields, depth - 1)
    elif isinstance(body, Mapping):
        _gather_object(body, messages, codes, fields, depth)


def _gather_object(
    body: Mapping[str, Any], messages: list[str], codes: list[str], fields: list[str], depth: int
) -> None:
    for key in _CODES:
        value = body.get(key)
        values = value if isinstance(value, list) else [value]
        codes += [str(v) for v in values if isinstance(v, str | int) and not isinstance(v, bool) and v]
    param, location = body.get("param"), body.get("loc")
    if isinstance(param, str) and param not in ("", "None", "null"):
        fields.append(param)
    if isinstance(location, list) and isinstance(body.get("msg"), str):  # FastAPI's: ["body", "seed"]
        path = ".".join(str(step) for step in location if step != "body")
        fields.append(path)
        messages.append(f"{path}: {body['msg']}")
        return
    for key in _MESSAGES:
        if isinstance(body.get(key), str):
            _gather(body[key], messages, codes, fields, depth)
    for key in (*_INNER, "message", "raw"):
        if depth and isinstance(body.get(key), Mapping | list):
            _gather(body[key], messages, codes, fields, depth - 1)


def _text_of_page(text: str) -> str:
    """The text of a page of HTML; other text as it is."""
    if not text.lstrip().startswith("<"):
        return text
    return re.sub(r"(?s)<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", text)


def _json(text: str) -> Any:
    """The object or list that a text holds as JSON; None if it is anything else."""
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return None
    try:
        return decode_json(text)
    except ValueError:
        return None
