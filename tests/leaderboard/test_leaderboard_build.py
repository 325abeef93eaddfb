"""Building: deterministic, incremental, atomic; what is refused, and what is left out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from eval_anything import compare
from eval_anything.errors import UserError
from eval_anything.leaderboard import pages
from eval_anything.leaderboard.build import build
from eval_anything.leaderboard.chunks import LARGEST, Chunks, json_for_pages, split
from eval_anything.leaderboard.reference import read_reference
from tests.support.helpers import Cli
from tests.support.site_runs import edit_records, edit_results, edit_run

pytestmark = pytest.mark.slow  # real runs, several builds each


def _files(site: Path) -> dict[str, bytes]:
    return {
        p.relative_to(site).as_posix(): p.read_bytes() for p in sorted(site.rglob("*")) if p.is_file()
    }


def _board(site: Path) -> dict[str, Any]:
    data = (site / "data" / "board.js").read_text("utf-8")
    found: dict[str, Any] = json.loads(data[data.index(",") + 1 : data.rindex(")")])
    return found


def _copies(runs: list[Path], root: Path) -> list[Path]:
    return [Path(shutil.copytree(run, root / run.name)) for run in runs]


def test_the_command(cli: Cli, runs: list[Path]) -> None:
    done = cli("leaderboard", "build", *runs, "--out", "site")
    assert done.code == 0
    assert "index.html: 4 runs" in done.out
    again = cli("leaderboard", "build", *runs, "--out", "site", "--json").json
    assert again["reused"] == 4
    assert again["left_out"] == []
    assert Path(again["page"]).is_file()


def test_the_same_runs_give_the_same_bytes(runs: list[Path], tmp_path: Path) -> None:
    """Whatever order they are named in, wherever they lie, and whatever was built before."""
    build(runs, tmp_path / "one")
    moved = _copies(runs, tmp_path / "elsewhere")
    build([*moved[::-1], moved[0]], tmp_path / "two")
    expected = _files(tmp_path / "one")
    assert _files(tmp_path / "two") == expected
    build(runs[:2], tmp_path / "three")
    built = build(runs, tmp_path / "three")
    assert built.reused == 2
    assert _files(tmp_path / "three") == expected
    build(runs[1:], tmp_path / "three")
    build(runs[1:], tmp_path / "four")
    assert _files(tmp_path / "three") == _files(tmp_path / "four")


def test_a_damaged_site_is_mended(runs: list[Path], tmp_path: Path) -> None:
    build(runs[:2], tmp_path / "site")
    expected = _files(tmp_path / "site")
    heads = sorted((tmp_path / "site" / "data" / "runs").glob("*/0.js"))
    heads[0].unlink()
    heads[1].write_text("EA.put(")
    assert build(runs[:2], tmp_path / "site").reused == 0
    assert _files(tmp_path / "site") == expected


def test_no_chunk_is_too_large(site: Path) -> None:
    sizes = [path.stat().st_size for path in (site / "data").rglob("*.js")]
    assert max(sizes) <= LARGEST
    parts = list(split(["x" * 1000] * 1200))
    assert [len(json_for_pages(part)) <= LARGEST for part in parts] == [True] * len(parts)
    assert sum(map(len, parts)) == 1200


def test_chunks_hold_any_text(tmp_path: Path) -> None:
    text = "</script><!-- \u2028 \ud800 \x00 \U0001f600"
    Chunks(tmp_path).write("a/b", [text])
    data = (tmp_path / "a" / "b.js").read_bytes()
    assert b"<" not in data
    assert Chunks(tmp_path).read("a/b", list[str]) == [text.replace("\ud800", "�")]


def test_a_kill_leaves_the_old_site(runs: list[Path], tmp_path: Path) -> None:
    """kill -9 at several moments: the site is the old one or the new one, whole."""
    site = tmp_path / "site"
    build(runs[:1], site)
    old = _files(site)
    build(runs, tmp_path / "other")
    new = _files(tmp_path / "other")
    command = [sys.executable, "-m", "eval_anything", "leaderboard", "build", *map(str, runs)]
    for pause in (0.4, 0.9, 1.6):
        with subprocess.Popen([*command, "--out", str(site)], stdout=subprocess.DEVNULL) as process:
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        assert _files(site) in (old, new)
    build(runs, site)
    assert _files(site) == new
    assert sorted(p.name for p in tmp_path.iterdir() if "site" in p.name) == ["site"]


def test_an_error_while_building_leaves_the_old_site(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    build(runs[:1], site)
    before = _files(site)
    monkeypatch.setattr(pages, "SCRIPTS", ("core.js", "gone.js"))
    with pytest.raises(Exception, match=r"gone\.js"):
        build(runs, site)
    assert _files(site) == before
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


def test_other_folders_are_not_touched(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="other files than a site"):
        build(runs, tmp_path / "notes")
    with pytest.raises(UserError, match="is a file"):
        build(runs, tmp_path / "notes" / "thesis.txt")
    (tmp_path / "mine.html").write_text("<html>")
    with pytest.raises(UserError, match="no page of a leaderboard"):
        build(runs, tmp_path / "mine.html", single=True)
    assert (tmp_path / "notes" / "thesis.txt").read_text() == "years of work"


def test_what_is_no_run_is_a_mistake(cli: Cli, runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no run.json" in cli("leaderboard", "build", "empty", "--out", "site").err
    assert cli("leaderboard", "build", runs[0], "missing", "--out", "site").code == 2


def test_what_is_no_run_is_passed_over(cli: Cli, runs: list[Path], tmp_path: Path) -> None:
    """`runs/*` may have sites, notes and logs beside the runs."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not a run")
    done = cli("leaderboard", "build", runs[0], "empty", "notes.txt", "--out", "site")
    assert done.code == 0
    assert "left out: empty: empty is not the directory of a run: it has no run.json" in done.err
    assert "left out: notes.txt: " in done.err


