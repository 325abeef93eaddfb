"""Options: one list behind the command line, configuration files, Python and trainings."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from eval_anything.cli.arguments import parser_for
from eval_anything.cli.fields import fields_from
from eval_anything.errors import UserError
from eval_anything.evaluation.options import (
    EvaluationOptions,
    Options,
    make_options,
    options_of,
    words_of,
)
from tests.support.helpers import Cli, answers, make_task, text_sample, write_jsonl

EVERY = Options(
    model="micro",
    tasks=["open/selection", "synergy"],
    suite="open",
    include=["mine", "other"],
    data=["sets"],
    allow_code=True,
    judges={"a": "openai/x@http://127.0.0.1:1/v1", "b": "PATH"},
    judge_args={"body.drop": "temperature", "b:body.add": '{"effort": "low"}'},
    limit=3,
    first=9,
    where={"language": "de", "inputs": "text"},
    skip_unreadable=True,
    repeats=2,
    seed=7,
    max_failed=0.5,
    source_options={"lm_eval.num_fewshot": "2"},
    against="runs/other",
    budget=1.5,
    fresh_verdicts=True,
    retry_failed="refusal",
    skip_failing=True,
    temperature=0.7,
    top_p=0.9,
    top_k=20,
    min_p=0.05,
    repetition_penalty=1.1,
    presence_penalty=-0.5,
    frequency_penalty=0.25,
    stop=["--", "END"],
    max_new_tokens=64,
    system="Be brief.",
    chat_template_kwargs={"enable_thinking": False, "effort": "low", "n": "7"},
    reasoning_effort="high",
    extra_body={"a": [1, {"b": None}]},
    preset="qwen3-thinking",
    sampling="checkpoint",
    model_args={"output": "image"},
    concurrency=4,
    name="mine",
    out="runs/x",
    replicas=2,
    engine="ray",
    gpus_per_replica=0.5,
    address="127.0.0.1:6379",
    shard="2/4",
)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A task of one's own, and rows that answer it."""
    make_task(tmp_path, "mine/demo", [text_sample(f"s{i}") for i in range(4)])
    return write_jsonl(tmp_path / "rows.jsonl", answers([f"s{i}" for i in range(4)]))


def test_every_field_is_an_option_and_every_option_differs_in_the_example() -> None:
    names = [option.name for option in options_of(Options)]
    assert names == [name for name in Options.__struct_fields__ if name != "command"]
    defaults = Options(model="")
    assert all(getattr(EVERY, name) != getattr(defaults, name) for name in names)


def test_words_of_a_command_line_say_the_same_as_the_options() -> None:
    arguments = ["run", *words_of(EVERY)]
    assert make_options(fields_from(parser_for(arguments).parse_args(arguments))) == EVERY
    assert words_of(Options(model="micro")) == ["--model", "micro"]


def test_trainings_take_every_option_of_an_evaluation() -> None:
    from align_plugins.settings import EvaluationSettings

    settings = {n: getattr(EVERY, n) for n in EvaluationOptions.__struct_fields__}
    evaluation = msgspec.convert(settings, EvaluationSettings).options("micro", Path("runs/x"))
    assert evaluation == msgspec.structs.replace(EVERY, name=None, shard=None)


def test_a_file_gives_the_same_options_and_the_command_line_wins(
    cli: Cli, tmp_path: Path, mine: Path
) -> None:
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "run.yaml").write_text(
        "model: ../rows.jsonl\ntasks: [mine/demo]\ninclude: [../mine]\nlimit: 3\nout: ../there\n"
    )
    assert cli("run", "--config", "settings/run.yaml").code == 0
    dry = cli(
        "run", "--config", "settings/run.yaml", "--limit", "2", "--out", "x", "--dry-run", "--json"
    )
    assert (dry.json["tasks"][0]["samples"], dry.json["out"]) == (2, "x")
    results = msgspec.json.decode((tmp_path / "there" / "results.json").read_bytes())
    assert results["tasks"]["mine/demo"]["samples"] == 3


def test_pairs_of_a_file_and_of_the_command_line_are_joined(
    cli: Cli, tmp_path: Path, mine: Path
) -> None:
    (tmp_path / "run.yaml").write_text(
        "model: rows.jsonl\ntasks: [mine/demo]\ninclude: [mine]\nmodel_args: {allow_missing: '1'}\n"
    )
    write_jsonl(tmp_path / "rows.jsonl", answers(["s0"]))
    assert cli("run", "--config", "run.yaml", "--dry-run").code == 0
    again = cli("run", "--config", "run.yaml", "--model-arg", "allow_missing=0", "--dry-run")
    assert again.code == 2, again.err


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("model: micro\ntaks: [a]\n", "run.yaml:2: unknown key 'taks': remove it. Did you mean tasks"),
        ("model: micro\nlimit: none\n", "run.yaml:2: expected `int"),
        ("model: micro\nlimit: 0\n", "run.yaml:2: expected `int` >= 1 in `limit`"),
        (
            "model: micro\ntasks: synergy\n",
            "run.yaml:2: must be a list, such as [a, b], not `str`, in `tasks`",
        ),
        ("model: micro\nmax_failed: 2\n", "run.yaml:2: expected `float` <= 1"),
        ("model: micro\nlimit: 1\nlimit: 2\n", "run.yaml:3: key 'limit' is given twice"),
        ("tasks: [synergy]\n", "--model SPEC is missing"),
        ("- model\n", "run.yaml:1: must hold keys and values"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(cli: Cli, tmp_path: Path, yaml: str, message: str) -> None:
    (tmp_path / "run.yaml").write_text(yaml)
    result = cli("run", "--config", "run.yaml")
    assert result.code == 2
    assert message in result.err


def test_a_file_that_is_not_there(cli: Cli) -> None:
    assert "nowhere.yaml: does not exist" in cli("run", "--config", "nowhere.yaml").err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "micro", "taks": []}, "no option 'taks'. Did you mean tasks"),
        ({"model": "micro", "repeats": 0}, "repeats"),
        ({"model": 3}, "model"),
    ],
)
def test_wrong_values_are_the_users_error(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_options(values)
