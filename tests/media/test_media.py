"""Media: bytes are believed and names are not; broken, foreign and oversized files are refused."""

from __future__ import annotations

import hashlib
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from eval_anything import media
from eval_anything.content import MediaPart, Modality
from eval_anything.errors import InfrastructureError
from eval_anything.media import (
    MediaError,
    MediaStore,
    check_decodes,
    media_part,
    probe,
    read_audio,
    read_image,
    read_sound,
    read_video,
    sniff,
)
from eval_anything.media.boxes import modality_by_boxes
from eval_anything.media.encode import encode_mp4
from tests.support.helpers import jpeg, mp4, png, wav
from tests.support.media_corpus import m4a, modality_of, nan_wav, png_of, sound, tone, whole_media, zeros

IMAGE, AUDIO, VIDEO = Modality.IMAGE, Modality.AUDIO, Modality.VIDEO


def at(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (png(), "image/png"),
        (jpeg(), "image/jpeg"),
        (b"GIF89a" + bytes(20), "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (wav(), "audio/wav"),
        (b"\xff\xfb\x90\x00" + bytes(20), "audio/mpeg"),
        (b"ID3\x04" + bytes(20), "audio/mpeg"),
        (b"OggS" + bytes(20), "audio/ogg"),
        (b"fLaC" + bytes(20), "audio/flac"),
        (b"\0\0\0\x20ftypM4A " + bytes(20), "audio/mp4"),
        (mp4(), "video/mp4"),
        (b"\x1aE\xdf\xa3" + bytes(20), "video/webm"),
        (b"\0\0\0\x20ftypqt  " + bytes(20), "video/mp4"),
    ],
)
def test_the_first_bytes_tell_the_kind(data: bytes, mime: str) -> None:
    kind = sniff(data)
    assert kind is not None
    assert kind.mime == mime
    assert mime.startswith(kind.modality)


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"RIFF", b"hello world, this is text", b"%PDF-1.4", b"\0\0\0\x1cftypavif"]
)
def test_other_bytes_are_no_medium(data: bytes) -> None:
    assert sniff(data) is None


@pytest.mark.parametrize(
    ("name", "data", "modality", "reason"),
    [
        ("a.png", b"", IMAGE, "is empty"),
        ("a.wav", png(), AUDIO, "should be audio, but its bytes are image/png"),
        ("a.wav", png(), IMAGE, "named like audio/wav, but its bytes are image/png"),
        ("a.jpg", png(), IMAGE, "named like image/jpeg, but its bytes are image/png"),
        ("a.png", b"just some text", IMAGE, "not a known image format"),
        ("a.png", wav(), IMAGE, "should be image, but its bytes are audio/wav"),
    ],
)
def test_a_file_must_be_what_it_is_called(
    tmp_path: Path, name: str, data: bytes, modality: Modality, reason: str
) -> None:
    with pytest.raises(MediaError, match=reason):
        media_part(at(tmp_path, name, data), modality)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="does not exist"):
        media_part(tmp_path / "no.png", IMAGE)
    with pytest.raises(MediaError, match="cannot be read"):
        media_part(tmp_path, IMAGE)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(media.MAX_BYTES + 1)  # sparse
    with pytest.raises(MediaError, match="more than the"):
        media_part(path, IMAGE)


def test_an_upper_case_or_unknown_extension_is_fine(tmp_path: Path) -> None:
    assert media_part(at(tmp_path, "A.PNG", png()), IMAGE).mime == "image/png"
    assert media_part(at(tmp_path, "a.bin", png()), IMAGE).mime == "image/png"
    data = png()
    assert media_part(at(tmp_path, "b", data), IMAGE).sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("name", "data", "modality"),
    [
        ("a.png", png(size=48, noise=1), IMAGE),
        ("a.jpg", jpeg(), IMAGE),
        ("a.wav", wav(), AUDIO),
        ("a.mp4", mp4(), VIDEO),
        ("b.mp4", mp4(sound=True), VIDEO),
    ],
)
def test_whole_media_decode_and_truncated_ones_do_not(
    tmp_path: Path, name: str, data: bytes, modality: Modality
) -> None:
    check_decodes(media_part(at(tmp_path, name, data), modality))
    for share in (0.1, 0.5, 0.9):
        cut = at(tmp_path, name, data[: max(20, int(len(data) * share))])
        with pytest.raises(MediaError, match=name):
            check_decodes(media_part(cut, modality))


