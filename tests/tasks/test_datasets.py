"""Data sets of tasks: archives that do harm, paths of media, choices, and a user's own set."""

from __future__ import annotations

import gzip
import io
import json
import re
import string
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from eval_anything.content import MediaPart
from eval_anything.errors import UserError
from eval_anything.scoring.votes import brier, checked_votes, most_voted
from eval_anything.tasks.datasets import archives
from eval_anything.tasks.datasets.archives import unpack, unpacked
from eval_anything.tasks.datasets.choices import choices, chosen
from eval_anything.tasks.datasets.media import MediaFinder
from eval_anything.tasks.datasets.rows import read_rows
from eval_anything.tasks.load import folder_at, load_task
from tests.support.helpers import Cli, make_task, png, wav, write_jsonl
from tests.support.official import write_tar


def refused(archive: Path, into: Path) -> str:
    with pytest.raises(UserError) as error:
        unpack(archive, into)
    assert str(archive) in str(error.value)
    return str(error.value)


def info(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member


# --- archives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (info("/etc/cron.d/x"), "'/etc/cron.d/x' leads outside"),
        (info("../x"), "leads outside"),
        (info("a/../../x"), "leads outside"),
        (info("..\\x"), "leads outside"),
        (info("x", tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
        (info("x", tarfile.LNKTYPE, "ok.png"), "is a link or a device"),
        (info("x", tarfile.FIFOTYPE), "is a link or a device"),
        (info("x", tarfile.CHRTYPE), "is a link or a device"),
        (info("ok.png"), "'ok.png' is there twice"),
        (info("ok.png/x"), "'ok.png/x' is there twice"),
    ],
)
def test_members_that_lead_elsewhere_are_refused(
    member: tarfile.TarInfo, words: str, tmp_path: Path
) -> None:
    archive = write_tar(tmp_path / "bad.tar.gz", {"ok.png": png(), "bad": member})
    into = tmp_path / "deep" / "er" / "into"
    into.mkdir(parents=True)
    assert words in refused(archive, into)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["bad.tar.gz", "ok.png"]


def _zeros(path: Path) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        member = info("zeros.wav")
        member.size = 80 * 2**20
        tar.addfile(member, io.BytesIO(bytes(member.size)))


def _huge_claim(path: Path) -> None:
    member = info("huge.wav")
    member.size = 2**43
    path.write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))


def _long_header(path: Path) -> None:
    member = info("x", tarfile.XHDTYPE)
    member.size = 80 * 2**20
    path.write_bytes(gzip.compress(member.tobuf() + bytes(member.size), 1))


def _long_name(path: Path) -> None:
    """A name of 60 MB in an extended header, packed to less than 300 kB."""
    member = info("x" * 60_000_000)
    path.write_bytes(gzip.compress(member.tobuf(tarfile.PAX_FORMAT) + bytes(1024), 9))


def _sparse(path: Path) -> None:
    """A member of 9 GB that is one hole."""
    member = info("hole.wav", tarfile.GNUTYPE_SPARSE)
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (9 * 2**30 - 1 & 0o77777777777, 0)
    header[483:495] = b"%011o\0" % (8 * 2**30 - 1)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(gzip.compress(bytes(header) + bytes(1024)))


def _deep(path: Path) -> None:
    path.write_bytes(gzip.compress(info("a/" * 1500 + "x.png").tobuf(tarfile.GNU_FORMAT) + bytes(1024)))


def _long(path: Path) -> None:
    path.write_bytes(gzip.compress(info("a" * 5000).tobuf(tarfile.GNU_FORMAT) + bytes(1024)))


def _half_and_half(path: Path) -> None:
    """Many members of an allowed size, too much together, said before any is unpacked to its end."""
    member = info("a.wav")
    member.size = 40 * 2**20
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name in ("a.wav", "b.wav"):
            member.name = name
            tar.addfile(member, io.BytesIO(bytes(member.size)))


