"""Task folders: every mistake is found before anything runs, named with file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import MediaPart, TextPart
from eval_anything.errors import UserError
from eval_anything.files.mistakes import FileProblemsError
from eval_anything.judges.folder import find_judges
from eval_anything.judges.registry import JudgeMetrics
from eval_anything.tasks.load import folder_at, load_task
from tests.support.helpers import TASK_YAML, Cli, make_task, medium_sample, mp4, png, text_sample, wav
from tests.support.numbered_clips import make_growing

OWN = """\
version: 1
title: A task
description: What it measures.
licence: CC0-1.0
inputs: [text]
outputs: [text]
primary: mine
contract: {required: [text]}
scorer: score.py:score
metrics: {mine: {range: [0, 1]}}
"""
SCORE = "def score(sample, response):\n    return {}\n"
JUDGES = JudgeMetrics(find_judges())


def mistakes(folder: Path) -> list[tuple[str, int, str]]:
    """File name, line and message of every mistake in a task folder."""
    with pytest.raises(FileProblemsError) as error:
        load_task(folder_at(folder), JUDGES)
    return [(p.file.name, p.line, p.message) for p in error.value.problems]


def the_mistake(folder: Path) -> tuple[str, int, str]:
    [mistake] = mistakes(folder)
    return mistake


def test_a_good_folder_is_read(tmp_path: Path) -> None:
    samples = [
        text_sample("a", "Hä?", targets={"answer": 3}, metadata={"k": "v"}, source_id="cluster"),
        medium_sample("b", "image", "a.png"),
        medium_sample("c", "audio", "a.wav"),
        medium_sample("d", "video", "a.mp4"),
    ]
    folder = make_task(tmp_path, "mine/demo", samples, a__png=png(), a__wav=wav(), a__mp4=mp4())
    task = load_task(folder_at(folder))
    assert task.name == "mine/demo"
    assert [s.id for s in task.samples] == ["a", "b", "c", "d"]
    assert task.by_id["a"].source_id == "cluster"
    assert task.by_id["b"].source_id == "b"
    assert task.by_id["a"].targets == {"answer": 3}
    media = [p for s in task.samples for p in s.messages[0].parts if isinstance(p, MediaPart)]
    assert [medium.mime for medium in media] == [
        "image/png",
        "audio/wav",
        "video/mp4",
    ]


def test_blank_lines_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    folder = make_task(tmp_path)
    lines = [json.dumps(text_sample(i)) for i in "ab"]
    (folder / "samples.jsonl").write_bytes("\r\n\n".join(lines).encode())
    assert len(load_task(folder_at(folder)).samples) == 2


def test_a_path_that_is_no_task_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        folder_at(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no task\.yaml in it"):
        folder_at(tmp_path)


@pytest.mark.parametrize(
    ("yaml", "line", "words"),
    [
        (TASK_YAML + "scorers: x\n", 10, "unknown key 'scorers': remove it. Did you mean scorer"),
        (TASK_YAML + "version: 2\n", 10, "key 'version' is given twice"),
        (TASK_YAML.replace("[text]}", "[text"), 10, "not valid YAML"),
        (TASK_YAML.replace("required", "requird"), 9, "unknown key 'requird' in `contract`"),
        (TASK_YAML.replace("[text, image", "[text, imag", 1), 5, "'imag' in `inputs[1]` is not one"),
        (TASK_YAML.replace("[text, image", "[text, imag", 1), 5, "Did you mean image?"),
        (TASK_YAML.replace("version: 1", "version: one"), 1, "expected `int`, got `str`"),
        (TASK_YAML.replace("licence: CC0-1.0\n", ""), 1, "key 'licence' is missing"),
        (
            TASK_YAML.replace("{required: [text]}", "{required: [text], forbidden: [text]}"),
            9,
            "contract contradicts itself: text is both required and forbidden",
        ),
        (TASK_YAML.replace("outputs: [text, image, audio, video]", "outputs: []"), 6, "is empty"),
        (TASK_YAML.replace("_contract]", "_contrac]"), 7, "Did you mean selection_contract"),
        (TASK_YAML.replace("primary: selection", "primary: selektion"), 8, "Did you mean selection"),
        (TASK_YAML.replace("_contract]", "_contract, selection_contract]"), 7, "is given by both"),
        (TASK_YAML.replace("judges: [selection_contract]\n", ""), 1, "nothing scores this task"),
        (TASK_YAML + "controls: no.py:x\n", 10, "controls: no.py does not exist"),
        (TASK_YAML + "samples: other.jsonl\n", 10, "other.jsonl is missing"),
        (TASK_YAML + "samples: ../samples.jsonl\n", 10, "leads outside its folder"),
        (TASK_YAML + "template: prompt.j2\n", 10, "prompt.j2 is missing"),
        (TASK_YAML + "template: ../prompt.j2\n", 10, "leads outside its folder"),
        (OWN.replace("score.py:score", "score.py"), 9, "must be `file.py:function`"),
        (OWN.replace("score.py:score", "scores.py:score"), 9, "scores.py does not exist"),
        (OWN.replace("score.py:score", "score.py:scor"), 9, "no function 'scor'. Did you mean score"),
        (OWN.replace("score.py:score", "../score.py:score"), 9, "leads outside its folder"),
        (OWN.replace("score.py:score", "broken.py:score"), 9, "broken.py: "),
        (OWN.replace("primary: mine", "primary: mien"), 7, "is given by no judge. Did you mean mine"),
        (OWN.replace("metrics: {mine: {range: [0, 1]}}", ""), 9, "scorer needs `metrics:`"),
        (OWN.replace("[0, 1]", "[1, 0]"), 10, "range must rise"),
        (OWN.replace("[0, 1]", "[0, 1], floor: 2"), 10, "floor 2.0 is outside the range"),
        (OWN.replace("[0, 1]", "[0, 1], beter: lower"), 10, "Did you mean better"),
        (TASK_YAML + "group_by: [nowhere]\n", 10, "no sample has 'nowhere' in its metadata"),
        (OWN + "judges: [validity]\n", None, None),
        (OWN.replace("mine", "selection") + "judges: [selection_contract]\n", 11, "given by both"),
    ],
)
def test_mistakes_in_task_yaml(tmp_path: Path, yaml: str, line: int | None, words: str | None) -> None:
    samples = [text_sample("a")]
    folder = make_task(tmp_path, "m/t", samples, yaml, score__py=SCORE, broken__py="def (:\n")
    if words is None:
        load_task(folder_at(folder), JUDGES)
        return
    found = mistakes(folder)
    assert any(f == "task.yaml" and n == line and words in m for f, n, m in found), found


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"id": "b", "messages": [', "not valid JSON"),
        ("[]", "expected `object`, got `array`"),
        (text_sample("b", targts={}), "unknown key 'targts': remove it. Did you mean targets"),
        (
            text_sample("b", contract={"requird": ["text"]}),
            "unknown key 'requird': remove it. Did you mean required",
        ),
        (text_sample("b", contract={"required": ["texd"]}), "invalid enum value 'texd'"),
        (
            text_sample("b", contract={"required": ["text"], "allowed": ["text"]}),
            "text is both required and allowed",
        ),
        (text_sample("a"), "id 'a' is already on line 1"),
        (text_sample(""), "the id is empty"),
        ({"id": "b", "messages": []}, "must end with one of the user"),
        ({"id": "b", "messages": [{"role": "user", "parts": []}]}, "its messages are empty"),
        ({"id": "b"}, "missing required field `messages`"),
        (medium_sample("b", "image", "no.png"), "does not exist"),
        (medium_sample("b", "image", "../x.png"), "leads outside its folder"),
        (medium_sample("b", "image", "/etc/hostname"), "leads outside its folder"),
        (medium_sample("b", "image", "wrong.wav"), "named like audio/wav, but its bytes are image"),
        (medium_sample("b", "audio", "wrong.wav"), "should be audio, but its bytes are image/png"),
        (medium_sample("b", "image", "text.png"), "is not a known image format"),
        (medium_sample("b", "image", "empty.png"), "is empty"),
        (medium_sample("b", "imgae", "x.png"), "invalid enum value 'imgae'"),
    ],
)
def test_mistakes_in_a_line_of_samples(tmp_path: Path, row: dict[str, Any] | str, words: str) -> None:
    samples = [text_sample("a"), "", row]
    folder = make_task(tmp_path, "m/t", samples, wrong__wav=png(), text__png="hello", empty__png=b"")
    name, line, message = the_mistake(folder)
    assert (name, line) == ("samples.jsonl", 3)
    assert words in message


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    folder = make_task(tmp_path, "m/t", [text_sample("a", "XX")])
    data = (folder / "samples.jsonl").read_bytes()
    (folder / "samples.jsonl").write_bytes(data.replace(b"XX", b"\xff\xfe"))
    assert the_mistake(folder)[:2] == ("samples.jsonl", 1)


def test_an_empty_task(tmp_path: Path) -> None:
    assert "holds no samples" in the_mistake(make_task(tmp_path, "m/t", []))[2]


def test_samples_must_agree_with_task_yaml(tmp_path: Path) -> None:
    yaml = TASK_YAML.replace(
        "inputs: [text, image, audio, video]\noutputs: [text, image, audio, video]",
        "inputs: [text]\noutputs: [text]",
    )
    samples = [medium_sample("a", "image", "a.png") | {"contract": {"required": ["audio"]}}]
    found = mistakes(make_task(tmp_path, "m/t", samples, yaml, a__png=png()))
    assert [n for _, n, _ in found] == [1, 1]
    assert "has image in its messages: add it to `inputs`" in found[0][2]
    assert "wants audio: add it to `outputs`" in found[1][2]


def test_several_mistakes_are_named_at_once(tmp_path: Path) -> None:
    yaml = OWN.replace("score.py:score", "score.py:scor").replace("primary: mine", "primary: x")
    yaml += "template: prompt.j2\n"
    samples = [text_sample("a"), "{", text_sample("a"), medium_sample("c", "image", "no.png")]
    found = mistakes(
        make_task(tmp_path, "m/t", samples, yaml, score__py=SCORE, prompt__j2="{{ text }\n")
    )
    assert [(f, n) for f, n, _ in found] == [
        ("task.yaml", 9),
        ("task.yaml", 7),
        ("samples.jsonl", 2),
        ("samples.jsonl", 3),
        ("samples.jsonl", 4),
        ("prompt.j2", 1),
    ]


def test_a_file_full_of_mistakes_is_not_read_to_its_end(tmp_path: Path) -> None:
    found = mistakes(make_task(tmp_path, "m/t", ["{"] * 1000))
    assert len(found) < 100
    assert "too many mistakes" in found[-1][2]


def test_a_template_makes_the_prompt(tmp_path: Path) -> None:
    sample = medium_sample("a", "image", "a.png") | {"metadata": {"style": "short"}}
    yaml = TASK_YAML + "template: prompt.j2\n"
    prompt = "Q: {{ text }}\nBe {{ metadata.style }}.\n"
    folder = make_task(tmp_path, "m/t", [sample], yaml, prompt__j2=prompt, a__png=png())
    task = load_task(folder_at(folder))
    [message] = task.messages(task.samples[0])
    assert isinstance(message.parts[0], MediaPart)
    assert message.parts[1] == TextPart("Q: What is this?\nBe short.")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ txet }}", "'txet' is undefined; a template knows `text` and `metadata`"),
        ("{{ metadata.style }}", "has no attribute 'style'"),
        ("{{ 1 / metadata.zero }}", "division by zero"),
        ("{{ text.__class__.__mro__ }}", "unsafe"),
        ("a\n{% if %}", "Expected an expression"),
    ],
)
def test_a_template_is_tried_on_every_sample(tmp_path: Path, template: str, words: str) -> None:
    samples = [
        text_sample("a", metadata={"style": "short", "zero": 1}),
        text_sample("b", metadata={"zero": 0}),
    ]
    yaml = TASK_YAML + "template: prompt.j2\n"
    name, line, message = the_mistake(make_task(tmp_path, "m/t", samples, yaml, prompt__j2=template))
    assert name == "prompt.j2"
    assert words in message
    assert line == 2 if "if" in template else "sample" in message


def test_mistakes_of_judges_and_samples_are_told_together(tmp_path: Path) -> None:
    yaml = TASK_YAML.replace("_contract]", "_contrac]")
    folder = make_task(tmp_path, samples=[text_sample("a"), text_sample("a")], yaml=yaml)
    assert [(file, line) for file, line, _ in mistakes(folder)] == [
        ("task.yaml", 7),
        ("samples.jsonl", 2),
    ]


def test_all_bundled_tasks_load() -> None:
    from eval_anything.tasks.registry import Registry

    for name, folder in Registry().folders.items():
        if folder.suite == "open":
            task = load_task(folder, JUDGES)
            assert task.name == name
            assert len(task.samples) >= 20


def test_words_for_readers_change_no_fingerprint(tmp_path: Path) -> None:
    """A description of a metric may be written later; its range may not be changed."""
    prints = []
    texts = ("", ", description: how good it is", ", floor: 0.5")
    for i, text in enumerate(texts):
        yaml = OWN.replace("[0, 1]}", f"[0, 1]{text}}}")
        folder = make_task(tmp_path / str(i), yaml=yaml, score__py=SCORE)
        prints.append(load_task(folder_at(folder)).parts_of_fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_metrics_of_bundled_tasks_say_what_they_mean() -> None:
    from eval_anything.tasks.registry import Registry, read_task_file

    files = {name: read_task_file(folder) for name, folder in Registry().folders.items()}
    named = {f"{name}:{m}": metric for name, file in files.items() for m, metric in file.metrics.items()}
    judged = {f"{name}:{m}": JUDGES[name][m] for name in find_judges() for m in JUDGES[name]}
    assert [name for name, metric in {**named, **judged}.items() if not metric.description] == []


def test_validate_reads_media_as_a_run_does(cli: Cli, tmp_path: Path) -> None:
    make_growing(tmp_path / "growing.webm")
    clip = (tmp_path / "growing.webm").read_bytes()
    samples = [medium_sample("a", "video", "a.webm"), medium_sample("b", "image", "b.png")]
    folder = make_task(tmp_path, "m/t", samples, a__webm=clip, b__png=png())
    assert cli("tasks", "validate", folder).code == 0
    (folder / "b.png").write_bytes(png(size=48, noise=1)[:2000])
    result = cli("tasks", "validate", folder)
    assert result.code == 2
    assert "samples.jsonl:2" in result.err
    assert "b.png does not decode" in result.err
