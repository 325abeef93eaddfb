"""`tasks fetch` from a loopback server with the hub's endpoints: complete, checked, resumed, refused."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.helpers import Cli, make_task
from tests.support.hub_server import COMMIT, HubServer, hub_server

ROWS = "".join(json.dumps({"uid": n, "text": f"Say {n}."}) + "\n" for n in range(4)).encode()
LARGE = bytes(range(256)) * 48 * 1024
"""12 MiB: the hub's client keeps whole blocks of 10 MiB of what it got."""
CUT = 11 * 2**20
FILES = {
    "data/test.jsonl": ROWS,
    "media.tar.gz": LARGE,
    "README.md": b"# The set\n",
    "tiny.py": b"raise SystemExit('a loader script was run')\n",
    "data/train.jsonl": b"{}\n",
}
YAML = """\
version: 1
title: A task
description: What it measures.
licence: cc-by-4.0
inputs: [text]
outputs: [text]
judges: [selection_contract]
primary: selection
contract: {required: [text]}
data:
  name: tiny
  hub: someone/tiny
  megabytes: 1
  rows: [data/test*.jsonl]
  archives: [media.tar.gz]
  items: 4
  sample: sample.jinja
"""
SAMPLE = '{"id": {{ row.uid | string | tojson }}, "messages": []}'


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server("someone/tiny", dict(FILES), {"media.tar.gz"}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        # pauses between tries are real; a twentieth here
        sleep = time.sleep
        monkeypatch.setattr(time, "sleep", lambda seconds: sleep(seconds / 20))
        # the hub's logger was made with the stderr of another test
        monkeypatch.setattr(logging, "raiseExceptions", False)
        yield server


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    make_task(tmp_path, "own/tiny", [], YAML, sample__jinja=SAMPLE)
    return tmp_path / "own"


@pytest.fixture
def folder(own_home: Path) -> Path:
    """Where the set belongs."""
    return own_home / "data" / "tiny"


def test_what_the_tasks_read_is_fetched_with_size_and_licence_said(
    cli: Cli, hub: HubServer, suite: Path, folder: Path
) -> None:
    done = cli("tasks", "fetch", "own", "--include", suite)
    assert done.code == 0, done.err
    assert "3 files" in done.err
    assert f"{len(ROWS) + len(LARGE) + 10:,} bytes, licence cc-by-4.0" in done.err
    assert str(folder) in done.err
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    mine = {name: data for name, data in files.items() if not name.startswith(".")}
    assert mine == {name: FILES[name] for name in ("data/test.jsonl", "media.tar.gz", "README.md")}
    note = json.loads(files[".fetched.json"])
    assert note["commit"] == COMMIT
    assert note["sha256"]["media.tar.gz"] == hashlib.sha256(LARGE).hexdigest()
    # A second time nothing is downloaded.
    before = len(hub.got)
    again = cli("tasks", "fetch", "own/tiny", "--include", suite, "--json")
    assert again.json[0]["commit"] == COMMIT
    assert sorted(again.json[0]["files"]) == ["README.md", "data/test.jsonl", "media.tar.gz"]
    assert len(hub.got) == before


def test_a_connection_that_breaks_is_resumed_where_it_stopped(
    cli: Cli, hub: HubServer, suite: Path, folder: Path
) -> None:
    hub.cut["media.tar.gz"] = [CUT]
    done = cli("tasks", "fetch", "own", "--include", suite)
    assert done.code == 0, done.err
    asked = [wanted for name, wanted in hub.got if name == "media.tar.gz"]
    assert asked[0] == ""
    assert len(asked) == 2
    assert 0 < int(asked[1].removeprefix("bytes=").rstrip("-")) <= CUT
    assert (folder / "media.tar.gz").read_bytes() == LARGE


def test_a_download_that_was_given_up_goes_on_in_the_next_call(
    cli: Cli, hub: HubServer, suite: Path, folder: Path
) -> None:
    hub.cut["media.tar.gz"] = [CUT] + [0] * 50
    failed = cli("tasks", "fetch", "own", "--include", suite)
    assert failed.code == 4
    assert "the same command goes on" in failed.err
    assert "hf download someone/tiny --repo-type dataset" in failed.err
    assert not (folder / "media.tar.gz").exists()
    hub.cut.clear()
    hub.got.clear()
    assert cli("tasks", "fetch", "own", "--include", suite).code == 0
    [wanted] = [wanted for name, wanted in hub.got if name == "media.tar.gz"]
    assert int(wanted.removeprefix("bytes=").rstrip("-")) > 0
    assert (folder / "media.tar.gz").read_bytes() == LARGE


@pytest.mark.parametrize("name", ["media.tar.gz", "data/test.jsonl"])
def test_a_corrupt_file_is_downloaded_once_more(
    name: str, cli: Cli, hub: HubServer, suite: Path, folder: Path
) -> None:
    hub.wrong[name] = 1
    done = cli("tasks", "fetch", "own", "--include", suite)
    assert done.code == 0, done.err
    assert len([got for got, _ in hub.got if got == name]) == 2
    assert (folder / name).read_bytes() == FILES[name]
    # So is one that goes wrong on the disk later.
    (folder / name).write_bytes(bytes(len(FILES[name])))
    again = cli("tasks", "fetch", "own", "--include", suite)
    assert (again.code, f"{name}: its " in again.err) == (0, True)
    assert (folder / name).read_bytes() == FILES[name]


def test_a_file_that_stays_corrupt_is_named(cli: Cli, hub: HubServer, suite: Path, folder: Path) -> None:
    hub.wrong["media.tar.gz"] = 9
    done = cli("tasks", "fetch", "own", "--include", suite)
    assert done.code == 4
    assert "media.tar.gz was downloaded twice and is not what the hub says: its sha256" in done.err
    assert not (folder / ".fetched.json").exists()


@pytest.mark.parametrize("status", [404, 401, 500])
def test_a_hub_that_refuses(status: int, cli: Cli, hub: HubServer, suite: Path) -> None:
    hub.status = status
    done = cli("tasks", "fetch", "own", "--include", suite)
    assert done.code == 4
    assert "someone/tiny could not be downloaded" in done.err
    assert "By hand" in done.err


def test_without_a_network_the_manual_way_is_said(
    cli: Cli, suite: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = cli("tasks", "fetch", "own", "--include", suite)
    assert done.code == 4
    assert f"copy that folder to {folder}, or name it with --data" in done.err


def test_a_repository_that_has_changed_is_refused(cli: Cli, hub: HubServer, suite: Path) -> None:
    del hub.files["media.tar.gz"]
    done = cli("tasks", "fetch", "own", "--include", suite)
    assert done.code == 2
    assert "it has no data/test*.jsonl with media.tar.gz. It has README.md" in done.err
    assert not hub.got


def test_names_of_the_hub_cannot_lead_elsewhere(
    cli: Cli, hub: HubServer, suite: Path, own_home: Path
) -> None:
    path = suite / "tiny" / "task.yaml"
    path.write_text(path.read_text().replace("data/test*.jsonl", "'*/test.jsonl'"))
    hub.files["../test.jsonl"] = hub.files.pop("data/test.jsonl")
    done = cli("tasks", "fetch", "own", "--include", suite)
    assert done.code == 4
    assert "leads outside its folder" in done.err
    assert not list(own_home.rglob("test.jsonl"))


def test_what_cannot_be_fetched(cli: Cli, suite: Path) -> None:
    bundled = cli("tasks", "fetch", "micro")
    assert (bundled.code, "micro is bundled" in bundled.err) == (2, True)
    unknown = cli("tasks", "fetch", "amv")
    assert (unknown.code, "Did you mean" in unknown.err) == (2, True)
    path = suite / "tiny" / "task.yaml"
    path.write_text(path.read_text().replace("  hub: someone/tiny\n", ""))
    away = cli("tasks", "fetch", "own", "--include", suite)
    assert (away.code, "tiny is not on the hub: put it into" in away.err) == (2, True)
