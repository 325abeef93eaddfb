"""Saved outputs as a folder: which file is which part of which answer, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import Cli, Result, make_task, mp4, png, text_sample, wav

IDS = ["s0", "s1", "s2", "s3"]


def score(cli: Cli, *more: str | Path) -> Result:
    """Scores the folder `out` on `mine/demo`, or on what `more` says."""
    tasks = more if "--tasks" in more else ["--tasks", "mine/demo", *more]
    return cli("score", "--outputs", "out", "--include", "mine", "--json", *tasks)


def records(run: Path, task: str = "mine/demo") -> dict[str, dict[str, Any]]:
    lines = (run / task / "records.jsonl").read_bytes().splitlines()
    return {row["sample_id"]: row for row in map(json.loads, lines)}


def shown(record: dict[str, Any]) -> list[str]:
    """Text parts as they are, media as the first letters of their sha256."""
    return [p["text"] if p["modality"] == "text" else p["sha256"][:8] for p in record["parts"]]


def short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


def put(folder: Path, **files: bytes | str) -> Path:
    """Files of a folder; `__` is a dot."""
    for name, data in files.items():
        write(folder / name.replace("__", "."), data)
    return folder


def write(path: Path, data: bytes | str = "Paris") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A task of four samples, and a folder with a text for each."""
    make_task(tmp_path)
    return put(tmp_path / "out", **{f"{i}__txt": "Paris" for i in IDS})


def test_a_folder_is_scored_like_a_file(cli: Cli, out: Path) -> None:
    result = score(cli)
    assert result.code == 0, result.err
    assert result.json["model"] == "replay-out"
    assert result.json["tasks"]["mine/demo"]["metrics"]["selection"]["value"] == 1
    same = cli("run", "--model", "replay/out", "--tasks", "mine/demo", "--include", "mine", "--json")
    assert same.json == result.json


def test_the_order_of_parts(cli: Cli, out: Path, tmp_path: Path) -> None:
    image, sound, clip = png(noise=1), wav(), mp4()
    put(out, s0__mp4=clip, s0__PNG=image, s0__wav=sound)
    (out / "s1.txt").unlink()
    put(out, s1__2__txt="after", s1__1__png=image, s1__10__txt="last")
    put(out, **{f"s1__{n}__json": f"[{n}]" for n in range(3, 10)})
    put(out, **{"__DS_Store": "of a file manager"})
    result = score(cli, "--out", "run")
    assert result.code == 0, result.err
    found = records(tmp_path / "run")
    assert shown(found["s0"]) == ["Paris", short(image), short(sound), short(clip)]
    assert shown(found["s1"]) == [
        *(short(image), "after"),
        *(f"[{n}]" for n in range(3, 10)),
        "last",
    ]
    assert [found[i]["order_known"] for i in IDS] == [False, True, True, True]


def test_a_folder_a_task(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, "mine/demo", [text_sample("s0")])
    make_task(tmp_path, "mine/more", [text_sample("s0"), text_sample("s2")])
    folder = tmp_path / "out"
    put(folder / "mine" / "demo", s0__txt="Paris")
    put(folder / "more", s0__txt="Rome", s2__txt="Rome")
    put(folder / "open" / "selection", **{"open-sel-01__txt": "of a task that is not asked for"})
    result = score(cli, "--tasks", "mine", "--out", "run")
    assert result.code == 0, result.err
    assert shown(records(tmp_path / "run")["s0"]) == ["Paris"]
    assert shown(records(tmp_path / "run", "mine/more")["s0"]) == ["Rome"]
    write(folder / "s0.txt")
    result = score(cli, "--tasks", "mine", "--out", "other")
    assert result.code == 2
    assert "out/s0.txt: several tasks are scored: it belongs into <suite>/<task>/" in result.err
    (folder / "s0.txt").unlink()
    put(folder / "mine" / "more", s2__txt="Oslo")
    result = score(cli, "--tasks", "mine", "--out", "other")
    assert result.code == 2
    assert "answers the same sample: keep one" in result.err


