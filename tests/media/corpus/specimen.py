"""One file of the corpus: the command that writes it, and how exactly it must be read."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from eval_anything.content import Modality

ALWAYS = ["ffmpeg", "ffprobe", "sox", "lame", "espeak-ng"]
"""Programs of `make test`."""

LANE = [*ALWAYS, "convert", "exiftool", "flac", "heif-convert", "heif-enc"]
LANE += ["oggenc", "opusenc", "vpxenc", "x264"]
"""Programs of `make corpus`."""

# ffmpeg asks nothing and only reports errors.
_PREAMBLE = 'set -e; ffmpeg() { command ffmpeg -nostdin -v error -y "$@"; }; '

Make = str | Callable[[Path], None]
"""A shell command that runs beside the sources, OUT for the file; or a function of the file's path."""


@dataclass(frozen=True)
class Bound:
    """Largest differences from the truth.

    Attributes:
        about: the files that it is for.
        most: of one sample (full scale is 1) or of one value of a pixel (0 to 255).
        mean: of all of them.
        length: of a sound, in samples.
    """

    about: str
    most: float
    mean: float
    length: int = 0


@dataclass(frozen=True)
class Specimen:
    """A file of the corpus.

    Attributes:
        name: of the file.
        make: how it is written.
        modality: what it should be used as.
        bound: how exactly it is read.
        refused: pattern of the error where it is right to refuse it.
        orientation: of Exif data, 1 to 8: how the pixels of a picture are turned for display.
        shown: command that writes OUT.shown for the truth, where ffmpeg 5.1 does not read it right.
    """

    name: str
    make: Make
    modality: Modality
    bound: Bound
    refused: str = ""
    orientation: int = 1
    shown: str = ""


def specimens(
    modality: Modality, bound: Bound, makes: Mapping[str, Make], refused: str = ""
) -> Iterator[Specimen]:
    """Specimens that have all but the name and the making in common."""
    for name, make in makes.items():
        yield Specimen(name, make, modality, bound, refused)


def command(line: str, out: Path) -> None:
    """Runs a line of a shell beside `out`, which is OUT in the line. RuntimeError with its output."""
    script = _PREAMBLE + line.replace("OUT", out.name)
    done = subprocess.run(["sh", "-c", script], cwd=out.parent, capture_output=True, text=True)
    if done.returncode or not out.exists():
        raise RuntimeError(f"{line}: {done.stderr or done.stdout or 'no file was written'}")


def build(corpus: list[Specimen], folder: Path) -> None:
    """Writes all files into the folder of the sources."""

    def write(specimen: Specimen) -> None:
        out = folder / specimen.name
        if callable(specimen.make):
            specimen.make(out)
        else:
            command(specimen.make, out)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, corpus))