def test_damaged_runs_are_left_out_and_named(cli: Cli, runs: list[Path], tmp_path: Path) -> None:
    """Half written, NaN, infinities, paths that lead outside, copies: the others are shown."""
    names = [
        "unfinished",
        "torn",
        "nan",
        "infinite",
        "outside",
        "linked",
        "strings",
        "copy",
        "no-results",
    ]
    copies = {name: Path(shutil.copytree(runs[1], tmp_path / name)) for name in names}
    log = "micro/selection/records.jsonl"
    edit_run(copies["unfinished"], status="running")
    with (copies["torn"] / log).open("r+b") as file:
        file.write(b"{{{{")
    edit_results(
        copies["nan"],
        lambda r: r["tasks"]["micro/synergy"]["metrics"]["synergy"].update(value=float("nan")),
    )
    text = (copies["infinite"] / log).read_text()
    (copies["infinite"] / log).write_text(
        text.replace('"value": 1.0', '"value": 1e999').replace('"value":1.0', '"value":1e999')
    )
    outside = {"modality": "image", "path": "../../secret.png", "sha256": "0" * 64, "mime": "image/png"}
    edit_records(copies["outside"], "micro/selection", lambda r, i: r.update(parts=[outside]))
    link = {**outside, "path": "media/link.png"}
    (copies["linked"] / "media" / "link.png").symlink_to("/etc/passwd")
    edit_records(copies["linked"], "micro/selection", lambda r, i: r.update(parts=[link]))
    edit_results(
        copies["strings"], lambda r: r["tasks"]["micro/synergy"]["metrics"]["synergy"].update(value="1")
    )
    (copies["no-results"] / "results.json").unlink()
    done = cli("leaderboard", "build", runs[1], *copies.values(), "--out", "site")
    assert done.code == 0
    said = dict(line.split(": ", 2)[1:] for line in done.err.splitlines() if line.startswith("left out"))
    assert sorted(said) == sorted(set(names) - {"copy"} | {said_copy(said)})
    assert "not finished" in said["unfinished"]
    assert "records.jsonl:1: damaged record" in said["torn"]
    assert "outside" in said["outside"]
    assert "outside" in said["linked"]
    assert str(tmp_path) not in done.err.replace(str(tmp_path / "site"), "")
    assert [folder for folder, _ in _board(tmp_path / "site")["leftOut"]] == sorted(
        said, key=list(said).index
    )
    assert not any(b"root:x:" in data for data in _files(tmp_path / "site").values())


