"""Samples of several turns: how they are read, asked, recorded, replayed and gone on with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from eval_anything.content import Contract, FromTurn, Message, Modality, Record, Sample, TextPart, Turn
from eval_anything.files.hashing import sha256_of
from eval_anything.jsonl import label_row_from_json, record_from_json, record_to_json
from eval_anything.media import MediaStore
from eval_anything.models.base import Request, Sampling
from eval_anything.models.openai.inputs import media_of_users
from eval_anything.runs.directory import read_run
from eval_anything.tasks.task import Task, TaskFile, TaskFolder
from tests.support.agent_server import plan, planner
from tests.support.agents import write_agent
from tests.support.helpers import (
    RECORD_FIELDS,
    TASK_YAML,
    Cli,
    answers,
    make_task,
    png,
    text_sample,
    write_jsonl,
)
from tests.support.scripted_server import serve
from tests.support.shapes_server import Asked, Sent, answer, choice, completion, serve_shapes, uri

# A model of somebody else's package. It tells how often it was asked, draws when told to, and obeys
# "fail", "raise" and "say nothing"; while a file `down` is there, its server is gone in later turns.
MODEL = '''\
from pathlib import Path
from eval_anything.content import Failure, Latency, Modality, Response, TextPart, Usage
from eval_anything.errors import InfrastructureError
from eval_anything.models.base import Model

PNG = bytes.fromhex("{png}")

class Parrot(Model):
    """A model that repeats."""

    batch_size = 4
    arguments = {{}}
    asked = []

    @classmethod
    def from_spec(cls, spec, reference, arguments):
        model = cls()
        model.name, model.spec = "parrot", spec
        return model

    def weights(self):
        return "0" * 64

    async def generate(self, requests, store):
        self.asked.append(requests)
        if Path("down").exists() and any(r.turn for r in requests):
            raise InfrastructureError("the server is gone")
        return [self.answer(request, store) for request in requests]

    def answer(self, request, store):
        last = request.messages[-1].parts[-1]
        text = getattr(last, "text", last.modality)
        if "raise" in text:
            raise RuntimeError("no luck")
        if "fail" in text:
            return Response(error=Failure("refusal", "no"))
        if "say nothing" in text:
            return Response((TextPart(" "),))
        parts = (store.put(PNG, Modality.IMAGE),) if "draw" in text else (TextPart("heard " + text),)
        return Response(parts, usage=Usage(1, 10), latency=Latency(total=0.5),
                        details={{"n": request.turn}} if "note" in text else {{}})
'''

RUN = ["run", "--model", "parrot", "--tasks", "mine/demo", "--include", "mine", "--out", "run", "--json"]


def turn(*parts: str | tuple[str, int], fresh: bool = False) -> dict[str, Any]:
    """A later turn of samples.jsonl: texts, and (modality, turn) for what the model gave."""
    said = [
        {"modality": "text", "text": part}
        if isinstance(part, str)
        else {"modality": part[0], "from_turn": part[1]}
        for part in parts
    ]
    return {"parts": said, **({"fresh": True} if fresh else {})}


@pytest.fixture
def parrot(tmp_path: Path) -> Iterator[ModuleType]:
    """Installs the package of the model."""
    info = tmp_path / "site" / "parrot_model-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot-model\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[eval_anything.models]\nparrot = parrot_model:Parrot\n")
    (tmp_path / "site" / "parrot_model.py").write_text(MODEL.format(png=png().hex()))
    sys.path.insert(0, str(tmp_path / "site"))
    try:
        import parrot_model  # type: ignore[import-not-found]

        yield parrot_model
    finally:
        sys.path.remove(str(tmp_path / "site"))
        sys.modules.pop("parrot_model", None)


def records(tmp_path: Path) -> dict[str, dict[str, Any]]:
    lines = (tmp_path / "run" / "mine" / "demo" / "records.jsonl").read_bytes().splitlines()
    return {row["sample_id"]: row for row in map(json.loads, lines)}


def said(request: Request) -> list[tuple[str, list[str]]]:
    return [(m.role, [getattr(p, "text", str(p.modality)) for p in m.parts]) for m in request.messages]


SYSTEM = {"role": "system", "parts": [{"modality": "text", "text": "be brief"}]}


def test_turns_are_asked_one_after_another(cli: Cli, tmp_path: Path, parrot: ModuleType) -> None:
    user = text_sample("a", "draw a cat")["messages"]
    long = {
        "id": "a",
        "messages": [SYSTEM, *user],
        "turns": [turn("note it"), turn(("image", 1), ("text", 2), "look", fresh=True), turn("bye")],
    }
    rows = [long, text_sample("b", "hi"), text_sample("c", "hello", turns=[turn("again")])]
    make_task(tmp_path, samples=rows)
    done = cli(*RUN)
    assert done.code == 0, done.err
    asked = [{r.sample_id: r for r in requests} for requests in parrot.Parrot.asked]
    assert [sorted(batch) for batch in asked] == [["a", "b", "c"], ["a", "c"], ["a"], ["a"]]
    system = ("system", ["be brief"])
    assert said(asked[1]["a"]) == [
        system,
        ("user", ["draw a cat"]),
        ("assistant", ["image"]),
        ("user", ["note it"]),
    ]
    fresh = ("user", ["image", "heard note it", "look"])
    assert said(asked[2]["a"]) == [system, fresh]
    assert said(asked[3]["a"]) == [system, fresh, ("assistant", ["heard look"]), ("user", ["bye"])]
    assert [batch["a"].turn for batch in asked] == [0, 1, 2, 3]
    assert len({batch["a"].seed for batch in asked}) == 4
    found = records(tmp_path)
    assert "turns" not in found["b"]
    a = found["a"]
    assert a["parts"] == [{"modality": "text", "text": "heard bye"}]
    assert [[part["modality"] for part in parts] for parts in a["turns"]] == [
        ["image"],
        ["text"],
        ["text"],
    ]
    assert (tmp_path / "run" / a["turns"][0][0]["path"]).read_bytes() == png()
    assert (a["usage"], a["latency"]) == ({"input": 4, "output": 40}, {"total": 2.0})
    assert a["details"] == {"turns": [{}, {"n": 1}, {}]}
    assert found["c"]["turns"] == [[{"modality": "text", "text": "heard hello"}]]


def test_the_scorer_gets_what_the_last_answer_was_given_to(
    cli: Cli, tmp_path: Path, parrot: ModuleType
) -> None:
    code = (
        "def score(sample, response):\n"
        "    said = [p.text for m in sample.messages for p in m.parts]\n"
        "    before = [p.text for parts in response.turns for p in parts]\n"
        "    return {'good': float((said, before) == (['one', 'heard one', 'two'], ['heard one']))}\n"
    )
    yaml = TASK_YAML.replace("judges: [selection_contract]\nprimary: selection", "primary: good\n"
        "scorer: score.py:score\nmetrics: {good: {range: [0, 1]}}")  # fmt: skip
    make_task(
        tmp_path, samples=[text_sample("a", "one", turns=[turn("two")])], yaml=yaml, score__py=code
    )
    done = cli(*RUN, "--allow-code")
    assert done.code == 0, done.err
    assert done.json["tasks"]["mine/demo"]["metrics"]["good"]["value"] == 1.0


def test_a_turn_that_fails_ends_its_sample_alone(cli: Cli, tmp_path: Path, parrot: ModuleType) -> None:
    rows = [
        text_sample("good", "hi", turns=[turn("two"), turn("three")]),
        text_sample("refused", "hi", turns=[turn("fail"), turn("three")]),
        text_sample("broken", "hi", turns=[turn("raise"), turn("three")]),
        text_sample("empty", "hi", turns=[turn("say nothing"), turn("three")]),
        text_sample("lacking", "hi", turns=[turn(("image", 1), "look", fresh=True), turn("three")]),
        text_sample("speechless", "draw", turns=[turn("repeat", ("text", 1))]),
    ]
    make_task(tmp_path, samples=rows)
    assert cli(*RUN, "--max-failed", "1").code == 0
    found = records(tmp_path)
    kinds = {id_: row["error"] and row["error"]["kind"] for id_, row in found.items()}
    assert kinds == {
        "good": None,
        "refused": "refusal",
        "broken": "model_error",
        "empty": "empty_output",
        "lacking": "missing_output",
        "speechless": "missing_output",
    }
    assert "turn 1 has no image" in found["lacking"]["error"]["message"]
    assert {id_: len(row.get("turns", [])) for id_, row in found.items()} == {
        "good": 2, "refused": 1, "broken": 1, "empty": 1, "lacking": 0, "speechless": 0,
    }  # fmt: skip
    for id_, row in found.items():
        assert row["scores"]["selection"]["value"] == float(id_ == "good")


def test_a_sample_interrupted_between_turns_is_done_anew(
    cli: Cli, tmp_path: Path, parrot: ModuleType
) -> None:
    rows = [text_sample(f"s{i}", "hi", turns=[turn("two")] if i > 3 else []) for i in range(8)]
    make_task(tmp_path, samples=rows)
    (tmp_path / "down").touch()
    stopped = cli(*RUN)
    assert stopped.code == 4
    assert set(records(tmp_path)) == {"s0", "s1", "s2", "s3"}
    (tmp_path / "down").unlink()
    parrot.Parrot.asked.clear()
    assert cli(*RUN).code == 0
    assert [[(r.sample_id, r.turn) for r in batch] for batch in parrot.Parrot.asked] == [
        [("s4", 0), ("s5", 0), ("s6", 0), ("s7", 0)],
        [("s4", 1), ("s5", 1), ("s6", 1), ("s7", 1)],
    ]
    assert {id_: "turns" in row for id_, row in records(tmp_path).items()} == {
        f"s{i}": i > 3 for i in range(8)
    }


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ([turn(("image", 2))], "from_turn must be 1 in turn 2, not 2"),
        ([turn("x"), turn(("image", 0))], "from_turn must be 1 to 2 in turn 3, not 0"),
        ([{"parts": []}], "turn 2 is empty"),
        ([{"parts": [{"modality": "text", "text": "x", "from_turn": 1}]}], "keep one"),
        ([{"parts": [{"modality": "image"}]}], "a part has"),
        ([{"parts": [], "role": "user"}], "unknown key 'role'"),
        ([turn(("video", 1))], "has video in its messages: add it to `inputs`"),
    ],
)
def test_mistakes_in_turns(cli: Cli, tmp_path: Path, turns: list[dict[str, Any]], words: str) -> None:
    yaml = TASK_YAML.replace("inputs: [text, image, audio, video]", "inputs: [text, image]")
    folder = make_task(tmp_path, samples=[text_sample("a", turns=turns)], yaml=yaml)
    checked = cli("tasks", "validate", folder)
    assert checked.code == 2
    assert "samples.jsonl:1" in checked.err
    assert words in checked.err


def test_a_template_wraps_no_turns(cli: Cli, tmp_path: Path) -> None:
    rows = [text_sample("a", turns=[turn("x")])]
    yaml = TASK_YAML + "template: t.j2\n"
    checked = cli("tasks", "validate", make_task(tmp_path, samples=rows, yaml=yaml, t__j2="{{ text }}"))
    assert checked.code == 2
    assert "this sample has turns" in checked.err


def test_a_label_is_of_one_turn(tmp_path: Path) -> None:
    row = text_sample("a", turns=[turn("x")], label=1.0, parts=[{"modality": "text", "text": "y"}])
    with pytest.raises(msgspec.ValidationError, match="turns"):
        label_row_from_json(json.dumps(row).encode(), tmp_path, Contract((Modality.TEXT,)))


def test_turns_are_shown_and_estimated(cli: Cli, tmp_path: Path) -> None:
    rows = [text_sample("a", "hi", turns=[turn("and then"), turn(("image", 1))])]
    make_task(tmp_path, samples=rows)
    shown = cli("tasks", "show", "mine/demo", "--include", "mine")
    assert "turn 2: and then\n  turn 3: [the image of turn 1]" in shown.out
    listed = cli("tasks", "show", "mine/demo", "--include", "mine", "--json").json
    assert len(listed["first_sample"]["turns"]) == 2
    estimated = cli("run", "--model", "openai/x@http://127.0.0.1:9/v1", "--tasks", "mine/demo",
               "--include", "mine", "--dry-run", "--json")  # fmt: skip
    assert estimated.code == 0, estimated.err
    assert '"calls": 3' in estimated.out


def _task(*turns: Turn) -> tuple[Task, Sample]:
    message = Message("user", (TextPart("hi"),))
    sample = Sample("a", (message,), Contract((Modality.TEXT,)), source_id="a", turns=turns)
    file = TaskFile(1, "", "", "", [Modality.TEXT], [Modality.TEXT], "selection")
    return Task(TaskFolder("mine/demo", Path(), False), file, (sample,), None), sample


def test_the_item_covers_the_whole_script() -> None:
    told = TextPart("x")
    scripts = [
        (),
        (Turn((told,)),),
        (Turn((told,), fresh=True),),
        (Turn((TextPart("y"),)),),
        (Turn((told,)), Turn((told,))),
        (Turn((FromTurn(Modality.IMAGE, 1),)),),
        (Turn((FromTurn(Modality.AUDIO, 1),)),),
        (Turn((told,)), Turn((FromTurn(Modality.IMAGE, 1),))),
        (Turn((told,)), Turn((FromTurn(Modality.IMAGE, 2),))),
    ]
    made = [_task(*turns) for turns in scripts]
    assert len({task.item(sample) for task, sample in made}) == len(scripts)
    assert len({task.parts_of_fingerprint["samples"] for task, _ in made}) == len(scripts)
    task, sample = made[0]
    assert task.item(sample) == sha256_of([[["user", ["hi"]]], None]), "as before there were turns"


def test_a_record_keeps_its_turns(tmp_path: Path) -> None:
    store = MediaStore(tmp_path / "media")
    turns = ((TextPart("one"), store.put(png(), Modality.IMAGE)), (TextPart("two"),))
    record = Record(**RECORD_FIELDS, scores={}, parts=(TextPart("three"),), turns=turns)
    line = record_to_json(record, tmp_path)
    assert str(tmp_path) not in line.decode()
    assert record_from_json(line, tmp_path) == record
    plain = msgspec.structs.replace(record, turns=())
    assert b"turns" not in record_to_json(plain, tmp_path)
    assert record_from_json(record_to_json(plain, tmp_path), tmp_path) == plain


def _score(cli: Cli, outputs: str, out: str) -> Any:
    return cli("score", "--outputs", outputs, "--tasks", "mine/demo", "--include", "mine", "--json",
               "--out", out, "--max-failed", "1")  # fmt: skip


def test_saved_turns_are_replayed(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, samples=[text_sample("a", turns=[turn("x")]), text_sample("b")])
    first = [{"modality": "image", "path": "cat.png"}]
    (tmp_path / "cat.png").write_bytes(png())
    rows = [*answers(["a"], "done", turns=[first]), *answers(["b"])]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    done = _score(cli, "rows.jsonl", "run")
    assert done.code == 0, done.err
    (said_first,) = records(tmp_path)["a"]["turns"]
    assert [part["modality"] for part in said_first] == ["image"]
    assert records(tmp_path)["a"]["parts"] == [{"modality": "text", "text": "done"}]
    (tmp_path / "cat.png").write_bytes(png((0, 200, 0)))
    changed = _score(cli, "rows.jsonl", "run")
    assert changed.code == 2, "another picture in a turn is another model"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            answers(["a"])[0],
            "mine/demo a has 2 turns: it needs the parts of the first 1 in `turns`, not 0",
        ),
        (answers(["a"], turns=[[], []])[0], "not 2"),
        (answers(["b"], turns=[[]])[0], "mine/demo b has 1 turns: it needs no `turns`, not 1"),
    ],
)
def test_rows_with_other_turns(cli: Cli, tmp_path: Path, row: dict[str, Any], words: str) -> None:
    make_task(tmp_path, samples=[text_sample("a", turns=[turn("x")]), text_sample("b")])
    write_jsonl(tmp_path / "rows.jsonl", [row])
    done = _score(cli, "rows.jsonl", "run")
    assert done.code == 2
    assert words in done.err


def test_a_run_is_judged_again_as_it_was(cli: Cli, tmp_path: Path, parrot: ModuleType) -> None:
    rows = [
        text_sample("good", "draw", turns=[turn("note", ("image", 1)), turn("note three")]),
        text_sample("refused", "hi", turns=[turn("two"), turn("fail"), turn("four")]),
        text_sample("lacking", "hi", turns=[turn(("image", 1)), turn("three")]),
    ]
    make_task(tmp_path, samples=rows)
    assert cli(*RUN, "--max-failed", "1").code == 0
    again = _score(cli, "run", "again")
    assert again.code == 0, again.err

    def what(run: str) -> list[Any]:
        found = sorted(read_run(tmp_path / run, "mine/demo"), key=lambda r: r.sample_id)
        return [
            (r.item, r.error, r.usage, r.latency, r.details, r.scores, r.stop_reason,
             [getattr(p, "text", None) or p.sha256  # type: ignore[union-attr]
              for parts in (*r.turns, r.parts) for p in parts])
            for r in found
        ]  # fmt: skip

    assert what("again") == what("run")


def test_the_seed_of_the_first_turn_is_that_of_a_sample_without_turns() -> None:
    first = Request("t", "a", 0, (), Sampling())
    assert first.seed == 6655501183467993429
    assert msgspec.structs.replace(first, turn=1).seed != first.seed


def test_media_of_an_answer_come_with_the_next_question(tmp_path: Path) -> None:
    image = MediaStore(tmp_path).put(png(), Modality.IMAGE)
    messages = (
        Message("user", (TextPart("draw"),)),
        Message("assistant", (TextPart("here:"), image)),
        Message("user", (TextPart("and now?"),)),
    )
    told = media_of_users(messages)
    assert [m.role for m in told] == ["user", "assistant", "user"]
    assert told[1].parts == (TextPart("here:"), TextPart("[image]"))
    assert told[2].parts == (image, TextPart("and now?"))


def test_a_chat_server_is_shown_its_own_answers(cli: Cli, tmp_path: Path) -> None:
    def reply(asked: Asked) -> Sent:
        return answer(completion(choice({"content": f"answer {asked.number}"})))

    make_task(
        tmp_path, samples=[text_sample("a", "hi", turns=[turn("and?"), turn(("text", 1), fresh=True)])]
    )
    with serve_shapes({"POST /chat/completions": reply}) as server:
        done = cli(*RUN[:1], "--model", server.spec, *RUN[3:])
        assert done.code == 0, done.err
        said = [asked.body["messages"] for asked in server.asked]
    assert said == [
        [{"role": "user", "content": "hi"}],
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "answer 1"},
            {"role": "user", "content": "and?"},
        ],
        [{"role": "user", "content": "answer 1"}],
    ]
    assert len({asked.body["seed"] for asked in server.asked}) == 3
    assert records(tmp_path)["a"]["usage"] == {"input": 33, "output": 21}


def test_an_agent_is_shown_what_its_generators_made(cli: Cli, tmp_path: Path) -> None:
    plans = {"paint it": plan(image="a red fox"), "a fox": plan(text="Here.", image="a fox")}
    make_task(
        tmp_path / "tasks", samples=[text_sample("a", "draw a fox.", turns=[turn("paint it red.")])]
    )
    with serve(planner(plans)) as server:
        write_agent(tmp_path, server.spec("planner"))
        done = cli("run", "--model", "agent.yaml", "--tasks", "mine/demo", "--include", "tasks",
                   "--out", "run", "--json", "--max-failed", "1")  # fmt: skip
        assert done.code == 0, done.err
        asked = server.bodies[-1]["messages"]
    row = records(tmp_path)["a"]
    assert row["error"] is None
    assert [part["modality"] for part in row["parts"]] == ["image"]
    ((text, image),) = row["turns"]
    assert (text["modality"], image["modality"]) == ("text", "image")
    assert row["details"]["turns"][0]["plan"]
    *_, assistant, user = asked
    assert assistant["role"] == "assistant"
    assert "[image]" in assistant["content"]
    pictures = [item for item in user["content"] if item["type"] == "image_url"]
    data = (tmp_path / "run" / image["path"]).read_bytes()
    assert [item["image_url"]["url"] for item in pictures] == [uri(data, "image/png")]
