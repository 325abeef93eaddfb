"""Hostile inputs and the folders around them, written into the current folder."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.helpers import (
    TASK_YAML,
    answers,
    make_task,
    medium_sample,
    png,
    text_sample,
    write_jsonl,
)
from tests.support.paths import BASELINE

DEEP = "[" * 200_000 + "]" * 200_000


DIGITS = "9" * 4000


TASK = "micro/selection"


LOG = f"bad/{TASK}/records.jsonl"


SCORE = [
    *("score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine", "--out", "run"),
]
"""The command that scores saved outputs on the task that `task` writes."""


def task(samples: str | None = None, yaml: str = TASK_YAML, **files: str | bytes) -> Path:
    """A task folder, mine/demo, and outputs for it."""
    folder = make_task(Path(), yaml=yaml, **files)
    write_jsonl(Path("rows.jsonl"), answers([f"s{i}" for i in range(4)]))
    if samples is not None:
        (folder / "samples.jsonl").write_text(samples, "utf-8")
    return folder


def sample(text: str, **more: Any) -> str:
    """A line of samples.jsonl in which "HERE" stands for a JSON text."""
    return json.dumps(text_sample("s0", **{"targets": {"x": "HERE"}, **more})).replace('"HERE"', text)


def runs() -> None:
    """Two copies of one run on one task: good, and bad."""
    for name in ("good", "bad"):
        shutil.copytree(BASELINE / TASK, f"{name}/{TASK}")
        for file in ("run.json", "results.json"):
            document = json.loads((BASELINE / file).read_bytes()) | {"aggregates": {}}
            tasks = document["tasks"]
            document["tasks"] = [TASK] if isinstance(tasks, list) else {TASK: tasks[TASK]}
            if file == "run.json":
                del document["aggregates"]
                document["command"] = [name]
            Path(name, file).write_text(json.dumps(document))


def in_run(file: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[], None]:
    """Two runs, one with a JSON file changed; "HERE:x" in it stands for the JSON text x."""

    def prepare() -> None:
        runs()
        path = Path("bad", file)
        lines = path.read_text("utf-8").split("\n", 1) if file.endswith("l") else [path.read_text()]
        document = json.loads(lines[0])
        change(document)
        lines[0] = _raw(json.dumps(document))
        path.write_text("\n".join(lines), "utf-8")

    return prepare


def here(text: str) -> str:
    """A value that `in_run` replaces by a JSON text."""
    return f"HERE:{text}"


def _raw(text: str) -> str:
    while (start := text.find('"HERE:')) >= 0:
        end = text.index('"', start + 1)
        text = text[:start] + text[start + 6 : end] + text[end + 1 :]
    return text


def every_record(change: Callable[[dict[str, Any]], Any]) -> Callable[[], None]:
    """Two runs; one has all records of a task changed."""

    def prepare() -> None:
        runs()
        path = Path(LOG)
        records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for record in records:
            change(record)
        path.write_text("".join(_raw(json.dumps(record)) + "\n" for record in records), "utf-8")

    return prepare


def pipe(path: str, before: Callable[[], object] = runs) -> Callable[[], None]:
    """A named pipe in place of a file."""

    def prepare() -> None:
        before()
        Path(path).unlink(missing_ok=True)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)

    return prepare


def link(path: str, target: str, before: Callable[[], object] = runs) -> Callable[[], None]:
    """A link in place of a file."""

    def prepare() -> None:
        before()
        Path(path).unlink(missing_ok=True)
        Path(path).symlink_to(target)

    return prepare


def huge(path: str, before: Callable[[], object] = runs, size: int = 2**36) -> Callable[[], None]:
    """A file of 64 GiB, without a single block on the disk."""

    def prepare() -> None:
        before()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("r+b" if Path(path).exists() else "wb") as file:
            file.truncate(size)

    return prepare


def written(path: str, content: str | bytes, before: Callable[[], object] = task) -> Callable[[], None]:
    """A file with this content."""

    def prepare() -> None:
        before()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content.encode() if isinstance(content, str) else content)

    return prepare


def templated(template: str) -> Callable[[], None]:
    """A task with a template of its own."""
    return lambda: task(yaml=TASK_YAML + "template: t.jinja\n", t__jinja=template)


JUDGE_YAML = """\
version: 1
kind: rubric
title: Mine
description: Mine.
sees: [text]
metrics: {mine: {range: [0, 10]}}
template: t.jinja
"""


def judge(template: str) -> Callable[[], None]:
    """A judge with a template of its own."""

    def prepare() -> None:
        Path("judge").mkdir()
        Path("judge/judge.yaml").write_text(JUDGE_YAML)
        Path("judge/t.jinja").write_text(template)

    return prepare


DATA_YAML = """
data: {name: set, rows: [rows.jsonl], items: 2, sample: sample.jinja, megabytes: 1}
"""


def data_task(template: str, rows: str = '{"a": 1}\n{"a": 2}\n', yaml: str = DATA_YAML) -> None:
    """A task whose samples a template makes of a data set."""
    folder = make_task(Path(), yaml=TASK_YAML + yaml, sample__jinja=template)
    (folder / "samples.jsonl").unlink()
    Path("sets/set").mkdir(parents=True)
    Path("sets/set/rows.jsonl").write_text(rows)
    write_jsonl(Path("rows.jsonl"), answers(["s0"]))


def with_medium(write: Callable[[Path], object], name: str = "a.png") -> Callable[[], None]:
    """A task with a medium in a prompt."""

    def prepare() -> None:
        folder = make_task(Path(), samples=[medium_sample("s0", "image", name)])
        write(folder / name)
        write_jsonl(Path("rows.jsonl"), answers(["s0"]))

    return prepare


def answered_with(write: Callable[[Path], object], name: str = "a.png") -> Callable[[], None]:
    """A task, and saved outputs with a medium."""

    def prepare() -> None:
        task(samples=json.dumps(text_sample("s0")) + "\n")
        part = {"modality": "image", "path": name}
        write_jsonl(Path("rows.jsonl"), [{"sample_id": "s0", "parts": [part]}])
        write(Path(name))

    return prepare


def cut_picture(path: Path) -> None:
    """A picture that says that it has 100,000 x 100,000 pixels."""
    content = bytearray(png())
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    path.write_bytes(content)


def archive(fill: Callable[[tarfile.TarFile], object], **options: Any) -> Callable[[], None]:
    """An archive."""

    def prepare() -> None:
        with tarfile.open("a.tar", "w", **options) as tar:
            fill(tar)

    return prepare


def member(tar: tarfile.TarFile, name: str, content: bytes = b"x", **fields: Any) -> None:
    """Adds a file to an archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, setting in fields.items():
        setattr(info, field, setting)
    tar.addfile(info, io.BytesIO(content))