def test_a_clip_with_its_index_in_front_is_truncated_by_its_count_of_frames(tmp_path: Path) -> None:
    import av

    at(tmp_path, "a.mp4", mp4(frames=8))
    fast = tmp_path / "fast.mp4"
    with (
        av.open(str(tmp_path / "a.mp4")) as source,
        av.open(str(fast), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = fast.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert len(read_video(fast).frames) == 8
    with pytest.raises(MediaError, match=r"truncated: \d of 8 frames"):
        read_video(at(tmp_path, "cut.mp4", data[: data.index(b"mdat") + 2500]))


def test_a_plain_clip_is_known_by_its_boxes(tmp_path: Path) -> None:
    """As those are that models of the micro world write, and without starting a decoder."""
    assert modality_by_boxes(encode_mp4([np.zeros((16, 16, 3), np.uint8)], 8)) is VIDEO
    assert modality_by_boxes(mp4(sound=True)) is VIDEO
    assert modality_by_boxes(mp4(sound=True, pictures=False)) is AUDIO
    assert modality_by_boxes(mp4().replace(b"vide", b"tmcd")) is None
    assert modality_by_boxes(at(tmp_path, "a.mp4", mp4(frames=8)[:-1])) is None
    assert modality_by_boxes(tmp_path / "none.mp4") is None


def test_damage_in_the_middle_of_a_png_is_found(tmp_path: Path) -> None:
    data = bytearray(png(size=48, noise=1))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(MediaError, match="does not decode"):
        read_image(at(tmp_path, "a.png", bytes(data)))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_000, 20_000])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert len(bomb) < 200_000
    with pytest.raises(MediaError, match="pixels"):
        read_image(at(tmp_path, "a.png", bomb))


def test_a_clip_without_pictures_is_no_video(tmp_path: Path) -> None:
    path = at(tmp_path, "a.mp4", mp4(sound=True, pictures=False))
    with pytest.raises(MediaError, match="has no pictures"):
        check_decodes(media_part(path, VIDEO))


def test_a_clip_without_sound_has_no_audio(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="has no sound"):
        read_audio(at(tmp_path, "a.mp4", mp4()), 8000)


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\0\0\0\0"])
def test_the_header_of_a_streaming_writer_is_no_truncation(tmp_path: Path, length: bytes) -> None:
    data = bytearray(wav(seconds=0.5))
    data[4:8] = data[40:44] = length
    assert data[36:40] == b"data"
    if length == b"\xff\xff\xff\xff":
        assert len(read_audio(at(tmp_path, "a.wav", bytes(data)), 8000)) == 4000
    else:  # FFmpeg may read none of it: then it says so, and not "truncated"
        with pytest.raises(MediaError) as error:
            read_audio(at(tmp_path, "a.wav", bytes(data[:44])), 8000)
        assert "truncated" not in str(error.value)


def test_a_wav_without_its_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no sound data"):
        read_audio(at(tmp_path, "a.wav", wav()[:36]), 8000)


def test_sound_is_read_as_it_was_written(tmp_path: Path) -> None:
    sound = read_audio(at(tmp_path, "a.wav", wav(seconds=1, rate=8000, hertz=440)), 16000)
    assert sound.dtype == np.float32
    assert len(sound) == pytest.approx(16000, abs=32)
    spectrum = np.abs(np.fft.rfft(sound))
    assert np.argmax(spectrum) * 16000 / len(sound) == pytest.approx(440, abs=2)
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.02)


