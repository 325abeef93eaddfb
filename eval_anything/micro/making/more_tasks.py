"""Generates the samples of `micro_more`: python -m eval_anything.micro.making.more_tasks [--out FOLDER]

As `tasks` does for those of the suite `micro`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from eval_anything.micro.making.families import ablation, cycle, interleaved, multi_turn
from eval_anything.micro.making.scripts import Plan, write_task

PLANS = {
    "interleaved": Plan("int", interleaved.FAMILIES, 350),
    "cycle": Plan("cyc", cycle.FAMILIES, 352),
    "multi_turn": Plan("mul", multi_turn.FAMILIES, 300),
    "ablation": Plan("abl", ablation.FAMILIES, 350),
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Rewrite the samples of the further micro benchmarks.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/micro"), help="folder of the suite")
    suite = parser.parse_args().out
    for task, plan in PLANS.items():
        print(f"{suite / task}: {write_task(suite / task, task, plan)} samples")


if __name__ == "__main__":
    main()
