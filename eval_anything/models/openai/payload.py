"""The bytes of media in replies: base64, data URIs, and sound that comes in pieces or without a header.

What the bytes are is read from the bytes; what a server calls them is not relied on.
"""

from __future__ import annotations

import base64
import binascii
import io
import wave
from collections.abc import Sequence
from typing import NamedTuple

from eval_anything.content import Modality
from eval_anything.media import sniff
from eval_anything.media.encode import pack_wav

PCM_RATE = 24_000
"""Hz of headerless sound: 16 bit, little-endian, mono, as OpenAI's and Qwen-Omni's servers send it."""


class PayloadError(ValueError):
    """A medium in a reply that cannot be used; the message says why."""


class Medium(NamedTuple):
    """A medium that came with the reply."""

    modality: Modality
    data: bytes


class Link(NamedTuple):
    """A medium of which the reply only says where it is: an address, or a file of the server."""

    modality: Modality
    address: str


def decode_base64(text: object) -> bytes:
    """The bytes of base64 text, with or without its padding, or of a data URI. PayloadError if it is
    neither, or holds nothing."""
    if not isinstance(text, str) or not text:
        raise PayloadError("no data")
    head, comma, rest = text.partition(",")
    if comma and head.startswith("data:"):
        if not head.endswith(";base64"):
            raise PayloadError("a data URI that is not base64")
        text = rest
    text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PayloadError(f"no base64 ({error})") from None


def medium(data: bytes, modality: Modality) -> Medium:
    """The medium that the bytes are, of `modality` if they do not say."""
    kind = sniff(data)
    return Medium(kind.modality if kind is not None else modality, data)


def medium_at(address: object, modality: Modality) -> Medium | Link:
    """The medium of a URL field: a data URI is decoded, anything else only noted."""
    if not isinstance(address, str) or not address:
        raise PayloadError(f"an empty address of {modality}")
    if address.startswith("data:"):
        return medium(decode_base64(address), modality)
    return Link(modality, address)


def sound(pieces: Sequence[bytes], headerless: bool) -> Medium:
    """Sound that came in pieces: with one header, with one each, or without any.

    Only where it may be `headerless` are bytes without a header taken for samples.
    """
    data = b"".join(pieces)
    if len(pieces) > 1 and all(map(_is_wav, pieces)):
        return Medium(Modality.AUDIO, _join_wavs(pieces))
    # Samples may begin like a frame of MP3, which has but two bytes to know it by.
    if headerless and not data.startswith((b"RIFF", b"ID3", b"OggS", b"fLaC")):
        if len(data) % 2:
            raise PayloadError(f"{len(data)} bytes of 16-bit sound: half a sample is missing")
        return Medium(Modality.AUDIO, pack_wav(data, PCM_RATE, channels=1, width=2))
    return medium(data, Modality.AUDIO)


def _is_wav(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WAVE"


def _join_wavs(pieces: Sequence[bytes]) -> bytes:
    forms: set[tuple[int, int, int]] = set()
    samples = []
    for piece in pieces:
        try:
            with wave.open(io.BytesIO(piece)) as file:
                forms.add((file.getframerate(), file.getnchannels(), file.getsampwidth()))
                samples.append(file.readframes(file.getnframes()))
        except (wave.Error, EOFError) as error:
            raise PayloadError(f"a piece of sound cannot be read: {error}") from None
    if len(forms) > 1:
        raise PayloadError("the pieces of sound differ in rate or width")
    rate, channels, width = forms.pop()
    return pack_wav(b"".join(samples), rate, channels, width)
