"""The data of one seed: prompts, two responses of the start to each, and the labels of noisy annotators.

A label is one judgement of an annotator who is wrong with the same probability for every prompt: which
of two responses is better (`pairs.jsonl`), or what is wrong with one response (`feedback.jsonl`). A
wrong preference is the opposite one; a wrong critique is that of another response to the same prompt.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from align_plugins.data.files import write_rows
from align_plugins.data.rows import Feedback, Preference, Prompt, row_like
from align_plugins.evaluation.collect import ask, task_of
from align_plugins.experiment.micro_data import (
    FEEDBACK,
    PAIRS,
    PROMPTS,
    Files,
    draw_prompts,
    utility_shown,
)
from eval_anything.content import MediaPart, Modality, Part, Response
from eval_anything.errors import InfrastructureError
from eval_anything.files.writing import pretty_json, write_atomically
from eval_anything.micro.pairs.demonstrator import demonstrate
from eval_anything.micro.prompts.exchange import Exchange
from eval_anything.micro.prompts.feedback import AnswerAttributes, critique, critique_answer
from eval_anything.micro.world.perceive import perceive
from eval_anything.micro.world.words import read
from eval_anything.models.base import Sampling
from eval_anything.models.spec import resolve
from eval_anything.output.progress import Progress

COUNTS = "counts.json"


# Prompts with two equally good responses make no pair: this many times more are drawn than are needed.
_SPARE = 2.2


class SampledPrompt(NamedTuple):
    """A prompt as an exchange of the micro world, and as a training row."""

    exchange: Exchange
    prompt: Prompt


class GradedResponse(NamedTuple):
    """A response, the attributes that it shows by modality, and its exact utility."""

    response: Response
    shown: AnswerAttributes
    utility: float


def make_data(
    folder: Path, model: str, labels: int, prompts: int, noise: float, seed: int, progress: Progress
) -> None:
    """Writes the files of a seed into `folder`, unless they exist: `labels` pairs, as many critiques,
    and `prompts` more prompts without labels."""
    if (folder / COUNTS).is_file():
        return
    labelled = _draw(folder, prompts_needed(labels), "labelled", seed)
    first = _answers(folder, "first", labelled, model, seed, progress)
    second = _answers(folder, "second", labelled, model, seed, progress)
    pairs, wrong = _pairs(labelled, first, second, labels, noise, seed)
    if len(pairs) < labels:
        raise InfrastructureError(f"{folder}: only {len(pairs)} of {labels} pairs are no ties")
    write_rows(folder / PAIRS, pairs)
    feedback = list(islice(_feedback(labelled, first, noise, seed), labels))
    write_rows(folder / FEEDBACK, feedback)
    unlabelled = _draw(folder, prompts, "unlabelled", seed)
    write_rows(folder / PROMPTS, [d.prompt for d in unlabelled])
    counts = {"pairs": len(pairs), "wrong_pairs": wrong, "critiques": len(feedback)}
    write_atomically(folder / COUNTS, pretty_json(counts))


def prompts_needed(labels: int) -> int:
    """Number of prompts that are answered twice to get so many labels."""
    return round(labels * _SPARE)


def cut(source: Path, rows: int, target: Path) -> Path:
    """Copies the first rows of a file into a file beside it, which shares its media."""
    lines = source.read_bytes().splitlines(keepends=True)[:rows]
    write_atomically(target, b"".join(lines))
    return target


def exchanges(name: str, n: int, seed: int) -> dict[str, Exchange]:
    """Exchanges of the `labelled` or `unlabelled` prompts of a seed, by id."""
    stream = draw_prompts(random.Random(f"experiment-{name}-{seed}"))
    return {f"{name}-{i:05d}": exchange for i, exchange in enumerate(islice(stream, n), start=1)}


def _draw(folder: Path, n: int, name: str, seed: int) -> list[SampledPrompt]:
    files = Files(folder)
    return [
        SampledPrompt(exchange, files.row(Prompt, identity, exchange))
        for identity, exchange in exchanges(name, n, seed).items()
    ]


def _answers(
    folder: Path, name: str, prompts: Sequence[SampledPrompt], model: str, seed: int, progress: Progress
) -> list[GradedResponse | None]:
    """Response of the start to each prompt at temperature 1; None if it failed."""
    task = task_of(name, [d.prompt for d in prompts])
    by_id = ask(task, resolve(model, {}), folder / name, Sampling(1.0, seed), progress)
    records = [by_id[d.prompt.id] for d in prompts]
    return [
        grade_response(d.exchange, record.parts) if record.error is None else None
        for d, record in zip(prompts, records, strict=True)
    ]


def grade_response(exchange: Exchange, parts: Sequence[Part]) -> GradedResponse:
    """The exact content of a response's parts, and its utility."""
    response = Response(tuple(parts))
    attributes_by_modality: dict[Modality, Mapping[str, str | None] | None] = {}
    if response.text.strip():
        attributes_by_modality[Modality.TEXT] = read(response.text)
    for modality in response.modalities:
        medium = response.first(modality)
        if medium is not None:
            attributes_by_modality[modality] = _perceived(medium)
    readable = {modality: attributes or {} for modality, attributes in attributes_by_modality.items()}
    return GradedResponse(
        response, attributes_by_modality, utility_shown(exchange, readable, response.text)
    )


