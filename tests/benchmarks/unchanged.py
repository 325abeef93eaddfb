"""Forty gates between runs of one checkpoint at temperature 1: nothing changed, how many are blocked?

    python -m tests.benchmarks.unchanged [--gates 40]

The samples stay the same, the seeds of sampling differ. With 5 % false blocks, more than 4 of 40 would
be seen in one experiment of twenty.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from eval_anything.evaluation.evaluate import evaluate
from eval_anything.evaluation.options import Options
from eval_anything.gating.gate import gate
from eval_anything.output.progress import Progress

MOST = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gates", type=int, default=40)
    gates = parser.parse_args().gates
    verdicts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder) / str(seed) for seed in range(2 * gates)]
        for seed, run in enumerate(runs):
            out, tasks = str(run), ["micro_quick"]
            options = Options(model="micro", tasks=tasks, temperature=1.0, seed=seed, out=out)
            evaluate(options, Progress("silent"))
        for base, candidate in zip(runs[::2], runs[1::2], strict=True):
            result = gate(candidate, "micro", base)
            verdicts[result.verdict] += 1
            if result.verdict not in ("PASS", "WARN", "INCONCLUSIVE"):
                print("\n".join(result.reasons))
    print(f"{gates} gates between unchanged checkpoints: {dict(verdicts)}")
    return int(verdicts["BLOCK"] + verdicts["INVALID"] > MOST)


if __name__ == "__main__":
    sys.exit(main())
