"""How large a medium may be. A response is a few seconds of media; what is far beyond is an attack."""

from __future__ import annotations

MAX_BYTES = 512 * 2**20
"""Of a file."""


MAX_PIXELS = 64 * 2**20
"""Of one picture: width times height."""


MAX_VIDEO_PIXELS = 256 * 2**20
"""Of all frames that one call reads: 1,165 frames of 640x360, or 129 of 1920x1080."""


MAX_FRAMES = 500_000
"""Of a clip."""


MAX_SECONDS = 4 * 3600.0
"""Of a clip."""


MAX_AUDIO_SECONDS = 3600.0
"""Of a sound."""


MAX_CHANNELS = 64
"""Of a sound."""


RATES = (1_000, 768_000)
"""Sampling rates of a sound, lowest and highest, in Hz."""


MAX_DECODE_SECONDS = 60.0
"""Of the clock, for one medium: beyond this it hangs."""


MAX_MEMORY = 3 * 2**30
"""Address space of a process that decodes, in bytes; the largest picture allowed needs half of it."""


MAX_RESULT = 2 * 2**30
"""Bytes of pixels or samples that one medium becomes."""
