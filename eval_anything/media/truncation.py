"""Checks whether a sound file is complete: decoders read a truncated one without an error.

Each format shows its end in its own way: a length in bytes (WAV) or samples (FLAC, AIFF), a number of
frames (MP3), a table of places in the file (MP4), or frames and pages that are complete. A length beyond
all limits is none: writers that cannot go back to the header when the sound has ended (a pipe) leave
one there (0x7FFFF000, 0xFFFFFFFF). Such a sound is as long as its file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from eval_anything.media.limits import MAX_AUDIO_SECONDS, MAX_BYTES
from eval_anything.media.sniff import Kind, MediaError


def check_bytes(path: Path, kind: Kind) -> None:
    """MediaError if a WAV or Ogg file has fewer bytes than it declares."""
    if kind.container == "wav":
        _check_wav(path)
    elif kind.container == "ogg":
        _check_ogg(path)


def _check_wav(path: Path) -> None:
    size = path.stat().st_size
    long_length = 0  # of RF64 and BW64 (EBU Tech 3306)
    with path.open("rb") as file:
        order: Literal["big", "little"] = "big" if file.read(4) == b"RIFX" else "little"
        file.seek(12)
        while len(chunk := file.read(8)) == 8:
            length = int.from_bytes(chunk[4:], order)
            if chunk[:4] == b"ds64":
                long_length = int.from_bytes(file.read(16)[8:], "little")
                length -= 16
            elif chunk[:4] == b"data":
                if length == 0xFFFFFFFF:
                    length = long_length
                if length <= MAX_BYTES and file.tell() + length > size:
                    raise MediaError(f"{path} is truncated: {length} bytes of sound declared")
                return
            file.seek(length + length % 2, 1)
    raise MediaError(f"{path} is truncated: it has no sound data")


def _check_ogg(path: Path) -> None:
    longest = 27 + 255 + 255 * 255  # bytes of a page (RFC 3533, 6)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * longest))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    segments = page[26] if len(page) > 26 else 0
    behind = len(page) - (27 + segments + sum(page[27 : 27 + segments]))
    # Some writers mark no page as the last one, but nothing follows it.
    if behind < 0 or (behind > 0 and not page[5] & 4):
        raise MediaError(f"{path} is truncated: its last page is not complete")


def ends_inside_a_box(path: Path) -> bool:
    """Whether a file of boxes (MP4) ends before the last of them does."""
    size = path.stat().st_size
    offset = 0
    with path.open("rb") as file:
        while offset + 8 <= size:
            file.seek(offset)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # 64 bits follow the name
                length = int.from_bytes(head[8:], "big")
            if length == 0:  # to the end of the file
                return False
            offset += max(length, 8)
    return offset != size


# Formats whose header declares the number of samples.
_DECLARING = ("aiff", "basic", "flac", "x-caf", "x-nist", "x-tta", "x-wavpack")


_MPEG = ("aac", "mp2", "mpeg")


class SoundEnd:
    """Sees the packets of a sound as they are read, and says after the last whether some are missing.

    Attributes:
        samples: number of samples a channel that were decoded; their reader counts them.
        longest: the largest number of them in one frame.
    """

    def __init__(self, path: Path, kind: Kind, stream: Any) -> None:
        self.samples = 0
        self.longest = 0
        self._path, self._format, self._stream = path, kind.container, stream
        self._packets = 0
        self._first_position = self._position = 0
        self._last = b""
        self._is_cut = False

    def see(self, packet: Any) -> None:
        """Takes note of a packet."""
        self._packets += 1
        self._is_cut = self._is_cut or packet.is_corrupt
        if self._packets == 1:
            self._first_position = packet.pos or 0
        # what lies between frames of MPEG audio, or behind them, is in packets, too
        if self._format in _MPEG and (content := bytes(packet))[0] == 0xFF:
            self._position = packet.pos or 0
            self._last = content

    def check(self) -> None:
        """MediaError if the file ended before its sound did."""
        if missing := self._missing():
            raise MediaError(f"{self._path} is truncated: {missing}")

    def _missing(self) -> str:
        """The part that is not there; none of WAV and Ogg, see `check_bytes`, and of WebM, see
        `containers`."""
        if self._format in _MPEG:
            return self._missing_frames()
        if self._format == "mp4":
            size = self._path.stat().st_size
            beyond = sum(entry.pos + entry.size > size for entry in self._stream.index_entries)
            if not self.samples and ends_inside_a_box(self._path):
                return "its last box is not complete"
            return f"{beyond} packets of sound are not there" if beyond else ""
        if self._format in _DECLARING:
            declared = self._declared_samples()
            return f"{self.samples} of {declared} samples" if self.samples < declared else ""
        cut = self._is_cut and self._format not in ("wav", "ogg", "webm")
        return "its last packet of sound is not complete" if cut else ""

    def _missing_frames(self) -> str:
        with self._path.open("rb") as file:
            file.seek(self._position + len(self._last))
            begins = file.read(1) == b"\xff"
        if begins or len(self._last) < _frame_bytes(self._last):
            return "its last frame is not complete"
        declared = _declared_frames(self._path, self._first_position)
        # Most encoders do not count the frame of the header itself, some do.
        return f"{self._packets} of {declared} frames of sound" if self._packets < declared - 1 else ""

    def _declared_samples(self) -> int:
        """The lowest number of samples that agrees with the header; 0 if that leaves it open."""
        stream = self._stream
        declared = stream.frames  # of CAF and AIFF; FFmpeg may change the duration
        if not declared and stream.duration is not None:
            declared = round(stream.duration * stream.time_base * stream.rate)
        seconds = declared / stream.rate
        if seconds > MAX_AUDIO_SECONDS or seconds * (stream.bit_rate or 0) / 8 > MAX_BYTES:
            return 0
        is_exact = stream.codec.name.startswith(("pcm_", "flac", "tta", "wavpack"))
        return max(0, int(declared) - (1 if is_exact else 2 * self.longest))


# kbit/s of MPEG 1 and MPEG 2 by layer, and by the index in the header (ISO/IEC 11172-3, 13818-3)
_KBITS = {
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


_LONGEST_FRAME = 1441  # bytes: MPEG 1, layer III, 320 kbit/s at 32 kHz, padded


# Marks of headers in the first frame, the offset of the number of frames, and their own in the frame:
# behind 4 bytes, maybe a checksum of 2, and side information of 9, 17 or 32 by version and channels.
_COUNTS = (
    (b"Xing", 8, (13, 15, 21, 23, 36, 38)),
    (b"Info", 8, (13, 15, 21, 23, 36, 38)),
    (b"VBRI", 14, (36,)),
)


_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def _frame_bytes(header: bytes) -> int:
    """The lowest length of the frame of MPEG audio that begins so; 0 if its header does not tell it."""
    if len(header) < 6:
        return 6
    if header[1] & 6 == 0:  # AAC (ISO/IEC 13818-7, 6.2.2)
        return int.from_bytes(header[3:6], "big") >> 5 & 0x1FFF
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bits, hertz = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer not in (2, 3) or bits in (0, 15) or hertz == 3:
        return 0
    family = 1 if version == 3 else 2
    samples = 576 if layer == 3 and family == 2 else 1152
    bitrate = _KBITS[family, layer][bits - 1] * 1000
    return samples // 8 * bitrate // _HERTZ[version][hertz] + (header[2] >> 1 & 1)


def _declared_frames(path: Path, position: int) -> int:
    """The number of frames in a Xing, Info or VBRI header, in the frame that ends at `position`; 0 if
    there is none."""
    with path.open("rb") as file:
        file.seek(max(0, position - _LONGEST_FRAME))
        head = file.read(min(position, _LONGEST_FRAME))
    for mark, count, offsets in _COUNTS:
        at = head.rfind(mark)
        for start in (at - offset for offset in offsets if at >= offset):
            ends = start + _frame_bytes(head[start : start + 6]) == len(head)
            if head[start] == 0xFF and ends and (mark == b"VBRI" or head[at + 7] & 1):
                return int.from_bytes(head[at + count : at + count + 4], "big")
    return 0
