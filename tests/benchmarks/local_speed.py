"""Local models beside lm-evaluation-harness: python -m tests.benchmarks.local_speed [PROMPTS]

A tiny Llama on the CPU, the same weights, token ids and threads for both, in one process, in turn.
Generation: prompts of mixed length, 32 new tokens each, greedy; lm_eval's HFLM at the best of several
batch sizes, tried by hand beforehand as a user would, against our batch_size=auto. Multiple choice:
questions behind one long common context, with four options each; HFLM again at its best batch size.
Prints the medians of ROUNDS rounds and the ratios as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from eval_anything.content import Message, TextPart
from eval_anything.media import MediaStore
from eval_anything.models.base import Request, Sampling
from eval_anything.models.hf import TransformersModel
from eval_anything.models.local.likelihood import loglikelihoods
from tests.support.tiny import tiny_llama

ROUNDS = 3
NEW = 32
SIZES = (16, 64, 128, 256, 512)
WORDS = "What is the capital of France and why does a lighthouse stand there at night".split()  # noqa: SIM905


def seconds(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """How long it takes by the wall and in CPU time (for a machine that is not idle), and its result."""
    start, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - start, time.process_time() - cpu, result


def texts(count: int) -> list[str]:
    """Prompts of 5 to 200 words, most of them short."""
    draw = random.Random(0)
    lengths = [min(200, 5 + int(draw.expovariate(1 / 25))) for _ in range(count)]
    return [" ".join(draw.choices(WORDS, k=n)) for n in lengths]


def choices(count: int) -> list[tuple[list[int], list[int]]]:
    """Questions of 40 tokens behind a common context of 1,000, four options of 3 to 6 tokens each."""
    draw = random.Random(1)

    def ids(n: int) -> list[int]:
        return [draw.randrange(5, 380) for _ in range(n)]

    shots = ids(1000)
    contexts = [shots + ids(40) for _ in range(count)]
    return [(context, ids(draw.randrange(3, 7))) for context in contexts for _ in range(4)]


def main(count: int) -> None:
    """Both parts, one after the other."""
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        path = tiny_llama(Path(folder) / "tiny")
        arguments = {"chat_template": "none", "max_new_tokens": str(NEW)}
        ours = TransformersModel(str(path), path, arguments)
        ours.load()
        tokenizer = AutoTokenizer.from_pretrained(path)
        weights = AutoModelForCausalLM.from_pretrained(path).eval()

        def harness(size: int) -> Any:
            return HFLM(pretrained=weights, tokenizer=tokenizer, batch_size=size, device="cpu")

        prompts = texts(count)
        requests = [
            Request("t", str(i), 0, (Message("user", (TextPart(text),)),), Sampling())
            for i, text in enumerate(prompts)
        ]
        settings = {"until": [], "max_gen_toks": NEW, "do_sample": False}
        asked = [
            Instance("generate_until", {}, (text, dict(settings)), i) for i, text in enumerate(prompts)
        ]
        store = MediaStore(Path(folder) / "media")

        def generated() -> list[str]:
            answers = []
            for start in range(0, count, ours.batch_size):
                window = requests[start : start + ours.batch_size]
                answers += asyncio.run(ours.generate(window, store))
            return [answer.text for answer in answers]

        pairs = choices(max(4, count // 10))
        contexts, options = [c for c, _ in pairs], [o for _, o in pairs]
        triples = [(("", ""), c, o) for c, o in pairs]

        def theirs(size: int) -> list[str]:
            return list(harness(size).generate_until(list(asked), disable_tqdm=True))

        def their_choices(size: int) -> list[float]:
            found = harness(size)._loglikelihood_tokens(list(triples), disable_tqdm=True)
            return [value for value, _ in found]

        report: dict[str, Any] = {"prompts": count, "threads": torch.get_num_threads()}
        report["generation"], own, answer = beside(generated, theirs)
        alike = [a.strip() == b.strip() for a, b in zip(own, answer, strict=True)]
        report["generation"]["same answers"] = sum(alike) / count
        report["choices"], own, answer = beside(
            lambda: [
                one.value for one in loglikelihoods(ours.family.model, contexts, options, ours._batcher)
            ],
            their_choices,
        )
        assert max(abs(a - b) for a, b in zip(own, answer, strict=True)) < 1e-3
        print(json.dumps(report, indent=2))


def beside(
    ours: Callable[[], list[Any]], theirs: Callable[[int], list[Any]]
) -> tuple[dict[str, Any], list[Any], list[Any]]:
    """The report of one part, our results and theirs."""
    tried = {size: seconds(partial(theirs, size))[1] for size in SIZES}
    best = min(tried, key=tried.__getitem__)
    report: dict[str, Any] = {"best batch size of lm_eval": best}
    rounds: dict[str, list[tuple[float, float]]] = {"ours": [], "lm_eval": []}
    for _ in range(ROUNDS):
        *took, answer = seconds(partial(theirs, best))
        rounds["lm_eval"].append((took[0], took[1]))
        *took, own = seconds(ours)
        rounds["ours"].append((took[0], took[1]))
    for i, clock in enumerate(("seconds", "seconds of CPU")):
        median = {who: statistics.median(both[i] for both in all_) for who, all_ in rounds.items()}
        report[clock] = {who: round(value, 3) for who, value in median.items()}
        report[f"times as fast, {clock}"] = round(median["lm_eval"] / median["ours"], 2)
    return report, own, answer


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 500)
