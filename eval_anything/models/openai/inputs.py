"""Converters of messages into the inputs of OpenAI-compatible endpoints, with media as data URIs.

They keep the order of the parts. All raise UnsupportedInputError for input that the endpoint cannot
take, and MediaError for a medium that must be converted and cannot be decoded.
"""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence
from typing import Any

from eval_anything.content import MediaPart, Message, Modality, Part, TextPart
from eval_anything.media import medium_bytes, read_audio, read_frames, read_picture
from eval_anything.media.encode import encode_jpeg, encode_png, encode_wav
from eval_anything.models.openai.settings import ServerSettings

# Types that every server takes; all others are converted to PNG and WAV. So are pictures that readers
# may show differently: a server must see the pixels that all other models and judges see.
_IMAGES = ("image/png", "image/jpeg")


_SOUNDS = {"audio/wav": "wav", "audio/mpeg": "mp3"}


_RATE = 24_000  # Hz of converted sound: the rate of the speech models behind these servers


_LARGEST = 20 * 2**20  # bytes of one medium, the limit of OpenAI's servers


Content = list[dict[str, Any]]


class UnsupportedInputError(ValueError):
    """A request with input that the endpoint cannot take."""


def chat_input(messages: Sequence[Message], settings: ServerSettings) -> dict[str, Any]:
    """The fields of a chat completion's body that hold the messages.

    With `inputs=top_level` media are in fields beside `messages` (sglang-omni), so that their place
    among the texts is lost.

    Example:
        >>> chat_input([Message("user", (TextPart("Hi"),))], ServerSettings())
        {'messages': [{'role': 'user', 'content': 'Hi'}]}
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
            content = [
                content_item for part in message.parts for content_item in _chat_items(part, settings)
            ]
        turns.append({"role": message.role, "content": content})
    return {"messages": turns, **beside}


def media_of_users(messages: Sequence[Message]) -> list[Message]:
    """The messages with media of the assistant moved to the beginning of the user's next message.

    The endpoints take media from users only. In the assistant's message a mark such as "[image]"
    replaces each of them.
    """
    moved: list[Message] = []
    media: tuple[Part, ...] = ()
    for message in messages:
        if message.role == "assistant":
            media += tuple(_media([message]))
            texts_and_marks = (
                p if isinstance(p, TextPart) else TextPart(f"[{p.modality}]") for p in message.parts
            )
            moved.append(Message(message.role, tuple(texts_and_marks)))
        elif message.role == "user":
            moved.append(Message(message.role, (*media, *message.parts)))
            media = ()
        else:
            moved.append(message)
    return moved


def responses_input(messages: Sequence[Message], settings: ServerSettings) -> Content:
    """The `input` of the Responses API."""
    turns: Content = []
    for message in media_of_users(messages):
        by_model = message.role == "assistant"
        content: Content = []
        for part in message.parts:
            if isinstance(part, TextPart):
                content.append({"type": "output_text" if by_model else "input_text", "text": part.text})
            elif part.modality is Modality.AUDIO:
                content.append(_sound(part))
            else:
                content += [
                    {"type": "input_image", "image_url": uri} for uri in _pictures(part, settings.frames)
                ]
        turns.append({"role": message.role, "content": content})
    return turns


def one_prompt(messages: Sequence[Message]) -> str:
    """All texts, joined into the one prompt that an endpoint for media takes."""
    for message in messages:
        if message.role == "assistant":
            raise UnsupportedInputError("this endpoint takes one prompt, not a conversation")
    return "\n\n".join(text for message in messages for text in _texts(message))


def check_no_media(messages: Sequence[Message]) -> None:
    """Raises UnsupportedInputError if a message has more than text."""
    for part in _media(messages):
        raise UnsupportedInputError(f"this endpoint takes no {part.modality}")


def first_picture(messages: Sequence[Message]) -> tuple[str, bytes, str] | None:
    """The one image that a clip may begin with, as a file of a form; None if there are no media."""
    media = _media(messages)
    if not media:
        return None
    if len(media) > 1 or media[0].modality is not Modality.IMAGE:
        names = ", ".join(part.modality for part in media)
        raise UnsupportedInputError(f"this endpoint takes one image at most, not {names}")
    encoded, mime = _image(media[0])
    return f"picture.{mime.partition('/')[2]}", encoded, mime


def has_media(messages: Sequence[Message]) -> bool:
    """Whether the messages have media, for which a server may refuse them."""
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
        return [{"type": "video_url", "video_url": {"url": _uri(medium_bytes(part.path), part.mime)}}]
    return [{"type": "image_url", "image_url": {"url": uri}} for uri in _pictures(part, settings.frames)]


def _beside(part: MediaPart, settings: ServerSettings) -> tuple[str, list[str]]:
    """The field of the body for a medium, and its data URIs: one, or one for each frame of a clip."""
    if part.modality is Modality.AUDIO:
        encoded, form = _audio(part)
        return "audios", [_uri(encoded, f"audio/{form}")]
    if part.modality is Modality.VIDEO and settings.video == "url":
        return "videos", [_uri(medium_bytes(part.path), part.mime)]
    return "images", _pictures(part, settings.frames)


def _sound(part: MediaPart) -> dict[str, Any]:
    encoded, form = _audio(part)
    sound = {"data": base64.b64encode(encoded).decode(), "format": form}
    return {"type": "input_audio", "input_audio": sound}


def _pictures(part: MediaPart, frames: int) -> list[str]:
    """Data URIs of an image, or of frames of a clip at the middles of equal spans."""
    if part.modality is Modality.IMAGE:
        return [_uri(*_image(part))]
    clip = read_frames(part.path, frames).frames
    return [_uri(encode_png(pixels), "image/png") for pixels in clip]


def _image(part: MediaPart) -> tuple[bytes, str]:
    picture = read_picture(part.path)
    if picture.is_plain and part.mime in _IMAGES:
        return medium_bytes(part.path), part.mime
    encoded = encode_png(picture.pixels)
    if len(encoded) > _LARGEST:  # a large photo that lies on its side, say
        return encode_jpeg(picture.pixels), "image/jpeg"
    return encoded, "image/png"


def _audio(part: MediaPart) -> tuple[bytes, str]:
    form = _SOUNDS.get(part.mime, "")
    encoded = medium_bytes(part.path) if form else b""
    if not form or (form == "wav" and not _is_plain(encoded)):
        encoded, form = encode_wav(read_audio(part.path, _RATE), _RATE), "wav"
    _check_size(encoded, form)
    return encoded, form


def _is_plain(encoded: bytes) -> bool:
    """Whether every server reads a WAV alike: whole numbers, and as many as it declares."""
    try:
        with wave.open(io.BytesIO(encoded)) as file:
            frame = file.getnchannels() * file.getsampwidth()
            samples = file.readframes(file.getnframes())
            return bool(samples) and len(samples) == file.getnframes() * frame
    except (wave.Error, EOFError):
        return False


def _uri(encoded: bytes, mime: str) -> str:
    _check_size(encoded, mime)
    return f"data:{mime};base64,{base64.b64encode(encoded).decode()}"


def _check_size(encoded: bytes, kind: str) -> None:
    if len(encoded) > _LARGEST:
        raise UnsupportedInputError(f"{len(encoded)} bytes of {kind}: at most {_LARGEST} are sent")