def test_pictures_are_read_as_rgb_over_white(tmp_path: Path) -> None:
    from PIL import Image

    assert (read_image(at(tmp_path, "a.png", png((200, 30, 30)))) == (200, 30, 30)).all()
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()
    Image.new("L", (4, 4), 7).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png") == 7).all()


def test_a_clip_is_read_whole_with_its_times(tmp_path: Path) -> None:
    clip = read_video(at(tmp_path, "a.mp4", mp4(frames=8, size=32)))
    assert clip.frames.shape == (8, 32, 32, 3)
    assert clip.times == pytest.approx(np.arange(8) / 8)


def test_the_store_keeps_each_medium_once(tmp_path: Path) -> None:
    store = MediaStore(tmp_path / "media")
    one, other = png(), png((0, 0, 255))
    first = store.put(one, IMAGE)
    stamp = first.path.stat().st_mtime_ns
    assert store.put(one, IMAGE) == first
    assert first.path.stat().st_mtime_ns == stamp
    second = store.put(other, IMAGE)
    files = sorted(p for p in (tmp_path / "media").rglob("*") if p.is_file())
    assert files == sorted([first.path, second.path])
    sha256 = hashlib.sha256(one).hexdigest()
    assert first.path == (tmp_path / "media" / sha256[:2] / f"{sha256}.png").resolve()
    assert first.path.read_bytes() == one


