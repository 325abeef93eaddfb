"""Clips of the corpus: phones, screen recorders, browsers and encoders."""

from __future__ import annotations

from collections.abc import Iterator

from eval_anything.content import Modality
from tests.media.corpus.sources import FRAME_HEIGHT, FRAME_WIDTH
from tests.media.corpus.specimen import Bound, Make, Specimen, specimens
from tests.media.corpus.writers import changed, clip_by_pyav, cut, displayed

FRAMES = Bound("clips", most=12, mean=2)
SCALED = Bound("clips that change their size, in which later frames are scaled", most=16, mean=2)

QUIET = "-x265-params log-level=none"
UNEVEN = "ffmpeg -i film.y4m -vf setpts='(N*N/24+N)/12/TB' -vsync vfr -enc_time_base 1/1000"

MP4: dict[str, Make] = {
    "x264.mp4": "x264 --quiet --preset fast -o OUT.mkv film.y4m && ffmpeg -i OUT.mkv -c copy OUT",
    "x264-open.mp4": "x264 --quiet --open-gop -I 8 -b 3 -o OUT.mkv film.y4m"
    " && ffmpeg -i OUT.mkv -c copy OUT",
    "h264.mp4": "ffmpeg -i film.y4m OUT",
    "baseline.mp4": "ffmpeg -i film.y4m -profile:v baseline -bf 0 OUT",
    "pyramid.mp4": "ffmpeg -i film.y4m -bf 4 -g 12 -x264-params b-pyramid=normal OUT",
    "open-groups.mp4": "ffmpeg -i film.y4m -x264-params open-gop=1:keyint=8:bframes=3:scenecut=0 OUT",
    "refresh.mp4": "ffmpeg -i film.y4m -x264-params intra-refresh=1:keyint=8 OUT",
    "all-key.mp4": "ffmpeg -i film.y4m -g 1 OUT",
    "422.mp4": "ffmpeg -i film.y4m -pix_fmt yuv422p OUT",
    "444.mp4": "ffmpeg -i film.y4m -pix_fmt yuv444p OUT",
    "10-bit.mp4": "ffmpeg -i film.y4m -pix_fmt yuv420p10le OUT",
    "rgb.mp4": "ffmpeg -i film.y4m -c:v libx264rgb OUT",
    "grey.mp4": "ffmpeg -i film.y4m -pix_fmt gray OUT",
    "bt709.mp4": "ffmpeg -i film.y4m -vf scale=out_color_matrix=bt709 -colorspace bt709"
    " -color_primaries bt709 -color_trc bt709 OUT",
    "bt601.mp4": "ffmpeg -i film.y4m -colorspace smpte170m OUT",
    "bt2020.mp4": "ffmpeg -i film.y4m -vf scale=out_color_matrix=bt2020 -colorspace bt2020nc OUT",
    "full-range.mp4": "ffmpeg -i film.y4m -vf scale=out_range=pc -color_range pc OUT",
    "fragments.mp4": "ffmpeg -i film.y4m -g 8 -movflags frag_keyframe+empty_moov -f mp4 - | cat > OUT",
    "front.mp4": "ffmpeg -i film.y4m -movflags faststart OUT",
    "edit-list.mp4": "ffmpeg -i film.y4m -g 12 -bf 2 OUT.1.mp4"
    " && ffmpeg -ss 0.5 -i OUT.1.mp4 -c copy OUT",
    "late.mp4": "ffmpeg -i film.y4m -output_ts_offset 10 OUT",
    "uneven.mp4": f"{UNEVEN} OUT",
    "uneven-no-b.mp4": f"{UNEVEN} -bf 0 OUT",
    "dropped.mp4": "ffmpeg -i film.y4m -vf \"select='not(between(n,5,15))'\" -vsync vfr OUT",
    "slow-then-fast.mp4": clip_by_pyav("mp4", "libx264", [*range(9), *(9 + n / 30 for n in range(30))]),
    "29.97.mp4": "ffmpeg -i film.y4m -vf setpts=N/29.97/TB -r 30000/1001 OUT",
    "one-a-second.mp4": "ffmpeg -r 1 -i film.y4m -frames:v 5 OUT",
    "120-a-second.mp4": "ffmpeg -r 120 -i film.y4m OUT",
    "one-frame.mp4": "ffmpeg -i film.y4m -frames:v 1 OUT",
    "two-frames.mp4": "ffmpeg -i film.y4m -frames:v 2 OUT",
    "odd-size.mp4": "ffmpeg -i film.y4m -vf crop=94:62 OUT",
    "odd-444.mp4": "ffmpeg -i film.y4m -vf format=yuv444p,crop=93:61:exact=1 OUT",
    "wide-pixels.mp4": "ffmpeg -i film.y4m -aspect 2:1 OUT",
    "sound.mp4": "ffmpeg -i film.y4m -i stereo.wav OUT",
    "sound-first.mp4": "ffmpeg -i film.y4m -i stereo.wav -map 1 -map 0 OUT",
    "long-sound.mp4": "ffmpeg -t 0.3 -i film.y4m -i stereo.wav OUT",
    "two-streams.mp4": "ffmpeg -i film.y4m -i moving1.png -map 0 -map 1 OUT",
    "cover.mp4": "ffmpeg -i film.y4m -i photo.png -map 0 -map 1 -c:v:1 png"
    " -disposition:v:1 attached_pic OUT",
    "hevc.mp4": f"ffmpeg -i film.y4m -c:v libx265 {QUIET} OUT",
    "hvc1.mp4": "ffmpeg -i film.y4m -c:v libx265 -tag:v hvc1 -x265-params log-level=none:open-gop=0 OUT",
    "hevc-10.mp4": f"ffmpeg -i film.y4m -c:v libx265 -pix_fmt yuv420p10le {QUIET} OUT",
    "mpeg4.mp4": "ffmpeg -i film.y4m -c:v mpeg4 -q:v 3 OUT",
    "mpeg4-b.mp4": "ffmpeg -i film.y4m -c:v mpeg4 -q:v 3 -bf 2 OUT",
    "xvid.mp4": "ffmpeg -i film.y4m -c:v libxvid -q:v 3 OUT",
    "vp9.mp4": "ffmpeg -i film.y4m -c:v libvpx-vp9 OUT",
    "av1.mp4": "ffmpeg -i film.y4m -c:v libaom-av1 -cpu-used 8 -row-mt 0 OUT",
    "quicktime.mov": "ffmpeg -i film.y4m OUT",
    "prores.mov": "ffmpeg -i film.y4m -c:v prores_ks OUT",
    "mjpeg.mov": "ffmpeg -i film.y4m -c:v mjpeg -q:v 2 OUT",
    "animation.mov": "ffmpeg -i film.y4m -c:v qtrle OUT",
    "windows.wmv": "ffmpeg -i film.y4m -q:v 2 OUT",
    "phone.3gp": "ffmpeg -i film.y4m -i phone.wav -c:v mpeg4 -q:v 3 -c:a aac OUT",
}

