"""A run made of attacks: every string that a model, a judge or a user can write is one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from eval_anything.tasks.load import folder_at, load_task
from tests.support.helpers import make_task, png, text_sample, wav, write_jsonl
from tests.support.site_runs import edit_records, edit_results, edit_run

STRINGS = [
    "<script>window.RAN=1</script>",
    "</script><script>window.RAN=2</script>",
    "<!--<script>window.RAN=3",
    "<img src=x onerror=window.RAN=4>",
    '" onmouseover=window.RAN=5 x="',
    "' autofocus onfocus=window.RAN=6 '",
    "<svg onload=window.RAN=7><a href='javascript:window.RAN=8'>x</a></svg>",
    "javascript:window.RAN=9",
    "<iframe srcdoc='<script>parent.RAN=10</script>'></iframe>",
    "<link rel=stylesheet href=http://attacker.invalid/a.css>",
    "<meta http-equiv=refresh content='0;url=http://attacker.invalid'>",
    "{{ 7 * 7 }}${7*7}#{7*7}{% raw %}",
    "\u202egnp.exe \u2066isolated\u2069 \u200b\ufeff",
    "lone \ufffd surrogate",
    "control \x00\x01\x1b[31m\x7f",
    "\u2028\u2029 separators",
    "__proto__",
    "constructor",
    "0",
    "a" * 3000,
    "\u0645\u0631\u062d\u0628\u0627 <b>bold</b> \u4f60\u597d \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "%00%3Cscript%3E&lt;script&gt;&amp;",
    "../../../../etc/passwd",
    "`${window.RAN=11}`",
]
HUGE = "<b>huge</b> " * 90_000


def hostile_task(root: Path) -> Path:
    """A folder with the task mine/attack, whose prompts are attacks."""
    make_task(root, "mine/attack", [text_sample(f"p{i:02}", text) for i, text in enumerate(STRINGS)])
    return root


def add_hostile_task(run: Path, root: Path) -> None:
    """Records and results of mine/attack for a run: those of another task, with its prompts."""
    task = load_task(folder_at(root / "mine" / "attack"))
    lines = (run / "micro/selection/records.jsonl").read_text("utf-8").splitlines()
    record = json.loads(lines[-1])
    (run / "mine" / "attack").mkdir(parents=True)
    rows = [record | {"sample_id": s.id, "item": task.item(s)} for s in task.samples]
    write_jsonl(run / "mine" / "attack" / "records.jsonl", rows)
    edit_results(run, lambda r: r["tasks"].update({"mine/attack": r["tasks"]["micro/selection"]}))
    file = json.loads((run / "run.json").read_text("utf-8"))
    counts = file["counts"] | {"mine/attack": len(rows)}
    edit_run(run, tasks=[*file["tasks"], "mine/attack"], counts=counts)


def hostile_run(run: Path, out: Path) -> Path:
    """A copy of `run` in which names, ids, answers, judges, media and errors are attacks."""
    shutil.copytree(run, out)
    media = out / "media"
    (media / "evil.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='window.RAN=20'/>")
    (media / "evil.html").write_text("<script>window.RAN=21</script>")
    (media / "half.png").write_bytes(png(noise=1)[:100])
    (media / "odd \u202e'\"<b>.wav").write_bytes(wav())
    (media / "page.png").write_bytes(b"<html><script>window.RAN=22</script></html>")
    bad = [
        {"modality": "image", "path": f"media/{name}", "sha256": "../../x", "mime": "text/html"}
        for name in ("evil.svg", "evil.html", "half.png", "page.png", "missing.png")
    ]
    odd = {"modality": "audio", "path": "media/odd \u202e'\"<b>.wav", "sha256": "<b>", "mime": "<b>"}

    def spoil(record: dict[str, Any], i: int) -> None:
        text = STRINGS[i % len(STRINGS)]
        record["sample_id"] = f"{i:03} {text}"
        record["source_id"] = text
        record["groups"] = {text[:50]: text}
        record["stop_reason"] = text
        record["details"] = {text[:50]: [text]}
        record["usage"] = {text[:50]: 1}
        record["latency"] = {"total": 1e-9 * (i + 1), text[:50]: 1e300}
        record["parts"] = [{"modality": "text", "text": t} for t in (text, *STRINGS)]
        if i == 0:
            record["parts"] = [{"modality": "text", "text": HUGE}, *bad, odd]
        if i == 1:
            record["error"] = {"kind": "model_error", "message": text}
        scores = {text[:60]: score for score in list(record["scores"].values())[:1]}
        for score in (*scores.values(), *record["scores"].values()):
            score["explanation"] = text
            score["judge"] = text
        record["scores"] |= scores

    def results(found: dict[str, Any]) -> None:
        for task in found["tasks"].values():
            first = task["metrics"][task["primary"]]
            for text in STRINGS:
                task["metrics"][text] = {
                    **first,
                    "invalid": text,
                    "value": None,
                    "ci95": None,
                    "judge": text,
                }
                task.setdefault("groups", {}).setdefault(text, {})[text] = first
        found["aggregates"] |= {
            t: {"value": 1.0, "ci95": [0.0, 2.0], "formula": t, "inputs": {t: t}} for t in STRINGS
        }
        found["judges"] |= {
            t: {"kind": t, "fingerprint": t, "available": True, "calibration": None} for t in STRINGS
        }
        found["cost"]["by"] |= {f"judge {t}": {"tokens": {}, "money": None} for t in STRINGS}

    for task in ("micro/selection", "micro/synergy"):
        edit_records(out, task, spoil)
    edit_results(out, results)
    text = " ".join(STRINGS[:12])
    file = json.loads((out / "run.json").read_text("utf-8"))
    prints = {task: {**prints, STRINGS[0]: STRINGS[1]} for task, prints in file["fingerprints"].items()}
    edit_run(
        out,
        model=text,
        spec=text,
        weights=text,
        arguments={t[:40]: t for t in STRINGS},
        versions={t[:40]: t for t in STRINGS},
        command=STRINGS,
        created=STRINGS[0],
        fingerprints=prints,
    )
    return out