def sparse_archive() -> None:
    """An archive of a file with a hole of 8 GB, in GNU's form."""
    info = tarfile.TarInfo("hole.png")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:398], header[398:410] = b"77777777000\0", b"00000001000\0"
    header[483:495] = b"100000000000"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    Path("a.tar").write_bytes(bytes(header) + bytes(512) + bytes(1024))


def checkpoint(config: str) -> Callable[[], None]:
    """A folder that looks like a checkpoint."""

    def prepare() -> None:
        task()
        Path("model").mkdir()
        Path("model/config.json").write_text(config)
        Path("model/model.safetensors").write_bytes(b"")
        Path("model/tokenizer.json").write_text("{}")

    return prepare


def merges(levels: int = 30) -> str:
    """YAML whose merges double its size at each level."""
    lines = ["m0: &m0 {a: 1}"]
    lines += [f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}" for i in range(1, levels + 1)]
    return "\n".join(lines) + "\n"


def aliases(levels: int = 30) -> str:
    """YAML whose aliases double its size at each level."""
    lines = ["m0: &m0 [1]", *(f"m{i}: &m{i} [*m{i - 1}, *m{i - 1}]" for i in range(1, levels + 1))]
    return "\n".join(lines) + "\n"


def doubling_aggregates(results: Mapping[str, Any]) -> None:
    """Aggregates of aggregates: 2^40 ways lead down."""
    formula = {"value": None, "ci95": None, "formula": "mean"}
    for i in range(40):
        inputs = {"a": f"micro/x{i + 1}", "b": f"micro/x{i + 1}"}
        results["aggregates"][f"micro/x{i}"] = {**formula, "inputs": inputs}


