"""Decoding of media in replies: base64, data URIs, and sound that comes in pieces or without a header.

The type of a medium is read from its bytes; the type that a server names is not trusted.
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
    """A medium in a reply that cannot be used; the message gives the reason."""


class Medium(NamedTuple):
    """A medium whose bytes are in the reply."""

    modality: Modality
    data: bytes


class Link(NamedTuple):
    """A medium of which the reply only has the address: a URL, or a file of the server."""

    modality: Modality
    address: str


def decode_base64(text: object) -> bytes:
    """The bytes of base64 text, with or without padding, or of a data URI.

    Raises:
        PayloadError: the text is neither, or empty.

    Example:
        >>> decode_base64("aGk")
        b'hi'
    """
    if not isinstance(text, str) or not text:
        raise PayloadError("no data")
    head, comma, encoded = text.partition(",")
    if comma and head.startswith("data:"):
        if not head.endswith(";base64"):
            raise PayloadError("a data URI that is not base64")
        text = encoded
    text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PayloadError(f"no base64 ({error})") from None


def medium(content: bytes, modality: Modality) -> Medium:
    """The medium in these bytes; `modality` is for bytes whose first ones do not tell it."""
    kind = sniff(content)
    undecided = kind is None or (kind.is_either and modality in (Modality.AUDIO, Modality.VIDEO))
    return Medium(modality if kind is None or undecided else kind.modality, content)


def medium_at(address: object, modality: Modality) -> Medium | Link:
    """The medium in the URL field of a reply: a decoded data URI, or the link as it is."""
    if not isinstance(address, str) or not address:
        raise PayloadError(f"an empty address of {modality}")
    if address.startswith("data:"):
        return medium(decode_base64(address), modality)
    return Link(modality, address)


def sound(pieces: Sequence[bytes], headerless: bool) -> Medium:
    """The sound in one or several pieces, with one header, one header each, or none.

    Bytes without a header are only taken for samples if the sound may be `headerless`.
    """
    joined = b"".join(pieces)
    if len(pieces) > 1 and all(map(_is_wav, pieces)):
        return Medium(Modality.AUDIO, _join_wavs(pieces))
    # MP3 is not checked: two bytes mark the start of its frames, and samples may begin with the same.
    if headerless and not joined.startswith((b"RIFF", b"ID3", b"OggS", b"fLaC")):
        if len(joined) % 2:
            raise PayloadError(f"{len(joined)} bytes of 16-bit sound: half a sample is missing")
        return Medium(Modality.AUDIO, pack_wav(joined, PCM_RATE, channels=1, width=2))
    return medium(joined, Modality.AUDIO)


def _is_wav(piece: bytes) -> bool:
    return piece[:4] == b"RIFF" and piece[8:12] == b"WAVE"


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
