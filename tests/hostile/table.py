"""The table of attacks: what strangers may hand us, and how it must end."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.hostile import inputs as of
from tests.hostile.attack import Attack, command
from tests.support.helpers import text_sample

COMPARE = ("compare", "good", "bad")


VALIDATE = ("tasks", "validate", "mine/demo")


NO_FILE = "no plain file"


TOO_DEEP = "nested more than 200 levels deep"


def _of_samples() -> Iterator[Attack]:
    def attack(name: str, prepare: Callable[[], object], says: str, *words: str) -> Attack:
        return Attack(name, "lines of JSON", prepare, words or VALIDATE, says=says)

    task = of.task
    samples = "mine/demo/samples.jsonl"
    yield attack("samples nested 200,000 deep", lambda: task(of.sample(of.DEEP)), TOO_DEEP)
    yield attack(
        "samples nested 200,000 deep in UTF-16",
        of.written(samples, of.sample(of.DEEP).encode("utf-16")),
        TOO_DEEP,
    )
    yield attack("samples that are a pipe", of.pipe(samples, task), NO_FILE)
    yield attack("samples that are a folder", lambda: _folder(samples), "it is a folder")
    yield attack("samples of 64 GiB", of.huge(samples, task), "more than the")
    line = of.sample("[" + "[]," * 10_000_000 + "[]]")
    yield attack("a sample of 30 MB of empty lists", lambda: task(line), "line 1 has more than the")
    yield attack("a sample with 1e999", lambda: task(of.sample("1e999")), "out of range")
    digits = of.sample(of.DIGITS)
    yield attack("a sample with a number of 4,000 digits", lambda: task(digits), "")._replace(code=0)
    more = of.sample("9" * 5000)
    yield attack("a sample with a number of 5,000 digits", lambda: task(more), "samples.jsonl:1")
    yield attack(
        "saved outputs nested 200,000 deep", _outputs(f'{{"x": {of.DEEP}}}'), TOO_DEEP, *of.SCORE
    )
    yield attack("saved outputs of 64 GiB", of.huge("rows.jsonl", task), "more than the", *of.SCORE)
    yield attack("saved outputs that are a pipe", of.pipe("rows.jsonl", task), "is neither a", *of.SCORE)
    yield attack(
        "saved outputs that are /dev/zero",
        of.link("rows.jsonl", "/dev/zero", task),
        "is neither a",
        *of.SCORE,
    )
    for form, content, says in (
        ("json", f'[{{"id": "s0", "parts": {of.DEEP}}}]', TOO_DEEP),
        ("csv", "id,response\ns0," + "x" * 20_000_000 + "\n", "has more than the"),
        ("csv", 'id,response\ns0,"' + "x\n" * 10_000_000, "field larger than"),
    ):
        words = [word.replace("rows.jsonl", f"rows.{form}") for word in of.SCORE]
        saved = of.written(f"rows.{form}", content)
        yield attack(f"saved outputs in {form}: {says}", saved, says, *words)
    labels = ("judges", "calibrate", "validity", "--labels", "labels.jsonl")
    yield attack(
        "labels nested 200,000 deep",
        of.written("labels.jsonl", f'{{"id": "a", "targets": {of.DEEP}}}\n'),
        TOO_DEEP,
        *labels,
    )
    yield attack("labels that are a pipe", of.pipe("labels.jsonl"), NO_FILE, *labels)
    yield attack("labels that are /dev/zero", of.link("labels.jsonl", "/dev/zero"), NO_FILE, *labels)
    export = ("annotate", "--summary", "log.jsonl")
    yield attack("answers of annotators in a pipe", of.pipe("log.jsonl", task), NO_FILE, *export)
    deep_log = of.written("log.jsonl", f'{{"kind":"vote","x":{of.DEEP}}}\n')
    yield attack("answers of annotators nested 200,000 deep", deep_log, TOO_DEEP, *export)
    rows = ("data", "check", "rows.jsonl")
    deep_rows = of.written("rows.jsonl", f'{{"messages": [], "metadata": {{"x": {of.DEEP}}}}}\n')
    yield attack("training rows nested 200,000 deep", deep_rows, TOO_DEEP, *rows)
    yield attack("training rows in a pipe", of.pipe("rows.jsonl", task), NO_FILE, *rows)
    yield attack("training rows of 64 GiB", of.huge("rows.jsonl", task), "more than the", *rows)


def _folder(path: str) -> None:
    of.task()
    Path(path).unlink()
    Path(path).mkdir()


def _outputs(line: str) -> Callable[[], None]:
    return of.written("rows.jsonl", line + "\n")


def _of_runs() -> Iterator[Attack]:
    for name, (prepare, says) in BAD_RUNS.items():
        yield Attack(name, "runs", prepare, COMPARE, code=2 if says else 0, says=says)
    yield Attack("all of these runs on a site, beside a good one", "runs", _all_runs, run=_build, code=0)


def _all_runs() -> None:
    of.runs()
    for number, (prepare, _) in enumerate(BAD_RUNS.values()):
        folder = Path(f"of-{number}")
        folder.mkdir()
        with contextlib.chdir(folder):
            prepare()
        (folder / "bad").rename(f"bad-{number}")


def _build() -> int:
    """The exit code of building a site; 1 if a bad run is not left out with its reason."""
    words = ("leaderboard", "build", "good", *map(str, sorted(Path().glob("bad-*"))), "--out", "site")
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = command(*words)
    print(said.getvalue())
    for number, (_, says) in enumerate(BAD_RUNS.values()):
        lines = [line for line in said.getvalue().splitlines() if f"bad-{number}:" in line]
        if says and not any(says in line for line in lines):
            print(f"bad-{number} is not left out for {says!r}")
            return 1
    return code


def _bad_runs() -> Iterator[tuple[str, tuple[Callable[[], object], str]]]:
    """Bad runs, beside good ones, with the reason for which they are refused ("": they are not)."""

    def attack(
        name: str, prepare: Callable[[], object], says: str
    ) -> Iterator[tuple[str, tuple[Callable[[], object], str]]]:
        yield name, (prepare, says)

    first = "micro/selection"
    log = of.LOG
    records = f"{first}/records.jsonl"
    deep, digits = of.here(of.DEEP), of.here(of.DIGITS)
    yield from attack(
        "a record nested 200,000 deep",
        of.in_run(records, lambda r: r["details"].update(x=deep)),
        TOO_DEEP,
    )
    yield from attack("records that are a pipe", of.pipe(log), NO_FILE)
    yield from attack("records of 64 GiB", of.huge(log), "more than the")
    yield from attack(
        "a record of 20 MB in one line", of.written(log, b" " * 20_000_000, of.runs), "line 1 has more"
    )
    yield from attack(
        "scores in a range of +-1e300",
        of.every_record(lambda r: _scores(r, range=[-1e300, 1e300], value=1e300)),
        "ends beyond",
    )
    yield from attack(
        "scores in a range without width",
        of.every_record(lambda r: _scores(r, range=[0, 5e-324], value=0)),
        "almost no width",
    )
    yield from attack(
        "scores outside of their range",
        of.every_record(lambda r: _scores(r, value=1e40)),
        "is outside of",
    )
    yield from attack(
        "tokens of 4,000 digits",
        of.every_record(lambda r: r.update(usage={"input": digits, "output": 1})),
        "damaged record",
    )
    yield from attack(
        "a latency of 1e300 s",
        of.every_record(lambda r: r.update(latency={"total": 1e300})),
        "damaged record",
    )
    yield from attack(
        "results nested 200,000 deep", of.in_run("results.json", lambda r: r.update(more=deep)), TOO_DEEP
    )
    yield from attack("results that are a pipe", of.pipe("bad/results.json"), NO_FILE)
    yield from attack("results that are /dev/zero", of.link("bad/results.json", "/dev/zero"), NO_FILE)
    yield from attack("results of 64 GiB", of.huge("bad/results.json"), "more than the")
    yield from attack(
        "an n of 4,000 digits", of.in_run("results.json", lambda r: _metric(r, n=digits)), "as results"
    )
    yield from attack(
        "a metric with a range of +-1e300",
        of.in_run("results.json", lambda r: _metric(r, range=[-1e300, 1e300])),
        "ends beyond",
    )
    yield from attack(
        "aggregates that double 40 times", of.in_run("results.json", of.doubling_aggregates), ""
    )
    yield from attack(
        "a chain of 20,000 aggregates",
        of.in_run("results.json", of.chained_aggregates),
        "made of aggregates",
    )
    yield from attack(
        "run.json nested 200,000 deep",
        of.in_run("run.json", lambda r: r["arguments"].update(x=deep)),
        TOO_DEEP,
    )
    yield from attack("run.json that is /dev/zero", of.link("bad/run.json", "/dev/zero"), NO_FILE)
    yield from attack("run.json of 64 GiB", of.huge("bad/run.json"), "more than the")
    yield from attack(
        "a seed of 4,000 digits", of.in_run("run.json", lambda r: r.update(seed=digits)), "run.json"
    )
    yield from attack(
        "one task 100,000 times",
        of.in_run("run.json", lambda r: r.update(tasks=[first] * 100_000)),
        "twice",
    )
    yield from attack(
        "a task named ../../private",
        of.in_run("run.json", lambda r: r["tasks"].append("../../private/x")),
        "outside of the run",
    )
    yield from attack("records of another run, by a link", _linked_records, "leads out of the run")


def _scores(record: dict[str, Any], **changes: Any) -> None:
    for score in record["scores"].values():
        score.update(changes)


def _metric(results: dict[str, Any], **changes: Any) -> None:
    task = results["tasks"]["micro/selection"]
    task["metrics"][task["primary"]].update(changes)


def _linked_records() -> None:
    of.runs()
    Path(of.LOG).unlink()
    Path(of.LOG).symlink_to(Path("good/micro/selection/records.jsonl").absolute())


def _of_folders() -> Iterator[Attack]:
    def attack(name: str, prepare: Callable[[], object], says: str, *words: str) -> Attack:
        return Attack(name, "YAML", prepare, words or VALIDATE, says=says)

    deep = "a: " + "[" * 100_000 + "]" * 100_000
    yaml = "mine/demo/task.yaml"
    yield attack("30 levels of merges", of.written(yaml, of.merges()), "aliases and merges")
    yield attack("30 levels of aliases", of.written(yaml, of.aliases()), "aliases and merges")
    listed = ("tasks", "list", "--include", "mine")
    yield attack("30 levels of merges, listed", of.written(yaml, of.merges()), "", *listed)._replace(
        code=0
    )
    yield attack("YAML nested 100,000 deep", of.written(yaml, deep), TOO_DEEP)
    dashes = of.written(yaml, "- " * 100_000 + "a")
    yield attack("YAML with 100,000 dashes in a line", dashes, TOO_DEEP)
    yield attack(
        "YAML nested 900 blocks deep",
        of.written(yaml, "\n".join(" " * i + "a:" for i in range(900)) + "\n"),
        "task.yaml",
    )
    yield attack("YAML of 64 GiB", of.huge(yaml, of.task), "more than the")
    yield attack("3 MB of YAML", of.written(yaml, "a: [" + "[]," * 1_000_000 + "]"), "more than the")
    yield attack("task.yaml that is a pipe", of.pipe(yaml, of.task), "no task.yaml")
    gate = ("gate", "run", "--policy", "policy.yaml", "--baseline", "good", "--candidate", "bad")
    piped = attack("a policy that is a pipe", of.pipe("policy.yaml"), "no such policy", *gate)
    yield piped._replace(code=3)
    merging = of.written("policy.yaml", of.merges(), of.runs)
    yield attack("a policy of merges", merging, "aliases", *gate)._replace(code=3)
    suite = ("tasks", "show", "mine", "--include", "mine")
    yield attack("a suite of merges", of.written("mine/suite.yaml", of.merges()), "aliases", *suite)
    run = ("run", "--tasks", "mine/demo", "--include", "mine", "--out", "run", "--model")
    agent = (*run, "agent/agent.yaml")
    yield attack("an agent's file that is a pipe", of.pipe("agent.yaml", of.task), "", *agent)
    yield attack("an agent's file of merges", of.written("agent.yaml", of.merges()), "aliases", *agent)
    deep_config = of.checkpoint(f'{{"x": {of.DEEP}}}')
    yield attack(
        "a checkpoint's config nested 200,000 deep", deep_config, "config.json", *run, "hf/model"
    )
    config = of.pipe("model/config.json", of.checkpoint("{}"))
    yield attack("a checkpoint's config in a pipe", config, "config.json", *run, "hf/model")


TIME = "takes too long to render"


MEMORY = "MiB that are allowed"


ENDLESS = {
    "9**(9**9)": ("{{ 9**(9**9) }}", TIME),
    "'%1000000000d' % 1": ("{{ '%1000000000d' % 1 }}", MEMORY),
    "a replace that multiplies": ("{{ ('a' * 99999) | replace('a', 'a' * 99999) }}", MEMORY),
    "nested loops": ("{% for a in range(99999) %}" * 4 + "{% endfor %}" * 4, TIME),
    "endless text": (
        "{% for a in range(99999) %}{{ 'abcdefgh' * 99 }}{% endfor %}",
        "more than 4,194,304",
    ),
    "a macro that calls itself": (
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "recursion",
    ),
    "20,000 brackets": ("{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}", "template"),
    "a list that doubles": (
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        MEMORY,
    ),
}


def _of_templates() -> Iterator[Attack]:
    def attack(name: str, prepare: Callable[[], object], says: str, *words: str) -> Attack:
        return Attack(name, "templates", prepare, run=partial(_in_seconds, *words), says=says)

    for name, (template, says) in ENDLESS.items():
        yield attack(f"a task's template: {name}", of.templated(template), says, *VALIDATE)
    for name in ("9**(9**9)", "a replace that multiplies"):
        template, says = ENDLESS[name]
        yield attack(
            f"a judge's template: {name}", of.judge(template), says, "judges", "validate", "judge"
        )
        score = (*of.SCORE, "--data", "sets")
        prepare = partial(of.data_task, template)
        yield attack(f"a data set's template: {name}", prepare, says, *score)
    late = "{% if text %}" + ENDLESS["nested loops"][0] + "{% endif %}"
    yield attack("a template that hangs on real text alone", of.templated(late), TIME, *of.SCORE)
    yield attack("a template of 2 MB", of.templated("x" * 2 * 2**20), "more than the", *VALIDATE)
    pipe = of.pipe("mine/demo/t.jinja", of.templated("x"))
    yield attack("a template that is a pipe", pipe, "t.jinja is missing", *VALIDATE)
    code = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    yield attack("a template that reaches for code", of.templated(code), "unsafe", *VALIDATE)


def _in_seconds(*words: str) -> int:
    from eval_anything.files import templates

    if hasattr(templates, "SECONDS"):
        templates.SECONDS, templates.MEMORY = 2.0, 192 * 2**20
    return command(*words)


def _of_media() -> Iterator[Attack]:
    def attack(name: str, prepare: Callable[[], object], says: str, *words: str) -> Attack:
        return Attack(name, "media", prepare, words or VALIDATE, says=says)

    yield attack("a picture that is a pipe", of.with_medium(lambda p: os.mkfifo(p)), "no regular file")
    zero = of.with_medium(lambda p: p.symlink_to("/dev/zero"))
    yield attack("a picture that is /dev/zero", zero, "leads outside")
    yield attack(
        "a picture of 64 GiB", of.with_medium(lambda p: of.huge(str(p), dict)()), "bytes, more than"
    )
    shot = attack("a picture of 100,000 x 100,000", of.answered_with(of.cut_picture), "", *of.SCORE)
    yield shot._replace(code=1)
    piped = of.answered_with(lambda p: os.mkfifo(p))
    yield attack("an answer that is a pipe", piped, "", *of.SCORE)._replace(code=1)


def _of_archives() -> Iterator[Attack]:
    def attack(name: str, prepare: Callable[[], object], says: str) -> Attack:
        return Attack(name, "archives and data sets", prepare, run=_unpack, says=says)

    yield attack("a sparse file of 8 GB in an archive", of.sparse_archive, "sparse")
    comment = {"comment": "x" * 60_000_000}
    yield attack(
        "an archive with a header of 60 MB",
        of.archive(lambda tar: of.member(tar, "a.png", pax_headers=comment), format=tarfile.PAX_FORMAT),
        "header",
    )
    nested = of.archive(lambda tar: of.member(tar, "a/" * 1500 + "b.png"))
    yield attack("1,500 folders in an archive", nested, "too deep")
    long = of.archive(lambda tar: of.member(tar, "a" * 5000))
    yield attack("a name of 5,000 characters in an archive", long, "too long")
    outside = of.archive(lambda tar: of.member(tar, "../../a.png"))
    yield attack("a name that leads out of an archive", outside, "leads outside")
    yield Attack(
        "100,000,000 empty rows in 1 KB of parquet",
        "archives and data sets",
        _parquet,
        (*of.SCORE, "--data", "sets"),
        says="values, more than the",
    )
    yield Attack(
        "rows of a data set nested 200,000 deep",
        "archives and data sets",
        partial(of.data_task, "{}", f'{{"a": {of.DEEP}}}\n'),
        (*of.SCORE, "--data", "sets"),
        says=TOO_DEEP,
    )


def _unpack() -> int:
    from eval_anything.errors import UserError
    from eval_anything.tasks.datasets.archives import unpack

    Path("into").mkdir()
    try:
        unpack(Path("a.tar"), Path("into"))
    except UserError as error:
        print(error)
        return error.exit_code
    return 0


def _parquet() -> None:
    import pyarrow as pa
    from pyarrow import parquet

    of.data_task("{}", yaml=of.DATA_YAML.replace("rows.jsonl", "rows.parquet"))
    empty = pa.Table.from_arrays([pa.nulls(100_000_000, pa.int8())], ["a"])
    parquet.write_table(empty, "sets/set/rows.parquet", row_group_size=100_000_000)


_LARGE_FILES = "i=0; while :; do head -c 3000000 /dev/zero > f$i; i=$((i+1)); done"


_SMALL_FILES = """
i = 0
while True:
    open(str(i), "w")
    i += 1
