"""Real runs with the scores that a test wants: each answer is its own score."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.helpers import Cli, Result, make_task, text_sample, write_jsonl

_YAML = """\
version: {version}
title: Numbers
description: The answer is the score.
licence: CC0-1.0
inputs: [text]
outputs: [text]
scorer: score.py:score
metrics:
  value: {{range: [0, {most}], better: {better}}}
  twice: {{range: [0, {twice}]}}
primary: value
group_by: [kind]
contract: {{required: [text]}}
"""
_SCORE = """\
def score(sample, response):
    value = float(response.text or 0)
    return {"value": value, "twice": 2 * value}
"""


class Numbers:
    """Tasks of a suite `num`, and runs on them made from lists of scores."""

    def __init__(self, cli: Cli, root: Path) -> None:
        self._cli = cli
        self.root = root

    def task(
        self,
        name: str,
        n: int,
        better: str = "higher",
        cluster: int = 1,
        version: int = 1,
        most: float = 1.0,
    ) -> None:
        """A task of n samples s0, s1, ..., `cluster` of them to a source, half of each kind."""
        samples = [
            text_sample(
                f"s{i}",
                f"Number {i}?",
                source_id=f"c{i // cluster}",
                metadata={"kind": "even" if i % 2 == 0 else "odd"},
            )
            for i in range(n)
        ]
        yaml = _YAML.format(version=version, better=better, most=most, twice=2 * most)
        make_task(self.root / "tasks", f"num/{name}", samples, yaml, score__py=_SCORE)

    def run(
        self, out: str, values: Mapping[str, Sequence[float | None]], allow_missing: bool = False
    ) -> Path:
        """The run directory `out`; None is an answer that is missing."""
        result = self.score(out, values, allow_missing)
        assert result.code in (0, 1), result.err
        return self.root / out

    def score(
        self,
        out: str,
        values: Mapping[str, Sequence[float | None]],
        allow_missing: bool = False,
        only_answered: bool = False,
    ) -> Result:
        """As `run`, for what may go wrong."""
        rows = [
            {
                "task": f"num/{task}",
                "sample_id": f"s{i}",
                "parts": [{"modality": "text", "text": repr(float(value))}],
            }
            for task, numbers in values.items()
            for i, value in enumerate(numbers)
            if value is not None
        ]
        file = write_jsonl(self.root / f"{out.replace('/', '-')}.jsonl", rows)
        missing = ["--allow-missing"] if allow_missing else []
        missing += ["--only-answered"] if only_answered else []
        return self._cli(
            "score",
            "--outputs",
            file,
            "--tasks",
            ",".join(f"num/{task}" for task in values),
            "--include",
            self.root / "tasks",
            "--allow-code",
            "--max-failed",
            "1",
            "--out",
            self.root / out,
            *missing,
        )

    def policy(self, text: str, name: str = "policy.yaml") -> Path:
        """A policy file, with its version."""
        path = self.root / name
        path.write_text("version: 1\n" + text, "utf-8")
        return path


def change_results(run: Path, change: Mapping[str, object], *steps: str) -> None:
    """Writes into the object at `steps` of results.json."""
    path = run / "results.json"
    results = json.loads(path.read_text("utf-8"))
    place = results
    for step in steps:
        place = place[step]
    place.update(change)
    path.write_text(json.dumps(results), "utf-8")
