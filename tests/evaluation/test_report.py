"""The page of a run: what stands in its head, what comes first, how pictures are shown."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.helpers import Cli, make_task, medium_sample, png, text_sample, write_jsonl


def test_the_page_of_a_run(cli: Cli, tmp_path: Path) -> None:
    """The head says how it was made; a metric says what it means; failures come first; a picture is as
    large as it is, but for tiny ones."""
    samples = [text_sample(f"s{i}") for i in range(3)]
    samples += [medium_sample("tiny", "image", "tiny.png"), medium_sample("large", "image", "large.png")]
    pictures = {"tiny__png": png(size=16), "large__png": png((9, 9, 9), size=120)}
    make_task(tmp_path / "mine", samples=samples, **pictures)
    text = [{"modality": "text", "text": "Paris"}]
    rows = [
        {"sample_id": "s0", "parts": text},
        {"sample_id": "s1", "parts": []},
        *({"sample_id": name, "parts": text} for name in ("s2", "tiny", "large")),
    ]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    command = ["score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine"]
    done = cli(*command, "--max-failed", "1", "--out", "run")
    assert done.code == 0, done.err
    assert '<td class="n some">' not in (tmp_path / "run" / "report.html").read_text("utf-8")
    assert cli(*command, "--max-failed", "0.1", "--out", "run").code == 1
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    facts = dict(re.findall(r"<dt>(\w+)</dt><dd>(?:<code>)?(.*?)(?:</code>)?</dd>", page))
    assert facts["Model"] == "replay/rows.jsonl"
    assert facts["Samples"] == "5, 1 failed"
    assert '<td class="n some">1</td>' in page  # red, being more than --max-failed
    assert facts["Command"].startswith("eval-anything score --outputs rows.jsonl")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", facts["Date"])
    assert (
        "1 if every required modality is there and nothing that is forbidden. 0 to 1, higher is" in page
    )
    cards = re.findall(r'<article class="([\w-]+)">\s*<h3><span>(\w+)', page)
    assert cards == [
        ("failed", "s1"),
        *(("better-half", name) for name in ("s0", "s2", "tiny", "large")),
    ]
    assert '<input type="radio" name="show-1" value="failed">failed 1' in page
    assert re.findall(r'<img( class="tiny")?', page) == [' class="tiny"', ""]
    assert page.count('<a href="media/') == 2
