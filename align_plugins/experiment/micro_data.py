"""Training data of the micro world.

    python -m align_plugins.experiment.micro_data --out DIR [--pairs N] [--seed S]

Preference pairs between two answers of the demonstrator, labelled by the exact truth with noise, and
demonstrations; the prompts of either serve `ppo`. Everything comes from the seed. No prompt is one of a
benchmark, and none has a held-out combination.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from align_plugins.data.contamination import benchmark_prompts
from align_plugins.data.files import write_rows
from align_plugins.data.rows import Demonstration, Feedback, Preference, Prompt, R, prompt_key
from eval_anything.content import MediaPart, Message, Part, TextPart
from eval_anything.media import MediaStore
from eval_anything.micro.pairs.demonstrator import demonstrate
from eval_anything.micro.pairs.preferences import attribute_agreements
from eval_anything.micro.prompts.exchange import Exchange, draw_exchange
from eval_anything.micro.prompts.families import FAMILIES
from eval_anything.micro.prompts.feedback import AnswerAttributes, answer_attributes, critique_answer
from eval_anything.micro.prompts.script import sample_json
from eval_anything.micro.world.grading import is_one_of
from eval_anything.micro.world.render import render
from eval_anything.micro.world.scenes import Scene, SymbolicPart

NOISE = 0.27
"""Share of wrong labels, about what people disagree by."""


EXTRA, TOGETHER = 0.25, 0.25
"""Penalty for a modality that was not requested, and bonus for parts that agree with each other."""


PAIRS, DEMONSTRATIONS = "pairs.jsonl", "demonstrations.jsonl"


FEEDBACK, PROMPTS = "feedback.jsonl", "prompts.jsonl"


_ROWS = {
    PAIRS: "preference pairs",
    DEMONSTRATIONS: "demonstrations",
    FEEDBACK: "answers with critiques",
    PROMPTS: "prompts",
}


Answer = tuple[SymbolicPart, ...]


class RankedPair(NamedTuple):
    """Two different answers to a prompt and their exact utilities; the first one is labelled better."""

    exchange: Exchange
    chosen: Answer
    rejected: Answer
    utilities: tuple[float, float]


def utility(exchange: Exchange, answer: Sequence[SymbolicPart]) -> float:
    """Quality of an answer: the mean over the requested modalities of the share of right attributes (0
    for a missing one), minus `EXTRA` for each other modality, plus `TOGETHER` times the synergy."""
    text = " ".join(i for i in answer if isinstance(i, str))
    return utility_shown(exchange, answer_attributes(answer), text)


def utility_shown(exchange: Exchange, attributes_by_modality: AnswerAttributes, text: str) -> float:
    """Utility, as in `utility`, of the attributes that an answer shows and its text; a medium that
    cannot be read has no attributes."""
    values = []
    for modality in exchange.outputs:
        requested = exchange.targets.get(modality, {})
        attributes = attributes_by_modality.get(modality)
        if attributes is None:
            values.append(0.0)
        elif modality == "text" and exchange.accepted:
            values.append(float(is_one_of(text, exchange.accepted)))
        elif requested:
            values.append(sum(attributes.get(n) == v for n, v in requested.items()) / len(requested))
        else:
            values.append(1.0)
    extra = sum(modality not in exchange.outputs for modality in attributes_by_modality)
    together = attribute_agreements(exchange, attributes_by_modality)
    synergy = sum(together.values()) / len(together) if together else 0.0
    return round(sum(values) / len(values) - EXTRA * extra + TOGETHER * synergy, 9)


def pairs(n: int, seed: int, noise: float = NOISE) -> list[RankedPair]:
    """Draws `n` pairs without ties. Each label is wrong with probability `noise` (0..1), which does not
    change which pairs are drawn."""
    rng = random.Random(f"micro-preferences-{seed}")
    flips = random.Random(f"micro-preferences-noise-{seed}")
    ranked: list[RankedPair] = []
    for exchange in draw_prompts(rng):
        answers = [demonstrate(exchange, rng) for _ in range(2)]
        utilities = [utility(exchange, answer) for answer in answers]
        if utilities[0] == utilities[1]:
            continue
        chosen = int(utilities[1] > utilities[0]) ^ (flips.random() < noise)
        rejected = 1 - chosen
        ranked.append(
            RankedPair(
                exchange, answers[chosen], answers[rejected], (utilities[chosen], utilities[rejected])
            )
        )
        if len(ranked) == n:
            break
    return ranked


def demonstrations(n: int, seed: int, name: str = "demonstrations") -> list[Exchange]:
    """Draws `n` prompts with their right answers; another `name` draws others."""
    stream = draw_prompts(random.Random(f"micro-{name}-{seed}"))
    return [next(stream) for _ in range(n)]


def draw_prompts(rng: random.Random) -> Iterator[Exchange]:
    """Endless prompts that are in no bundled benchmark; some occur more than once."""
    families = list(FAMILIES.values())
    bundled_keys = _bundled_prompt_keys()
    while True:
        exchange = draw_exchange(rng.choice(families), rng, held_out=False)
        parts = tuple(TextPart(i) if isinstance(i, str) else _unwritten(i) for i in exchange.prompt)
        if prompt_key((Message("user", parts),)) not in bundled_keys:
            yield exchange


@cache
def _bundled_prompt_keys() -> frozenset[str]:
    return frozenset(benchmark_prompts().prompts)


@cache
def _unwritten(scene: Scene) -> MediaPart:
    """Part of a scene, sound or clip whose file is not written yet."""
    rendered = render(scene)
    return MediaPart(scene.modality, hashlib.sha256(rendered.data).hexdigest(), "", Path())


def write_pairs(path: Path, compared: Sequence[RankedPair]) -> None:
    """Writes pairs as a file of rows, with their media beside it."""
    files = Files(path.parent)
    rows = [
        files.row(
            Preference,
            f"pair-{number:05d}",
            pair.exchange,
            metadata=_metadata(pair.exchange, utilities=list(pair.utilities)),
            chosen=files.parts(pair.chosen),
            rejected=files.parts(pair.rejected),
        )
        for number, pair in enumerate(compared, start=1)
    ]
    write_rows(path, rows)


def write_demonstrations(path: Path, exchanges: Sequence[Exchange]) -> None:
    """Writes prompts with their right answers as a file of rows, with their media beside it."""
    files = Files(path.parent)
    rows = [
        files.row(
            Demonstration,
            f"demonstration-{number:05d}",
            exchange,
            metadata=_metadata(exchange),
            response=files.parts(exchange.answer),
        )
        for number, exchange in enumerate(exchanges, start=1)
    ]
    write_rows(path, rows)


def _metadata(exchange: Exchange, **extra: Any) -> dict[str, Any]:
    """Metadata of a prompt; contract and targets are for judges that give rewards."""
    sample = sample_json(exchange, "")
    targets = {name: sample[name] for name in ("contract", "targets")}
    return {"family": exchange.family, **extra, **targets}


def write_feedback(path: Path, exchanges: Sequence[Exchange], seed: int) -> None:
    """Writes answers of the demonstrator with critiques of them as a file of rows."""
    files = Files(path.parent)
    rng = random.Random(f"micro-feedback-{seed}")
    rows = []
    for number, exchange in enumerate(exchanges, start=1):
        answer = demonstrate(exchange, rng)
        rows.append(
            files.row(
                Feedback,
                f"feedback-{number:05d}",
                exchange,
                metadata={"family": exchange.family},
                response=files.parts(answer),
                critique=critique_answer(exchange, answer),
            )
        )
    write_rows(path, rows)


def write_prompts(path: Path, exchanges: Sequence[Exchange]) -> None:
    """Writes prompts as a file of rows, with their media beside it."""
    files = Files(path.parent)
    rows = [
        files.row(Prompt, f"prompt-{number:05d}", exchange, metadata=_metadata(exchange))
        for number, exchange in enumerate(exchanges, start=1)
    ]
    write_rows(path, rows)


class Files:
    """Renders media into a folder, each once."""

    def __init__(self, folder: Path) -> None:
        self._store = MediaStore(folder / "media")
        self._made: dict[Scene, Part] = {}

    def row(self, kind: type[R], identity: str, exchange: Exchange, **content: Any) -> R:
        """A row with the prompt of an exchange and the `content` of its type."""
        messages = (Message("user", self.parts(exchange.prompt)),)
        source_id = str(sample_json(exchange, "")["source_id"])
        return kind(id=identity, messages=messages, source_id=source_id, **content)

    def parts(self, items: Sequence[SymbolicPart]) -> tuple[Part, ...]:
        """Parts of texts and media."""
        return tuple(TextPart(i) if isinstance(i, str) else self._part(i) for i in items)

    def _part(self, scene: Scene) -> Part:
        if scene not in self._made:
            self._made[scene] = self._store.put(render(scene).data, scene.modality)
        return self._made[scene]


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Write training data of the micro world.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    for name, rows in _ROWS.items():
        parser.add_argument(
            f"--{Path(name).stem}", type=int, default=0, metavar="N", help=f"{rows}, into {name}"
        )
    parser.add_argument("--noise", type=float, default=NOISE, help=f"share of wrong labels ({NOISE})")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seed = options.seed
    writers: dict[str, Callable[[Path, int], None]] = {
        PAIRS: lambda path, n: write_pairs(path, pairs(n, seed, options.noise)),
        DEMONSTRATIONS: lambda path, n: write_demonstrations(path, demonstrations(n, seed)),
        FEEDBACK: lambda path, n: write_feedback(path, demonstrations(n, seed, FEEDBACK), seed),
        PROMPTS: lambda path, n: write_prompts(path, demonstrations(n, seed, PROMPTS)),
    }
    for name, write in writers.items():
        count = getattr(options, Path(name).stem)
        if count:
            write(options.out / name, count)
            print(f"{options.out / name}: {count} {_ROWS[name]}")


if __name__ == "__main__":
    main()
