"""`make experiment`: python -m align_plugins.experiment [run|page] [--arms A,B] [--seeds 1,2]

`run` trains and evaluates the arms that are missing; `page` writes docs/experiment.md and its figure
from the arms that were run. Without either, both.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from align_plugins.experiment.page import write_page
from align_plugins.experiment.plan import PLAN, read_plan
from align_plugins.experiment.run import run_plan
from eval_anything.errors import EvalError, UserError
from eval_anything.output.progress import Progress


def main() -> int:
    """Runs the command line. Exit code 1 if an arm failed."""
    parser = argparse.ArgumentParser(description="Run the experiment on language feedback.")
    parser.add_argument("what", nargs="?", choices=("run", "page", "all"), default="all")
    parser.add_argument("--plan", type=Path, default=PLAN)
    parser.add_argument("--out", type=Path, default=Path("runs/experiment"))
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where the page goes")
    parser.add_argument("--arms", default="", help="these alone, with commas between")
    parser.add_argument("--seeds", default="", help="these alone, with commas between")
    parser.add_argument("--workers", type=int, default=2, help="arms at a time, a thread each (2)")
    options = parser.parse_args()
    try:
        plan = read_plan(options.plan)
        arms = [name for name in options.arms.split(",") if name]
        seeds = [int(seed) for seed in options.seeds.split(",") if seed] or plan.seeds
        unknown = set(arms) - {arm.name for arm in plan.arms}
        if unknown:
            raise UserError(f"--arms: the plan has no {', '.join(sorted(unknown))}")
        failures = []
        if options.what != "page":
            failures = run_plan(plan, options.out, options.workers, arms, seeds, Progress())
        if options.what != "run":
            print(f"page: {write_page(plan, options.out, options.docs)}")
    except EvalError as error:
        print(f"experiment: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