def test_ids_that_no_name_holds(cli: Cli, tmp_path: Path) -> None:
    ids = ["a/b", ".hidden", "v1.2", "100%", "ü 日本", "..", "x" * 100 + "\n"]
    make_task(tmp_path, samples=[text_sample(i) for i in ids])
    names = ["a%2Fb", "%2Ehidden", "v1%2e2", "100%25", "ü 日本", "%2E%2E", "x" * 100 + "%0A"]
    for id_, name in zip(ids, names, strict=True):
        write(tmp_path / "out" / f"{name}.txt", f"of {id_!r}")
    result = score(cli, "--out", "run")
    assert result.code == 0, result.err
    assert {i: shown(r) for i, r in records(tmp_path / "run").items()} == {i: [f"of {i!r}"] for i in ids}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["s9.txt"], "out/s9.txt: mine/demo has no sample 's9'. Did you mean s"),
        (["s0.v2.txt"], "out/s0.v2.txt: mine/demo has no sample 's0.v2'. Did you mean s"),
        (["s0.json"], "s0.json and s0.txt are both the text of one answer: keep one, or number"),
        (["%730.txt"], "both the text of one answer"),
        (["s0.jpg", "s0.png"], "s0.jpg and s0.png are both the image of one answer"),
        (["s0.1.png"], "out/s0.txt: has no number, but other parts of its answer have"),
        (["s0.2.png"], "number all of them"),
        (["mine/demo/s0.1.png", "mine/demo/s0.01.txt"], "are both number 1 of one answer: keep one"),
        (["mine/demo/s0.1.png", "mine/demo/s0.3.txt"], "begins parts numbered 1, 3: they must count up"),
        (["mine/demo/s0.txt"], "out/s0.txt: out/mine/demo/s0.txt answers the same sample: keep one"),
        (["mine/dmeo/s0.txt"], "unknown task 'mine/dmeo'. Did you mean mine/demo"),
        (["mine/demo/old/s0.txt"], "out/mine/demo/old: lies too deep: folders are <suite>/<task>/"),
        (
            ["s0.npy"],
            "out/s0.npy: is no part of an answer: names are <sample id> and one of .txt, .json",
        ),
        (["README"], "out/README: is no part of an answer"),
        (["s0%.txt"], "out/s0%.txt: has a % that stands for no byte: write %25"),
        (["s%FF.txt"], "out/s%FF.txt: is no UTF-8 once its %XX are bytes"),
    ],
)
def test_files_that_are_refused(
    cli: Cli, out: Path, tmp_path: Path, files: list[str], words: str
) -> None:
    for name in files:
        write(out / name, png() if name.endswith("png") else "Paris")
    result = score(cli)
    assert result.code == 2
    assert result.out == ""
    assert words in result.err
    assert not (tmp_path / "runs").exists()


def test_what_leads_out_or_is_no_file(cli: Cli, out: Path, tmp_path: Path) -> None:
    write(tmp_path / "secret.txt", "of somebody else")
    (out / "s0.txt").unlink()
    (out / "s0.txt").symlink_to("../secret.txt")
    (out / "s1.png").symlink_to("nowhere.png")
    os.mkfifo(out / "s2.wav")
    (out / "mine").symlink_to(tmp_path)
    write(out / "s3.txt", b"\xff\xfe")
    lines = score(cli).err.strip().splitlines()
    for name, words in (
        ("s0.txt", "leads outside its folder"),
        ("s1.png", "is no regular file"),
        ("s1.png", "is no regular file (and 1 more: s2.wav)"),
        ("s3.txt", "is no UTF-8 text (byte 0)"),
        ("mine", "is a link to a folder"),
    ):
        assert any(f"out/{name}: " in line and words in line for line in lines), (name, lines)


def test_links_inside_are_followed(cli: Cli, out: Path, tmp_path: Path) -> None:
    (out / "s1.txt").unlink()
    (out / "s1.txt").symlink_to("s0.txt")
    assert score(cli, "--out", "run").code == 0
    assert shown(records(tmp_path / "run")["s1"]) == ["Paris"]


def test_missing_ids(cli: Cli, out: Path) -> None:
    (out / "s3.txt").unlink()
    result = score(cli)
    assert result.code == 2
    assert "no output for 1 of 4 samples (mine/demo s3). Add them, let" in result.err
    result = score(cli, "--allow-missing", "--max-failed", "0.25")
    assert result.code == 0
    assert result.json["tasks"]["mine/demo"]["metrics"]["selection"]["failed"] == 1


def test_a_broken_medium_is_a_failed_sample(cli: Cli, out: Path, tmp_path: Path) -> None:
    put(out, s0__png=wav(), s1__jpg=png(), s2__txt="")
    assert score(cli, "--out", "run").code == 1
    errors = {i: r["error"] and r["error"]["kind"] for i, r in records(tmp_path / "run").items()}
    assert errors == {"s0": "invalid_output", "s1": "invalid_output", "s2": "empty_output", "s3": None}


def test_another_file_is_another_model(cli: Cli, out: Path) -> None:
    assert score(cli, "--out", "run").code == 0
    assert score(cli, "--out", "run").code == 0
    put(out, s2__txt="Rome")
    result = score(cli, "--out", "run")
    assert result.code == 2
    assert "the model's weights" in result.err
