"""Sound files as ffmpeg, sox, lame, browsers, phones and speech programs write them, against ffmpeg.

What ffmpeg reads whole is read whole, and what is cut is named truncated.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from eval_anything.content import Modality
from eval_anything.files.mistakes import Problem
from eval_anything.media import (
    MediaError,
    MediaStore,
    check_decodes,
    media_part,
    probe,
    read_audio,
    read_frames,
    read_sound,
)
from eval_anything.media.boxes import modality_by_boxes
from eval_anything.media.pool import pool
from eval_anything.media.sniff import EXTENSIONS
from eval_anything.models.openai.payload import medium
from eval_anything.models.replay.folder import read_folder
from tests.support.missing import missing

AUDIO, VIDEO = Modality.AUDIO, Modality.VIDEO
SECONDS = 0.7

# By name, options of ffmpeg: inputs are 0 (stereo, 44.1 kHz), 1 (mono, 8 kHz) and 2 (a picture).
WRITTEN = {
    "s16.wav": "-map 0",
    "mono.wav": "-map 1",
    "u8.wav": "-map 0 -c:a pcm_u8",
    "s24.wav": "-map 0 -c:a pcm_s24le",
    "s32.wav": "-map 0 -c:a pcm_s32le",
    "s64.wav": "-map 0 -c:a pcm_s64le",
    "f32.wav": "-map 0 -c:a pcm_f32le",
    "f64.wav": "-map 0 -c:a pcm_f64le",
    "six.wav": "-map 0 -ac 6 -c:a pcm_s24le",
    "alaw.wav": "-map 1 -c:a pcm_alaw",
    "mulaw.wav": "-map 1 -c:a pcm_mulaw",
    "ms.wav": "-map 0 -c:a adpcm_ms",
    "ima.wav": "-map 0 -c:a adpcm_ima_wav",
    "g726.wav": "-map 1 -c:a g726 -b:a 32k",
    "mp3.wav": "-map 0 -c:a libmp3lame",
    "rf64.wav": "-map 0 -rf64 always",
    "a.w64": "-map 0",
    "a.aiff": "-map 0",
    "alaw.aifc": "-map 0 -c:a pcm_alaw -f aiff",
    "ima.aifc": "-map 0 -c:a adpcm_ima_qt -f aiff",
    "a.au": "-map 0",
    "mulaw.au": "-map 1 -c:a pcm_mulaw",
    "a.caf": "-map 0",
    "alac.caf": "-map 0 -c:a alac",
    "a.voc": "-map 0",
    "a.tta": "-map 0",
    "a.wv": "-map 0",
    "a.wma": "-map 0",
    "a.aac": "-map 0",
    "a.mp2": "-map 0",
    "cbr.mp3": "-map 0 -b:a 96k",
    "bare.mp3": "-map 0 -q:a 4 -write_xing 0 -id3v2_version 0",
    "mpeg2.mp3": "-map 1 -ar 16000",
    "mpeg25.mp3": "-map 1 -write_xing 0",
    "cover.mp3": "-map 0 -map 2 -c:v mjpeg -disposition:v attached_pic -write_id3v1 1",
    "a.flac": "-map 0",
    "cover.flac": "-map 0 -map 2 -c:v mjpeg -disposition:v attached_pic",
    "flac.ogg": "-map 0 -c:a flac",
    "vorbis.ogg": "-map 0",
    "a.opus": "-map 0",
    "a.spx": "-map 1",
    "itunes.m4a": "-map 0",
    "mp42.m4a": "-map 0 -brand mp42",
    "dash.m4a": "-map 0 -brand dash",
    "index_first.m4a": "-map 0 -movflags faststart",
    "alac.m4a": "-map 0 -c:a alac",
    "cover.m4a": "-map 0 -map 2 -c:v mjpeg -disposition:v attached_pic",
    "only.mp4": "-map 0",
    "fragments.mp4": "-map 0 -movflags frag_keyframe+empty_moov -frag_duration 200000",
    "pcm.mov": "-map 0 -c:a pcm_s16le",
    "only.3gp": "-map 0 -c:a aac",
    "recorder.webm": "-map 0 -c:a libopus -live 1",
    "opus.webm": "-map 0 -c:a libopus",
    "vorbis.mka": "-map 0 -c:a libvorbis",
    "pcm.mka": "-map 0 -c:a pcm_s16le -f matroska -live 1",
}

PIPES = {
    **{
        f"ffmpeg_pipe.{form}": f"ffmpeg -v error -i s16.wav -f {form} -" for form in ("au", "caf", "mp3")
    },
    **{f"ffmpeg_pipe.{form}": f"ffmpeg -v error -i s16.wav -f {form} -" for form in ("flac", "wav")},
    **{
        f"sox_pipe.{form}": f"sox -V1 s16.wav -t {form} - pad 0.01"
        for form in ("aiff", "au", "flac", "wav")
    },
    "sox_pipe.mp3": "sox -V1 s16.wav -t mp3 -C 64 - pad 0.01",
    "speech.wav": "espeak-ng --stdout Hello",
}

SOX = {
    "sox.mp3": "s16.wav -C 64 sox.mp3",
    "gsm.wav": "mono.wav -e gsm-full-rate gsm.wav",
    "big_endian.wav": "s16.wav -B big_endian.wav",
    "a.sph": "s16.wav a.sph",
    "a.amr": "mono.wav -t amr-nb a.amr",
}

LAME = {
    "constant.mp3": "-b 128 -t",
    "variable.mp3": "-V 4 -t",
    "gapless.mp3": "-V 4",
    "tagged.mp3": "-V 2 --add-id3v2 --tt A_title",
    "old_tag.mp3": "-b 128 --id3v1-only --tt A_title",
}

# Declared lengths of writers that do not know it: sox and espeak-ng, mpg123, arecord, browsers.
STREAMED = (0, 0x7FFFF000, 0x7FFFFFFF, 2_000_000_000, 0x80000000, 0xFFFFFFFF)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound of each writer."""
    for program in ("ffmpeg", "sox", "lame", "espeak-ng"):
        if shutil.which(program) is None:
            missing(f"{program} is not installed: make test")
    folder = tmp_path_factory.mktemp("sounds")
    tones = "aevalsrc='0.4*sin(880*PI*t)|0.2*sin(1300*PI*t)':s=44100:d=" + str(SECONDS)
    tone = f"aevalsrc='0.4*sin(880*PI*t)':s=8000:d={SECONDS}"
    inputs = [("-f", "lavfi", "-i", source) for source in (tones, tone, "testsrc=s=640x480:d=0.04")]
    outputs = [(*options.split(), name) for name, options in WRITTEN.items()]
    flat = [word for words in inputs + outputs for word in words]
    run(folder, "ffmpeg", "-v", "error", "-threads", "1", *flat)
    for name, options in LAME.items():
        run(folder, "lame", "--quiet", *options.split(), "s16.wav", name)
    for options in SOX.values():
        run(folder, "sox", "-V1", *options.split())
    for name, command in PIPES.items():
        (folder / name).write_bytes(run(folder, *command.split()))
    for name, content in edited(folder).items():
        (folder / name).write_bytes(content)
    return folder


