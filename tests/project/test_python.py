"""The front door: `import eval_anything as ea`, with real runs of replayed, embedded and own models."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import eval_anything as ea
from tests.support.helpers import answers, make_task, png, text_sample, write_jsonl
from tests.support.paths import ROOT
from tests.support.processes import Command, run_script

IDS = ["s0", "s1", "s2", "s3"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_task(tmp_path, "mine/demo", [text_sample(name) for name in IDS])
    write_jsonl(tmp_path / "rows.jsonl", answers(IDS))


class Parrot(ea.Model):
    """Answers with the last message, and fails where it is told to."""

    name = "parrot"
    batch_size = 2

    def __init__(self, say: object = None) -> None:
        self.say = say
        self.asked = 0

    def weights(self) -> str:
        return "parrot 1"

    async def generate(self, requests: Sequence[ea.Request], store: ea.MediaStore) -> list[ea.Response]:
        self.asked += len(requests)
        if self.say is not None:
            return self.say  # type: ignore[return-value]
        return [ea.Response(request.messages[-1].parts) for request in requests]


def test_a_spec_gives_a_run_with_typed_results() -> None:
    run = ea.evaluate("rows.jsonl", tasks="mine/demo", include=[Path("mine")], progress=False)
    assert run.path == Path("runs/replay-rows").resolve()
    metric = run.results.tasks["mine/demo"].metrics["selection"]
    assert (metric.value, metric.n, metric.failed) == (1.0, 4, 0)
    assert run.results.tasks["mine/demo"].main == metric
    assert (run.exit_code, run.reasons) == (ea.Exit.DONE, [])
    assert (run.path / "report.html").is_file()
    again = ea.load_run("runs/replay-rows")
    assert again.results == run.results
    assert [record.sample_id for record in again.records()] == IDS
    assert again.records("mine/demo") == again.records()


def test_a_table_has_a_row_for_each_sample_and_a_column_for_each_metric() -> None:
    rows = answers(IDS[:3])
    write_jsonl(Path("rows.jsonl"), rows)
    run = ea.evaluate(
        "rows.jsonl",
        tasks=["mine/demo"],
        include=["mine"],
        model_args={"allow_missing": 1},
        out=Path("x"),
        progress=False,
    )
    table = run.to_pandas()
    assert list(table["sample_id"]) == IDS
    assert list(table["selection"]) == [1.0, 1.0, 1.0, 0.0]
    assert list(table["failed"]) == [0, 0, 0, 1]
    assert set(table["task"]) == {"mine/demo"}
    assert run.exit_code == ea.Exit.FAILED
    assert "failed 1 of 4 samples" in run.reasons[0]


def test_an_object_is_a_model_and_the_same_call_asks_nothing_twice() -> None:
    model = Parrot()
    for _ in range(2):
        run = ea.evaluate(model, tasks="mine/demo", include=["mine"], progress=False)
    assert model.asked == 4
    assert run.file.spec == "an object"
    assert run.records()[0].parts[0] == ea.TextPart("What is the capital of France?")


def test_media_that_a_model_answers_with_are_copied_into_the_run(tmp_path: Path) -> None:
    picture = tmp_path / "elsewhere.png"
    picture.write_bytes(png((200, 30, 30)))
    from eval_anything.media import media_part

    part = media_part(picture, ea.Modality.IMAGE)
    run = ea.evaluate(
        Parrot([ea.Response((part,))] * 2), tasks="mine/demo", include=["mine"], progress=False
    )
    kept = run.records()[0].parts[0]
    assert isinstance(kept, ea.MediaPart)
    assert kept.path.is_relative_to(run.path)
    assert kept.sha256 == part.sha256


def test_a_medium_that_is_gone_is_the_failure_of_its_sample(tmp_path: Path) -> None:
    gone = ea.MediaPart(ea.Modality.IMAGE, "0" * 64, "image/png", tmp_path / "gone.png")
    run = ea.evaluate(
        Parrot([ea.Response((gone,))] * 2), tasks="mine/demo", include=["mine"], progress=False
    )
    assert [record.error is not None for record in run.records()] == [True] * 4
    assert run.results.tasks["mine/demo"].main.value == 0


@pytest.mark.parametrize("say", [[ea.Response()], [], ["text", "text"]])
def test_a_model_that_returns_something_else_stops_the_run(say: object) -> None:
    with pytest.raises(ea.UserError, match=r"Parrot\.generate was asked for 2 Responses"):
        ea.evaluate(Parrot(say), tasks="mine/demo", include=["mine"], progress=False)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("mirco", {}, "unknown model 'mirco'. Did you mean micro"),
        ("nowhere.jsonl", {}, "there is no such file"),
        ("micro", {"taks": "a"}, "no option 'taks'. Did you mean tasks"),
        ("micro", {"limit": 0}, "limit"),
        ("micro", {"tasks": "selecton"}, "Did you mean selection"),
        ("micro", {"command": ["rm"]}, "no option 'command'"),
        (Parrot(), {"model_args": {"a": "b"}, "tasks": "mine/demo"}, "model_args"),
    ],
)
def test_wrong_input_raises_and_does_not_end_the_process(
    model: object, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ea.UserError, match=message):
        ea.evaluate(model, include=["mine"], progress=False, **options)  # type: ignore[arg-type]
    assert not Path("runs").exists()


def test_a_notebook_has_a_loop_already() -> None:
    async def cell() -> float | None:
        run = ea.evaluate("rows.jsonl", tasks="mine/demo", include=["mine"], progress=False)
        return run.results.tasks["mine/demo"].main.value

    assert asyncio.run(cell()) == 1.0


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ea.UserError, match="is not the directory of a run"):
        ea.load_run(tmp_path)
    for folder in ("runs/one", "trained/runs/start"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "run.json").touch()
    with pytest.raises(ea.UserError, match=r"It holds runs: .*/runs/\*$"):
        ea.load_run(tmp_path / "runs")
    with pytest.raises(ea.UserError, match=r"It holds runs: .*/trained/runs/\*$"):
        ea.load_run(tmp_path / "trained")
    run = ea.evaluate("rows.jsonl", tasks="mine/demo", include=["mine"], out="x", progress=False)
    with pytest.raises(ea.UserError, match=r"no task 'mine/dmo'\. Did you mean mine/demo"):
        run.records("mine/dmo")
    (run.path / "results.json").unlink()
    with pytest.raises(ea.UserError, match=r"has no results\.json"):
        ea.load_run(run.path)


def test_the_import_is_quick_and_brings_nothing_heavy() -> None:
    code = (
        "import sys; import eval_anything as ea; light = {m for m in sys.modules if '.' not in m};"
        "print(sorted(light & {'msgspec', 'yaml', 'numpy', 'torch', 'asyncio', 'ast'})); ea.evaluate;"
        "print(sorted({'torch', 'transformers', 'pandas', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "[]\n[]\n"


@pytest.mark.slow
def test_examples_run(tmp_path: Path) -> None:
    for name, words in {
        "evaluate_checkpoint": "weakest in micro/selection: sel-",
        "own_model": "selection 0.",
        "own_task": "capital 1.0\nsum 0.0",
        "compare_and_gate": "gate: ",
        "what_got_worse": "lost ",
    }.items():
        arguments = ["runs/base", "runs/new"] if name == "what_got_worse" else []
        script = [ROOT / "examples" / f"{name}.py", *arguments]
        output, errors = tmp_path / f"{name}.out", tmp_path / f"{name}.err"
        assert Command(script, errors, output, main=run_script).wait() == 0, errors.read_text()
        assert words in output.read_text()
