"""Checks whether a sound file is complete: decoders read a truncated one without an error.

Each format shows its end in its own way: WAV declares the length of its data, MP3 has complete frames
and mostly their number (in the Xing or Info header), Ogg marks its last page.
"""

from __future__ import annotations

from pathlib import Path

from eval_anything.media.sniff import Kind, MediaError


def check_whole(path: Path, kind: Kind) -> None:
    """MediaError if a WAV, MP3 or Ogg file is truncated; other formats are left to their decoders."""
    if kind.mime == "audio/wav":
        _check_wav(path)
    elif kind.mime == "audio/mpeg":
        _check_mp3(path, path.read_bytes())
    elif kind.mime == "audio/ogg":
        _check_ogg(path, path.read_bytes())


def _check_wav(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(12)
        while len(chunk := file.read(8)) == 8:
            length = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                # streaming writers leave 0 or 0xFFFFFFFF there
                if length not in (0, 0xFFFFFFFF) and file.tell() + length > size:
                    raise MediaError(f"{path} is truncated: {length} bytes of sound declared")
                return
            file.seek(length + length % 2, 1)
    raise MediaError(f"{path} is truncated: it has no sound data")


# kbit/s by version (MPEG 1; MPEG 2 and 2.5), layer and index, of ISO/IEC 11172-3 and 13818-3
_KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def _frame_bytes(content: bytes, offset: int) -> int:
    """The length of the MPEG audio frame whose header is at `place`, 0 if there is none."""
    if offset + 4 > len(content) or content[offset] != 0xFF or content[offset + 1] & 0xE0 != 0xE0:
        return 0
    version, layer = content[offset + 1] >> 3 & 3, 4 - (content[offset + 1] >> 1 & 3)
    bits, hertz = content[offset + 2] >> 4, content[offset + 2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or hertz == 3:
        return 0
    family = 1 if version == 3 else 2
    rate, padding = _HERTZ[version][hertz], content[offset + 2] >> 1 & 1
    bitrate = _KBITS[family, layer][bits - 1] * 1000
    if layer == 1:
        return (12 * bitrate // rate + padding) * 4
    return (72 if layer == 3 and family == 2 else 144) * bitrate // rate + padding


def _check_mp3(path: Path, content: bytes) -> None:
    offset = 0
    if content[:3] == b"ID3" and len(content) >= 10:
        a, b, c, d = content[6:10]
        offset = 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if content[5] & 0x10 else 0)
    first = offset
    while offset < len(content) and not _frame_bytes(content, offset):  # padding after the tag
        offset += 1
        if offset > first + 65536:
            return  # left to the decoder
    declared = _declared_frames(content, offset)
    frames = 0
    while length := _frame_bytes(content, offset):
        offset += length
        frames += 1
    if offset > len(content):
        raise MediaError(f"{path} is truncated: its last frame of sound is not complete")
    # Most encoders do not count the frame of the header itself, some do.
    if frames - 1 < declared and offset >= len(content) - 4:
        raise MediaError(f"{path} is truncated: {max(frames - 1, 0)} of {declared} frames of sound")


def _declared_frames(content: bytes, offset: int) -> int:
    """The number of frames in a Xing or Info header, 0 if there is none."""
    head = content[offset : offset + 64]
    for mark in (b"Xing", b"Info"):
        at = head.find(mark)
        if 0 < at <= len(head) - 12 and head[at + 7] & 1:
            return int.from_bytes(head[at + 8 : at + 12], "big")
    return 0


def _check_ogg(path: Path, content: bytes) -> None:
    last = content.rfind(b"OggS")
    segments = content[last + 26] if last + 26 < len(content) else 0
    end = last + 27 + segments + sum(content[last + 27 : last + 27 + segments])
    is_last = last + 5 < len(content) and content[last + 5] & 4
    if end > len(content) or not is_last:
        raise MediaError(f"{path} is truncated: its last page is missing or not complete")