_perceived_media: dict[str, Mapping[str, str | None] | None] = {}


def _perceived(medium: MediaPart) -> Mapping[str, str | None] | None:
    """Attributes of a medium, None if it cannot be read. The micro world has few media, so each is read
    once."""
    if medium.sha256 not in _perceived_media:
        percept = perceive(medium)
        _perceived_media[medium.sha256] = None if percept.problem else percept.attributes
    return _perceived_media[medium.sha256]


def truth_of(pairs: Sequence[Preference], exchange_by_id: Mapping[str, Exchange]) -> dict[str, float]:
    """Exact quality of pairs: the shares whose chosen response is better and equally good, and the mean
    gain of utility."""
    gains = [
        grade_response(exchange_by_id[p.id], p.chosen).utility
        - grade_response(exchange_by_id[p.id], p.rejected).utility
        for p in pairs
    ]
    n = len(gains)
    return {
        "better": sum(gain > 0 for gain in gains) / n,
        "equal": sum(gain == 0 for gain in gains) / n,
        "gain": sum(gains) / n,
    }


def _pairs(
    prompts: Sequence[SampledPrompt],
    first: Sequence[GradedResponse | None],
    second: Sequence[GradedResponse | None],
    most: int,
    noise: float,
    seed: int,
) -> tuple[list[Preference], int]:
    """Pairs of different utility, and the number of wrong labels among them."""
    flips = random.Random(f"experiment-pairs-{seed}")
    pairs: list[Preference] = []
    wrong = 0
    for sampled, *both_answers in zip(prompts, first, second, strict=True):
        answers = [answer for answer in both_answers if answer is not None]
        if len({answer.utility for answer in answers}) < 2 or len(pairs) == most:
            continue
        rejected, chosen = sorted(answers, key=lambda answer: answer.utility)
        if flips.random() < noise:
            chosen, rejected = rejected, chosen
            wrong += 1
        pairs.append(
            row_like(
                sampled.prompt,
                Preference,
                metadata={"utilities": [chosen.utility, rejected.utility]},
                chosen=chosen.response.parts,
                rejected=rejected.response.parts,
            )
        )
    return pairs, wrong


def _feedback(
    prompts: Sequence[SampledPrompt], answered: Sequence[GradedResponse | None], noise: float, seed: int
) -> Iterator[Feedback]:
    """A critique of the first response to each prompt."""
    rng = random.Random(f"experiment-feedback-{seed}")
    for sampled, answer in zip(prompts, answered, strict=True):
        if answer is None:
            continue
        exchange = sampled.exchange
        if rng.random() < noise:
            critique_text = critique_answer(exchange, demonstrate(exchange, rng))
        else:
            critique_text = critique(
                exchange.outputs, exchange.targets, exchange.accepted, answer.shown, answer.response.text
            )
        yield row_like(sampled.prompt, Feedback, response=answer.response.parts, critique=critique_text)
