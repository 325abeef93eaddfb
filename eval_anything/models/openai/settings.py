"""The `--model-arg` choices of a model on a server, and which of its endpoints each is for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from eval_anything.content import MODALITIES
from eval_anything.errors import UserError
from eval_anything.models.base import typed_arguments

_DEFAULTS: dict[str, int | float | str] = {
    "api": "chat",
    "max_tokens": 1024,
    "modalities": "",
    "voice": "alloy",
    "audio_format": "auto",
    "stream": "false",
    "inputs": "parts",
    "video": "frames",
    "frames": 8,
    "tools": "",
    "image_size": "",
    "video_size": "",
    "seconds": "",
    "allow_hosts": "",
    "timeout": 600.0,
    "wait": 1800.0,
}


_CHOICES = {
    "api": ("chat", "responses", "images", "speech", "videos"),
    "audio_format": ("auto", "wav", "mp3", "flac", "opus", "pcm16"),
    "stream": ("true", "false"),
    "inputs": ("parts", "top_level"),
    "video": ("frames", "url"),
    "tools": ("", "image_generation"),
}


# The endpoints that a choice is for; one that is not named here is for all of them.
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


# How long is waited does not change what is answered: a resumed run may choose anew.
_PATIENCE = ("timeout", "wait")


class Settings(Struct, frozen=True):
    """What the user chose, checked.

    Attributes:
        api: the endpoint: chat, responses, images, speech or videos.
        modalities: what is asked for in `modalities`; empty leaves that to the server.
        audio_format: of sound that is asked for; OpenAI streams only headerless samples (pcm16).
        top_level: media go into `images`, `audios` and `videos` beside the messages.
        whole_clips: clips go as they are, else as that many `frames`.
        allow_hosts: hosts (`name` or `name:port`) whose addresses in replies are fetched.
        timeout: seconds for one request; `wait`: for a job that makes a clip.
        stop: texts before which a chat answer ends; set by whoever asks, not by the user.
    """

    api: str
    max_tokens: int
    modalities: tuple[str, ...]
    voice: str
    audio_format: str
    stream: bool
    top_level: bool
    whole_clips: bool
    frames: int
    tools: str
    image_size: str
    video_size: str
    seconds: str
    allow_hosts: frozenset[str]
    timeout: float
    wait: float
    stop: tuple[str, ...] = ()


def read_settings(given: Mapping[str, str]) -> tuple[Settings, dict[str, Any]]:
    """The settings, and the arguments that a resumed run must repeat. UserError for what is wrong,
    a choice that the endpoint does not have included."""
    values = typed_arguments(given, _DEFAULTS, "a model on a server")
    for key, choices in _CHOICES.items():
        if values[key] not in choices:
            names = ", ".join(c or "nothing" for c in choices)
            raise UserError(f"--model-arg {key}={values[key]}: must be one of {names}")
    api = values["api"]
    for key in given:
        if api not in _FOR.get(key, (api,)):
            raise UserError(f"--model-arg {key}: for api={' or '.join(_FOR[key])}, not api={api}")
    for key in _PATIENCE:
        if not (math.isfinite(values[key]) and values[key] > 0):
            raise UserError(f"--model-arg {key}={values[key]:g}: must be seconds above 0")
    modalities = _names(values["modalities"])
    wrong = [name for name in modalities if name not in MODALITIES]
    if wrong:
        raise UserError(f"--model-arg modalities: {wrong[0]!r} is none of {', '.join(MODALITIES)}")
    stream = values["stream"] == "true"
    if values["audio_format"] == "auto":
        values["audio_format"] = "pcm16" if stream else "wav"
    kept = {k: v for k, v in values.items() if api in _FOR.get(k, (api,)) and k not in _PATIENCE}
    settings = Settings(
        **{
            **{k: v for k, v in values.items() if k not in ("inputs", "video")},
            "modalities": modalities,
            "stream": stream,
            "top_level": values["inputs"] == "top_level",
            "whole_clips": values["video"] == "url",
            "allow_hosts": frozenset(name.lower() for name in _names(values["allow_hosts"])),
        }
    )
    return settings, kept


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
