"""`judges new`: a commented folder of every kind, which is valid, and runs by the printed command."""

from __future__ import annotations

import json
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from eval_anything import plugins
from eval_anything.files.places import content_folder
from eval_anything.judges.asking.chat_judge import ChatJudgeFile
from eval_anything.judges.registry import judge_kind
from tests.support.helpers import Cli, png, wav, write_jsonl
from tests.support.judge_server import Asked, JudgeServer, judge_server
from tests.support.paths import ROOT
from tests.support.tiny_sounds import tiny_wav2vec2

KINDS = {
    "metric": "words_heard",
    "pairwise": "clarity_win_rate",
    "probe": "details",
    "program": "words_found",
    "reward_model": "quality",
    "rubric": "clarity",
}


def verdict(asked: Asked) -> tuple[int, str]:
    """A verdict in the form that the system message asks for; only the answers below are clear."""
    grade = 10 if "the light warns ships" in str(asked.content) else 0
    own: dict[str, object] = (
        {"choice": "A"} if '"choice"' in asked.system else {"grades": {"clarity": grade}}
    )
    if '"better"' in asked.system:
        own = {"better": "first"}
    return 200, json.dumps({"mark": asked.mark, "explanation": "seen", **own})


def rows(folder: Path) -> None:
    """Saved outputs of the two samples: a text, a picture and a sound for each."""
    (folder / "a.png").write_bytes(png())
    (folder / "a.wav").write_bytes(wav(seconds=1.0, rate=16000))
    parts = [
        {"modality": "text", "text": "Red, green: the light warns ships."},
        {"modality": "image", "path": "a.png"},
        {"modality": "audio", "path": "a.wav"},
    ]
    for name, kept in {"all": parts, "text": parts[:1], "both": parts[:2], "sound": parts[2:]}.items():
        write_jsonl(folder / f"{name}.jsonl", [{"sample_id": i, "parts": kept} for i in ("1", "2")])


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as server:
        server.reply = verdict
        yield server


def test_every_kind_has_a_judge_to_start_from() -> None:
    assert sorted(KINDS) == plugins.names(plugins.SCORERS)
    assert sorted(KINDS) == sorted(p.name for p in (content_folder("judges") / "_new").iterdir())


@pytest.mark.parametrize(
    "kind", [*sorted({*KINDS} - {"metric"}), pytest.param("metric", marks=pytest.mark.slow)]
)
def test_a_new_judge_is_valid_and_runs(cli: Cli, server: JudgeServer, tmp_path: Path, kind: str) -> None:
    made = cli("judges", "new", "mine", "--kind", kind, "--dir", "own judges")
    assert made.code == 0, made.err
    *_, check, _, run = made.out.splitlines()
    assert "NAME" not in "".join(path.read_text() for path in Path("own judges").rglob("*.*"))
    checked = cli(*shlex.split(check)[1:])
    assert (checked.code, checked.err) == (0, "")
    assert f"mine: {kind}, gives {KINDS[kind]}" in checked.out

    rows(tmp_path)
    outputs = {"program": "text", "metric": "sound"}.get(kind, "both")
    command = run.replace("--model micro", f"--model replay/{outputs}.jsonl")
    checkpoint = content_folder("judges") / "micro_synergy_rm" / "checkpoint"
    if kind == "metric":
        checkpoint = tiny_wav2vec2(tmp_path / "wav2vec2")
    if kind == "pairwise":
        earlier = command.replace(" --against RUN", "").replace(" --judge mine=SPEC", "")
        assert cli(*shlex.split(earlier)[1:], "--out", "runs/earlier").code == 0
    command = command.replace("=SPEC", f"={server.spec}").replace("=PATH", f"={checkpoint}")
    command = command.replace("--against RUN", "--against runs/earlier")
    done = cli(*shlex.split(command)[1:], "--out", "runs/mine", "--json")
    assert done.code == 0, done.err
    metric = done.json["tasks"]["mine/demo"]["metrics"][KINDS[kind]]
    assert (metric["n"], metric["unscored"]) == (1 if kind == "program" else 2, 0)


def test_the_tables_of_keys_and_the_code_in_the_docs_are_the_present_ones() -> None:
    generator = runpy.run_path(str(ROOT / "docs/make_judges.py"))
    assert generator["page"]() == (ROOT / "judges/README.md").read_text("utf-8"), (
        "python docs/make_judges.py"
    )


def test_every_variable_of_a_template_has_a_meaning() -> None:
    for name in KINDS:
        kind = judge_kind(name)
        if issubclass(kind, ChatJudgeFile):
            assert [{*kind.variables}] * len(kind.template_variables) == [
                {"fence", *examples} for examples in kind.template_variables
            ]


def test_a_new_judge_overwrites_nothing_and_has_a_plain_name(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name, kind, message in (
        ("mine", "rubric", "mine is there already"),
        ("validity", "program", "is the name of a bundled judge"),
        ("../x", "program", "is named with small letters"),
        ("x", "rubrik", "unknown judge kind 'rubrik'. Did you mean rubric"),
    ):
        result = cli("judges", "new", name, "--kind", kind)
        assert result.code == 2
        assert message in result.err
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


CODE = """\
open('ran', 'w')
def score(sample, response):
    return RETURNED
"""


@pytest.mark.parametrize(
    ("returned", "code", "words"),
    [
        ("{'words_found': 0.5}", 0, "its code gives words_found 0.5"),
        ("{}", 0, "its code gives nothing: no metric applies"),
        ("sample.targets['x']", 0, "raises KeyError: 'x' (score.py:3). That is no mistake if"),
        ("{'other': 1.0}", 2, "judge.yaml: called with a sample and a response without content, its "
         "code: mine gave 'other', which `metrics` does not declare"),
        ("{'words_found': 7}", 2, "mine gave 7.0 for words_found, outside 0.0..1.0"),
    ],
)  # fmt: skip
def test_validate_runs_code_only_if_that_is_allowed(
    cli: Cli, tmp_path: Path, returned: str, code: int, words: str
) -> None:
    cli("judges", "new", "mine", "--kind", "program")
    (tmp_path / "mine" / "score.py").write_text(CODE.replace("RETURNED", returned))
    read = cli("judges", "validate", "mine")
    assert read.code == 0
    assert "its code was read, not run: --allow-code imports and calls it" in read.out
    assert not (tmp_path / "ran").exists()
    tried = cli("judges", "validate", "mine", "--allow-code")
    assert tried.code == code
    assert words in tried.out + tried.err
    assert (tmp_path / "ran").exists()
    (tmp_path / "mine" / "score.py").write_text("import no_such\ndef score(s, r):\n    return {}\n")
    assert cli("judges", "validate", "mine").code == 0
    broken = cli("judges", "validate", "mine", "--allow-code")
    assert broken.code == 2
    assert "score.py does not import: ModuleNotFoundError" in broken.err
