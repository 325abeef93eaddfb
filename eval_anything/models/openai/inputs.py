"""From messages to what an OpenAI-compatible endpoint takes: media as data URIs, in their order.

All raise UnsupportedInputError for what the endpoint has no form for, and MediaError for a medium that
has to be converted and does not decode.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from eval_anything.content import MediaPart, Message, Modality, Part, TextPart
from eval_anything.media import read_audio, read_frames, read_image
from eval_anything.media.encode import encode_png, encode_wav
from eval_anything.models.openai.settings import ServerSettings

# What every server takes as it is; the rest is sent as PNG and WAV.
_IMAGES = ("image/png", "image/jpeg")


_SOUNDS = {"audio/wav": "wav", "audio/mpeg": "mp3"}


_RATE = 24_000  # Hz of sound that is converted: that of the speech models behind these servers


_LARGEST = 20 * 2**20  # bytes of one medium, the bound of OpenAI's servers


Content = list[dict[str, Any]]


class UnsupportedInputError(ValueError):
    """A request that the endpoint has no form for."""


def chat_input(messages: Sequence[Message], settings: ServerSettings) -> dict[str, Any]:
    """The part of a chat completion's body that holds the messages.

    With `top_level` media stand beside the messages (sglang-omni), so that their place among the
    texts is lost.
    """
    beside: dict[str, list[str]] = {}
    turns: list[dict[str, Any]] = []
    for message in media_of_users(messages):
        if settings.inputs == "top_level":
            for part in message.parts:
                if isinstance(part, MediaPart):
                    name, uris = _beside(part, settings)
                    beside.setdefault(name, []).extend(uris)
        if settings.inputs == "top_level" or all(isinstance(part, TextPart) for part in message.parts):
            content: str | Content = "\n".join(_texts(message))
        else:
            content = [item for part in message.parts for item in _chat_items(part, settings)]
        turns.append({"role": message.role, "content": content})
    return {"messages": turns, **beside}


def media_of_users(messages: Sequence[Message]) -> list[Message]:
    """The messages with the media of the assistant's at the beginning of the user's next one, where the
    endpoints take them; their place in what was said is marked, as in "[image]"."""
    told: list[Message] = []
    carried: tuple[Part, ...] = ()
    for message in messages:
        if message.role == "assistant":
            carried += tuple(_media([message]))
            said = (p if isinstance(p, TextPart) else TextPart(f"[{p.modality}]") for p in message.parts)
            told.append(Message(message.role, tuple(said)))
        elif message.role == "user":
            told.append(Message(message.role, (*carried, *message.parts)))
            carried = ()
        else:
            told.append(message)
    return told


def responses_input(messages: Sequence[Message], settings: ServerSettings) -> Content:
    """The `input` of the Responses API."""
    turns: Content = []
    for message in media_of_users(messages):
        said = message.role == "assistant"
        content: Content = []
        for part in message.parts:
            if isinstance(part, TextPart):
                content.append({"type": "output_text" if said else "input_text", "text": part.text})
            elif part.modality is Modality.AUDIO:
                content.append(_sound(part))
            else:
                content += [
                    {"type": "input_image", "image_url": uri} for uri in _pictures(part, settings.frames)
                ]
        turns.append({"role": message.role, "content": content})
    return turns


def one_prompt(messages: Sequence[Message]) -> str:
    """All texts as the one prompt of an endpoint that makes a medium."""
    for message in messages:
        if message.role == "assistant":
            raise UnsupportedInputError("this endpoint takes one prompt, not a conversation")
    return "\n\n".join(text for message in messages for text in _texts(message))


def no_media(messages: Sequence[Message]) -> None:
    """UnsupportedInputError if there is more than text."""
    for part in _media(messages):
        raise UnsupportedInputError(f"this endpoint takes no {part.modality}")


def first_picture(messages: Sequence[Message]) -> tuple[str, bytes, str] | None:
    """The one image that a clip may begin with, as a file of a form."""
    media = _media(messages)
    if not media:
        return None
    if len(media) > 1 or media[0].modality is not Modality.IMAGE:
        names = ", ".join(part.modality for part in media)
        raise UnsupportedInputError(f"this endpoint takes one image at most, not {names}")
    data, mime = _image(media[0])
    return f"picture.{mime.partition('/')[2]}", data, mime


def has_media(messages: Sequence[Message]) -> bool:
    """Whether a server may refuse the messages for what they are made of."""
    return bool(_media(messages))


def _media(messages: Sequence[Message]) -> list[MediaPart]:
    return [part for message in messages for part in message.parts if isinstance(part, MediaPart)]


def _texts(message: Message) -> list[str]:
    return [part.text for part in message.parts if isinstance(part, TextPart)]


def _chat_items(part: Part, settings: ServerSettings) -> Content:
    if isinstance(part, TextPart):
        return [{"type": "text", "text": part.text}]
    if part.modality is Modality.AUDIO:
        return [_sound(part)]
    if part.modality is Modality.VIDEO and settings.video == "url":
        return [{"type": "video_url", "video_url": {"url": _uri(part.path.read_bytes(), part.mime)}}]
    return [{"type": "image_url", "image_url": {"url": uri}} for uri in _pictures(part, settings.frames)]


def _beside(part: MediaPart, settings: ServerSettings) -> tuple[str, list[str]]:
    """A medium as data URIs, one or one for each frame of a clip, and the field of the body for them."""
    if part.modality is Modality.AUDIO:
        data, form = _audio(part)
        return "audios", [_uri(data, f"audio/{form}")]
    if part.modality is Modality.VIDEO and settings.video == "url":
        return "videos", [_uri(part.path.read_bytes(), part.mime)]
    return "images", _pictures(part, settings.frames)


def _sound(part: MediaPart) -> dict[str, Any]:
    data, form = _audio(part)
    sound = {"data": base64.b64encode(data).decode(), "format": form}
    return {"type": "input_audio", "input_audio": sound}


def _pictures(part: MediaPart, frames: int) -> list[str]:
    """An image, or frames of a clip at the middles of equal spans, as data URIs."""
    if part.modality is Modality.IMAGE:
        return [_uri(*_image(part))]
    clip = read_frames(part.path, frames).frames
    return [_uri(encode_png(pixels), "image/png") for pixels in clip]


def _image(part: MediaPart) -> tuple[bytes, str]:
    if part.mime in _IMAGES:
        return part.path.read_bytes(), part.mime
    return encode_png(read_image(part.path)), "image/png"


def _audio(part: MediaPart) -> tuple[bytes, str]:
    if part.mime in _SOUNDS:
        data, form = part.path.read_bytes(), _SOUNDS[part.mime]
    else:
        data, form = encode_wav(read_audio(part.path, _RATE), _RATE), "wav"
    _check_size(data, form)
    return data, form


def _uri(data: bytes, mime: str) -> str:
    _check_size(data, mime)
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _check_size(data: bytes, what: str) -> None:
    if len(data) > _LARGEST:
        raise UnsupportedInputError(f"{len(data)} bytes of {what}: at most {_LARGEST} are sent")
