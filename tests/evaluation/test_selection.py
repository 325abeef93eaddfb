"""Which samples a run has: --limit, --first, --where, --skip-unreadable, and a run that goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Contract, Message, Modality, Sample, TextPart
from eval_anything.files.places import content_folder
from eval_anything.tasks.draw import drawn
from eval_anything.tasks.load import folder_at, load_task
from eval_anything.tasks.task import Task, TaskFile, TaskFolder
from tests.support.helpers import (
    TASK_YAML,
    Cli,
    Result,
    answers,
    make_task,
    medium_sample,
    png,
    text_sample,
    write_jsonl,
)

GROUPED = TASK_YAML + "group_by: [language]\n"
LANGUAGES = ["en"] * 12 + ["de"] * 6 + ["fr"] * 2
IDS = [f"s{i:02}" for i in range(20)]


def samples(path: Path) -> list[str]:
    """Ids of the samples on record."""
    lines = (path / "mine/demo/records.jsonl").read_text().splitlines()
    return [json.loads(line)["sample_id"] for line in lines]


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A task of 20 samples in three languages, sorted by language, and rows that answer all."""
    rows = [
        text_sample(name, metadata={"language": language, "tags": ["odd" if i % 2 else "even"]})
        for i, (name, language) in enumerate(zip(IDS, LANGUAGES, strict=True))
    ]
    make_task(tmp_path, "mine/demo", rows, GROUPED)
    write_jsonl(tmp_path / "rows.jsonl", answers(IDS))
    return tmp_path / "run"


def score(cli: Cli, *more: str | Path, out: str = "run") -> Result:
    command = ["score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine"]
    return cli(*command, "--out", out, *more)


def in_order(task: Task) -> list[Sample]:
    """All samples in the order of the draw."""
    return [task.samples[number] for number in drawn(task, range(len(task.samples)))]


def a_task(groups: Sequence[str], modalities: Sequence[Modality], group_by: list[str]) -> Task:
    file = TaskFile(1, "", "", "", [], [], "m", group_by=group_by)
    rows = [
        Sample(
            f"s{i}",
            (Message("user", (TextPart("?"),)),),
            Contract(required=(modality,)),
            metadata={"family": group},
        )
        for i, (group, modality) in enumerate(zip(groups, modalities, strict=True))
    ]
    return Task(TaskFolder("mine/demo", Path(), False), file, tuple(rows), None)


def test_every_beginning_of_a_draw_has_its_share_of_each_group() -> None:
    families = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    modalities = [Modality.TEXT, Modality.IMAGE] * 50
    task = a_task(families, modalities, ["family"])
    order = in_order(task)
    assert sorted(s.id for s in order) == sorted(s.id for s in task.samples)
    assert [s.id for s in order] != [s.id for s in task.samples]
    for n in range(1, 101):
        counts = Counter(s.metadata["family"] for s in order[:n])
        for family, size in (("a", 60), ("b", 30), ("c", 10)):
            assert abs(counts[family] - n * size / 100) < 2
    images = sum(s.contract.required == (Modality.IMAGE,) for s in order[:50])
    assert 22 <= images <= 28, "inside a group the modalities have their shares, too"


def test_without_groups_the_modalities_are_drawn_evenly() -> None:
    """The first ones of the file all want text: a model of text alone would get all of them."""
    task = a_task([""] * 40, [Modality.TEXT] * 20 + [Modality.AUDIO] * 20, [])
    for n in (2, 6, 20):
        wanted = Counter(s.contract.required for s in in_order(task)[:n])
        assert abs(wanted[(Modality.TEXT,)] - n / 2) <= 1


def test_a_few_samples_of_the_bundled_selection_want_several_modalities() -> None:
    task = load_task(folder_at(content_folder("benchmarks") / "open" / "selection"))
    first = {s.contract.required for s in task.samples[:6]}
    assert first == {(Modality.TEXT,)}
    assert len({s.contract.required for s in in_order(task)[:6]}) >= 4


def test_a_limit_draws_from_all_groups_and_a_larger_one_adds_to_it(cli: Cli, demo: Path) -> None:
    done = score(cli, "--limit", "10")
    assert done.code == 0, done.err
    note = "samples: 10 of 20 of mine/demo; drawn from all groups (--first 10 would take the first ones)"
    assert note in done.err
    ten = samples(demo)
    languages = Counter(LANGUAGES[IDS.index(i)] for i in ten)
    assert (languages["en"], languages["de"], languages["fr"]) == (6, 3, 1)
    assert sorted(json.loads((demo / "run.json").read_text())["chosen"]["mine/demo"]) == sorted(ten)
    assert score(cli, "--limit", "6").code == 0
    assert samples(demo) == ten, "it has six already"
    assert score(cli, "--limit", "14").code == 0
    fourteen = samples(demo)
    assert (fourteen[:10], len(fourteen)) == (ten, 14)
    for limit, expected in (("6", 6), ("14", 14)):
        assert score(cli, "--limit", limit, "--seed", "3", out=f"run-{limit}").code == 0
        again = samples(demo.parent / f"run-{limit}")
        assert len(again) == expected
        assert set(again) <= set(fourteen), "the same draw for every seed and limit"
    assert score(cli).code == 0
    assert sorted(samples(demo)) == IDS
    assert "chosen" not in json.loads((demo / "run.json").read_text())


