"""What a step of DPO costs: ours, TRL's, and a plain loop, on one model and the same batches.

    python -m tests.benchmarks.training_speed [--steps 24] [--rounds 3] [--hidden 64 --layers 3]

One thread, reference log-probabilities computed before in all three, and left out of the times.
Milliseconds of processor and of wall time are medians over steps; rounds alternate. Losses of all steps
are compared. Then the peak memory of adapters on a larger model, beside the form with two models; freed
memory goes back to the system at once, so that what the allocator keeps does not count.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch.nn import functional

from tests.support.tiny import tiny_tokenizer

PAIRS, WORDS, LR, BETA = 8, 62, 1e-3, 0.1
# Ends an answer with the token that ends generation and nothing else: TRL learns all that follows.
CHAT = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% if m.role == 'assistant' %}</s>{% else %}{{ '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
_WARM = 3


class Cost(NamedTuple):
    """Seconds a step, and the loss of every step."""

    cpu: float
    wall: float
    losses: list[float]


class Timer(transformers.TrainerCallback):
    """Times from the beginning of a step to its end, and between steps."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []
        self.losses: list[float] = []

    def mark(self) -> None:
        self.cpu.append(time.process_time())
        self.wall.append(time.perf_counter())

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.mark()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.mark()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        if "loss" in logs:
            self.losses.append(logs["loss"])

    def cost(self) -> Cost:
        def middle(times: list[float]) -> float:
            steps = [b - a for a, b in itertools.pairwise(times)]
            return statistics.median(steps[_WARM:])

        return Cost(middle(self.cpu), middle(self.wall), self.losses)


