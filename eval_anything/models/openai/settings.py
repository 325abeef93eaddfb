"""The `--model-arg` values of a model on a server, and the endpoints that each of them is for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from eval_anything.content import MODALITIES
from eval_anything.errors import UserError
from eval_anything.models.base import typed_arguments
from eval_anything.servers.body import NO_CHANGES, BodyChanges, read_changes, split_changes

_CHOICES = {
    "api": ("chat", "responses", "images", "speech", "videos"),
    "audio_format": ("auto", "wav", "mp3", "flac", "opus", "pcm16"),
    "stream": ("true", "false"),
    "inputs": ("parts", "top_level"),
    "video": ("frames", "url"),
    "tools": ("", "image_generation"),
}


# The endpoints that a key is for; a key that is not listed here is for all of them.
_FOR = {
    "max_tokens": ("chat", "responses"),
    "modalities": ("chat",),
    "voice": ("chat", "speech"),
    "audio_format": ("chat", "speech"),
    "stream": ("chat",),
    "inputs": ("chat",),
    "video": ("chat",),
    "frames": ("chat", "responses"),
    "tools": ("responses",),
    "image_size": ("images", "responses"),
    "video_size": ("videos",),
    "seconds": ("videos",),
    "wait": ("videos",),
}


# The fields of a request to each endpoint, those of settings of generation included. Those of chat have
# `tools` and the form of an answer for agents.
_SENT = {
    "chat": (
        *("model", "messages", "temperature", "max_tokens", "seed", "stop", "top_p", "top_k", "min_p"),
        *("repetition_penalty", "presence_penalty", "frequency_penalty"),
        *("reasoning_effort", "chat_template_kwargs"),
        *("tools", "tool_choice", "response_format", "guided_json"),
    ),
    "responses": (
        *("model", "input", "temperature", "max_output_tokens", "store", "top_p", "reasoning"),
    ),
    "images": ("model", "prompt", "n", "response_format"),
    "speech": ("model", "input", "voice", "response_format"),
    "videos": ("model", "prompt"),
}


# Fields that are sent if a setting has a value.
_SENT_IF_SET: dict[str, dict[str, str]] = {
    "chat": {},
    "responses": {"tools": "tools"},
    "images": {"size": "image_size"},
    "speech": {},
    "videos": {"size": "video_size", "seconds": "seconds"},
}


# Waiting times do not change the answers, so a resumed run may have others.
_PATIENCE = ("timeout", "wait")


class ServerSettings(Struct, frozen=True):
    """The checked `--model-arg` values. A text of several names separates them by commas (`names`).

    Attributes:
        api: the endpoint: chat, responses, images, speech or videos.
        modalities: the field `modalities` of a chat request; empty leaves that to the server.
        audio_format: the format of sound in answers; OpenAI streams only headerless samples (pcm16).
        inputs: parts, or top_level: media go into `images`, `audios` and `videos` beside the messages.
        video: url, for clips as they are, or frames, for that many `frames` of each.
        allow_hosts: hosts (`name` or `name:port`) whose addresses in replies are fetched.
        timeout: seconds for one request.
        wait: seconds for a job that makes a clip.
        body: changes to the body of requests, from the keys `body.rename`, `body.drop` and `body.add`.
    """

    api: str = "chat"
    max_tokens: int = 1024
    modalities: str = ""
    voice: str = "alloy"
    audio_format: str = "auto"
    stream: str = "false"
    inputs: str = "parts"
    video: str = "frames"
    frames: int = 8
    tools: str = ""
    image_size: str = ""
    video_size: str = ""
    seconds: str = ""
    allow_hosts: str = ""
    timeout: float = 600.0
    wait: float = 1800.0
    body: BodyChanges = NO_CHANGES


def read_settings(arguments: Mapping[str, str]) -> tuple[ServerSettings, dict[str, Any]]:
    """The settings, and the arguments that a resumed run must repeat.

    Raises:
        UserError: an unknown key, a bad value, or a key that the endpoint does not have.
    """
    about_body, arguments = split_changes(arguments)
    defaults = msgspec.structs.asdict(ServerSettings())
    del defaults["body"]
    values = typed_arguments(arguments, defaults, "a model on a server")
    for key, choices in _CHOICES.items():
        if values[key] not in choices:
            listed = ", ".join(c or "nothing" for c in choices)
            raise UserError(f"--model-arg {key}={values[key]}: must be one of {listed}")
    api = values["api"]
    for key in arguments:
        if api not in _FOR.get(key, (api,)):
            raise UserError(f"--model-arg {key}: for api={' or '.join(_FOR[key])}, not api={api}")
    for key in _PATIENCE:
        if not (math.isfinite(values[key]) and values[key] > 0):
            raise UserError(f"--model-arg {key}={values[key]:g}: must be seconds above 0")
    wrong = [name for name in names(values["modalities"]) if name not in MODALITIES]
    if wrong:
        raise UserError(f"--model-arg modalities: {wrong[0]!r} is none of {', '.join(MODALITIES)}")
    if values["audio_format"] == "auto":
        values["audio_format"] = "pcm16" if values["stream"] == "true" else "wav"
    identifying = {k: v for k, v in values.items() if api in _FOR.get(k, (api,)) and k not in _PATIENCE}
    settings = ServerSettings(**values)
    changes = read_changes(about_body, sent_fields(settings), "--model-arg")
    settings = msgspec.structs.replace(settings, body=changes)
    return settings, identifying | changes.arguments()


def sent_fields(settings: ServerSettings) -> list[str]:
    """Names of the fields that requests with these settings may have.

    Example:
        >>> sent_fields(ServerSettings(api="speech"))
        ['model', 'input', 'voice', 'response_format']
    """
    fields = list(_SENT[settings.api])
    if settings.api == "chat":
        modalities = names(settings.modalities)
        fields += ["modalities"] if modalities else []
        fields += ["audio"] if "audio" in modalities else []
        fields += ["stream", "stream_options"] if settings.stream == "true" else []
    fields += [
        field for field, setting in _SENT_IF_SET[settings.api].items() if getattr(settings, setting)
    ]
    return fields


def names(text: str) -> tuple[str, ...]:
    """The names in a text, where they are separated by commas.

    Example:
        >>> names("text, audio")
        ('text', 'audio')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())