def run(folder: Path, *command: str) -> bytes:
    """stdout of a program."""
    return subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout


def edited(folder: Path) -> dict[str, bytes]:
    """What writers leave that were stopped, or joined or tagged their files by other programs."""
    files = {name: (folder / name).read_bytes() for name in (*WRITTEN, *LAME)}
    plain, constant = files["s16.wav"], files["constant.mp3"]
    data = plain.index(b"data") + 4
    middle = len(constant) // 2
    junk = b"junk" + struct.pack("<I", 7) + b"sevenby\0"
    apple = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 1 << 31) + bytes(8)
    return {
        **{
            f"{length:x}.wav": plain[:data] + struct.pack("<I", length) + plain[data + 4 :]
            for length in STREAMED
        },
        "odd_chunks.wav": plain[:12] + junk + plain[12:] + b"LIST" + struct.pack("<I", 5) + b"INFOx\0",
        "joined.mp3": constant + files["variable.mp3"],
        "joined_headers.mp3": files["gapless.mp3"] + files["cbr.mp3"],
        "joined_covers.mp3": files["cover.mp3"] + files["old_tag.mp3"],
        "junk_between.mp3": constant[:middle] + random.Random(1).randbytes(700) + constant[middle:],
        "speaking_tag.mp3": b"ID3\4\0\0\0\0\1\0" + b"Information".ljust(128, b"g") + files["bare.mp3"],
        "ape_tag.mp3": files["gapless.mp3"] + apple,
        "zeros_behind.mp3": files["gapless.mp3"] + bytes(3000),
        "tag_in_front.aac": b"ID3\4\0\0\0\0\1\0" + bytes(128) + files["a.aac"],
        "tag_in_front.flac": b"ID3\4\0\0\0\0\1\0" + bytes(128) + files["a.flac"],
        "wrong_md5.flac": files["a.flac"][:26] + bytes(range(16)) + files["a.flac"][42:],
        "chained.ogg": files["vorbis.ogg"] + files["vorbis.ogg"],
    }