def test_first_and_the_limit_of_a_suite_take_the_first_samples(
    cli: Cli, demo: Path, tmp_path: Path
) -> None:
    assert score(cli, "--first", "5").code == 0
    assert sorted(samples(demo)) == IDS[:5]
    (tmp_path / "mine" / "suite.yaml").write_text(
        "title: Mine\ndescription: All.\ntasks: [demo]\nlimit: 4\n"
    )
    command = ["score", "--outputs", "rows.jsonl", "--tasks", "mine", "--include", "mine"]
    done = cli(*command, "--out", "suite")
    assert done.code == 0, done.err
    assert "samples: 4 of 20 of mine/demo; the first ones" in done.err
    assert sorted(samples(tmp_path / "suite")) == IDS[:4]
    assert score(cli, "--first", "15", "--limit", "4", out="both").code == 0
    assert set(samples(tmp_path / "both")) <= set(IDS[:15]), "drawn from the first ones"
    assert sorted(samples(tmp_path / "both")) != IDS[:4]


def test_a_run_of_an_older_version_goes_on_with_its_first_samples(cli: Cli, demo: Path) -> None:
    """Such a run has counts in run.json, and no list of ids: as a run with --first has."""
    assert score(cli, "--first", "5").code == 0
    assert "chosen" not in json.loads((demo / "run.json").read_text())
    same = score(cli, "--limit", "5")
    assert (same.code, sorted(samples(demo))) == (0, IDS[:5])
    assert score(cli, "--limit", "8").code == 0
    assert sorted(samples(demo)) == IDS[:8]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        (["language=de"], IDS[12:18]),
        (["language=de,fr"], IDS[12:]),
        (["language=de", "tags=odd"], IDS[13:18:2]),
        (["inputs=text", "language=fr"], IDS[18:]),
        (["outputs==text", "language==fr"], IDS[18:]),
    ],
)
def test_where_chooses_samples(cli: Cli, demo: Path, where: list[str], kept: list[str]) -> None:
    conditions = [word for condition in where for word in ("--where", condition)]
    done = score(cli, *conditions)
    assert done.code == 0, done.err
    assert sorted(samples(demo)) == kept
    assert f"samples: {len(kept)} of 20 of mine/demo; {', '.join(where)}" in done.err
    assert score(cli, *conditions, "--limit", "1", out="one").code == 0
    assert set(samples(demo.parent / "one")) < set(kept)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (["lang=de"], "no sample has 'lang' in its metadata. Did you mean language"),
        (["language=ed"], "no sample has that value. Did you mean en or de? Values: de, en, fr."),
        (["inputs=audio"], "--where inputs=audio: no sample has that. Samples have text."),
        (["inputs=sound"], "--where inputs=sound: no sample has that. Samples have text."),
        (["language"], "--where language: must be NAME=VALUE"),
        (["language=de", "language=fr"], "language=A,B is either of two values"),
        (["tags=odd", "language=en", "inputs=text", "outputs=image"], "outputs=image: no sample"),
    ],
)
def test_a_condition_that_no_sample_meets_is_refused(
    cli: Cli, demo: Path, where: list[str], words: str
) -> None:
    done = score(cli, *(word for condition in where for word in ("--where", condition)))
    assert done.code == 2
    assert words in done.err
    assert not demo.exists()


def test_tasks_without_such_samples_are_left_out(cli: Cli, demo: Path, tmp_path: Path) -> None:
    make_task(tmp_path, "mine/plain", [text_sample("p")])
    write_jsonl(tmp_path / "rows.jsonl", answers(IDS, task="mine/demo"))
    command = ["score", "--outputs", "rows.jsonl", "--tasks", "mine", "--include", "mine"]
    done = cli(*command, "--where", "language=fr", "--json", "--out", "run")
    assert done.code == 0, done.err
    assert list(done.json["tasks"]) == ["mine/demo"]


def test_a_text_model_can_skip_what_it_cannot_read(cli: Cli, tmp_path: Path, tiny: Path) -> None:
    rows: list[dict[str, Any]] = [text_sample("t"), medium_sample("i", "image", "a.png")]
    make_task(tmp_path, "mine/demo", rows, a__png=png())
    command = ["run", "--model", tiny, "--tasks", "mine/demo", "--include", "mine"]
    command += ["--model-arg", "max_new_tokens=2", "--max-failed", "1"]
    done = cli(*command, "--skip-unreadable", "--dry-run")
    assert "samples: 1 of 2 of mine/demo; that the model can read" in done.out
    assert cli(*command, "--skip-unreadable", "--out", "run").code == 0
    assert samples(tmp_path / "run") == ["t"]
    none = cli(*command, "--skip-unreadable", "--where", "inputs=image", "--out", "none")
    assert (none.code, "can read none of the samples" in none.err) == (2, True)
    write_jsonl(tmp_path / "rows.jsonl", answers(["t", "i"]))
    unknown = cli("run", "--model", "rows.jsonl", *command[3:7], "--skip-unreadable")
    assert (unknown.code, "--where inputs==text" in unknown.err) == (2, True)