def said_copy(said: dict[str, str]) -> str:
    """Which of two equal runs was left out as a copy."""
    return next(name for name, why in said.items() if "a copy of the run" in why)


def test_nothing_left(cli: Cli, runs: list[Path], tmp_path: Path) -> None:
    edit_run(Path(shutil.copytree(runs[1], tmp_path / "half")), status="running")
    done = cli("leaderboard", "build", "half", "--out", "site")
    assert done.code == 2
    assert "none of these runs can be shown" in done.err
    assert not (tmp_path / "site").exists()


def test_two_runs_with_one_name_are_two_rows(runs: list[Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(runs[1], tmp_path / "again" / runs[1].name))
    edit_run(other, seed=99)
    build([runs[1], other], tmp_path / "site")
    rows = _board(tmp_path / "site")["rows"]
    assert [row[1] for row in rows] == ["tuned-100"] * 2
    assert rows[0][0] != rows[1][0]


def test_other_judges_and_versions_are_never_ranked_together(runs: list[Path], tmp_path: Path) -> None:
    copies = _copies(runs[1:], tmp_path)
    file = json.loads((copies[0] / "run.json").read_text())
    file["fingerprints"]["micro/selection"]["judge selection_contract"] = "0" * 64
    edit_run(copies[0], fingerprints=file["fingerprints"])
    file = json.loads((copies[1] / "run.json").read_text())
    file["fingerprints"]["micro/synergy"]["version"] = "9"
    edit_run(copies[1], fingerprints=file["fingerprints"])
    build(copies, tmp_path / "site")
    board = _board(tmp_path / "site")
    columns = {column["key"]: (i, column) for i, column in enumerate(board["columns"])}
    place, column = columns["micro/selection:selection"]
    assert column["classes"] == [[2, ""], [1, "judge selection_contract"]]
    by_name = {row[1]: row[6][place] for row in board["rows"]}
    assert by_name["tuned-100"][5:8] == [1, 1, 1]
    assert all(high <= 2 for _, _, _, _, _, _, high in (by_name["tuned-200"], by_name["tuned-300"]))
    _, column = columns["micro/synergy:synergy"]
    assert column["classes"] == [[2, ""], [1, "version 1 -> 9"]]
    _, column = columns["micro/Overall"]
    assert len(column["classes"]) == 3


def test_runs_with_fewer_samples_are_ranked_on_those_that_both_have(
    runs: list[Path], tmp_path: Path
) -> None:
    """As `compare` does."""
    copies = _copies(runs[1:], tmp_path)
    log = copies[2] / "micro/synergy/records.jsonl"
    rows = sorted(log.read_text().splitlines(), key=lambda row: str(json.loads(row)["sample_id"]))
    log.write_text("".join(row + "\n" for row in rows[:7]))
    build(copies, tmp_path / "site")
    board = _board(tmp_path / "site")
    columns = {column["key"]: column for column in board["columns"]}
    assert columns["micro/synergy:synergy"]["classes"] == [[3, ""]]
    assert columns["micro/synergy:synergy"]["uneven"] is True
    assert columns["micro/Overall"]["uneven"] is True
    assert columns["micro/selection:selection"]["uneven"] is False
    [change] = [m for m in compare(copies[0], copies[2]).metrics if m.name == "micro/synergy:synergy"]
    assert change.change.n == 7


def test_ranks_tell_the_best(runs: list[Path], tmp_path: Path) -> None:
    """For metrics, and for aggregates of them, whose runs are drawn together."""
    copies = _copies(runs[1:], tmp_path)
    inputs = {
        "a": "micro/understanding:understanding",
        "b": "micro/instruction_following:instruction_following",
    }
    for copy in copies:
        mine = {"formula": "mean", "inputs": inputs, "value": 1.0, "stderr": 0.1, "ci95": [0.5, 1.5]}
        edit_results(copy, lambda r, mine=mine: r["aggregates"].update({"micro/Mine": mine}))
    build(copies, tmp_path / "site")
    board = _board(tmp_path / "site")
    for key in ("micro/understanding:understanding", "micro/Mine"):
        place = [c["key"] for c in board["columns"]].index(key)
        ranks = {row[1]: row[6][place][5:7] for row in board["rows"]}
        assert ranks["tuned-300"][0] == 1
        assert ranks["tuned-100"][1] == 3
        assert all(1 <= low <= high <= 3 for low, high in ranks.values())
        assert board["columns"][place]["unranked"] == ""


def test_the_published_rows_are_the_papers(runs: list[Path], tmp_path: Path) -> None:
    """They are shown beside runs that share a column with them, and only there."""
    build(runs[:1], tmp_path / "other")
    board = _board(tmp_path / "other")
    assert (board["published"], board["source"]) == ([], [])
    assert all(column["key"].startswith("micro/") for column in board["columns"])
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    number = {"value": 5.0, "ci95": [4.8, 5.2], "formula": "mean", "inputs": {}}
    edit_results(run, lambda results: results["aggregates"].update({"amu/AMU": number}))
    build([run], tmp_path / "site", title="Mine <b>", about="Of one & all.")
    page = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert page.count("Mine &lt;b&gt;") == 2
    assert "Of one &amp; all." in page
    reference = read_reference()
    assert len(reference.rows) == 7
    for row in reference.rows.values():
        amu, amg, overall, *dimensions, select, t, v, a, tv, ta, va = row
        assert amu == pytest.approx(sum(dimensions) / 4, abs=0.0051)
        assert overall == pytest.approx((amu + amg) / 2, abs=0.0051)
        pairs = (t + v) / 2 * tv + (t + a) / 2 * ta + (v + a) / 2 * va
        assert amg == pytest.approx(select * pairs, abs=0.02)  # its inputs are rounded
    board = _board(tmp_path / "site")
    assert len(board["published"]) == 7
    known = {column.key for column in reference.columns}
    published = [c for c in board["columns"] if c["key"] in known]
    assert len(published) == 14
    assert [c["key"] for c in published if c["classes"]] == ["amu/AMU"]
    assert all(c["unranked"] for c in published)


def test_prompts_of_tasks_that_are_away(cli: Cli, runs: list[Path], tmp_path: Path) -> None:
    """The task of the records is another one than the one at hand: no wrong prompt is shown."""
    copy = Path(shutil.copytree(runs[1], tmp_path / "run"))
    edit_records(copy, "micro/synergy", lambda r, i: r.update(item="f" * 64))
    done = cli("leaderboard", "build", "run", "--out", "site", "--json")
    assert done.json["without_prompts"] == ["micro/synergy"]
    assert "--include" in done.err
    assert _board(tmp_path / "site")["prompts"]["micro/synergy"] == ""


def test_one_file(cli: Cli, runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("leaderboard", "build", *runs, "--out", "board.html", "--single-file")
    assert done.code == 0, done.err
    first = (tmp_path / "board.html").read_bytes()
    assert len(first) < pages.LARGEST_FILE
    assert cli("leaderboard", "build", *runs, "--out", "board.html", "--single-file").code == 0
    assert (tmp_path / "board.html").read_bytes() == first
    assert cli("leaderboard", "build", *runs, "--out", "one", "--single-file").code == 0
    assert list(_files(tmp_path / "one")) == ["index.html"]
    assert (tmp_path / "one" / "index.html").read_bytes() == first
    monkeypatch.setattr(pages, "LARGEST_FILE", 100_000)
    refused = cli("leaderboard", "build", *runs, "--out", "large.html", "--single-file")
    assert refused.code == 2
    assert "at most" in refused.err
    assert not (tmp_path / "large.html").exists()


def test_two_builds_at_once(runs: list[Path], tmp_path: Path) -> None:
    import fcntl

    (tmp_path / ".site.building").mkdir()
    lock = os.open(tmp_path / ".site.building", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="another process"):
        build(runs[:1], tmp_path / "site")
    os.close(lock)
    build(runs[:1], tmp_path / "site")


def test_spreadsheets_get_no_formulas(runs: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(runs[1], tmp_path / "run"))
    edit_run(copy, model="=HYPERLINK(1)")
    build([copy], tmp_path / "site")
    text = (tmp_path / "site" / "leaderboard.csv").read_text()
    assert "'=HYPERLINK(1)" in text
    assert ",=" not in text
    rows = json.loads((tmp_path / "site" / "leaderboard.json").read_text())
    assert rows[0]["model"] == "=HYPERLINK(1)"