@pytest.fixture(scope="module")
def truth(made: Path) -> dict[str, np.ndarray]:
    """ffmpeg's own samples of each file by name, float32 with the channels in turn."""
    names = sorted(path.name for path in made.iterdir())
    inputs = [word for name in names for word in ("-i", name)]
    outputs = [
        word
        for number, name in enumerate(names)
        for word in ("-map", f"{number}:a:0", "-f", "f32le", f"{name}.truth")
    ]
    run(made, "ffmpeg", "-v", "error", *inputs, *outputs)
    return {name: np.fromfile(made / f"{name}.truth", "<f4") for name in names}


LOSSLESS = (".wav", ".aiff", ".au", ".caf", ".flac", ".tta", ".wv", ".sph", ".voc", ".mov", "alac.m4a")


def test_every_sound_is_read_as_ffmpeg_reads_it(made: Path, truth: dict[str, np.ndarray]) -> None:
    assert len(truth) > 80
    wrong = {}
    for name, expected in truth.items():
        samples = read_sound(made / name).samples.reshape(-1)
        shared = min(len(samples), len(expected))
        largest = float(np.abs(samples[:shared] - expected[:shared]).max(initial=0))
        # FFmpeg errs by less than a block of Vorbis, at its ends and where it is chained.
        slack = 2 * 1024 if name in ("chained.ogg", "vorbis.ogg") else 0
        exact = name.endswith(LOSSLESS) and name not in ("ima.wav", "ms.wav")
        bound = 2 if name == "chained.ogg" else 1e-6 if exact else 1e-3
        if not shared or abs(len(samples) - len(expected)) > slack or largest > bound:
            wrong[name] = (len(samples), len(expected), largest)
    assert not wrong


def test_every_sound_is_audio_and_passes_all_checks(made: Path, truth: dict[str, np.ndarray]) -> None:
    store = MediaStore(made / "store")
    for name in truth:
        part = media_part(made / name, AUDIO)
        check_decodes(part)
        stored = store.put(part.path.read_bytes(), AUDIO)
        assert (stored.mime, stored.sha256) == (part.mime, part.sha256), name
        assert part.mime.startswith("audio/"), name
        assert EXTENSIONS[stored.path.suffix[1:]] == part.mime, name
        with pytest.raises(MediaError, match="should be video, but its bytes are audio/"):
            media_part(made / name, VIDEO)


@pytest.mark.parametrize("name", ["gapless.mp3", "bare.mp3", "a.opus", "recorder.webm", "7ffff000.wav"])
def test_a_sound_lasts_as_long_as_its_samples(made: Path, name: str) -> None:
    samples, rate = read_sound(made / name)
    found = probe(made / name)
    assert (found.duration, found.rate, found.channels) == (len(samples) / rate, rate, 2)
    assert found.mime.startswith("audio/")
    assert found.duration == pytest.approx(SECONDS, abs=0.06)


# Sounds whose end cannot be told from a cut: they last as long as their file.
OPEN_ENDED = {
    *(f"{length:x}.wav" for length in STREAMED),
    *("ffmpeg_pipe.au", "ffmpeg_pipe.caf", "ffmpeg_pipe.wav", "speech.wav"),
    *("sox_pipe.aiff", "sox_pipe.au", "sox_pipe.wav"),
}


