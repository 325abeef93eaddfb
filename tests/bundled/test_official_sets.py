"""The suites amu and amg on sets in the layout of the paper's: samples, missing sets, mistakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eval_anything.content import MediaPart, Modality, Sample, TextPart
from eval_anything.errors import UserError
from eval_anything.tasks.datasets.find import MissingDataError
from eval_anything.tasks.load import load_task
from eval_anything.tasks.registry import Registry
from eval_anything.tasks.task import Task
from tests.support import official
from tests.support.helpers import Cli, mp4, write_jsonl
from tests.support.official import AMU, FOLLOWING, SELECTION

FOLDERS = Registry().folders
OURS = [name for name in FOLDERS if name.startswith(("amu/", "amg/"))]


def load(name: str, data: Path) -> Task:
    return load_task(FOLDERS[name], data=[data])


def text_of(sample: Sample) -> str:
    return " ".join(p.text for p in sample.messages[-1].parts if isinstance(p, TextPart))


# --- samples ----------------------------------------------------------------------------------------


def test_understanding_reads_every_item_with_its_media_and_references(sets: Path) -> None:
    tasks = {
        dimension: load(f"amu/{dimension.replace('-', '_')}", sets) for dimension in official.DIMENSIONS
    }
    assert {name: len(task.samples) for name, task in tasks.items()} == official.DIMENSIONS
    rows = {str(row["question_id"]): row for row in official.amu_rows()}
    media = official.amu_media()
    kinds: Counter[str] = Counter()
    for dimension, task in tasks.items():
        for sample in task.samples:
            row = rows.pop(sample.id)
            visual, sound, text = sample.messages[0].parts
            assert isinstance(visual, MediaPart)
            assert isinstance(sound, MediaPart)
            assert visual.path.read_bytes() == media["visual"][row["visual_modality_path"]]
            assert sound.path.read_bytes() == media["auditory"][row["auditory_modality_path"]]
            assert text == TextPart(row["question"])
            target = sample.targets["understanding_quality"]
            assert target["answers"] == [a["answer"] for a in row["annotations"]]
            assert target["keywords"]["visual"] == ["a square", *(f"v{n}" for n in range(10))]
            assert target["keywords"]["auditory"] == [f"a{n}" for n in range(10)]
            assert target["dimension"] == dimension
            kinds[visual.modality] += 1
    assert not rows  # the first implementation's script read only the pictures
    assert kinds == {"image": 148, "video": 16}


def test_selection_has_the_votes_and_wants_what_most_chose(sets: Path) -> None:
    task = load("amg/selection", sets)
    assert [s.id for s in task.samples] == [f"u{n:03}" for n in range(100)]
    assert task.samples[0].targets["votes"] == official.VOTES[0]
    assert [list(s.contract.required) for s in task.samples[:3]] == [
        [Modality.TEXT, Modality.IMAGE],
        [Modality.TEXT],
        [Modality.AUDIO],
    ]
    assert text_of(task.samples[7]) == "Explain thing 7."


def test_synergy_asks_the_same_prompts_for_all_three_parts(sets: Path) -> None:
    task = load("amg/synergy", sets)
    assert [s.id for s in task.samples] == [s.id for s in load("amg/selection", sets).samples]
    [message] = task.messages(task.samples[3])
    assert isinstance(message.parts[0], TextPart)
    assert message.parts[0].text.startswith("Explain thing 3.")
    assert "a text, an image and a sound" in message.parts[0].text
    assert set(task.samples[3].contract.required) == {Modality.TEXT, Modality.IMAGE, Modality.AUDIO}


@pytest.mark.parametrize("modality", ["text", "image", "audio", "video"])
def test_instructions_are_one_sample_a_prompt(modality: str, sets: Path) -> None:
    task = load(f"amg/instruction_{modality}", sets)
    assert len(task.samples) == 100
    sample = task.by_id[f"{modality}042"]
    assert text_of(sample) == f"Make {modality} number 42."
    assert list(sample.contract.required) == [modality]
    if modality in ("audio", "video"):
        assert sample.metadata["questions"] == [f"{modality}042-0", f"{modality}042-1"]
        assert [q["answer"] for q in sample.targets["probe"]] == ["a dog", "a cat"]
        assert len(sample.targets["probe"][0]["choices"]) == 4


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_rows_may_be_json_or_parquet(form: str, sets: Path, tmp_path: Path) -> None:
    rows = official.following_rows("audio")
    folder = tmp_path / FOLLOWING
    folder.mkdir()
    if form == "json":
        (folder / "audio_instruct.json").write_text(json.dumps({"test": rows}))
    else:
        write_jsonl(folder / "audio_instruct.jsonl", rows)
    found, parquet = load("amg/instruction_audio", folder), load("amg/instruction_audio", sets)
    assert found.parts_of_fingerprint == parquet.parts_of_fingerprint


def test_parquet_without_its_package_says_what_to_install(
    sets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=re.escape("pip install '.[hf]'")):
        load("amg/selection", sets)


def test_media_that_were_unpacked_by_hand_are_the_same(sets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "by hand"
    folder.mkdir()
    shutil.copy(sets / AMU / "config.json", folder)
    for name, members in official.amu_media().items():
        for path, data in members.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(data)
        assert (folder / name).is_dir()
    here, packed = load("amu/safety", folder), load("amu/safety", sets)  # DIR itself, and DIR/<name>
    assert here.parts_of_fingerprint == packed.parts_of_fingerprint


def test_a_set_is_found_where_fetch_puts_it(tmp_path: Path, own_home: Path) -> None:
    official.write_selection(own_home / "data" / SELECTION)
    assert len(load_task(FOLDERS["amg/selection"]).samples) == 100


def test_archives_are_unpacked_once_and_again_when_they_change(tmp_path: Path, own_home: Path) -> None:
    folder = official.write_amu(tmp_path / AMU)
    first = load("amu/safety", tmp_path)
    # A broken archive of the same size and time is not opened again.
    archive = folder / "visual.tar.gz"
    status = archive.stat()
    archive.write_bytes(bytes(status.st_size))
    os.utime(archive, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load("amu/reasoning", tmp_path)
    assert len(list((own_home / "data" / ".unpacked").iterdir())) == 1
    # The same path with other bytes is another item: nothing is known by its path.
    media = official.amu_media()["visual"]
    last = official.amu_rows()[-1]["visual_modality_path"]
    official.write_tar(folder / "visual.tar.gz", {**media, last: mp4(4)})
    second = load("amu/safety", tmp_path)
    ids = [s.id for s in first.samples]
    changed = [i for i in ids if first.item(first.by_id[i]) != second.item(second.by_id[i])]
    assert changed == [ids[-1]]
    assert first.parts_of_fingerprint["samples"] != second.parts_of_fingerprint["samples"]


# --- without the data -------------------------------------------------------------------------------


def test_tasks_can_be_listed_shown_and_checked_without_the_data(cli: Cli) -> None:
    rows = {row["name"]: row for row in cli("tasks", "list", "--json").json}
    assert {name: rows[name]["n"] for name in OURS if name.startswith("amg")} == dict.fromkeys(
        [name for name in OURS if name.startswith("amg")], 100
    )
    assert rows["amu/safety"]["n"] is None
    assert rows["amu/safety"]["data"]["items"] == 164
    assert "of 164" in cli("tasks", "list").out
    for name in OURS:
        shown = cli("tasks", "show", name)
        assert shown.code == 0
        assert "not on this machine" in shown.out
        checked = cli("tasks", "validate", FOLDERS[name].path)
        assert checked.code == 0
        assert "no mistakes found, but the samples could not be checked" in checked.out


def test_with_the_data_they_are_shown_and_checked_whole(cli: Cli, sets: Path) -> None:
    assert cli("tasks", "show", "amu/safety", "--data", sets, "--json").json["n"] == 20
    checked = cli("tasks", "validate", FOLDERS["amg/synergy"].path, "--data", sets, "--json")
    assert checked.json == {"task": "amg/synergy", "samples": 100, "valid": True}


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_run_without_the_data_says_what_to_get_and_where_to_put_it(
    more: list[str], cli: Cli, own_home: Path
) -> None:
    done = cli("run", "--model", "micro", "--tasks", "amu", *more)
    assert done.code == 2
    for words in (
        "PKU-Alignment/EvalAnything-AMU",
        "933 MB",
        "cc-by-nc-4.0",
        "eval-anything tasks fetch amu",
        "--data DIR",
        str(own_home / "data" / AMU),
    ):
        assert words in done.err


def test_wrong_uses_of_data(cli: Cli, sets: Path, tmp_path: Path) -> None:
    run = ["run", "--model", "micro", "--dry-run", "--tasks"]
    away = cli(*run, "amg", "--data", tmp_path / "nowhere")
    assert (away.code, "there is no such folder" in away.err) == (2, True)
    useless = cli(*run, "micro/selection", "--data", sets)
    assert (useless.code, "none of the tasks that are run reads a data set" in useless.err) == (2, True)
    shown = cli(*run, "amg,amu", "--data", sets, "--json")
    assert shown.code == 0
    assert sum(task["samples"] for task in shown.json["tasks"]) == 764


# --- mistakes in a set ------------------------------------------------------------------------------


def refused(name: str, data: Path) -> str:
    with pytest.raises(UserError) as error:
        load(name, data)
    return str(error.value)


@pytest.mark.parametrize("count", [163, 165])
def test_another_number_of_items_is_refused(count: int, tmp_path: Path) -> None:
    rows = official.amu_rows()
    rows = [*rows, {**rows[-1], "question_id": 999}][:count]
    folder = official.write_amu(tmp_path / AMU, rows)
    message = refused("amu/safety", tmp_path)
    assert str(folder / "config.json") in message
    assert f"{count} rows were found, and EvalAnything-AMU has 164" in message
    assert "--limit N" in message


def test_a_prompt_too_few_is_refused(tmp_path: Path) -> None:
    rows = [row for row in official.following_rows("audio") if row["prompt_id"] != "audio007"]
    official.write_parquet(tmp_path / FOLLOWING / "audio_instruct" / "test.parquet", rows)
    assert "99 groups of rows by 'prompt_id' were found" in refused("amg/instruction_audio", tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question": None}, ["row 145", "there is no field 'question'", "Did you mean question_id"]),
        ({"annotations": None}, ["there is no field 'annotations'"]),
        ({"visual_modality_path": "visual/999.png"}, ["'visual/999.png' is not in visual"]),
        ({"visual_modality_path": "../visual/1.png"}, ["leads outside the data set"]),
        ({"visual_modality_path": "/etc/hostname"}, ["leads outside the data set"]),
        ({"auditory_modality_path": "visual/000.png"}, ["'visual/000.png' is not in auditory"]),
        ({"question_id": 163}, ["id '163' is already in row"]),
        ({"evaluation_dimension": "safe"}, ["'safe', which is none of", "Did you mean safety?"]),
        ({"annotations": [{"answer": "a"}]}, ["row 145", "there is no field 'keywords'"]),
    ],
)  # fmt: skip
def test_other_fields_and_lost_media_are_named_with_their_row(
    change: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    rows = official.amu_rows()
    for key, value in change.items():
        rows[144][key] = value
        if value is None:
            del rows[144][key]
    official.write_amu(tmp_path / AMU, rows)
    message = refused("amu/safety", tmp_path)
    for part in words:
        assert part in message


def test_an_incomplete_copy_is_not_mistaken_for_another_place(tmp_path: Path, own_home: Path) -> None:
    folder = official.write_amu(tmp_path / AMU)
    (folder / "auditory.tar.gz").unlink()
    assert "auditory.tar.gz is missing" in refused("amu/safety", tmp_path)
    (folder / "config.json").unlink()
    official.write_amu(own_home / "data" / AMU)
    with pytest.raises(MissingDataError) as error:
        load("amu/safety", tmp_path)
    assert "has no config.json" in str(error.value)
    assert "visual.tar.gz" in str(error.value)


@pytest.mark.parametrize(
    ("votes", "words"),
    [
        ({**official.VOTES[0], "t": 0.4}, "the votes sum up to 1.36, not to 1 (within 0.01)"),
        ({**official.VOTES[0], "t": -0.1}, "must be in 0..1, not -0.1"),
        ({**official.VOTES[0], "v": 0.0}, "votes for 'v', which is none of t, i, a, ti"),
        ({**official.VOTES[0], "tt": 0.0}, "votes for 'tt', which is none of"),
        (3, "the votes must be shares by combination, not 3"),
    ],
)
def test_votes_that_are_none_are_refused(votes: Any, words: str, tmp_path: Path) -> None:
    rows = official.selection_rows()
    (tmp_path / SELECTION / "data").mkdir(parents=True)
    rows = [{**row, "selection": votes} if n == 4 else row for n, row in enumerate(rows)]
    # parquet gives all rows the same fields, so a task with the same mapping reads JSON lines here
    folder = tmp_path / "mine" / "selection"
    shutil.copytree(FOLDERS["amg/selection"].path, folder)
    yaml = (folder / "task.yaml").read_text()
    (folder / "task.yaml").write_text(re.sub(r"rows: \[.*\]", "rows: [data/*.jsonl]", yaml))
    write_jsonl(tmp_path / SELECTION / "data" / "test.jsonl", rows)
    folders = Registry([folder]).folders
    with pytest.raises(UserError) as error:
        load_task(folders["mine/selection"], data=[tmp_path])
    assert "row 5: " + words in str(error.value).replace("the share of the votes for 't' ", "")
    rows[4] = {**rows[3], "instruction_uid": "u004", "selection": {"tia": 0.995, "a": None}}
    write_jsonl(tmp_path / SELECTION / "data" / "test.jsonl", rows)
    assert len(load_task(folders["mine/selection"], data=[tmp_path]).samples) == 100


def test_parquet_that_is_none_and_rows_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / SELECTION / "data" / "test-0.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 and no more")
    assert "no readable parquet file" in refused("amg/selection", tmp_path)
    path.unlink()
    official.write_parquet(path, [{"prompt": "?", "votes": "ti"}] * 100)
    assert "there is no field 'instruction_uid'; the row has prompt, votes" in refused(
        "amg/selection", tmp_path
    )


@pytest.mark.parametrize(
    "choice", ["__import__('os').system('touch hacked')", "['a', open('x')]", "yes"]
)
def test_text_of_a_set_is_never_evaluated(
    choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = official.following_rows("video")
    rows[0]["choice"] = choice
    official.write_parquet(tmp_path / FOLLOWING / "video_instruct" / "test.parquet", rows)
    message = refused("amg/instruction_video", tmp_path)
    assert "row 1: " in message
    assert "choices" in message
    assert not (tmp_path / "hacked").exists()


def test_unknown_keys_of_the_declaration_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "amg" / "selection"
    shutil.copytree(FOLDERS["amg/selection"].path, folder)
    path = folder / "task.yaml"
    path.write_text(path.read_text().replace("  items: 100", "  itens: 100\n  items: 100"))
    with pytest.raises(UserError, match="unknown key 'itens' in `data`"):
        load_task(msgspec.structs.replace(FOLDERS["amg/selection"], path=folder))


def test_the_declarations_of_one_set_agree() -> None:
    from eval_anything.tasks.registry import read_task_file

    found: dict[str, set[tuple[Any, ...]]] = {}
    for name in OURS:
        data = read_task_file(FOLDERS[name]).data
        assert data is not None
        found.setdefault(data.name, set()).add(
            (data.hub, data.megabytes, data.items, tuple(data.archives), data.revision)
        )
    assert all(len(declared) == 1 for declared in found.values())
    wheres = [read_task_file(FOLDERS[n]).data for n in OURS if n.startswith("amu/")]
    values = {data.where.equals for data in wheres if data is not None and data.where is not None}
    assert values == set(official.DIMENSIONS)
