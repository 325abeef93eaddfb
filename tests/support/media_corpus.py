"""Small media of every format, and what attackers and accidents make of them; all from a seed."""

from __future__ import annotations

import io
import random
import struct
import wave
import zipfile
import zlib
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval_anything.content import Modality
from tests.support.helpers import jpeg, mp4, png, wav

RATE = 16000


class Mutant(NamedTuple):
    """A damaged or hostile medium: what was done to it, the name of its file, its bytes."""

    label: str
    name: str
    data: bytes


def tone(seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """float32 (n, channels): 440 Hz, each channel a little fainter than the one before."""
    wave_ = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    return np.stack([wave_ / (1 + channel) for channel in range(channels)], axis=1).astype(np.float32)


def sound(form: str, subtype: str, samples: np.ndarray, rate: int = RATE) -> bytes:
    """Samples as a file of libsndfile's: WAV, FLAC, OGG or MP3."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, subtype=subtype, format=form)
    return buffer.getvalue()


def picture(form: str, frames: int = 1, size: int = 48) -> bytes:
    """GIF or WebP of coloured noise."""
    from PIL import Image

    generator = np.random.default_rng(3)
    images = [
        Image.fromarray(generator.integers(0, 255, (size, size, 3), np.uint8)) for _ in range(frames)
    ]
    buffer = io.BytesIO()
    images[0].save(buffer, form, save_all=frames > 1, append_images=images[1:])
    return buffer.getvalue()


def m4a(seconds: float = 0.5, rate: int = RATE) -> bytes:
    """A tone as AAC in the container of Apple's."""
    return _clip("ipod", None, 0, rate, seconds)


def clip(form: str, codec: str, frames: int = 12, sound: bool = False) -> bytes:
    """A clip of noise that moves, 64x48."""
    return _clip(form, codec, frames, RATE if sound else 0, 0.5)


def _clip(form: str, codec: str | None, frames: int, rate: int, seconds: float) -> bytes:
    import av

    buffer = io.BytesIO()
    noise = np.random.default_rng(5).integers(0, 255, (48, 64, 3), np.uint8)
    with av.open(buffer, "w", format=form) as container:
        if codec:
            stream = container.add_stream(codec, rate=12)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if rate:
            audio = container.add_stream("aac", rate=rate)
        for number in range(frames if codec else 0):
            pixels = np.ascontiguousarray(np.roll(noise, number, 1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        if codec:
            container.mux(stream.encode(None))
        if rate:
            samples = np.ascontiguousarray(tone(seconds, rate)[:, 0][None])
            block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return buffer.getvalue()


@cache
def whole_media() -> dict[str, bytes]:
    """One of each format, by file name."""
    return {
        "a.png": png(size=48, noise=1),
        "a.jpg": jpeg(),
        "a.gif": picture("GIF"),
        "animated.gif": picture("GIF", frames=4),
        "a.webp": picture("WEBP"),
        "a.wav": wav(seconds=0.5, rate=RATE),
        "float.wav": sound("WAV", "FLOAT", tone(channels=2)),
        "a.mp3": sound("MP3", "MPEG_LAYER_III", tone()),
        "a.flac": sound("FLAC", "PCM_16", tone()),
        "a.ogg": sound("OGG", "VORBIS", tone()),
        "a.m4a": m4a(),
        "a.mp4": clip("mp4", "libx264"),
        "sound.mp4": clip("mp4", "libx264", sound=True),
        "mpeg4.mp4": mp4(),
        "vp8.webm": clip("webm", "libvpx"),
        "vp9.webm": clip("webm", "libvpx-vp9"),
    }


def modality_of(name: str) -> Modality:
    """What the file name stands for."""
    ending = Path(name).suffix
    if ending in (".mp4", ".webm"):
        return Modality.VIDEO
    return Modality.IMAGE if ending in (".png", ".jpg", ".gif", ".webp") else Modality.AUDIO


def mutants(seed: int, of_each: int) -> Iterator[Mutant]:
    """`of_each` mutants of each format, and the hostile ones."""
    chance = random.Random(seed)
    for name, data in whole_media().items():
        for number in range(of_each):
            yield _mutant(chance, name, data, number)
    yield from hostile()


def _mutant(chance: random.Random, name: str, data: bytes, number: int) -> Mutant:
    broken = bytearray(data)
    how = ("cut", "flips", "header", "zeros", "inserted", "repeated", "name", "claim")[number % 8]
    place = chance.randrange(len(broken))
    if how == "cut":
        broken = broken[:place]
    elif how == "flips":
        for _ in range(chance.choice((1, 4, 16, 64, 256))):
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
    elif how == "header":
        for _ in range(chance.choice((1, 2, 4))):
            broken[chance.randrange(min(256, len(broken)))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
    elif how == "zeros":
        length = chance.randrange(1, 512)
        broken[place : place + length] = bytes(len(broken[place : place + length]))
    elif how == "inserted":
        broken[place:place] = chance.randbytes(chance.randrange(1, 64))
    elif how == "repeated":
        other = chance.randrange(len(broken))
        broken[place : place + 64] = broken[other : other + 64]
    elif how == "name":
        name = "a." + chance.choice(("png", "wav", "mp4", "gif", "txt", "mp3", "webm"))
    else:  # a large number where there may be a length
        place = chance.randrange(min(512, len(broken)))
        broken[place : place + 4] = struct.pack(
            chance.choice("<>") + "I", chance.choice((2**31 - 1, 2**32 - 1))
        )
    return Mutant(f"{how} {number}", name, bytes(broken))


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(side: int, rows: bytes, bits: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """A PNG with this header around these packed rows."""
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def zeros(length: int) -> bytes:
    """Packed zero bytes."""
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    return b"".join(packer.compress(block) for _ in range(length >> 20)) + packer.flush()


def box(kind: bytes, data: bytes = b"") -> bytes:
    """A box of MP4."""
    return struct.pack(">I", 8 + len(data)) + kind + data


def nan_wav(value: float = float("nan")) -> bytes:
    """Floats with one that is no number."""
    samples = tone()
    samples[100] = value
    return sound("WAV", "FLOAT", samples)


def hostile() -> Iterator[Mutant]:
    """What is made to hurt its reader."""
    yield Mutant("empty", "a.png", b"")
    yield Mutant("zero bytes", "a.mp3", bytes(4096))
    for name in whole_media():
        yield Mutant("magic alone", name, whole_media()[name][:16])
        yield Mutant("magic and zeros", name, whole_media()[name][:16] + bytes(4096))
    yield from _large_pictures()
    yield from _large_claims()
    yield from _odd_clips_and_sounds()
    yield from polyglots()


def _large_pictures() -> Iterator[Mutant]:
    yield Mutant("60k x 60k", "a.png", png_of(60_000, zeros(2**20)))
    yield Mutant("2^31 x 2^31", "a.png", png_of(2**31 - 1, zeros(2**20)))
    yield Mutant("as large as is allowed", "a.png", png_of(8192, zeros(8192 * 1025), bits=1, colour=0))
    yield Mutant("packed more than declared", "a.png", png_of(16, zeros(2**28)))
    yield Mutant(
        "profile bomb", "a.png", png_of(16, zeros(2**20), extra=chunk(b"iCCP", b"x\0\0" + zeros(2**28)))
    )
    yield Mutant(
        "text bomb", "a.png", png_of(16, zeros(2**20), extra=chunk(b"zTXt", b"x\0\0" + zeros(2**28)))
    )
    gif = bytearray(picture("GIF"))
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    yield Mutant("60k x 60k", "a.gif", bytes(gif))
    photo = bytearray(jpeg())
    start = photo.index(b"\xff\xc0") + 5
    photo[start : start + 4] = struct.pack(">HH", 60_000, 60_000)
    yield Mutant("60k x 60k", "a.jpg", bytes(photo))
    canvas = b"VP8X" + struct.pack("<II", 10, 0) + b"\xff\xff\xff\xff\xff\xff"[:6]
    body = b"WEBP" + canvas[:8] + canvas[8:] + picture("WEBP")[12:]
    yield Mutant("2^24 x 2^24", "a.webp", b"RIFF" + struct.pack("<I", len(body)) + body)
    frame = picture("GIF", size=8)
    start = frame.index(b",", 13)
    yield Mutant("20,000 frames", "bomb.gif", frame[:start] + frame[start:-1] * 20_000 + b";")
    wide = frame[:6] + struct.pack("<HH", 8000, 8000) + frame[10:start]
    yield Mutant("2,000 large frames", "bomb.gif", wide + frame[start:-1] * 2_000 + b";")


def _large_claims() -> Iterator[Mutant]:
    claim = bytearray(wav())
    claim[40:44] = struct.pack("<I", 3 * 2**30)
    yield Mutant("3 GiB declared", "a.wav", bytes(claim))
    claim[4:8] = claim[40:44] = b"\xff" * 4
    yield Mutant("4 GiB declared", "a.wav", bytes(claim))
    for offset, number in ((22, 65535), (24, 0), (24, 2**31 - 1), (24, 1), (32, 0), (34, 255)):
        claim = bytearray(wav())
        claim[offset : offset + 2] = struct.pack("<H", number & 65535)
        if offset == 24:
            claim[24:28] = struct.pack("<I", number)
        yield Mutant(f"{number} at {offset}", "a.wav", bytes(claim))
    flac = bytearray(sound("FLAC", "PCM_16", tone()))
    flac[21:26] = bytes([flac[21] | 0x0F]) + b"\xff" * 4
    yield Mutant("2^36 samples declared", "a.flac", bytes(flac))
    yield Mutant(
        "a tag of 256 MiB",
        "a.mp3",
        b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + sound("MP3", "MPEG_LAYER_III", tone()),
    )
    whole = clip("mp4", "libx264")
    for kind in (b"stsz", b"stts", b"stco", b"stsc", b"ctts", b"elst"):
        place = whole.find(kind)
        if place > 0:
            for offset in (8, 12):
                data = bytearray(whole)
                data[place + offset : place + offset + 4] = b"\x7f\xff\xff\xff"
                yield Mutant(f"2^31 in {kind.decode()} at {offset}", "a.mp4", bytes(data))
    start = whole[: whole.index(b"ftyp") + 28]
    yield Mutant("a box of 2^60 bytes", "a.mp4", start + b"\0\0\0\1mdat" + struct.pack(">Q", 2**60))
    yield Mutant("a picture of 65535 x 65535", "a.mp4", _wide(whole))
    yield Mutant("EBML of unknown length", "a.webm", b"\x1aE\xdf\xa3\x01" + b"\xff" * 7 + bytes(1000))
    webm = clip("webm", "libvpx")
    yield Mutant(
        "a segment of 2^55 bytes",
        "a.webm",
        webm.replace(b"\x18S\x80g\x01", b"\x18S\x80g\x01\x7f\xff", 1),
    )


def _wide(clip_: bytes) -> bytes:
    data = bytearray(clip_)
    place = data.index(b"avc1", data.index(b"stsd")) + 28
    data[place : place + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


def _odd_clips_and_sounds() -> Iterator[Mutant]:
    yield Mutant("sound alone", "a.mp4", mp4(sound=True, pictures=False))
    yield Mutant(
        "no frames", "a.mp4", box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", box(b"mvhd", bytes(100)))
    )
    nested = b""
    for _ in range(5000):
        nested = box(b"moov", nested)
    yield Mutant("5,000 boxes in each other", "a.mp4", box(b"ftyp", b"isom\0\0\2\0isom") + nested)
    yield Mutant("one frame", "a.mp4", clip("mp4", "libx264", frames=1))
    for value in (float("nan"), float("inf"), float("-inf")):
        yield Mutant(f"a sample is {value}", "a.wav", nan_wav(value))
    empty = io.BytesIO()
    with wave.open(empty, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
    yield Mutant("no samples", "a.wav", empty.getvalue())
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    yield Mutant("a list of other files", "a.mp4", playlist)
    yield Mutant(
        "a list of other files with a head", "a.mp4", box(b"ftyp", b"isom\0\0\2\0isom") + playlist
    )


def polyglots() -> Iterator[Mutant]:
    """Whole media that are something else too."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "text")
    yield Mutant("PNG and ZIP", "a.png", png() + archive.getvalue())
    script = picture("GIF")
    yield Mutant("GIF and JavaScript", "a.gif", script + b"/**/=1;alert(1)")
    page = b"<html><script>alert(1)</script></html>"
    yield Mutant("MP4 and HTML", "a.mp4", clip("mp4", "libx264") + box(b"free", page))
    yield Mutant("JPEG and HTML", "a.jpg", jpeg() + page)
    yield Mutant("WAV and ZIP", "a.wav", wav() + archive.getvalue())