"""


_DELETED_FILES = """
import os
files = []
while True:
    files.append(open("x", "wb"))
    files[-1].write(bytes(3_000_000))
    os.remove("x")
"""


FILLS: dict[str, tuple[list[str], str]] = {
    "yes, to stdout": (["sh", "-c", "yes", "{out}", "--", "{prompt}"], "wrote"),
    "yes, to a file": (["sh", "-c", 'yes > "$0"', "{out}", "--", "{prompt}"], "wrote more than 4 MB"),
    "many large files": (["sh", "-c", _LARGE_FILES, "--", "{prompt}"], "wrote more than 4 MB"),
    "many small files": (
        [sys.executable, "-c", _SMALL_FILES, "--", "{prompt}"],
        "wrote more than 4 MB",
    ),
    "deleted files that stay open": (
        [sys.executable, "-c", _DELETED_FILES, "--", "{prompt}"],
        "wrote more than 4 MB",
    ),
    "a child in a session of its own": (
        ["sh", "-c", "setsid -f sleep 1000; exit 0", "{out}", "--", "{prompt}"],
        "wrote nothing",
    ),
    "a program that reads without end": (["cat", "/dev/zero", "--", "{prompt}"], "wrote more than 4 MB"),
    "a pipe as the medium": (["sh", "-c", 'mkfifo "$0"', "{out}", "--", "{prompt}"], "wrote nothing"),
    "/dev/zero as the medium": (
        ["ln", "-s", "/dev/zero", "{out}", "--", "{prompt}"],
        "",
    ),
    "children without end": (
        ["sh", "-c", "while :; do sleep 1000 & done", "--", "{prompt}"],
        "wrote more than",
    ),
}


def _of_programs() -> Iterator[Attack]:
    for name, (words, says) in FILLS.items():
        yield Attack(
            f"a generator: {name}", "programs", dict, run=partial(generate, words), code=1, says=says
        )


def generate(words: list[str], seconds: float = 15) -> int:
    """A medium of a generator that runs a program, with a bound of 4 MB."""
    from eval_anything.content import Modality
    from eval_anything.models.agent.generators.base import GeneratorContext, GeneratorError, Order
    from eval_anything.models.agent.generators.command import CommandGenerator, CommandSettings

    settings = CommandSettings(kind="command", command=words, seconds=seconds, megabytes=4)
    generator = CommandGenerator(settings, GeneratorContext(Modality.AUDIO, Path(), "audio"))
    try:
        asyncio.run(generator.generate([Order("fox", 0)]))
    except GeneratorError as error:
        print(error)
        return 1
    return 0


def _of_words() -> Iterator[Attack]:
    """Texts of models that their parsers must read in time linear in their length."""
    blanks = " " * 400_000
    texts = {
        "a heading and 400,000 blanks": "[[text]]" + blanks + "x",
        "400,000 marks of thought": "<think>" * 60_000,
        "100,000 open brackets": "[[" * 50_000,
        "100,000 fences": "```\n" * 30_000,
    }
    for name, text in texts.items():
        yield Attack(f"a reply: {name}", "replies", dict, run=partial(_read_reply, text), code=0)
    grades = '{"grades": ' * 20_000
    yield Attack(
        "a verdict of 20,000 beginnings", "replies", dict, run=partial(_read_verdict, grades), code=0
    )
    parts = [{"modality": "text", "text": "Paris" + " \n" * 200_000}]
    row = json.dumps({"sample_id": "s0", "parts": parts}) + "\n"
    samples = json.dumps(text_sample("s0")) + "\n"
    yield Attack(
        "an answer with 200,000 empty lines",
        "replies",
        lambda: (of.task(samples), Path("rows.jsonl").write_text(row)),
        of.SCORE,
        code=0,
    )


def _read_reply(text: str) -> int:
    from eval_anything.models.agent.grammar import parse_answer
    from eval_anything.models.agent.plan import PlanError
    from eval_anything.thoughts import split_thoughts

    split_thoughts(text)
    with contextlib.suppress(PlanError):
        parse_answer(text)
    return 0


def _read_verdict(text: str) -> int:
    from eval_anything.judges.asking.verdict import last_marked
    from eval_anything.judges.kinds.pairwise import PairwiseVerdict

    with contextlib.suppress(ValueError):
        last_marked(text, "mark", PairwiseVerdict)
    return 0


def _of_tables() -> Iterator[Attack]:
    """Saved outputs as CSV and parquet."""

    def attack(
        name: str, file: str, write: Callable[[Path], object], says: str, code: int = 2
    ) -> Attack:
        words = [word.replace("rows.jsonl", file) for word in of.SCORE]
        return Attack(name, "tables", of.saved(file, write), words, code=code, says=says)

    def text(content: str) -> Callable[[Path], object]:
        return lambda path: path.write_text(content, "utf-8", newline="")

    many = ",".join(f"c{i}" for i in range(200_000))
    rows = "".join(f"s{i},x{',' * 200_000}\n" for i in range(4))
    every = "".join(f"s{i},Paris\n" for i in range(4))
    yield attack("CSV of 200,000 columns, none of them ours", "rows.csv", text(many + "\n"), "no column")
    wide = text(f"id,response,{many}\n{rows}")
    yield attack("CSV of 200,000 columns and 4 answers", "rows.csv", wide, "", 0)
    yield attack(
        "CSV of 2,000,000 cells in a line", "rows.csv", text(f"id,response\ns0{',' * 2**21}\n"), "cells"
    )
    quote = partial(of.sized, beginning=b'id,response\ns0,"', size=2**30)
    yield attack("CSV with an open quote and 1 GiB of zeros", "rows.csv", quote, "line 2 has more")
    opened = text('id,response\ns0,"' + "x\n" * 8_000_000)
    yield attack("CSV with an open quote and 8,000,000 lines", "rows.csv", opened, "unexpected end")
    quotes = text("id,response\n" + every + "s0," + '"' * 8_000_001 + "\n")
    yield attack("CSV of 8,000,001 quotes", "rows.csv", quotes, "rows.csv")
    controls = text("id,response\n" + "".join(f"s{i},\0\x1b[31m\x07\n" for i in range(4)))
    yield attack("CSV with NUL and control characters", "rows.csv", controls, "", 0)
    digits = text("id,response,repeat\ns0,x," + of.DIGITS * 2 + "\n")
    yield attack("CSV with a number of 8,000 digits", "rows.csv", digits, "rows.csv")
    outside = text("id,response\n../../etc/passwd,x\n")
    yield attack("CSV with the id ../../etc/passwd", "rows.csv", outside, "passwd")
    cell = text(f'id,parts\ns0,"{of.DEEP}"\n')
    yield attack("a cell nested 200,000 deep", "rows.csv", cell, TOO_DEEP)
    part = 'id,parts\ns0,"[{""modality"": ""image"", ""path"": ""/dev/zero""}]"\n'
    yield attack("a cell that names /dev/zero", "rows.csv", text(part + every), "rows.csv")
    yield attack("CSV in a pipe", "rows.csv", lambda path: os.mkfifo(path), "is neither a")
    zero = lambda path: path.symlink_to("/dev/zero")  # noqa: E731
    yield attack("CSV that is /dev/zero", "rows.csv", zero, "is neither a")
    blanks = partial(of.sized, beginning=b"[", size=2**31 - 1)
    yield attack("a list of JSON of 2 GiB", "rows.json", blanks, "more than the")

    yield attack("parquet: 64 times the same 30 MB", "rows.parquet", of.repeated_value, "more than the")
    yield attack(
        "parquet: 60,000,000 empty answers", "rows.parquet", of.empty_answers, "values, more than the"
    )
    yield attack("parquet nested 500 levels deep", "rows.parquet", of.nested_values, "rows.parquet")
    columns = lambda path: of.table(  # noqa: E731
        {"id": ["s0"], **{f"c{i}": [1] for i in range(5000)}}
    )(path)
    yield attack("parquet of 5,000 columns, none of them ours", "rows.parquet", columns, "no column")
    ids = of.table({"id": ["../../etc/passwd"], "response": ["x"]})
    yield attack("parquet with the id ../../etc/passwd", "rows.parquet", ids, "passwd")
    twice = of.table({"id": ["s0"] * 100_000, "response": ["x"] * 100_000})
    yield attack("parquet: one id 100,000 times", "rows.parquet", twice, "rows.parquet")
    junk = lambda path: path.write_bytes(b"PAR1" + b"\xff" * 100_000 + b"\xff\xff\x01\0PAR1")  # noqa: E731
    yield attack("parquet with a damaged footer", "rows.parquet", junk, "no readable parquet")
    sparse = partial(of.sized, beginning=b"PAR1", size=2**36)
    yield attack("parquet of 64 GiB", "rows.parquet", sparse, "more than the")


def _of_labels() -> Iterator[Attack]:
    """Labels, and answers of annotators."""

    def attack(name: str, content: str, says: str) -> Attack:
        words = ("judges", "calibrate", "validity", "--labels", "labels.jsonl")
        return Attack(name, "labels", of.written("labels.jsonl", content, dict), words, says=says)

    def annotated(name: str, prepare: Callable[[], object], says: str, code: int = 2) -> Attack:
        return Attack(
            name, "labels", prepare, ("annotate", "--summary", "log.jsonl"), code=code, says=says
        )

    raw = json.dumps(of.label(label="HERE"))
    for words, number in (
        ("10^400", "1" + "0" * 400),
        ("1e999", "1e999"),
        ("of 5,000 digits", "9" * 5000),
    ):
        yield attack(f"a label {words}", raw.replace('"HERE"', number) + "\n", "labels.jsonl:1")
    yield attack("a label that is NaN", raw.replace('"HERE"', "NaN") + "\n", "labels.jsonl:1")
    same = (json.dumps(of.label()) + "\n") * 20_000
    yield attack("one label 20,000 times", same, "is already on line 1")
    outside = of.label(parts=[{"modality": "image", "path": "../../../dev/zero"}])
    yield attack("a label of /dev/zero", json.dumps(outside) + "\n", "labels.jsonl:1")
    ids = [json.dumps(of.label(id="../" * 5000)), json.dumps(of.label(id="\0"))]
    yield attack(
        "labels with ids of 15,000 characters and NUL", "\n".join(ids) + "\n{", "labels.jsonl:3"
    )

    vote = of.annotation()
    line = json.dumps(vote | {"grade": 1}).replace('"grade": 1', '"grade": ' + "9" * 4000) + "\n"
    yield annotated("a grade of 4,000 digits", of.written("log.jsonl", line, dict), "log.jsonl:1")
    lines = (json.dumps(vote) + "\n") * 50_000
    yield annotated("one vote 50,000 times", of.written("log.jsonl", lines, dict), "", 0)
    zero = of.link("log.jsonl", "/dev/zero", dict)
    yield annotated("answers of annotators that are /dev/zero", zero, NO_FILE)
    sparse = lambda: of.sized(Path("log.jsonl"), b'{"kind":"vote"', 2**31 - 1)  # noqa: E731
    yield annotated("answers of annotators of 2 GiB", sparse, "more than the")
    piped = of.pipe("log.jsonl", of.task)
    annotate = ("annotate", "mine/demo", "--include", "mine", "--out", "log.jsonl", "--annotator", "a")
    yield Attack("annotate --out a pipe", "labels", piped, annotate, says="log.jsonl")


def _of_shards() -> Iterator[Attack]:
    def attack(name: str, prepare: Callable[[], object], says: str) -> Attack:
        return Attack(name, "shards", prepare, of.MERGE, says=says)

    deep, digits = of.here(of.DEEP), of.here(of.DIGITS)
    run, log = "b/run.json", of.SHARD_LOG

    def changed(**fields: Any) -> Callable[[], None]:
        return of.in_shard("run.json", lambda file: file.update(fields))

    def numbered(**fields: Any) -> Callable[[], None]:
        return of.in_shard("run.json", lambda file: file["shard"].update(fields))

    yield attack("a shard's run.json nested 200,000 deep", changed(x=deep), TOO_DEEP)
    yield attack("a shard's run.json that is /dev/zero", of.link(run, "/dev/zero", of.shards), NO_FILE)
    yield attack("a shard's run.json of 64 GiB", of.huge(run, of.shards), "more than the")
    yield attack("a shard of 2,147,483,647", numbered(count=2**31 - 1), "different runs")
    yield attack(
        "a shard of a number of 4,000 digits", numbered(count=digits), "run.json cannot be read"
    )
    yield attack("a shard of batches of 4,000 digits", numbered(batch_size=digits), "run.json cannot")
    yield attack(
        "a shard's task ../../private/x", changed(tasks=["../../private/x"]), "outside of the run"
    )
    yield attack("a shard's task with NUL", changed(tasks=["mine/demo", "a\0b"]), "outside of the run")
    yield attack(
        "a shard with 2^53 - 1 samples", changed(counts={"mine/demo": 2**53 - 1}), "different runs"
    )
    yield attack("a shard's records that are a pipe", of.pipe(log, of.shards), NO_FILE)
    yield attack("a shard's records that are /dev/zero", of.link(log, "/dev/zero", of.shards), NO_FILE)
    yield attack("a shard's records of 2 GiB", of.huge(log, of.shards, 2**31 - 1), "more than the")
    records = "mine/demo/records.jsonl"
    nested = of.in_shard(records, lambda r: r["details"].update(x=deep))
    yield attack("a shard's record nested 200,000 deep", nested, TOO_DEEP)
    outside = of.in_shard(records, lambda r: r["parts"][1].update(path="../../../etc/passwd"))
    yield attack("a shard's medium ../../../etc/passwd", outside, "is not where a run keeps it")
    private = of.shard_medium(lambda path: path.symlink_to(Path("rows.jsonl").absolute()))
    yield attack("a shard's medium that is a link", private, "a link that leads out of the run")
    device = of.shard_medium(lambda path: path.symlink_to("/dev/zero"))
    yield attack("a shard's medium that is /dev/zero", device, "b/media")
    yield attack("a shard's medium that is a pipe", of.shard_medium(os.mkfifo), "is no plain file")
    large = of.shard_medium(lambda path: of.sized(path, b"", 2**36))
    yield attack("a shard's medium of 64 GiB", large, "cannot be read")
    folder = of.shard_medium(lambda path: path.mkdir())
    yield attack("a shard's medium that is a folder", folder, "is no plain file")
    paid = "b/spending.jsonl"
    yield attack("a shard's payments that are /dev/zero", of.link(paid, "/dev/zero", of.shards), NO_FILE)
    yield attack("a shard's payments that are a pipe", of.pipe(paid, of.shards), NO_FILE)
    yield attack("a shard's payments of 2 GiB", of.huge(paid, of.shards, 2**31 - 1), "more than the")
    tokens = of.written(paid, f'{{"model": "m", "tokens": {{"input": {of.DIGITS}}}}}\n', of.shards)
    yield attack("a shard's payment of 4,000 digits", tokens, "damaged")
    canaries = of.written("b/mine/demo/canaries.jsonl", of.DEEP + "\n", of.shards)
    yield attack("a shard's canaries nested 200,000 deep", canaries, TOO_DEEP)


def _of_prompts() -> Iterator[Attack]:
    """Tasks of others that are exported, and exported files that come back."""
    export = ("tasks", "export", "prompts", "mine/demo", "--include", "mine", "--out", "asked")

    def attack(name: str, prepare: Callable[[], object], says: str, code: int = 2) -> Attack:
        return Attack(name, "prompts", prepare, export, code=code, says=says)

    zero = of.with_medium(lambda path: path.symlink_to("/dev/zero"))
    yield attack("exported: a picture that is /dev/zero", zero, "leads outside")
    yield attack("exported: a picture that is a pipe", of.with_medium(os.mkfifo), "a.png")
    large = of.with_medium(lambda path: of.sized(path, b"", 2**36))
    yield attack("exported: a picture of 64 GiB", large, "bytes, more than")
    outside = of.with_medium(lambda path: None, "../../../etc/passwd")
    yield attack("exported: the picture ../../../etc/passwd", outside, "samples.jsonl:1")
    loops = of.templated(ENDLESS["a replace that multiplies"][0])
    yield attack("exported: a template that multiplies", loops, "")
    named = lambda: of.task(json.dumps(text_sample("../" * 2000)) + "\n")  # noqa: E731
    yield attack("exported: an id of 6,000 characters that leads out", named, "", 0)
    elsewhere = of.link("asked", "/proc/self", of.task)
    yield attack("exported into a link to /proc/self", elsewhere, "holds files")
    yield attack("exported into a pipe", of.pipe("asked", of.task), "holds files")


BAD_RUNS = dict(_bad_runs())


_KINDS = (
    *(_of_samples, _of_runs, _of_folders, _of_templates, _of_media, _of_archives, _of_programs),
    *(_of_words, _of_tables, _of_labels, _of_shards, _of_prompts),
)


ATTACKS = {attack.name: attack for kind in _KINDS for attack in kind()}
"""All attacks, by name."""
