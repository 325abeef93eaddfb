"""What a judged run costs beside the bare client: python -m tests.benchmarks.judging_speed [N]

A server on loopback answers every chat call after 50 ms. The floor makes 2 N calls with the openai
package and its aiohttp transport, 64 at a time, and nothing else; aiohttp alone makes them too. The run
answers N samples and has each judged by a rubric: 2 N calls too, with reading, records, scores and
results. The second run takes all verdicts from the file. Whole processes are timed, in turn.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LATENCY = 0.05
AT_ONCE = 64
ROUNDS = 3

TASK = """\
version: 1
title: Questions
description: Short questions.
licence: CC0-1.0
inputs: [text]
outputs: [text]
judges: [synergy_rubric]
primary: synergy
contract: {required: [text]}
"""


async def serve() -> None:
    """Prints its port, then answers until it is killed."""
    from aiohttp import web

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(LATENCY)
        first = body["messages"][0]
        text = "an answer"
        if first["role"] == "system":
            mark = re.search(r'\{"mark": "([0-9a-f]+)"', first["content"])
            grade = 7 if "an answer" in str(body["messages"][1]) else 0
            verdict = {"mark": mark[1] if mark else "", "explanation": "x", "grades": {"synergy": grade}}
            text = json.dumps(verdict)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        head = {"id": "1", "object": "chat.completion", "created": 0, "model": "bench"}
        return web.json_response({**head, "choices": [choice], "usage": usage})

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def floor(url: str, calls: int) -> None:
    """The bare client."""
    import openai

    client = openai.AsyncOpenAI(
        base_url=url, api_key="none", max_retries=0, http_client=openai.DefaultAioHttpClient()
    )
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(i: int) -> None:
        async with gate:
            messages: Any = [{"role": "user", "content": f"Question {i}: " + "word " * 30}]
            await client.chat.completions.create(model="bench", messages=messages)

    await asyncio.gather(*(one(i) for i in range(calls)))
    await client.close()


async def bare_floor(url: str, calls: int) -> None:
    """aiohttp alone: what a leaner client than the openai package could come to."""
    import aiohttp

    gate = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession() as session:

        async def one(i: int) -> None:
            messages = [{"role": "user", "content": f"Question {i}: " + "word " * 30}]
            body = {"model": "bench", "messages": messages}
            async with gate, session.post(f"{url}/chat/completions", json=body) as reply:
                (await reply.json())["choices"][0]["message"]["content"]

        await asyncio.gather(*(one(i) for i in range(calls)))


def timed(command: list[str], environment: dict[str, str], cwd: Path) -> float:
    """Seconds of a whole process that must exit 0."""
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=cwd, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(samples: int) -> None:
    """Prints the medians and their ratios as JSON."""
    me = str(Path(__file__).resolve())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "mine" / "qa").mkdir(parents=True)
        (root / "mine" / "qa" / "task.yaml").write_text(TASK)
        with (root / "mine" / "qa" / "samples.jsonl").open("w") as file:
            for i in range(samples):
                parts = [{"modality": "text", "text": f"Question {i}: " + "word " * 30}]
                sample = {"id": str(i), "messages": [{"role": "user", "parts": parts}]}
                file.write(json.dumps(sample) + "\n")
        server = subprocess.Popen([sys.executable, me, "serve"], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        spec = f"openai/bench@{url}"
        seconds: dict[str, list[float]] = {"floor": [], "aiohttp alone": [], "run": [], "again": []}
        try:
            for i in range(ROUNDS):
                environment = {**os.environ, "EVAL_ANYTHING_HOME": str(root / f"home-{i}")}
                run = [sys.executable, "-m", "eval_anything", "run", "--model", spec, "--json"]
                run += ["--tasks", "mine/qa", "--include", "mine", "--judge", f"synergy_rubric={spec}"]
                again = [
                    sys.executable,
                    "-m",
                    "eval_anything",
                    "score",
                    "--outputs",
                    f"run-{i}",
                    "--json",
                ]
                again += ["--tasks", "mine/qa", "--include", "mine"]
                again += ["--judge", f"synergy_rubric={spec}", "--out", f"again-{i}"]
                for name in ("floor", "aiohttp alone"):
                    bare = [sys.executable, me, name, url, str(2 * samples)]
                    seconds[name].append(timed(bare, environment, root))
                seconds["run"].append(timed([*run, "--out", f"run-{i}"], environment, root))
                seconds["again"].append(timed(again, environment, root))
        finally:
            server.kill()
    median = {name: round(statistics.median(values), 2) for name, values in seconds.items()}
    ratios = {
        "run / floor": round(median["run"] / median["floor"], 2),
        "run / aiohttp alone": round(median["run"] / median["aiohttp alone"], 2),
        "from kept verdicts / run": round(median["again"] / median["run"], 3),
    }
    print(json.dumps({"samples": samples, "seconds": median, "ratios": ratios, "all": seconds}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve())
    elif sys.argv[1:2] == ["floor"]:
        asyncio.run(floor(sys.argv[2], int(sys.argv[3])))
    elif sys.argv[1:2] == ["aiohttp alone"]:
        asyncio.run(bare_floor(sys.argv[2], int(sys.argv[3])))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 2000)