def test_what_is_cut_is_named_truncated(made: Path, truth: dict[str, np.ndarray]) -> None:
    unnoticed = {}
    cut = made / "cut"
    for name in sorted(truth):
        whole = (made / name).read_bytes()
        for length in (len(whole) * 6 // 10, len(whole) * 9 // 10):
            cut.write_bytes(whole[:length])
            try:
                count = read_sound(cut).samples.size
                if count < len(truth[name]):  # there may be more than sound behind it
                    unnoticed[name, length] = count
            except MediaError as error:
                if "truncated" not in str(error):
                    unnoticed[name, length] = str(error)
    assert {name for name, _ in unnoticed} == OPEN_ENDED, unnoticed


def test_a_clip_is_no_sound_but_its_sound_is_read(made: Path) -> None:
    clips = {
        "clip.mp4": "-preset ultrafast",
        "branded.mp4": "-preset ultrafast -brand M4A",
        "clip.mov": "-preset ultrafast -c:a pcm_s16le",
        "clip.webm": "-c:v libvpx -cpu-used 8 -deadline realtime",
        "clip.wmv": "",
        "clip.ogv": "",
    }
    outputs = [word for name, options in clips.items() for word in (*options.split(), name)]
    inputs = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=0.5", "-i", "s16.wav")
    run(made, "ffmpeg", "-v", "error", *inputs, *outputs)
    for name in clips:
        with pytest.raises(MediaError, match="should be audio, but its bytes are video/"):
            media_part(made / name, AUDIO)
        assert media_part(made / name, VIDEO).mime.startswith("video/")
        assert probe(made / name).has_sound
        assert len(read_frames(made / name, 3).frames) == 3
        assert len(read_audio(made / name, 8000)) == pytest.approx(8000 * SECONDS, abs=400)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"MThd\0\0\0\6", "MIDI"),
        (b"MAC \x96\x0f", "Monkey's Audio"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
        (b"#EXTM3U\n", "a list of other files"),
        (b"\x12\x34\x56\x78", "first bytes 12345678"),
    ],
)
def test_what_is_not_read_is_named_with_what_is(tmp_path: Path, head: bytes, name: str) -> None:
    (tmp_path / "a").write_bytes(head + bytes(99))
    with pytest.raises(
        MediaError, match=rf"not a known audio format \({name}.*known are WAV, MP3, FLAC"
    ):
        media_part(tmp_path / "a", AUDIO)


def test_a_codec_that_is_not_read_is_named(made: Path, tmp_path: Path) -> None:
    content = bytearray((made / "mulaw.wav").read_bytes())
    content[20:22] = b"\xfe\x7e"
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(MediaError, match="codec that is not read"):
        read_sound(tmp_path / "a.wav")


def test_saved_answers_are_what_their_streams_are(made: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("only.mp4", "recorder.webm", "only.3gp", "s16.wav")):
        shutil.copy(made / name, tmp_path / f"{number}.1{Path(name).suffix}")
    problems: list[Problem] = []
    rows = [row.row for row in read_folder(tmp_path, problems)]
    assert not problems
    assert [row.parts[0].modality for row in rows] == [AUDIO] * 4


def test_a_servers_sound_in_a_container_of_clips_is_sound(made: Path, tmp_path: Path) -> None:
    for name in ("mp42.m4a", "recorder.webm", "fragments.mp4"):
        found = medium((made / name).read_bytes(), AUDIO)
        assert found.modality is AUDIO
        assert MediaStore(tmp_path).put(found.data, found.modality).mime.startswith("audio/")


def test_boxes_say_what_a_decoder_finds_or_nothing(made: Path) -> None:
    """Of sounds with and without a cover, in one piece, in fragments, cut, and with any byte changed."""
    paths = [
        p
        for p in sorted(made.iterdir())
        if p.is_file() and p.suffix != ".truth" and b"ftyp" in p.read_bytes()[:12]
    ]
    told = {path.name: modality_by_boxes(path) for path in paths}
    streams = {p.name: Modality(pool().decode("streams", p).answer["modality"]) for p in paths}
    assert {name: m for name, m in told.items() if m is not None}.items() <= streams.items()
    assert told["only.mp4"] is modality_by_boxes((made / "only.mp4").read_bytes()) is AUDIO
    assert told["fragments.mp4"] is None
    content = (made / "only.mp4").read_bytes()
    for cut in range(0, len(content), 97):
        assert modality_by_boxes(content[:cut]) is None
    draw = random.Random(0)
    for _ in range(2000):
        changed = bytearray(content)
        changed[draw.randrange(len(content))] = draw.randrange(256)
        assert modality_by_boxes(bytes(changed)) in (AUDIO, None)