def chained_aggregates(results: Mapping[str, Any]) -> None:
    """A chain of 20,000 aggregates."""
    formula = {"value": None, "ci95": None, "formula": "mean"}
    for i in range(20_000):
        results["aggregates"][f"micro/x{i}"] = {**formula, "inputs": {"a": f"micro/x{i + 1}"}}


def saved(name: str, write: Callable[[Path], object]) -> Callable[[], None]:
    """A task, and saved outputs for it in a file of this name."""

    def prepare() -> None:
        task()
        write(Path(name))

    return prepare


def table(columns: Mapping[str, Any], **options: Any) -> Callable[[Path], None]:
    """Writes a table as parquet: columns as Arrow's arrays or lists."""

    def write(path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table(dict(columns)), path, **options)

    return write


def repeated_value(path: Path) -> None:
    """64 answers, each the same 30 MB: a dictionary of one value."""
    import pyarrow as pa

    values = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), pa.array(["x" * 30_000_000]))
    ids = [f"s{i}" for i in range(64)]
    write = table({"id": ids, "response": values}, compression="zstd", dictionary_pagesize_limit=2**30)
    write(path)


def empty_answers(path: Path) -> None:
    """60 million rows without an answer, in a few KB."""
    import pyarrow as pa

    nulls = pa.nulls(60_000_000, pa.int8())
    table({"id": nulls, "response": nulls}, row_group_size=60_000_000)(path)


def nested_values(path: Path) -> None:
    """A column of lists that are nested 500 levels deep."""
    import pyarrow as pa

    values = pa.array([1])
    for _ in range(500):
        values = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
    table({"id": ["s0"], "response": ["x"], "parts": values})(path)


def sized(path: Path, beginning: bytes, size: int) -> None:
    """A file that begins so, then has zeros up to a size, which take no space."""
    path.write_bytes(beginning)
    os.truncate(path, size)


def label(**changes: Any) -> dict[str, Any]:
    """A row of labels."""
    parts = [{"modality": "text", "text": "Paris"}]
    return {**text_sample("a"), "parts": parts, "label": 1, **changes}


def annotation(**changes: Any) -> dict[str, Any]:
    """A line of an annotator's answers."""
    row = {"kind": "vote", "key": "k", "annotator": "ann", "time": "t", "task": "mine/demo"}
    row |= {"sample_id": "s0", "source_id": "s0", "item": "i", "vote": "text"}
    return {**row, "messages": text_sample("s0")["messages"], "contract": {}, **changes}


MERGE = ("runs", "merge", "out", "a", "b", "--include", "mine")
"""The command that merges the shards that `shards` writes."""


SHARD_LOG = "b/mine/demo/records.jsonl"


def shards() -> None:
    """Two shards of a run with media, `a` and `b`."""
    from eval_anything.cli.main import main

    task()
    rows = answers([f"s{i}" for i in range(4)])
    for i, row in enumerate(rows):
        Path(f"{i}.png").write_bytes(png(noise=i + 1))
        row["parts"].append({"modality": "image", "path": f"{i}.png"})
    write_jsonl(Path("rows.jsonl"), rows)
    run = ["run", "--model", "replay/rows.jsonl", "--tasks", "mine/demo", "--include", "mine"]
    for number, name in enumerate("ab", start=1):
        words = [*run, "--concurrency", "1", "--shard", f"{number}/2", "--out", name, "--json"]
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
            assert main(words) == 0


def in_shard(file: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[], None]:
    """Two shards; one has the first document of a file changed, as in `in_run`."""

    def prepare() -> None:
        shards()
        path = Path("b", file)
        text = path.read_text("utf-8")
        first, *lines = text.splitlines() if file.endswith("l") else [text]
        document = json.loads(first)
        change(document)
        path.write_text("\n".join([_raw(json.dumps(document)), *lines]) + "\n", "utf-8")

    return prepare


def shard_medium(change: Callable[[Path], object]) -> Callable[[], None]:
    """Two shards; something is done to a medium of one."""

    def prepare() -> None:
        shards()
        path = next(path for path in Path("b/media").rglob("*.png"))
        path.unlink()
        change(path)

    return prepare