def _many(path: Path) -> None:
    data = b"".join(info(f"{n}").tobuf() for n in range(101))
    path.write_bytes(gzip.compress(data + bytes(1024), 1))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (_zeros, "archive bomb"),
        (_huge_claim, "8,796,093,022,208 bytes: too large"),
        (_long_header, "a header of 83,886,080 bytes"),
        (_many, "more than 100 files"),
        (_long_name, "a header of 60,0"),
        (_sparse, "is a sparse file"),
        (_deep, "too long or too deep"),
        (_long, "too long or too deep"),
        (_half_and_half, "larger than 67,108,864 bytes"),
    ],
)
def test_bombs_are_refused(
    build: Callable[[Path], None], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 100)
    archive = tmp_path / "bomb.tar.gz"
    build(archive)
    assert archive.stat().st_size < 2**22
    (tmp_path / "into").mkdir()
    assert words in refused(archive, tmp_path / "into")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.6, 0.999])
def test_archives_that_are_cut_or_no_archives_are_broken(share: float, tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar.gz", {f"{n}.png": png(noise=n + 1) for n in range(9)})
    data = whole.read_bytes()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(data[: int(len(data) * share)])
    (tmp_path / "into").mkdir()
    assert "is broken" in refused(cut, tmp_path / "into")
    cut.write_bytes(b"<html>not found</html>")
    assert "is broken" in refused(cut, tmp_path / "into")
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    cut.write_bytes(flipped)
    (tmp_path / "again").mkdir()
    assert "is broken" in refused(cut, tmp_path / "again")


def test_what_a_killed_process_left_behind_is_cleared(tmp_path: Path) -> None:
    good = write_tar(tmp_path / "good.tar.gz", {"a.png": png()})
    left = tmp_path / "cache" / ".set-0123456789abcdef.999999999"
    left.mkdir(parents=True)
    unpacked([good], "set", tmp_path / "cache")
    assert not left.exists()


def test_a_refused_archive_leaves_no_cache(tmp_path: Path) -> None:
    good = write_tar(tmp_path / "good.tar.gz", {"a.png": png()})
    bad = write_tar(tmp_path / "bad.tar.gz", {"../a.png": png()})
    with pytest.raises(UserError, match="leads outside"):
        unpacked([good, bad], "set", tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    folder = unpacked([good], "set", tmp_path / "cache")
    assert (folder / "good" / "a.png").read_bytes() == png()


# --- media ------------------------------------------------------------------------------------------


@pytest.fixture
def finder(tmp_path: Path) -> MediaFinder:
    """Media below two folders, one of them wrongly named in its archive."""
    members = {"images/1.png": png(), "more/2.png": png(), "other/2.png": png(), "3.wav": png()}
    for name, content in (("visual", members), ("auditory", {"auditory/1.wav": wav()})):
        (tmp_path / name).mkdir()
        unpack(write_tar(tmp_path / f"{name}.tar.gz", content), tmp_path / name)
    return MediaFinder(tmp_path, ["visual", "auditory"])


@pytest.mark.parametrize(
    ("path", "folder", "found"),
    [
        ("1.png", "visual", "visual/images/1.png"),
        ("images/1.png", "visual", "visual/images/1.png"),
        ("./images/1.png", "visual", "visual/images/1.png"),
        ("data/test/images/1.png", "visual", "visual/images/1.png"),
        ("images\\1.png", "visual", "visual/images/1.png"),
        ("visual/more/2.png", "visual", "visual/more/2.png"),
        ("1.wav", "auditory", "auditory/auditory/1.wav"),
        ("auditory/1.wav", "", "auditory/auditory/1.wav"),
        ("3.wav", "visual", "visual/3.wav.png"),
    ],
)
def test_media_are_found_by_what_their_paths_say(
    path: str, folder: str, found: str, finder: MediaFinder
) -> None:
    assert finder.part(path, folder)["path"] == found


@pytest.mark.parametrize(
    ("path", "folder", "words"),
    [
        ("2.png", "visual", "may be visual/more/2.png or visual/other/2.png"),
        ("wrong/1.png", "visual", "'wrong/1.png' is not in visual"),
        ("4.png", "visual", "'4.png' is not in visual. Did you mean"),
        ("1.wav", "visual", "'1.wav' is not in visual"),
        ("1.png", "visuel", "Did you mean visual?"),
        ("../visual/1.png", "visual", "leads outside"),
        ("/1.png", "visual", "leads outside"),
        ("", "visual", "must be text"),
        (None, "visual", "must be text"),
    ],
)
def test_media_that_are_not_clear_are_refused(
    path: object, folder: str, words: str, finder: MediaFinder
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        finder.part(path, folder)


# --- choices and votes ------------------------------------------------------------------------------

FOUR = ["a dog", "a cat", "B. B. King", "both, A and B"]


@pytest.mark.parametrize(
    "value",
    [
        FOUR,
        dict(zip("ABCD", FOUR, strict=True)),
        [f"{letter}. {text}" for letter, text in zip("ABCD", FOUR, strict=True)],
        str([f"{letter}. {text}" for letter, text in zip("ABCD", FOUR, strict=True)]),
        json.dumps(FOUR),
        "A. a dog\nB. a cat\nC. B. B. King\nD. both, A and B",
        "A) a dog, B) a cat, C) B. B. King, D) both, A and B",
        "(A) a dog (B) a cat (C) B. B. King (D) both, A and B",
        "A: a dog; B: a cat; C: B. B. King; D: both, A and B",
        "(a) a dog\n(b) a cat\n(c) B. B. King\n(d) both, A and B",
        "1. a dog\n2. a cat\n3. B. B. King\n4. both, A and B",
        {"a": "a dog", "b": "a cat", "c": "B. B. King", "d": "both, A and B"},
        [f"({i}) {text}" for i, text in enumerate(FOUR, start=1)],
    ],
)
def test_choices_are_read_in_all_their_forms(value: object) -> None:
    assert choices(value) == FOUR
    labels = "1234" if "1" in str(value) else "ABCD"
    assert chosen(value, labels[2]) == "B. B. King"


NUMBERS = [str(i) for i in range(1, 27)]


@pytest.mark.parametrize("labels", [string.ascii_uppercase, string.ascii_lowercase, NUMBERS])
@pytest.mark.parametrize("form", ["{}. ", "{}) ", "{}: ", "({}) ", "({}). ", "{}."])
@pytest.mark.parametrize("between", ["\n", "\r\n", "\n\n", "\n  ", "  "])
@pytest.mark.parametrize("count", [2, 10, 26])
def test_labels_of_every_form(labels: Sequence[str], form: str, between: str, count: int) -> None:
    texts = [f"x{i}" for i in range(count)]
    pairs = list(zip(labels, texts, strict=False))
    assert choices(between.join(form.format(label) + text for label, text in pairs)) == texts
    assert choices([form.format(label) + text for label, text in pairs]) == texts
    assert choices(dict(reversed(pairs))) == texts
    assert chosen(dict(pairs), labels[count - 1]) == texts[-1]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("A. vitamin B. is good\nB. vitamin C. is good", ["vitamin B. is good", "vitamin C. is good"]),
        ("A. see B. anthracis\nB. see C. elegans", ["see B. anthracis", "see C. elegans"]),
        ("1. 3.14\n2. 2.72", ["3.14", "2.72"]),
        ("1: 2:30\n2: 1:45", ["2:30", "1:45"]),
        ("A. U.S. B. U.K.", ["U.S.", "U.K."]),
        ("A. one\nline more\nB. two", ["one\nline more", "two"]),
        ("A. a B. b\nC. c D. d", ["a", "b", "c", "d"]),
        ("A.\na\nB.\nb", ["a", "b"]),
        ("A. a\nB) b", ["a", "b"]),
        ("A. and/or; B. or", ["and/or", "or"]),
        (["1. 5", "2. 6"], ["5", "6"]),
        (["1.5", "2.6"], ["1.5", "2.6"]),
    ],
)
def test_labels_at_the_start_of_a_line_win(value: object, texts: list[str]) -> None:
    assert choices(value) == texts


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("A. vitamin B. is good B. vitamin C. is good", "A, B, B, C"),
        ("A. by D. Adams B. by J. Joyce", "A, D, B, J"),
        ("A. a\nC. c", "A, C"),
        ("A. a\nB. b\nC. c\nE. e", "A, B, C, E"),
        ("A. a\nA. b", "A, A"),
        ("A. a\nB. b\nC c", "A, B, C"),
        ("A. a B. b C) c", "A, B, C"),
        ("".join(f"{i}. x{i}\n" for i in range(1, 28)), "26, 27"),
    ],
)
def test_what_cannot_be_split_in_one_way_is_refused(text: str, seen: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{seen} in this order")):
        choices(text)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a dog or a cat", "no choices with letters"),
        ("A. a dog", "2 to 26 different choices"),
        (["a", "a "], "2 to 26 different choices"),
        (["a", ""], "2 to 26 different choices"),
        ([f"x{i}" for i in range(27)], "2 to 26 different choices"),
        ({}, "must have the letters"),
        ({"A": "a", "C": "c"}, "must have the letters A, B"),
        ([1, 2], "no list of texts"),
        ("[print(1)]", "are no list"),
        ("[" * 5000, "are no list"),
        (None, "no list of texts"),
        ("A. " * 5000, "characters long"),
    ],
)
def test_choices_that_are_none_are_refused(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        choices(value)


@pytest.mark.parametrize("answer", ["E", "a dog", "", "AB", None, 0])
def test_an_answer_is_one_of_the_letters(answer: object) -> None:
    with pytest.raises(ValueError, match="is none of the letters A, B, C, D"):
        chosen(FOUR, answer)


def test_votes() -> None:
    votes = checked_votes({"it": 0.5, "t": 0.5, "tia": None})
    assert votes == {"t": 0.5, "i": 0.0, "a": 0.0, "ti": 0.5, "ta": 0.0, "ia": 0.0, "tia": 0.0}
    assert most_voted(votes) == ["text"]
    assert brier(votes, "t") == 0.5
    assert brier(votes, "a") == 1.5
    assert brier(votes, "tv") == 1.5
    assert brier(votes, "") == 2
    assert brier(checked_votes({"tia": 1}), "tia") == 0
    assert brier(checked_votes({"tia": 1}), "t") == 2


# --- rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[{"a": 1}, {"a": 2}]', [1, 2]),
        ('{"image": [{"a": 1}], "video": [{"a": 2}]}', [1, 2]),
        ('{"all": [{"a": 1}, {"a": 2}], "image": [{"a": 1}], "video": [{"a": 2}]}', [1, 2]),
    ],
)
def test_a_json_file_of_rows(text: str, found: list[int], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    assert [row.fields["a"] for row in read_rows([path])] == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("3", "must hold a list of rows"),
        ('{"a": 1}', "must hold a list of rows"),
        ("[1]", "row 1 is no object"),
        ("\udcff", "not valid JSON"),
    ],
)
def test_a_json_file_without_rows(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as error:
        read_rows([path])
    assert words in str(error.value)


# --- a user's own set -------------------------------------------------------------------------------

YAML = """\
version: 1
title: Birds
description: Does the model name the bird?
licence: CC0-1.0
inputs: [text, image]
outputs: [text]
judges: [selection_contract]
primary: selection
contract: {required: [text]}
data:
  name: birds
  megabytes: 0.1
  rows: [rows/*.jsonl]
  items: 3
  sample: sample.jinja
"""
SAMPLE = """\
{"id": {{ row.name | tojson }}, "messages": [{"role": "user", "parts": [
  {{ row.photo | medium | tojson }}, {"modality": "text", "text": "Which bird?"}]}],
 "targets": {"answer": {{ row.name | tojson }}}}
"""
ELSEWHERE = '{"modality": "image", "path": "/etc/hosts"}'


def own_task(root: Path, yaml: str = YAML, sample: str = SAMPLE) -> Path:
    """A task whose set of three rows lies beside it."""
    birds = root / "sets" / "birds"
    (birds / "photos").mkdir(parents=True)
    (birds / "rows").mkdir()
    rows = [{"name": n, "photo": f"photos/{n}.png"} for n in ("owl", "wren", 'a "tit" <b>')]
    for number, row in enumerate(rows):
        row["photo"] = f"photos/{number}.png"
        (birds / row["photo"]).write_bytes(png((number, 0, 0)))
    write_jsonl(birds / "rows" / "test.jsonl", rows)
    return make_task(root, "mine/birds", [], yaml, sample__jinja=sample)


def test_a_set_of_ones_own_needs_no_code(cli: Cli, tmp_path: Path) -> None:
    folder = own_task(tmp_path)
    task = load_task(folder_at(folder), data=[tmp_path / "sets"])
    assert [s.id for s in task.samples] == ["owl", "wren", 'a "tit" <b>']
    assert task.samples[2].targets == {"answer": 'a "tit" <b>'}
    photo = task.samples[1].messages[0].parts[0]
    assert isinstance(photo, MediaPart)
    assert photo.path == tmp_path / "sets" / "birds" / "photos" / "1.png"
    away = cli("run", "--model", "micro", "--tasks", "mine/birds", "--include", folder, "--dry-run")
    assert away.code == 2
    assert "birds, about 0.1 MB, licence CC0-1.0" in away.err
    assert "tasks fetch" not in away.err  # it is on no hub
    done = cli(
        *("run", "--model", "micro", "--tasks", "mine/birds", "--include", folder),
        *("--data", tmp_path / "sets", "--dry-run", "--json"),
    )
    assert done.json["tasks"][0]["samples"] == 3


@pytest.mark.parametrize(
    ("yaml", "sample", "words"),
    [
        (YAML.replace("rows/*.jsonl", "../*.jsonl"), SAMPLE, "leads outside the data set"),
        (YAML.replace("rows/*.jsonl", "rows/*.csv"), SAMPLE, "must end in .json, .jsonl, .parquet"),
        (YAML.replace("[rows/*.jsonl]", "[]"), SAMPLE, "names no file"),
        (YAML.replace("items: 3", "items: 0"), SAMPLE, "items: must be at least 1"),
        (YAML.replace("0.1", "0"), SAMPLE, "megabytes: must be above 0"),
        (YAML.replace("name: birds", "name: ../birds"), SAMPLE, "must be the name of a folder"),
        (YAML + "  hub: birds\n", SAMPLE, "hub: must be `owner/name`"),
        (YAML + "  revision: main\n", SAMPLE, "must be a commit"),
        (YAML + "  archives: [a.zip]\n", SAMPLE, "must end in .tar.gz"),
        (YAML + "  archives: [a.tar.gz]\n", SAMPLE, "a.tar.gz is missing"),
        (YAML + "  where: {field: name, equals: owl, among: [wren]}\n", SAMPLE, "none of `among`"),
        (YAML + "samples: mine.jsonl\n", SAMPLE, "from `data:` or from a file: keep one"),
        (YAML.replace("sample.jinja", "../../x.jinja"), SAMPLE, "leads outside"),
        (YAML.replace("sample.jinja", "x.jinja"), SAMPLE, "x.jinja does not exist"),
        (YAML, SAMPLE.replace("tojson }}", "tojson }"), "sample.jinja:"),
        (YAML, SAMPLE.replace("| medium", "| medum"), "No filter named 'medum'"),
        (YAML, SAMPLE.replace('"id":', '"idd":'), "row 1: unknown key 'idd'"),
        (YAML, SAMPLE.replace('"id":', "id:"), "row 1: not valid JSON"),
        (YAML, SAMPLE.replace("row.name", "row.nam"), "row 1: there is no field 'nam'; the row has"),
        (YAML, SAMPLE.replace('row.photo | medium', ELSEWHERE), "leads outside its folder"),
        (YAML, SAMPLE.replace("row.name", "row.__class__.__mro__"), "row 1: "),
        (YAML, SAMPLE.replace('"Which bird?"', "3"), "row 1: expected"),
    ],
)  # fmt: skip
def test_mistakes_in_the_declaration_and_the_template(
    yaml: str, sample: str, words: str, tmp_path: Path
) -> None:
    folder = own_task(tmp_path, yaml, sample)
    with pytest.raises(UserError) as error:
        load_task(folder_at(folder), data=[tmp_path / "sets"])
    assert words in str(error.value)


def test_choices_that_cannot_be_split_are_named_with_file_and_line(tmp_path: Path) -> None:
    sample = SAMPLE.replace("row.name | tojson", "(row.name | choices)[0] | tojson")
    folder = own_task(tmp_path, sample=sample)
    rows = tmp_path / "sets" / "birds" / "rows" / "test.jsonl"
    names = ["A. an owl\nB. a wren", "A. an owl B. a wren B. a tit", "A. a\nB. b"]
    lines = [json.dumps({"name": n, "photo": f"photos/{i}.png"}) for i, n in enumerate(names)]
    rows.write_text("\n\n".join(lines))
    with pytest.raises(UserError) as error:
        load_task(folder_at(folder), data=[tmp_path / "sets"])
    assert f"{rows}:3: row 2: the choices cannot be split" in str(error.value)
    rows.write_text("\n".join([lines[0], "{]", lines[2]]))
    with pytest.raises(UserError) as error:
        load_task(folder_at(folder), data=[tmp_path / "sets"])
    assert f"{rows}:2: not valid JSON" in str(error.value)
