"""Shards against one process: python -m tests.benchmarks.shard_speed [--samples 3000] [--plan N]

A server answers each request after 50 ms, from a process of its own for each client, and has as many at
once as it gets. Samples a second are those of one process, and of two at the same time that are one
shard each, with 64 requests in flight each; the time in which a process starts, reads the task and
plans is no part of them (from the first record to the last). Repeat on an idle machine.

With `--plan` it prints instead the processor time and the peak of one shard of 1,000 of so many
samples, which is what all processes of a large run pay before their first answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.run_memory import CHILD
from tests.support.helpers import answers, make_task, text_sample, write_jsonl
from tests.support.scripted_server import completion

LATENCY = 0.05
IN_FLIGHT = 64
_REPLY = completion({"role": "assistant", "content": "Paris"})
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_REPLY)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            await asyncio.sleep(LATENCY)
            writer.write(_HEAD + _REPLY)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _rate(root: Path, count: int, samples: int) -> float:
    """Samples a second of so many shards at the same time."""
    servers = [
        subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--serve"], stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    runs = []
    outs = [root / f"{count}-{number}" for number in range(count)]
    for number, (server, out) in enumerate(zip(servers, outs, strict=True), start=1):
        assert server.stdout is not None
        model = f"openai/tester@http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        words = ["run", "--model", model, "--tasks", "mine/demo", "--include", "mine", "--json"]
        words += ["--concurrency", str(IN_FLIGHT), "--shard", f"{number}/{count}", "--out", str(out)]
        runs.append(
            subprocess.Popen(
                [sys.executable, "-m", "eval_anything", *words], cwd=root, stdout=subprocess.DEVNULL
            )
        )
    logs = [out / "mine/demo/records.jsonl" for out in outs]
    begins: dict[Path, tuple[float, int]] = {}
    ends: dict[Path, float] = {}
    last = dict.fromkeys(logs, 0)
    while any(run.poll() is None for run in runs):
        for log in logs:
            size = log.stat().st_size if log.exists() else 0
            if size != last[log]:
                last[log] = size
                begins.setdefault(log, (time.perf_counter(), size))
                ends[log] = time.perf_counter()
        time.sleep(0.01)
    for server in servers:
        server.kill()
    assert not any(run.returncode for run in runs)
    shares = [1 - begins[log][1] / last[log] for log in logs]
    seconds = [ends[log] - begins[log][0] for log in logs]
    return sum(samples / count * share / s for share, s in zip(shares, seconds, strict=True))


def _plan(root: Path, samples: int) -> None:
    ids = [f"s{i}" for i in range(samples)]
    write_jsonl(root / "rows.jsonl", answers(ids))
    words = ["score", "--outputs", "rows.jsonl", "--tasks", "mine/demo", "--include", "mine", "--json"]
    command = [sys.executable, "-c", CHILD, *words, "--shard", "1/1000", "--out", "part"]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    log = (root / "part/mine/demo/records.jsonl").read_bytes()
    lines = log.count(b"\n")
    print(f"{samples:,} samples: {used.ru_utime + used.ru_stime:.1f} s of a processor,", end=" ")
    print(f"{int(done.stdout.split()[-1]) / 2**20:.0f} MiB, {len(log) / lines:.0f} bytes a record")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--plan", type=int)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.serve:
        asyncio.run(_serve())
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_task(root, samples=[text_sample(f"s{i}") for i in range(options.plan or options.samples)])
        if options.plan:
            _plan(root, options.plan)
            return
        rates = {count: _rate(root, count, options.samples) for count in (1, 2)}
        print(json.dumps({f"{count} process(es)": round(rate) for count, rate in rates.items()}))
        bound = IN_FLIGHT / LATENCY
        print(
            f"ratio {rates[2] / rates[1]:.2f}; the server allows {bound:.0f} a second for each process"
        )


if __name__ == "__main__":
    main()
