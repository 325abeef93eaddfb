"""Replicas on Ray: python -m tests.benchmarks.ray_speed [--batches 40] [--wait 0.2]

Seconds until a cluster of this machine has replicas, milliseconds that a batch takes beside its model,
and how many times faster two replicas are than one with a model that waits.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from eval_anything.content import Message, TextPart
from eval_anything.media import MediaStore
from eval_anything.models.base import Request
from eval_anything.models.replicas.model import ModelRecipe
from eval_anything.models.replicas.on_ray.engine import RayEngine
from eval_anything.models.replicas.pool import ReplicaPool
from eval_anything.sampling import Sampling
from tests.support.picky import make_picky

_MESSAGES = (Message("user", (TextPart("What is the capital of France?"),)),)


def seconds_of(pool: ReplicaPool, count: int, at_once: int, folder: Path) -> float:
    """Wall time of so many batches of one request, of which `at_once` are asked at the same time."""

    async def work() -> None:
        numbers = iter(range(count))

        async def ask() -> None:
            for number in numbers:
                request = Request("mine/demo", f"s{number}0", 0, _MESSAGES, Sampling())
                await pool.answer([request], MediaStore(folder / "media"))

        await asyncio.gather(*(ask() for _ in range(at_once)))

    start = time.perf_counter()
    asyncio.run(work())
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--wait", type=float, default=0.2, help="seconds of a batch")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sys.path.insert(0, str(make_picky(folder)))
        os.chdir(folder)
        (folder / "plain").touch()
        seconds = {}
        for replicas in (1, 2):
            engine = RayEngine("local", 0)
            pool = engine.pool(ModelRecipe("--model picky", "picky", {}, 1), replicas)
            start = time.perf_counter()
            engine.open()
            pool.start()
            print(f"{replicas} replicas started in {time.perf_counter() - start:.1f} s")
            (folder / "sleeps").unlink(missing_ok=True)
            seconds_of(pool, replicas, replicas, folder)
            overhead = seconds_of(pool, options.batches, 1, folder) / options.batches
            print(f"a batch takes {1000 * overhead:.1f} ms beside its model")
            (folder / "sleeps").write_text(str(options.wait))
            seconds[replicas] = seconds_of(pool, options.batches, replicas, folder)
            engine.close()
        print(f"two replicas are {seconds[1] / seconds[2]:.2f} times as fast as one")


if __name__ == "__main__":
    main()
