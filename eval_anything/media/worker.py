"""The process that decodes media: `python -m eval_anything.media.worker FD SECONDS BYTES`

It reads one request a line from stdin (JSON: operation, path, ...), writes pixels or samples into the
file FD that it shares with its parent, and replies on stdout in one line of JSON. A decoder that
crashes, hangs or needs too much memory ends only this process; see `pool`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from eval_anything.content import Modality
from eval_anything.isolation import Json, limit_itself, serve
from eval_anything.media.limits import MAX_RESULT
from eval_anything.media.sniff import Kind, MediaError, kind_of_file

if TYPE_CHECKING:
    import numpy as np


# A process ends after so many media, and with it whatever its decoders have leaked.
_MEDIA_A_PROCESS = 1000


class OutputFile:
    """The file that the parent reads: arrays of pixels or samples, in order or at given offsets."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = 0

    def write(self, array: np.ndarray, at: int | None = None) -> None:
        """Writes an array at an offset in bytes, or after all others."""
        import numpy as np

        offset = self.size if at is None else at
        view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        while view:
            written = os.pwrite(self.fd, view, offset)
            view, offset = view[written:], offset + written
        self.size = max(self.size, offset)


def _image(path: Path, kind: Kind, _: Json, output: OutputFile) -> Json:
    from eval_anything.media.images import decode_image

    pixels, is_plain = decode_image(path, kind)
    output.write(pixels)
    return {"shape": pixels.shape, "plain": is_plain}


def _audio(path: Path, kind: Kind, request: Json, output: OutputFile) -> Json:
    from eval_anything.media.sounds import mono_blocks

    for block in mono_blocks(path, kind, request["rate"]):
        output.write(block)
    return {"shape": [output.size // 4]}


def _sound(path: Path, kind: Kind, _: Json, output: OutputFile) -> Json:
    from eval_anything.media.sounds import sound_blocks

    header, blocks = sound_blocks(path, kind)
    for block in blocks:
        output.write(block)
    return {"shape": [output.size // 4 // header.channels, header.channels], "rate": header.rate}


def _video(path: Path, kind: Kind, request: Json, output: OutputFile) -> Json:
    from eval_anything.media import frames
    from eval_anything.media.timeline import read_timeline

    timeline = read_timeline(path, kind)
    indices = list(range(len(timeline.pts)))
    if request["count"] is not None:
        indices = frames.evenly(timeline, request["count"])
    elif request["indices"] is not None:
        indices = request["indices"]
    elif request["times"] is not None:
        indices = frames.shown_at(timeline, request["times"], path)
    sides: tuple[int, ...] = (0, 0, 3)
    for position, pixels in frames.decode_frames(path, kind, timeline, indices):
        sides = pixels.shape
        output.write(pixels, position * pixels.size)
    times = timeline.times
    return {
        "shape": [len(indices), *sides],
        "times": [times[index] for index in indices],
    }


def _times(path: Path, kind: Kind, _: Json, output: OutputFile) -> Json:
    import numpy as np

    from eval_anything.media.timeline import read_timeline

    timeline = read_timeline(path, kind)
    times = np.array([*timeline.times, timeline.end], np.float64)
    output.write(times)
    return {"shape": times.shape, "size": timeline.size}


def _check(path: Path, kind: Kind, request: Json, _: OutputFile) -> Json:
    if request["modality"] == Modality.IMAGE:
        from eval_anything.media.images import decode_image

        decode_image(path, kind)
    elif request["modality"] == Modality.AUDIO:
        from eval_anything.media.sounds import sound_blocks

        for _block in sound_blocks(path, kind)[1]:
            pass
    else:
        from eval_anything.media.frames import check_frames
        from eval_anything.media.timeline import read_timeline

        check_frames(path, kind, read_timeline(path, kind))
    return {}


def _streams(path: Path, kind: Kind, _: Json, __: OutputFile) -> Json:
    from eval_anything.media.containers import kind_by_streams

    return {"modality": kind_by_streams(path, kind).modality}


def _probe(path: Path, kind: Kind, _: Json, __: OutputFile) -> Json:
    from eval_anything.media.containers import kind_by_streams

    kind = kind_by_streams(path, kind)
    if kind.modality is Modality.IMAGE:
        from eval_anything.media.images import upright_size

        return {"mime": kind.mime, "size": upright_size(path, kind), "frames": 1}
    if kind.modality is Modality.AUDIO:
        from eval_anything.media.sounds import sound_blocks

        header, blocks = sound_blocks(path, kind)
        seconds = sum(map(len, blocks)) / header.rate
        return {"mime": kind.mime, "duration": seconds, "rate": header.rate, "channels": header.channels}
    from eval_anything.media.timeline import read_timeline

    timeline = read_timeline(path, kind)
    times = timeline.times
    span = times[-1] - times[0]
    return {
        "mime": kind.mime,
        "duration": span + timeline.last_seconds,
        "rate": (len(times) - 1) / span if span else 1 / timeline.last_seconds,
        "size": timeline.size,
        "frames": len(times),
        "has_sound": timeline.has_sound,
    }


_OPERATIONS: dict[str, Callable[[Path, Kind, Json, OutputFile], Json]] = {
    "image": _image,
    "audio": _audio,
    "sound": _sound,
    "video": _video,
    "times": _times,
    "check": _check,
    "probe": _probe,
    "streams": _streams,
}


def answer(request: Json, fd: int) -> Json:
    """The reply to one request: "shape" and more, or "error", "memory" or "missing" with a reason."""
    path = Path(request["path"])
    try:
        return _OPERATIONS[request["operation"]](path, kind_of_file(path), request, OutputFile(fd))
    except MediaError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"memory": True}
    except ImportError as error:
        return {"missing": str(error)}
    except Exception as error:  # decoders raise errors of any type
        return {"error": f"{path} does not decode: {error or type(error).__name__}"}


def main(fd: int, seconds: int, memory: int) -> None:
    """Answers until stdin ends."""
    import warnings

    import numpy  # noqa: F401  (every medium needs it: the first must not wait for it)

    limit_itself(memory, MAX_RESULT)
    warnings.simplefilter("ignore")
    serve(lambda request: answer(request, fd), seconds, _MEDIA_A_PROCESS)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