def checkpoint(path: Path, hidden: int, layers: int, vocabulary: int) -> Path:
    """A Llama of this size."""
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=max(vocabulary, len(tokenizer)),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def rows(count: int) -> list[dict[str, str]]:
    """Prompts and answers of about 64 tokens each."""
    rng = random.Random(0)

    def text() -> str:
        return " ".join(rng.choice("abcdefgh") for _ in range(WORDS // 2))

    return [{"prompt": text(), "chosen": text(), "rejected": text()} for _ in range(count)]


def ours(path: Path, data: list[dict[str, str]], steps: int) -> Cost:
    """The engine of `dpo`, as it trains."""
    from align_plugins.data.rows import Preference
    from align_plugins.methods.dpo import DpoSettings, DpoTrainer
    from align_plugins.training.adapters import trainable_policy
    from align_plugins.training.engine import Batches, Engine, without_dropout
    from align_plugins.workdir import Workdir
    from eval_anything.content import Message, TextPart
    from eval_anything.output.progress import Progress

    out = Path(tempfile.mkdtemp())
    settings = DpoSettings(
        model=str(path), data="", out=str(out), per_device_train_batch_size=PAIRS,
        learning_rate=LR, beta=BETA, lr_scheduler_type="constant", warmup_steps=0, logging_steps=1,
        device="cpu", max_steps=steps,
    )  # fmt: skip
    trainer = DpoTrainer(settings)
    policy, progress = trainer.policy, Progress("silent")
    policy.load()
    without_dropout(policy.model)
    found = [
        Preference(
            id=str(n), source_id=str(n), messages=(Message("user", (TextPart(row["prompt"]),)),),
            chosen=(TextPart(row["chosen"]),), rejected=(TextPart(row["rejected"]),),
        )
        for n, row in enumerate(data)
    ]  # fmt: skip
    items = trainer.with_reference([trainer.encode(row) for row in found], Workdir(out), progress)
    batches = Batches(items, trainer.collate, trainer.counts, trainer.step)
    engine = Engine(trainable_policy(policy, settings, progress), batches, settings, out)
    timer = Timer()
    engine.add_callback(timer)
    engine.args.save_strategy = transformers.trainer_utils.SaveStrategy.NO
    engine.train()
    return timer.cost()


def theirs(path: Path, data: list[dict[str, str]], steps: int) -> Cost:
    """TRL's DPOTrainer with precomputed references."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    def turn(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    made = [
        {
            "prompt": turn("user", row["prompt"]),
            "chosen": turn("assistant", row["chosen"]),
            "rejected": turn("assistant", row["rejected"]),
        }
        for row in data
    ]
    timer = Timer()
    trainer = DPOTrainer(
        model=transformers.AutoModelForCausalLM.from_pretrained(path),
        args=DPOConfig(
            tempfile.mkdtemp(), per_device_train_batch_size=PAIRS, learning_rate=LR, beta=BETA,
            max_steps=steps, lr_scheduler_type="constant", logging_steps=1, report_to="none",
            use_cpu=True, precompute_ref_log_probs=True, save_strategy="no", disable_tqdm=True,
            max_length=None, seed=0, data_seed=0, gradient_checkpointing=False, bf16=False,
        ),
        train_dataset=Dataset.from_list(made),
        processing_class=transformers.AutoTokenizer.from_pretrained(path),
        callbacks=[timer],
    )  # fmt: skip
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return timer.cost()


def plain(path: Path, data: list[dict[str, str]], steps: int) -> Cost:
    """A loop of twenty lines over the same batches, in the order that the engine's sampler draws."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path)

    def batch(group: list[dict[str, str]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        ids, masks = [], []
        for side in ("chosen", "rejected"):
            for row in group:
                prompt = tokenizer(f"user: {row['prompt']}\nassistant:")["input_ids"]
                answer = [*tokenizer(f" {row[side]}")["input_ids"], tokenizer.eos_token_id]
                ids.append(torch.tensor(prompt + answer))
                masks.append(torch.tensor([0] * len(prompt) + [1] * len(answer)))
        pad = torch.nn.utils.rnn.pad_sequence
        tokens = pad(ids, batch_first=True)
        attention = pad([torch.ones_like(row) for row in ids], batch_first=True)
        return tokens, attention, pad(masks, batch_first=True)

    def sums(tokens: torch.Tensor, attention: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits = (
            model(input_ids=tokens, attention_mask=attention, use_cache=False).logits[:, :-1].float()
        )
        each = logits.log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
        return (each * mask[:, 1:]).sum(1)

    sampler = torch.utils.data.RandomSampler(data, generator=torch.Generator().manual_seed(0))
    order = list(sampler)
    batches = [batch([data[i] for i in order[s : s + PAIRS]]) for s in range(0, steps * PAIRS, PAIRS)]
    with torch.no_grad():
        references = [sums(*one) for one in batches]
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0, fused=True)
    timer = Timer()
    timer.mark()
    for one, reference in zip(batches, references, strict=True):
        chosen, rejected = (sums(*one) - reference).chunk(2)
        loss = -functional.logsigmoid(BETA * (chosen - rejected)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        timer.losses.append(loss.item())
        timer.mark()
    return timer.cost()


WAYS: dict[str, Callable[[Path, list[dict[str, str]], int], Cost]] = {
    "ours": ours,
    "TRL": theirs,
    "plain": plain,
}


def peak(models: int, path: Path) -> None:
    """Prints the MB that one step of LoRA takes with one model in memory or with two."""
    from peft import LoraConfig, get_peft_model

    from align_plugins.policies.base import logprobs

    torch.set_num_threads(1)
    ids = torch.randint(3, 300, (2, 64))
    labels = ids.clone()
    labels[:, :32] = -100
    batch = {"inputs": {"input_ids": ids}, "labels": labels, "modalities": torch.zeros_like(ids)}
    logprobs(get_peft_model(_tiny(), LoraConfig(target_modules="all-linear")), batch)  # imports all
    before = _megabytes("VmRSS")
    model, *other = [_in_memory(path) for _ in range(models)]
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of making them
    trained = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        reference = logprobs(other[0] if other else model, batch).values
    optimiser = torch.optim.AdamW([p for p in trained.parameters() if p.requires_grad])
    (logprobs(trained, batch).values - reference).sum().backward()
    optimiser.step()
    print(_megabytes("VmHWM") - before)


def _tiny() -> Any:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=400, hidden_size=32, num_hidden_layers=1, intermediate_size=64
        )
    )


def _megabytes(name: str) -> float:
    """A line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def _in_memory(path: Path) -> Any:
    """Weights of its own: mapped files would be shared by both models."""
    return transformers.LlamaForCausalLM(transformers.AutoConfig.from_pretrained(path))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="What a step of DPO costs.")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--vocabulary", type=int, default=0, help="rows of the embedding, 400 at least")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        peak(options.peak, options.path)
        return
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    folder = Path(tempfile.mkdtemp())
    path = checkpoint(folder / "model", options.hidden, options.layers, options.vocabulary)
    data = rows(options.steps * PAIRS)
    costs: dict[str, list[Cost]] = {name: [] for name in WAYS}
    for _ in range(options.rounds):
        for name, way in WAYS.items():
            transformers.set_seed(0)
            costs[name].append(way(path, data, options.steps))
    weights = sum(
        p.numel() for p in transformers.AutoModelForCausalLM.from_pretrained(path).parameters()
    )
    print(f"{weights / 1e6:.2f} M weights, {PAIRS} pairs of about 2 x 128 tokens, one thread")
    for name, found in costs.items():
        cpu, wall = (1000 * min(getattr(c, kind) for c in found) for kind in ("cpu", "wall"))
        print(f"{name:6} {cpu:7.1f} ms processor, {wall:7.1f} ms wall")
    best = {name: min(c.cpu for c in found) for name, found in costs.items()}
    print(f"TRL / ours: {best['TRL'] / best['ours']:.2f}")
    print(f"ours / plain: {best['ours'] / best['plain']:.2f}")
    for one, other in itertools.combinations(WAYS, 2):
        both = zip(costs[one][0].losses, costs[other][0].losses, strict=True)
        gaps = [abs(a - b) for a, b in both]
        print(f"losses of {one} and {other}: {gaps[0]:.0e} apart at first, at most {max(gaps):.0e}")
    large = checkpoint(folder / "large", 896, 12, 0)
    one, two = (
        float(
            subprocess.run(
                [sys.executable, __file__, "--peak", str(n), "--path", str(large)],
                capture_output=True, text=True, check=True,
                env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
            ).stdout
        )
        for n in (1, 2)
    )  # fmt: skip
    print(f"peak memory with adapters: one model {one:.0f} MB, two {two:.0f} MB, {one / two:.2f}")


if __name__ == "__main__":
    main()