def test_threads_that_store_the_same_medium_leave_one_whole_file(tmp_path: Path) -> None:
    store = MediaStore(tmp_path / "media")
    data = png(size=256, noise=1)
    parts: list[MediaPart] = []
    threads = [threading.Thread(target=lambda: parts.append(store.put(data, IMAGE))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(parts) == 16
    files = [p for p in (tmp_path / "media").rglob("*") if p.is_file()]
    assert files == [parts[0].path]
    assert files[0].read_bytes() == data


def test_the_store_refuses_what_is_no_such_medium(tmp_path: Path) -> None:
    store = MediaStore(tmp_path / "media")
    for data, reason in ((b"", "is empty"), (wav(), "should be image"), (b"text" * 9, "not a known")):
        with pytest.raises(MediaError, match=reason):
            store.put(data, IMAGE)
    assert not (tmp_path / "media").exists()


def test_a_store_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file where the folder should be")
    with pytest.raises(InfrastructureError, match="cannot write"):
        MediaStore(tmp_path / "media").put(png(), IMAGE)


@pytest.mark.parametrize("name", whole_media())
def test_every_format_is_whole_or_truncated(tmp_path: Path, name: str) -> None:
    data = whole_media()[name]
    modality = modality_of(name)
    check_decodes(media_part(at(tmp_path, name, data), modality))
    # Of an animation only the first picture is read.
    for share in (0.1, 0.2) if name == "animated.gif" else (0.1, 0.5, 0.7, 0.9):
        cut = at(tmp_path, name, data[: max(20, int(len(data) * share))])
        with pytest.raises(MediaError, match=name):
            check_decodes(media_part(cut, modality))


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.ogg", "a.flac", "a.m4a"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_sound_is_never_short_without_a_word(tmp_path: Path, name: str, share: float) -> None:
    data = whole_media()[name]
    cut = at(tmp_path, name, data[: int(len(data) * share)])
    for read in (lambda: read_audio(cut, 8000), lambda: read_sound(cut)):
        with pytest.raises(MediaError, match=name):
            read()


@pytest.mark.parametrize("level", [float("nan"), float("inf"), float("-inf")])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, level: float) -> None:
    with pytest.raises(MediaError, match="no finite numbers"):
        read_audio(at(tmp_path, "a.wav", nan_wav(level)), 8000)


SOUNDS = {
    "wav": lambda rate: sound("WAV", "PCM_16", tone(1.3, rate, 2), rate),
    "float.wav": lambda rate: sound("WAV", "FLOAT", tone(1.3, rate, 2), rate),
    "flac": lambda rate: sound("FLAC", "PCM_16", tone(1.3, rate, 2), rate),
    "ogg": lambda rate: sound("OGG", "VORBIS", tone(1.3, rate, 2), rate),
    "mp3": lambda rate: sound("MP3", "MPEG_LAYER_III", tone(1.3, rate, 2), rate),
}


@pytest.mark.parametrize("form", SOUNDS)
@pytest.mark.parametrize(
    ("rate", "wanted"), [(8000, 8000), (16000, 44100), (44100, 16000), (48000, 8000)]
)
def test_lengths_and_levels_are_exact_at_any_rate(
    tmp_path: Path, form: str, rate: int, wanted: int
) -> None:
    path = at(tmp_path, f"a.{form}", SOUNDS[form](rate))
    length = round(1.3 * rate)
    given, own_rate = read_sound(path)
    assert (given.shape, given.dtype, own_rate) == ((length, 2), np.float32, rate)
    mono = read_audio(path, wanted)
    assert mono.shape == (round(length * wanted / rate),)
    times = np.arange(len(mono)) / wanted
    middle = slice(len(mono) // 4, 3 * len(mono) // 4)  # away from the edges of the resampler
    difference = mono - 0.375 * np.sin(2 * np.pi * 440 * times)  # the mean of levels .5 and .25
    assert np.abs(difference[middle]).max() < (0.05 if form in ("ogg", "mp3") else 0.001)


def test_what_libsndfile_cannot_read_is_read_all_the_same(tmp_path: Path) -> None:
    path = at(tmp_path, "a.m4a", m4a(seconds=1.0))
    found = read_audio(path, 16000)
    assert len(found) == pytest.approx(16000, abs=1100)  # AAC has blocks of 1024 samples
    spectrum = np.abs(np.fft.rfft(found))
    assert np.argmax(spectrum) * 16000 / len(found) == pytest.approx(440, abs=2)
    clip = at(tmp_path, "a.mp4", whole_media()["sound.mp4"])
    assert len(read_audio(clip, 8000)) == pytest.approx(4000, abs=600)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", {"mime": "image/png", "size": (48, 48), "frames": 1}),
        ("a.wav", {"mime": "audio/wav", "rate": 16000, "channels": 1, "duration": 0.5}),
        ("float.wav", {"mime": "audio/wav", "rate": 16000, "channels": 2, "duration": 0.5}),
        ("a.flac", {"mime": "audio/flac", "rate": 16000, "channels": 1, "duration": 0.5}),
        ("a.mp3", {"mime": "audio/mpeg", "rate": 16000, "channels": 1, "duration": 0.5}),
        ("sound.mp4", {"size": (64, 48), "frames": 12, "rate": 12, "duration": 1.0, "has_sound": True}),
        ("vp9.webm", {"size": (64, 48), "frames": 12, "has_sound": False}),
    ],
)
def test_probing_tells_what_a_file_is(tmp_path: Path, name: str, expected: dict[str, object]) -> None:
    found = probe(at(tmp_path, name, whole_media()[name]))
    assert {key: getattr(found, key) for key in expected} == expected


def test_a_photo_that_lies_on_its_side_is_read_upright(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.new("RGB", (32, 16), "blue")
    picture.paste("red", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    pixels = read_image(tmp_path / "a.jpg")
    assert pixels.shape == (32, 16, 3)
    assert pixels[4, 8, 0] > 200
    assert pixels[28, 8, 2] > 200
    assert probe(tmp_path / "a.jpg").size == (16, 32)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.full((4, 4), 0x4080, np.uint16)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 0x40).all()


def test_the_largest_picture_that_is_allowed_is_read(tmp_path: Path) -> None:
    data = png_of(8192, zeros(8192 * 1025 + 2**20), bits=1, colour=0)
    assert read_image(at(tmp_path, "a.png", data)).shape == (8192, 8192, 3)


def test_a_list_of_other_files_is_no_clip(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(mp4())
    playlist = b"ffconcat version 1.0\nfile secret.mp4\n"
    with pytest.raises(MediaError, match="no known format"):
        read_video(at(tmp_path, "a.mp4", playlist))
