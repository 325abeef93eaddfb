"""YAML files: every mistake is named with its line, all of them in one reading."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import pytest

from eval_anything.content import Contract, Modality
from eval_anything.files.mistakes import FileProblemsError
from eval_anything.files.yaml_files import load_yaml, read_yaml


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    size: int
    colour: str = "red"


class Form(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    outputs: list[Modality] = []
    contract: Contract | None = None
    parts: dict[str, Inner] = {}
    inner: Inner | None = None
    grade: Literal["good", "poor"] | None = None
    limits: dict[Literal["mean", "median"], float] = {}
    range: tuple[float, float] = (0, 1)


def problems(tmp_path: Path, text: str | bytes) -> list[tuple[int, str]]:
    path = tmp_path / "form.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FileProblemsError) as error:
        read_yaml(path, Form)
    assert all(p.file == path for p in error.value.problems)
    assert str(path) in str(error.value)
    return [(p.line, p.message) for p in error.value.problems]


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "form.yaml"
    path.write_text("title: ü\noutputs: [text]\nparts:\n  a: {size: 3}\n", "utf-8")
    assert read_yaml(path, Form) == Form("ü", [Modality.TEXT], None, {"a": Inner(3)})
    _, mistakes = load_yaml(path, Form)
    mistakes.check()
    mistakes.add("too large", "parts", "a", "size")
    mistakes.add("missing", "nowhere")
    assert [mistake.line for mistake in mistakes] == [4, 1]
    with pytest.raises(FileProblemsError, match=r"yaml:4: too large\n.*yaml:1: missing$"):
        mistakes.check()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("title: a\noutputs: [text\n", 3, "not valid YAML"),
        ("title: a\n\tinner: 1\n", 2, "not valid YAML"),
        ("title: [a: b: c\n", 1, "not valid YAML"),
        ("title: a\nouputs: [text]\n", 2, "unknown key 'ouputs': remove it. Did you mean outputs"),
        ("title: a\ntitle: b\n", 2, "key 'title' is given twice"),
        ("title: a\ninner:\n  size: 1\n  size: 2\n", 4, "key 'size' is given twice"),
        ("title: 3\n", 1, "expected `str`, got `int` in `title`"),
        ("outputs: [text]\n", 1, "key 'title' is missing: add it"),
        ("title: a\noutputs:\n- text\n- imgae\n", 4, "Did you mean image?"),
        ("title: a\ngrade: godo\n", 2, "'godo' in `grade` is not one of good, poor. Did you mean good"),
        ("title: a\nlimits: {maen: 1}\n", 2, "is not one of mean, median. Did you mean mean"),
        ("title: a\ncontract:\n  requird: [text]\n", 3, "Did you mean required?"),
        ("title: a\ninner:\n  colour: x\n", 2, "key 'size' is missing in `inner`"),
        ("title: a\nparts:\n  x: {sise: 1}\n", 3, "Did you mean size?"),
        ("title: a\nparts:\n  x: {size: 1}\n  y:\n    size: b\n", 5, "got `str` in `parts.y.size`"),
        ("title: a\nparts:\n  x: {size: 1}\n  y: {}\n", 4, "key 'size' is missing in `parts.y`"),
        ("title: a\nrange: [0]\n", 2, "must be a list of 2 entries, not of 1, in `range`"),
        ("title: a\nrange: 1\n", 2, "must be a list, such as [a, b], not `int`, in `range`"),
        ("- title\n", 1, "must hold keys and values"),
        ("", 1, "must hold keys and values"),
        ("title: 2024-99-99\n", 0, "not valid YAML"),
        (b"title: \xff\xfe\n", 0, "not valid YAML"),
        ("title: !!python/object:os.system x\n", 1, "not valid YAML"),
    ],
)
def test_one_mistake_is_named_with_its_line(
    tmp_path: Path, text: str | bytes, line: int, words: str
) -> None:
    found = problems(tmp_path, text)
    assert any(words in message for _, message in found), found
    assert line in [n for n, message in found if words in message], found


def test_a_contract_that_contradicts_itself_is_named(tmp_path: Path) -> None:
    text = "title: a\ncontract:\n  required: [text]\n  forbidden: [text]\n"
    [(line, message)] = problems(tmp_path, text)
    assert line == 2
    assert "text is both required and forbidden" in message


def test_several_mistakes_are_named_at_once(tmp_path: Path) -> None:
    text = "titel: a\noutputs: [texd]\ninner:\n  size: big\n  sice: 1\ninner:\n  size: 1\n"
    messages = " | ".join(m for _, m in problems(tmp_path, text))
    for words in ("'titel'", "'texd'", "'inner' is given twice", "'title' is missing"):
        assert words in messages


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("title: a\nrange: [x, y]\n", [2]),
        ("title: 3\n", [1]),
        ("title: a\noutputs:\n- texd\n- text\n- imgae\n", [3, 5]),
        ("title: a\nparts:\n  x: {size: b}\n  y: {size: c}\n", [3, 4]),
    ],
)
def test_a_mistake_is_named_once_where_it_is(tmp_path: Path, text: str, lines: list[int]) -> None:
    assert [line for line, _ in problems(tmp_path, text)] == lines


def test_a_key_of_a_merge_may_be_given_again(tmp_path: Path) -> None:
    path = tmp_path / "form.yaml"
    path.write_text("title: a\nparts:\n  x: &x {size: 1, colour: blue}\n  y: {<<: *x, size: 2}\n")
    assert read_yaml(path, Form).parts == {"x": Inner(1, "blue"), "y": Inner(2, "blue")}
    path.write_text("title: a\nparts:\n  x: &x {size: 1}\n  y:\n    <<: *x\n    size: 2\n    size: 3\n")
    with pytest.raises(FileProblemsError, match=r"yaml:7: key 'size' is given twice: keep one$"):
        read_yaml(path, Form)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemsError, match=r"no\.yaml: does not exist"):
        read_yaml(tmp_path / "no.yaml", Form)


@pytest.mark.parametrize(
    "text",
    [
        "title: &a [*a]\n",
        "a: &a [x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{c}: &{c} [{','.join(['*' + p] * 8)}]\n" for p, c in zip("abcdefg", "bcdefgh", strict=True)
        ),
    ],
    ids=["ring", "laughs"],
)
def test_aliases_do_not_hang_the_reader(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text)


def merges(levels: int, each: str) -> str:
    """Mappings that merge the one before, several times each."""
    lines = ["m0: &m0 {title: a}"]
    lines += [
        f"m{n}: &m{n} {{<<: {each.format(f'*m{n - 1}', f'*m{n - 1}')}}}" for n in range(1, levels + 1)
    ]
    return "\n".join(lines)


@pytest.mark.parametrize("each", ["[{}, {}]", "[{}, {{<<: {}}}]"])
def test_merges_do_not_hang_the_reader(tmp_path: Path, each: str) -> None:
    ((_, message),) = problems(tmp_path, merges(30, each))
    assert "aliases and merges make more than 200,000 values of it" in message


def test_a_document_that_repeats_itself_a_little_is_read(tmp_path: Path) -> None:
    text = "base: &base {size: 1}\n" + "\n".join(f"k{n}: {{<<: *base}}" for n in range(2000))
    messages = [message for _, message in problems(tmp_path, text)]
    assert not any("aliases" in message for message in messages)
