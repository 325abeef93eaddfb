"""Integrated loudness of a sound, for playing two at the same level.

By ITU-R BS.1770-5: K-weighting (annex 1, coefficients for 48 kHz), mean squares of blocks of 400 ms
with an overlap of 75 %, gates at -70 LUFS and 10 LU below the mean. A sound shorter than a block is
one block.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


RATE = 48_000


_SHELF = (
    [1.53512485958697, -2.69169618940638, 1.19839281085285],
    [1.0, -1.69065929318241, 0.73248077421585],
)


_HIGH_PASS = ([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621])


_BLOCK, _STEP = RATE * 2 // 5, RATE // 10


_SILENCE, _GATE = -70.0, -10.0


def loudness(samples: np.ndarray) -> float | None:
    """Loudness in LUFS of a mono sound, float (n,), at 48 kHz; None for silence."""
    import numpy as np
    from scipy.signal import lfilter

    weighted = lfilter(*_HIGH_PASS, lfilter(*_SHELF, samples.astype(np.float64)))
    squares = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, max(len(weighted) - _BLOCK, 0) + 1, _STEP)
    ends = np.minimum(starts + _BLOCK, len(weighted))
    powers = (squares[ends] - squares[starts]) / np.maximum(ends - starts, 1)
    audible = powers[_lufs(powers) > _SILENCE]
    if not len(audible):
        return None
    gated = audible[_lufs(audible) > _lufs(audible.mean()) + _GATE]
    return float(_lufs(gated.mean()))


def _lufs(power: np.ndarray) -> np.ndarray:
    import numpy as np

    lufs: np.ndarray = -0.691 + 10 * np.log10(np.maximum(power, math.ulp(0)))
    return lufs
