"""Limits on media. Responses are a few seconds long; media far beyond that are taken for attacks."""

from __future__ import annotations

MAX_BYTES = 512 * 2**20
"""Size of a file."""


MAX_PIXELS = 64 * 2**20
"""Pixels of one picture or frame: width times height."""


MAX_VIDEO_PIXELS = 256 * 2**20
"""Pixels of all frames that one call reads: 1,165 frames of 640x360, or 129 of 1920x1080."""


MAX_FRAMES = 500_000
"""Frames of a clip."""


MAX_SECONDS = 4 * 3600.0
"""Length of a clip."""


MAX_AUDIO_SECONDS = 3600.0
"""Length of a sound."""


MAX_CHANNELS = 64
"""Channels of a sound."""


RATES = (1_000, 768_000)
"""Lowest and highest sampling rate of a sound, in Hz."""


MAX_DECODE_SECONDS = 60.0
"""Wall-clock time to decode one medium; beyond it the decoder counts as hanging."""


MAX_MEMORY = 3 * 2**30
"""Address space of a decoding process, in bytes; the largest picture allowed needs half of it."""


MAX_RESULT = 2 * 2**30
"""Bytes of the pixels or samples of one decoded medium."""
