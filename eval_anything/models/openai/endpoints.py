"""One function for each endpoint: it sends a request and returns content and latency of the reply."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from eval_anything.content import Latency, Message, Modality
from eval_anything.errors import ServerError
from eval_anything.models.base import Request
from eval_anything.models.openai import inputs
from eval_anything.models.openai.fields import chat_fields, response_fields
from eval_anything.models.openai.payload import medium
from eval_anything.models.openai.replies import Content, read_reply
from eval_anything.models.openai.settings import ServerSettings, names
from eval_anything.models.openai.streams import ChatFold
from eval_anything.servers.client import Client, Files, ReplyError, Timed

_UNFINISHED = ("queued", "in_progress", "processing", "running", "pending")


_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0  # seconds between two requests for the state of a job


T = TypeVar("T")


class EndpointReply(NamedTuple):
    """The content of an endpoint's reply, and the seconds that it took."""

    content: Content
    latency: Latency


Endpoint = Callable[[Client, ServerSettings, Request], Awaitable[EndpointReply]]


async def _chat(client: Client, settings: ServerSettings, request: Request) -> EndpointReply:
    body = {
        "model": client.server.model,
        **await _converted(inputs.chat_input, request, settings),
        "seed": request.seed % 2**31,
        **chat_fields(request.sampling, settings),
    }
    modalities = names(settings.modalities)
    if modalities:
        body["modalities"] = list(modalities)
    if "audio" in modalities:
        body["audio"] = {"voice": settings.voice, "format": settings.audio_format}
    if settings.stream == "false":
        reply = await client.post("/chat/completions", body)
        return _endpoint_reply(reply, headerless=settings.audio_format == "pcm16")
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    # Qwen-Omni streams samples without a header where WAV was asked for.
    headerless = settings.audio_format in ("pcm16", "wav")
    stream = await client.post_for_events("/chat/completions", body, lambda: ChatFold(headerless))
    fold = stream.value
    first = {f"first_{modality}": round(seconds, 4) for modality, seconds in fold.first.items()}
    if first:
        first["first_token"] = min(first.values())
    content = fold.content()
    content.usage = stream.usage
    return EndpointReply(content, Latency(total=round(stream.seconds, 4), **first))


async def _responses(client: Client, settings: ServerSettings, request: Request) -> EndpointReply:
    body: dict[str, Any] = {
        "model": client.server.model,
        "input": await _converted(inputs.responses_input, request, settings),
        "store": False,
        **response_fields(request.sampling, settings),
    }
    if settings.tools:
        tool = {"type": settings.tools}
        body["tools"] = [tool | ({"size": settings.image_size} if settings.image_size else {})]
    reply = await client.post("/responses", body)
    return _endpoint_reply(reply)


async def _images(client: Client, settings: ServerSettings, request: Request) -> EndpointReply:
    inputs.check_no_media(request.messages)
    body: dict[str, Any] = {
        "model": client.server.model,
        "prompt": inputs.one_prompt(request.messages),
        "n": 1,
    }
    if settings.image_size:
        body["size"] = settings.image_size
    body |= request.sampling.extra_body or {}
    try:  # without the field, SGLang answers with an address
        reply = await client.post("/images/generations", {**body, "response_format": "b64_json"})
    except ReplyError as error:  # OpenAI's newer models always send base64, and refuse the field
        if error.status not in (400, 422) or "response_format" not in str(error):
            raise
        reply = await client.post("/images/generations", body)
    return _endpoint_reply(reply)


async def _speech(client: Client, settings: ServerSettings, request: Request) -> EndpointReply:
    inputs.check_no_media(request.messages)
    headerless = settings.audio_format == "pcm16"
    body = {
        "model": client.server.model,
        "input": inputs.one_prompt(request.messages),
        "voice": settings.voice,
        "response_format": "pcm" if headerless else settings.audio_format,
        **(request.sampling.extra_body or {}),
    }
    reply = await client.post_for_bytes("/audio/speech", body)
    content = Content(usage=reply.usage)
    content.add_sound([reply.value], headerless)
    return EndpointReply(content, Latency(total=round(reply.seconds, 4)))


async def _videos(client: Client, settings: ServerSettings, request: Request) -> EndpointReply:
    """Starts a job, waits until it has ended, and downloads its clip."""
    fields = {"size": settings.video_size, "seconds": settings.seconds}
    body = {
        "model": client.server.model,
        "prompt": inputs.one_prompt(request.messages),
        **{name: setting for name, setting in fields.items() if setting},
        **(request.sampling.extra_body or {}),
    }
    picture = await asyncio.to_thread(inputs.first_picture, request.messages)
    files: Files = [("input_reference", picture)] if picture is not None else []
    begun = await client.post("/videos", body, files)
    start = time.perf_counter()
    path, status = f"/videos/{_job_id(begun.value)}", _status(begun.value)
    pause = _FIRST_PAUSE
    while status in _UNFINISHED:
        if time.perf_counter() - start > settings.wait:
            raise ServerError(f"the clip of {client.server.model} took more than {settings.wait:g} s")
        await asyncio.sleep(pause)
        pause = min(_LONGEST_PAUSE, 1.5 * pause)
        status = _status((await client.get(path)).value)
    if status == "failed":  # without an error that says more
        raise ServerError(f"the job of {client.server.model} that makes the clip failed")
    if status != "completed":
        raise ReplyError(f"the job that makes the clip is {status}")
    clip = await client.get_bytes(f"{path}/content")
    content = Content(lists=[[medium(clip.value, Modality.VIDEO)]], usage=begun.usage)
    return EndpointReply(content, Latency(total=round(begun.seconds + time.perf_counter() - start, 4)))


def _endpoint_reply(reply: Timed[Any], headerless: bool = False) -> EndpointReply:
    """The content of a reply in JSON; `headerless` is as in `read_reply`."""
    content = read_reply(reply.value, headerless)
    content.usage = reply.usage
    return EndpointReply(content, Latency(total=round(reply.seconds, 4)))


async def _converted(
    convert: Callable[[Sequence[Message], ServerSettings], T], request: Request, settings: ServerSettings
) -> T:
    """The messages, converted by a function of `inputs`; in a thread if it must read media."""
    if inputs.has_media(request.messages):
        return await asyncio.to_thread(convert, request.messages, settings)
    return convert(request.messages, settings)


def _job_id(raw: Any) -> str:
    """The id of a job. ReplyError if it is missing or cannot be part of a path."""
    job_id = raw.get("id") if isinstance(raw, Mapping) else None
    if not isinstance(job_id, str) or not re.fullmatch(r"\w[\w.:-]{0,199}", job_id):
        raise ReplyError("a job without an id")
    return job_id


def _status(raw: Any) -> str:
    return str(raw.get("status")) if isinstance(raw, Mapping) else "unknown"


ENDPOINTS: Mapping[str, Endpoint] = {
    "chat": _chat,
    "responses": _responses,
    "images": _images,
    "speech": _speech,
    "videos": _videos,
}
