"""Whether a file of sound is all there. Decoders read what is left of a truncated one without a word.

Each format says where it ends in its own way: WAV declares the length of its data, MP3 has complete
frames and mostly their number (the Xing or Info header), Ogg marks its last page.
"""

from __future__ import annotations

from pathlib import Path

from eval_anything.media.sniff import Kind, MediaError


def check_whole(path: Path, kind: Kind) -> None:
    """MediaError if a WAV, MP3 or Ogg file ends before it should; others are left to their decoders."""
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
                # 0 and 0xFFFFFFFF are what streaming writers put there
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


def _frame_bytes(data: bytes, place: int) -> int:
    """The length of the MPEG audio frame whose header is at `place`, 0 if there is none."""
    if place + 4 > len(data) or data[place] != 0xFF or data[place + 1] & 0xE0 != 0xE0:
        return 0
    version, layer = data[place + 1] >> 3 & 3, 4 - (data[place + 1] >> 1 & 3)
    bits, hertz = data[place + 2] >> 4, data[place + 2] >> 2 & 3
    if version == 1 or layer == 4 or bits in (0, 15) or hertz == 3:
        return 0
    family = 1 if version == 3 else 2
    rate, padding = _HERTZ[version][hertz], data[place + 2] >> 1 & 1
    bitrate = _KBITS[family, layer][bits - 1] * 1000
    if layer == 1:
        return (12 * bitrate // rate + padding) * 4
    return (72 if layer == 3 and family == 2 else 144) * bitrate // rate + padding


def _check_mp3(path: Path, data: bytes) -> None:
    place = 0
    if data[:3] == b"ID3" and len(data) >= 10:
        a, b, c, d = data[6:10]
        place = 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if data[5] & 0x10 else 0)
    first = place
    while place < len(data) and not _frame_bytes(data, place):  # padding after the tag
        place += 1
        if place > first + 65536:
            return  # the decoder says what it makes of this
    declared = _declared_frames(data, place)
    frames = 0
    while length := _frame_bytes(data, place):
        place += length
        frames += 1
    if place > len(data):
        raise MediaError(f"{path} is truncated: its last frame of sound is not complete")
    # The header's own frame is not counted; some encoders count it.
    if frames - 1 < declared and place >= len(data) - 4:
        raise MediaError(f"{path} is truncated: {max(frames - 1, 0)} of {declared} frames of sound")


def _declared_frames(data: bytes, place: int) -> int:
    """The number of frames in a Xing or Info header, 0 if there is none."""
    head = data[place : place + 64]
    for mark in (b"Xing", b"Info"):
        at = head.find(mark)
        if 0 < at <= len(head) - 12 and head[at + 7] & 1:
            return int.from_bytes(head[at + 8 : at + 12], "big")
    return 0


def _check_ogg(path: Path, data: bytes) -> None:
    last = data.rfind(b"OggS")
    segments = data[last + 26] if last + 26 < len(data) else 0
    end = last + 27 + segments + sum(data[last + 27 : last + 27 + segments])
    is_last = last + 5 < len(data) and data[last + 5] & 4
    if end > len(data) or not is_last:
        raise MediaError(f"{path} is truncated: its last page is missing or not complete")
