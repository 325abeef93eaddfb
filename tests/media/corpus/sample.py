"""The files of the corpus that `make test` reads: each kind that easily goes wrong."""

SAMPLE = frozenset(
    """
    pyav-pipe.mp3 joined-tags.mp3 sox-vbr.mp3 espeak-pipe.wav soundfile-rf64.wav ffmpeg-pipe.flac
    soundfile-opus.ogg fragments.m4a sound-recorder.webm dolby.ac3
    key-16-grey.png pillow-cmyk.jpg pillow-pair.jpg wrong-orientation.jpg turned-5.jpg
    ffmpeg-animated.gif ffmpeg-clear.webp ffmpeg.tiff cut.jpg
    open-groups.mp4 bt709.mp4 10-bit.mp4 edit-list.mp4 one-frame.mp4 slow-then-fast.mp4
    displayed-5.mp4 sound-first.mp4 vp9-hidden.webm recorder.webm changing.webm avi.avi
    """.split()  # noqa: SIM905  (a list of quoted words is three times as long)
)
