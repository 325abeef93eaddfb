"""Orientations of pictures and clips: the eight ways in which stored pixels are turned to be shown."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class Orientation(NamedTuple):
    """The way from stored pixels to upright ones: rows and columns are swapped first, then flipped.

    Example:
        >>> Orientation(swapped=True).size(640, 360)
        (360, 640)
    """

    swapped: bool = False
    flipped_rows: bool = False
    flipped_columns: bool = False

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return (height, width) if self.swapped else (width, height)

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """The pixels (height, width, 3) as they are to be shown."""
        turned = pixels.swapaxes(0, 1) if self.swapped else pixels
        return turned[:: -1 if self.flipped_rows else 1, :: -1 if self.flipped_columns else 1]


def of_matrix(matrix: Sequence[float]) -> Orientation:
    """The orientation nearest to a display matrix of FFmpeg's (libavutil/display.h).

    The stored pixel (x, y) is shown at (ax + cy, bx + dy); a, b, c and d are the numbers 0, 1, 3 and 4.
    """
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, flipped_rows=d < 0, flipped_columns=a < 0)
    return Orientation(True, flipped_rows=b < 0, flipped_columns=c < 0)


def of_frame(frame: Any) -> Orientation:
    """The orientation of a frame of PyAV's, by its display matrix; upright without one."""
    from av.sidedata.sidedata import Type

    try:
        matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    except ValueError:  # the frame has side data that this PyAV has no name for
        angle = math.radians(frame.rotation)
        return of_matrix((math.cos(angle), -math.sin(angle), 0, math.sin(angle), math.cos(angle)))
    return Orientation() if matrix is None else of_matrix(struct.unpack("=9i", bytes(matrix)))