WEBM: dict[str, Make] = {
    "vpxenc-vp8.webm": "vpxenc -q --codec=vp8 --rt --cpu-used=8 -o OUT film.y4m",
    "vpxenc-vp8-hidden.webm": "vpxenc -q --codec=vp8 --auto-alt-ref=1 --lag-in-frames=9 -o OUT film.y4m",
    "vpxenc-vp9.webm": "vpxenc -q --codec=vp9 --rt --cpu-used=8 -o OUT film.y4m",
    "vpxenc-vp9-444.webm": "ffmpeg -i film.y4m -pix_fmt yuv444p OUT.y4m"
    " && vpxenc -q --codec=vp9 --profile=1 --i444 --rt --cpu-used=8 -o OUT OUT.y4m",
    "vp8.webm": "ffmpeg -i film.y4m -c:v libvpx OUT",
    "vp8-sound.webm": "ffmpeg -i film.y4m -i stereo.wav -c:v libvpx -c:a libvorbis OUT",
    "vp8-clear.webm": "ffmpeg -i film.y4m -vf format=yuva420p -c:v libvpx -auto-alt-ref 0 OUT",
    "vp9.webm": "ffmpeg -i film.y4m -c:v libvpx-vp9 -deadline realtime OUT",
    "vp9-hidden.webm": "ffmpeg -i film.y4m -c:v libvpx-vp9 -auto-alt-ref 1 -lag-in-frames 16 OUT",
    "vp9-10.webm": "ffmpeg -i film.y4m -c:v libvpx-vp9 -pix_fmt yuv420p10le OUT",
    "av1.webm": "ffmpeg -i film.y4m -c:v libsvtav1 -preset 10 OUT",
    "recorder.webm": "ffmpeg -i film.y4m -i studio.wav -c:v libvpx -deadline realtime -c:a libopus"
    " -f webm -live 1 - | cat > OUT",
    "pipe.webm": "ffmpeg -i film.y4m -c:v libvpx-vp9 -deadline realtime -f webm - | cat > OUT",
    "uneven.webm": f"{UNEVEN} -c:v libvpx OUT",
    "late.webm": "ffmpeg -i film.y4m -c:v libvpx -output_ts_offset 10 OUT",
    "one-frame.webm": "ffmpeg -i film.y4m -frames:v 1 -c:v libvpx OUT",
    "h264.mkv": "ffmpeg -i film.y4m OUT",
    "b-frames.mkv": "ffmpeg -i film.y4m -bf 3 -g 12 OUT",
    "uneven.mkv": f"{UNEVEN} OUT",
    "ffv1.mkv": "ffmpeg -i film.y4m -c:v ffv1 OUT",
    "mjpeg.mkv": "ffmpeg -i film.y4m -c:v mjpeg -q:v 2 OUT",
    "hevc.mkv": f"ffmpeg -i film.y4m -c:v libx265 {QUIET} OUT",
}

