"""Sounds of the corpus: speech programs, recorders and encoders, to files and through pipes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from eval_anything.content import Modality
from tests.media.corpus.specimen import Bound, Make, Specimen, specimens
from tests.media.corpus.writers import (
    by_pyav,
    by_scipy,
    by_soundfile,
    changed,
    cut,
    wav_length,
    with_ape_tags,
    with_chunk_behind,
    with_tags_in_front,
)

EXACT = Bound("sounds: PCM and lossless codecs", most=1e-6, mean=1e-7)
LOSSY = Bound("sounds: MP3, AAC, Opus and other lossy codecs", most=1e-4, mean=1e-5)
# Errors of rounding add up, and ffmpeg leaves out the end of the last block of GSM.
BLOCKS = Bound("sounds: ADPCM, G.722, G.726, GSM", most=3e-3, mean=1e-3, length=320)
# ffmpeg returns the last block of Vorbis whole, of which the file declares a part.
VORBIS = Bound("sounds: Vorbis in Ogg", most=1e-4, mean=1e-5, length=1024)
# Where ffmpeg goes from the first of two files into the second, it mixes their blocks.
CHAINED = Bound("sounds: two Ogg files in one", most=0.2, mean=2e-4)

MP3: dict[str, Make] = {
    "lame-cbr.mp3": "lame --quiet -b 128 stereo.wav OUT",
    "lame-vbr.mp3": "lame --quiet -V 4 stereo.wav OUT",
    "lame-abr.mp3": "lame --quiet --abr 96 stereo.wav OUT",
    "lame-320.mp3": "lame --quiet -b 320 studio.wav OUT",
    "lame-mono.mp3": "lame --quiet -m m stereo.wav OUT",
    "lame-checksums.mp3": "lame --quiet -p stereo.wav OUT",
    "lame-mpeg2.mp3": "lame --quiet voice.wav OUT",
    "lame-mpeg25.mp3": "lame --quiet phone.wav OUT",
    "lame-no-header-cbr.mp3": "lame --quiet -t -b 128 stereo.wav OUT",
    "lame-no-header-vbr.mp3": "lame --quiet -t -V 6 stereo.wav OUT",
    "lame-no-header-mpeg2.mp3": "lame --quiet -t -V 4 voice.wav OUT",
    "lame-pipe.mp3": "cat stereo.wav | lame --quiet -V 2 - - | cat > OUT",
    "lame-tags.mp3": "lame --quiet --add-id3v2 --pad-id3v2-size 3000 --tt Title stereo.wav OUT",
    "lame-old-tags.mp3": "lame --quiet --id3v1-only --tt Title stereo.wav OUT",
    "sox-cbr.mp3": "sox stereo.wav -C 64 OUT",
    "sox-vbr.mp3": "sox stereo.wav -C -4.2 OUT",
    "sox-pipe.mp3": "sox voice.wav -t mp3 - | cat > OUT",
    "ffmpeg.mp3": "ffmpeg -i stereo.wav OUT",
    "ffmpeg-pipe.mp3": "ffmpeg -i stereo.wav -f mp3 - | cat > OUT",
    "ffmpeg-vbr-no-header.mp3": "ffmpeg -i stereo.wav -q:a 5 -write_xing 0 OUT",
    "ffmpeg-pipe-mpeg2.mp3": "ffmpeg -i voice.wav -f mp3 - | cat > OUT",
    "ffmpeg-shine.mp3": "ffmpeg -i stereo.wav -c:a libshine OUT",
    "ffmpeg-old-tags.mp3": "ffmpeg -i stereo.wav -metadata title=Title -write_id3v1 1 OUT",
    "ffmpeg-cover.mp3": "ffmpeg -i stereo.wav -i photo.png -map 0 -map 1 -c:v mjpeg OUT",
    "pyav-pipe.mp3": by_pyav("mp3", "libmp3lame", 44100, "stereo"),
    "pyav-pipe-mono.mp3": by_pyav("mp3", "libmp3lame", 16000),
    "soundfile.mp3": by_soundfile("MP3", "MPEG_LAYER_III"),
    "ape-tags.mp3": changed("lame --quiet -b 128 stereo.wav OUT", with_ape_tags),
    "zeros-behind.mp3": "lame --quiet -b 128 stereo.wav OUT && head -c 2000 /dev/zero >> OUT",
    "joined.mp3": "lame --quiet -t -b 128 stereo.wav OUT.1 && lame --quiet -t -V 4 stereo.wav OUT.2"
    " && cat OUT.1 OUT.2 > OUT",
    "joined-headers.mp3": "lame --quiet -b 128 stereo.wav OUT.1 && cat OUT.1 OUT.1 > OUT",
    "joined-tags.mp3": "lame --quiet -t --add-id3v2 --tt A stereo.wav OUT.1 && cat OUT.1 OUT.1 > OUT",
}

WAV: dict[str, Make] = {
    "sox-8.wav": "sox voice.wav -b 8 -e unsigned OUT",
    "sox-16.wav": "sox voice.wav -b 16 OUT",
    "sox-24.wav": "sox stereo.wav -b 24 OUT",
    "sox-32.wav": "sox stereo.wav -b 32 OUT",
    "sox-float.wav": "sox stereo.wav -e floating-point -b 32 OUT",
    "sox-double.wav": "sox stereo.wav -e floating-point -b 64 OUT",
    "sox-a-law.wav": "sox phone.wav -e a-law OUT",
    "sox-mu-law.wav": "sox phone.wav -e mu-law OUT",
    "sox-96k.wav": "sox stereo.wav -b 24 -r 96000 OUT",
    "sox-six.wav": "sox six.wav -b 24 OUT",
    "sox-odd.wav": "sox phone.wav -b 8 OUT trim 0 1001s",
    "sox-big-endian.wav": "sox voice.wav -B OUT",
    "sox-pipe.wav": "sox voice.wav -t wav - | cat > OUT",
    "sox-pipe-24.wav": "sox stereo.wav -b 24 -t wav - | cat > OUT",
    "sox-pipe-mu-law.wav": "sox phone.wav -e mu-law -t wav - | cat > OUT",
    "espeak.wav": "espeak-ng -w OUT 'One two.'",
    "espeak-pipe.wav": "espeak-ng --stdout 'One two.' | cat > OUT",
    "ffmpeg.wav": "ffmpeg -i stereo.wav OUT",
    "ffmpeg-pipe.wav": "ffmpeg -i stereo.wav -f wav - | cat > OUT",
    "ffmpeg-pipe-float.wav": "ffmpeg -i stereo.wav -c:a pcm_f32le -f wav - | cat > OUT",
    "ffmpeg-8.wav": "ffmpeg -i stereo.wav -c:a pcm_u8 OUT",
    "ffmpeg-24.wav": "ffmpeg -i stereo.wav -c:a pcm_s24le OUT",
    "ffmpeg-double.wav": "ffmpeg -i stereo.wav -c:a pcm_f64le OUT",
    "ffmpeg-six.wav": "ffmpeg -i six.wav -ac 6 OUT",
    "ffmpeg-broadcast.wav": "ffmpeg -i stereo.wav -write_bext 1 -metadata description=Sound OUT",
    "ffmpeg-tags.wav": "ffmpeg -i stereo.wav -metadata title=Title OUT",
    "ffmpeg-rf64.wav": "ffmpeg -i stereo.wav -rf64 always OUT",
    "soundfile-extensible.wav": by_soundfile("WAVEX", "PCM_24"),
    "soundfile-rf64.wav": by_soundfile("RF64", "PCM_16"),
    "soundfile-float.wav": by_soundfile("WAV", "FLOAT"),
    "scipy-16.wav": by_scipy("int16"),
    "scipy-32.wav": by_scipy("int32"),
    "scipy-float.wav": by_scipy("float32"),
    "tags-behind.wav": changed("sox voice.wav OUT", with_chunk_behind),
    "length-0.wav": changed("sox voice.wav OUT", wav_length(0)),
    "length-2000000000.wav": changed("sox voice.wav OUT", wav_length(2_000_000_000)),
    "length-7fffffff.wav": changed("sox stereo.wav OUT", wav_length(2**31 - 1)),
    "length-7fff0000.wav": changed("sox stereo.wav -b 24 OUT", wav_length(0x7FFF0000)),
    "length-fffffff0.wav": changed("sox stereo.wav OUT", wav_length(2**32 - 16)),
    "length-ffffffff.wav": changed("sox six.wav OUT", wav_length(2**32 - 1)),
}

WAV_CODECS: dict[str, Make] = {
    "sox-ms-adpcm.wav": "sox voice.wav -e ms-adpcm OUT",
    "sox-ima-adpcm.wav": "sox voice.wav -e ima-adpcm OUT",
    "sox-gsm.wav": "sox phone.wav -e gsm-full-rate OUT",
    "ffmpeg-ms-adpcm.wav": "ffmpeg -i stereo.wav -c:a adpcm_ms OUT",
    "ffmpeg-ima-adpcm.wav": "ffmpeg -i stereo.wav -c:a adpcm_ima_wav OUT",
    "g726.wav": "ffmpeg -i phone.wav -c:a g726 OUT",
    "g722.wav": "ffmpeg -i voice.wav -c:a g722 OUT",
    "mp3-in.wav": "ffmpeg -i stereo.wav -c:a libmp3lame OUT",
}

FLAC: dict[str, Make] = {
    "flac-0.flac": "flac -s -0 -o OUT stereo.wav",
    "flac-8.flac": "ffmpeg -i six.wav OUT.wav && flac -s -8 -o OUT OUT.wav",
    "flac-24.flac": "sox stereo.wav -b 24 OUT.wav && flac -s -o OUT OUT.wav",
    "flac-pipe.flac": "cat stereo.wav | flac -s - | cat > OUT",
    "flac-pictures.flac": "flac -s --picture=photo.png -T TITLE=Title -P 5000 -o OUT stereo.wav",
    "ffmpeg.flac": "ffmpeg -i stereo.wav OUT",
    "ffmpeg-24.flac": "ffmpeg -i stereo.wav -sample_fmt s32 OUT",
    "ffmpeg-pipe.flac": "ffmpeg -i stereo.wav -f flac - | cat > OUT",
    "sox.flac": "sox stereo.wav -C 8 OUT",
    "sox-pipe.flac": "sox voice.wav -t flac - | cat > OUT",
    "soundfile.flac": by_soundfile("FLAC", "PCM_24"),
    "tagged.flac": changed("ffmpeg -i stereo.wav OUT", with_tags_in_front),
    "flac.oga": "flac -s --ogg -o OUT stereo.wav",
    "ffmpeg-flac.ogg": "ffmpeg -i stereo.wav -c:a flac OUT",
}

OGG_VORBIS: dict[str, Make] = {
    "oggenc.ogg": "oggenc -Q -q 4 -o OUT stereo.wav",
    "oggenc-managed.ogg": "oggenc -Q --managed -b 64 -o OUT voice.wav",
    "oggenc-pipe.ogg": "cat stereo.wav | oggenc -Q - | cat > OUT",
    "oggenc-tags.ogg": "oggenc -Q -t Title -a Artist -o OUT stereo.wav",
    "sox.ogg": "sox stereo.wav OUT",
    "ffmpeg.ogg": "ffmpeg -i stereo.wav -c:a libvorbis OUT",
    "ffmpeg-pipe.ogg": "ffmpeg -i stereo.wav -c:a libvorbis -f ogg - | cat > OUT",
    "soundfile.ogg": by_soundfile("OGG", "VORBIS"),
}

OGG: dict[str, Make] = {
    "opusenc.opus": "opusenc --quiet stereo.wav OUT",
    "opusenc-speech.opus": "opusenc --quiet --speech --bitrate 16 --framesize 60 studio.wav OUT",
    "opusenc-pipe.opus": "cat studio.wav | opusenc --quiet - - | cat > OUT",
    "ffmpeg-opus.ogg": "ffmpeg -i stereo.wav -c:a libopus OUT",
    "soundfile-opus.ogg": by_soundfile("OGG", "OPUS", "studio.wav"),
    "speex.ogg": "ffmpeg -i voice.wav -c:a libspeex OUT",
}

CHAINED_OGG: dict[str, Make] = {
    "chained.ogg": "oggenc -Q -s 1 -o OUT.1 stereo.wav && oggenc -Q -s 2 -o OUT.2 stereo.wav"
    " && cat OUT.1 OUT.2 > OUT",
}

CONTAINERS: dict[str, Make] = {
    "ffmpeg.m4a": "ffmpeg -i stereo.wav OUT",
    "mp42.m4a": "ffmpeg -i stereo.wav -f mp4 -brand mp42 OUT",
    "dash.m4a": "ffmpeg -i stereo.wav -f mp4 -brand dash -movflags frag_keyframe+empty_moov OUT",
    "m4b.m4b": "ffmpeg -i stereo.wav -f ipod -brand 'M4B ' OUT",
    "fragments.m4a": "ffmpeg -i stereo.wav -movflags frag_keyframe+empty_moov -f mp4 - | cat > OUT",
    "front.m4a": "ffmpeg -i stereo.wav -movflags faststart OUT",
    "cover.m4a": "ffmpeg -i stereo.wav -i photo.png -map 0 -map 1 -c:v mjpeg"
    " -disposition:v attached_pic OUT",
    "audio.mp4": "ffmpeg -i voice.wav OUT",
    "alac.m4a": "ffmpeg -i stereo.wav -c:a alac OUT",
    "opus.mp4": "ffmpeg -i stereo.wav -c:a libopus OUT",
    "flac.mp4": "ffmpeg -i stereo.wav -c:a flac -strict -2 OUT",
    "mp3.mp4": "ffmpeg -i stereo.wav -c:a libmp3lame OUT",
    "aac.3gp": "ffmpeg -i voice.wav -c:a aac OUT",
    "sound.mov": "ffmpeg -i stereo.wav -c:a aac OUT",
    "pcm.mov": "ffmpeg -i stereo.wav OUT",
    "opus.webm": "ffmpeg -i stereo.wav -c:a libopus OUT",
    "vorbis.webm": "ffmpeg -i stereo.wav -c:a libvorbis OUT",
    "sound-recorder.webm": "ffmpeg -i studio.wav -c:a libopus -f webm -live 1 - | cat > OUT",
    "sound-pipe.webm": "ffmpeg -i studio.wav -c:a libopus -f webm - | cat > OUT",
    "aac.mka": "ffmpeg -i stereo.wav -c:a aac OUT",
    "flac.mka": "ffmpeg -i stereo.wav -c:a flac OUT",
    "adts.aac": "ffmpeg -i stereo.wav OUT",
    "pyav-pipe.aac": by_pyav("adts", "aac", 44100),
}

TRUNCATED: dict[str, Make] = {
    "cut.mp3": changed("lame --quiet -b 128 stereo.wav OUT", cut(0.6)),
    "cut.wav": changed("sox stereo.wav OUT", cut(0.6)),
    "cut.flac": changed("ffmpeg -i stereo.wav OUT", cut(0.6)),
    "cut.ogg": changed("ffmpeg -i stereo.wav -c:a libvorbis OUT", cut(0.6)),
    "cut.m4a": changed("ffmpeg -i stereo.wav -movflags faststart OUT", cut(0.6)),
}

OTHERS: dict[str, Make] = {
    "sox.aiff": "sox stereo.wav OUT",
    "sox-24.aiff": "sox stereo.wav -b 24 OUT",
    "ffmpeg.aifc": "ffmpeg -i stereo.wav -c:a pcm_s16le -f aiff OUT",
    "sox.au": "sox stereo.wav OUT",
    "sox-pipe.au": "sox stereo.wav -t au - | cat > OUT",
    "ffmpeg.caf": "ffmpeg -i stereo.wav OUT",
    "ffmpeg.w64": "ffmpeg -i stereo.wav OUT",
    "sox.sph": "sox voice.wav OUT",
    "sox.voc": "sox voice.wav OUT",
    "ffmpeg.tta": "ffmpeg -i stereo.wav OUT",
    "ffmpeg.wv": "ffmpeg -i stereo.wav OUT",
}

OTHERS_LOSSY: dict[str, Make] = {
    "ffmpeg.mp2": "ffmpeg -i stereo.wav OUT",
    "ffmpeg.wma": "ffmpeg -i stereo.wav OUT",
}

UNREAD: dict[str, tuple[str, Make]] = {
    "from-a-stream.mp3": (
        "not a known audio format",
        "lame --quiet -t -b 128 stereo.wav OUT.1 && tail -c +1001 OUT.1 > OUT",
    ),
    "dolby.ac3": ("AC-3", "ffmpeg -i stereo.wav OUT"),
    "raw.wav": ("not a known audio format", "sox voice.wav -t raw OUT"),
}


# ffmpeg 5.1 differs by up to 0.04 from lame and mpg123 at 24 kHz.
MP3_24K: dict[str, Make] = {
    "lame-24k.mp3": "lame --quiet -b 64 --resample 24 stereo.wav OUT",
}


def sounds() -> Iterator[Specimen]:
    """All sounds."""
    for specimen in specimens(Modality.AUDIO, LOSSY, MP3_24K):
        yield replace(specimen, shown="lame --quiet --decode OUT OUT.shown")
    yield from specimens(Modality.AUDIO, LOSSY, MP3)
    yield from specimens(Modality.AUDIO, EXACT, WAV)
    yield from specimens(Modality.AUDIO, BLOCKS, WAV_CODECS)
    yield from specimens(Modality.AUDIO, EXACT, FLAC)
    yield from specimens(Modality.AUDIO, VORBIS, OGG_VORBIS)
    yield from specimens(Modality.AUDIO, LOSSY, OGG)
    yield from specimens(Modality.AUDIO, CHAINED, CHAINED_OGG)
    yield from specimens(Modality.AUDIO, LOSSY, CONTAINERS)
    yield from specimens(Modality.AUDIO, EXACT, TRUNCATED, refused="truncated|does not decode")
    yield from specimens(Modality.AUDIO, EXACT, OTHERS)
    yield from specimens(Modality.AUDIO, LOSSY, OTHERS_LOSSY)
    for name, (reason, make) in UNREAD.items():
        yield from specimens(Modality.AUDIO, EXACT, {name: make}, refused=reason)
