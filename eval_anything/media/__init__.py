"""Media files: their kinds, whether they decode, and their pixels and samples.

The first bytes of a file decide its kind, not its name. Every reader raises `MediaError` with the
reason for an empty, truncated, foreign or oversized file, and for one whose decoder crashes, hangs or
needs too much memory: decoding happens in child processes. docs/media.md says more.
"""

from __future__ import annotations

from eval_anything.media.encode import encode_mp4 as encode_mp4
from eval_anything.media.encode import encode_png as encode_png
from eval_anything.media.encode import encode_wav as encode_wav
from eval_anything.media.limits import MAX_BYTES as MAX_BYTES
from eval_anything.media.read import AudioSamples as AudioSamples
from eval_anything.media.read import DecodedImage as DecodedImage
from eval_anything.media.read import FrameTimes as FrameTimes
from eval_anything.media.read import Probe as Probe
from eval_anything.media.read import Video as Video
from eval_anything.media.read import check_decodes as check_decodes
from eval_anything.media.read import probe as probe
from eval_anything.media.read import read_audio as read_audio
from eval_anything.media.read import read_frames as read_frames
from eval_anything.media.read import read_image as read_image
from eval_anything.media.read import read_picture as read_picture
from eval_anything.media.read import read_sound as read_sound
from eval_anything.media.read import read_times as read_times
from eval_anything.media.read import read_video as read_video
from eval_anything.media.sniff import Kind as Kind
from eval_anything.media.sniff import MediaError as MediaError
from eval_anything.media.sniff import sniff as sniff
from eval_anything.media.store import MediaStore as MediaStore
from eval_anything.media.store import media_part as media_part
from eval_anything.media.store import medium_bytes as medium_bytes