TURNED: dict[str, Make] = {
    "rotate-90.mp4": "ffmpeg -i film.y4m OUT.1.mp4"
    " && ffmpeg -i OUT.1.mp4 -c copy -metadata:s:v rotate=90 OUT",
    "rotate-180.mov": "ffmpeg -i film.y4m OUT.1.mp4"
    " && ffmpeg -i OUT.1.mp4 -c copy -metadata:s:v rotate=180 OUT",
    "rotate-hevc.mp4": f"ffmpeg -i film.y4m -c:v libx265 {QUIET} OUT.1.mp4"
    " && ffmpeg -i OUT.1.mp4 -c copy -metadata:s:v rotate=270 OUT",
    "exiftool-90.mp4": "ffmpeg -i film.y4m OUT && exiftool -q -overwrite_original -Rotation=90 OUT",
}

CHANGING: dict[str, Make] = {
    "changing.webm": "ffmpeg -i film.y4m -c:v libvpx OUT.1.webm"
    " && ffmpeg -i film.y4m -vf scale=48:32 -c:v libvpx OUT.2.webm"
    r" && printf 'file OUT.1.webm\nfile OUT.2.webm\n' > OUT.txt"
    " && ffmpeg -f concat -i OUT.txt -c copy OUT",
}

TRUNCATED: dict[str, Make] = {
    "cut.mp4": changed("ffmpeg -i film.y4m -g 6 -movflags faststart OUT", cut(0.7)),
    "cut.webm": changed("ffmpeg -i film.y4m -g 6 -c:v libvpx OUT", cut(0.7)),
    "no-index.mp4": changed("ffmpeg -i film.y4m OUT", cut(0.7)),
}

OTHERS: dict[str, Make] = {
    "avi.avi": "ffmpeg -i film.y4m OUT",
    "stream.ts": "ffmpeg -i film.y4m OUT",
    "flash.flv": "ffmpeg -i film.y4m OUT",
    "program.mpg": "ffmpeg -i film.y4m -r 25 OUT",
    "raw.h264": "ffmpeg -i film.y4m OUT",
}

WITHOUT_PICTURES: dict[str, Make] = {"only-sound.mp4": "ffmpeg -i stereo.wav OUT"}


def clips() -> Iterator[Specimen]:
    """All clips."""
    yield from specimens(Modality.VIDEO, FRAMES, MP4)
    yield from specimens(Modality.VIDEO, FRAMES, WEBM)
    yield from specimens(Modality.VIDEO, FRAMES, TURNED)
    for orientation in range(1, 9):
        change = displayed(orientation, FRAME_WIDTH, FRAME_HEIGHT)
        make = changed("ffmpeg -i film.y4m -bf 2 OUT", change)
        yield from specimens(Modality.VIDEO, FRAMES, {f"displayed-{orientation}.mp4": make})
    yield from specimens(Modality.VIDEO, SCALED, CHANGING)
    yield from specimens(Modality.VIDEO, FRAMES, TRUNCATED, refused="truncated|does not decode")
    yield from specimens(Modality.VIDEO, FRAMES, OTHERS, refused="known")
    yield from specimens(Modality.VIDEO, FRAMES, WITHOUT_PICTURES, refused="no pictures|audio")
