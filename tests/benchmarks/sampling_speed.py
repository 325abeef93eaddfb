"""Sampling for training beside `model.generate`: python -m tests.benchmarks.sampling_speed [RESPONSES]

The model of the micro world, the prompts of micro/selection, temperature 1, the same seeds, threads
and order of prompts for both, in turn, each at its better batch size of two. Prints generated tokens a
second (medians of ROUNDS rounds, by the wall and in CPU time for a machine that is not idle), their
ratio, and the share of equal responses, as JSON: a line for one thread, a line for two.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 5
SIZES = (64, 256)
GOAL = 5_000


def main(count: int) -> None:
    """Both ways, with one thread and with two."""
    import torch

    from align_plugins.policies import policy_of
    from align_plugins.training.sampling import sample
    from eval_anything.models.base import Sampling
    from eval_anything.models.local.generation import generate_ids, padded
    from eval_anything.tasks.load import load_task
    from eval_anything.tasks.registry import Registry

    task = load_task(Registry().folders["micro/selection"])
    prompts = [task.messages(task.samples[i % len(task.samples)]) for i in range(count)]
    policy = policy_of("micro")
    policy.load()
    policy.model.eval()
    encoded = [policy.prompt(messages).prompt for messages in prompts]
    order = sorted(range(count), key=lambda i: len(encoded[i]))

    def ours(size: int) -> list[list[int]]:
        found = sample(policy, prompts, seeds=range(count), batch_size=size)
        return [one.row.response for one in found]

    def theirs(size: int) -> list[list[int]]:
        found: dict[int, list[int]] = {}
        for start in range(0, count, size):
            places = order[start : start + size]
            answers = generate_ids(
                policy.model,
                padded([encoded[i] for i in places], 0),
                seeds=places,
                sampling=Sampling(1.0),
                max_new_tokens=128,
                pad=0,
                stop=[policy.model.config.eos_token_id],
            )
            found |= zip(places, answers, strict=True)
        return [found[i] for i in range(count)]

    for threads in (1, 2):
        torch.set_num_threads(threads)
        ways = {"ours": ours, "generate": theirs}
        sizes = {name: min(SIZES, key=lambda n, w=way: timed(w, n)[0]) for name, way in ways.items()}
        rounds: dict[str, list[tuple[float, float, int]]] = {name: [] for name in ways}
        answers: dict[str, list[list[int]]] = {}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                wall, cpu, answers[name] = timed(way, sizes[name])
                rounds[name].append((wall, cpu, sum(map(len, answers[name]))))
        report: dict[str, Any] = {"threads": threads, "responses": count, "batch sizes": sizes}
        for at, clock in enumerate(("by the wall", "of CPU")):
            rates = {
                name: statistics.median(r[2] / r[at] for r in all_) for name, all_ in rounds.items()
            }
            report[f"tokens a second {clock}"] = {name: round(rate) for name, rate in rates.items()}
            report[f"ratio {clock}"] = round(rates["ours"] / rates["generate"], 2)
        report["goal"] = GOAL
        equal = [a == b for a, b in zip(answers["ours"], answers["generate"], strict=True)]
        report["equal responses"] = sum(equal) / count
        print(json.dumps(report), flush=True)


def timed(way: Callable[[int], list[list[int]]], size: int) -> tuple[float, float, list[list[int]]]:
    """Seconds by the wall, seconds of CPU, and the responses."""
    wall, cpu = time.perf_counter(), time.process_time()
    answers = way(size)
    return time.perf_counter() - wall, time.process_time() - cpu, answers


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1024)
