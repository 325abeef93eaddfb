"""The bundled open suite: what its samples must hold, and its cards."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter

import numpy as np
import pytest

from eval_anything.content import MODALITIES
from eval_anything.judges.kinds.probe import letter, questions_of
from tests.support.helpers import Cli
from tests.support.open_suite import (
    CHOSEN,
    INSTRUCTED,
    OPEN,
    PROMPTED,
    TASKS,
    Row,
    loaded,
    prompt,
    rows,
    table,
)

LETTERS = {m: m[0] for m in MODALITIES}
CARD_KEYS = {
    "selection": ("combination", "language", "difficulty", "cue", "domain"),
    "synergy": ("combination", "language", "difficulty", "cue", "domain"),
    **{f"instruction_{m}": ("language", "difficulty", "domain") for m in INSTRUCTED},
}


def words(text: str) -> set[str]:
    """The beginnings of words, and pairs of Chinese characters: what two texts on one matter share."""
    text = text.lower()
    found = {word[:6] for word in re.findall(r"[a-zà-ÿ0-9']{3,}", text)}
    for run in re.findall(r"[\u4e00-\u9fff]+", text):
        found |= {run[i : i + 2] for i in range(len(run) - 1)}
    return found


def content_of(row: Row) -> dict[str, list[str]]:
    content: dict[str, list[str]] = row["targets"]["content"]
    return content


# --- prompts -----------------------------------------------------------------------------------


def test_there_are_enough_prompts_of_every_kind() -> None:
    for task in CHOSEN:
        meta = [row["metadata"] for row in rows(task)]
        assert len(meta) >= 200
        assert len({m["domain"] for m in meta}) >= 12
        chinese = sum(m["language"] == "zh" for m in meta) / len(meta)
        assert 0.2 <= chinese <= 0.35
        assert {m["difficulty"] for m in meta} == {"easy", "medium", "hard"}
        assert {m["cue"] for m in meta} == {"explicit", "implicit"}
    combinations = Counter(row["metadata"]["combination"] for row in rows("selection"))
    assert min(combinations[c] for c in ("t", "i", "a", "ti", "ta", "ia", "tia")) >= 15
    assert {"v", "tv", "av", "iv", "tav", "tiv"} <= set(combinations)
    together = {row["metadata"]["combination"] for row in rows("synergy")}
    assert together == {"ti", "ta", "ia", "tia", "tv", "av", "iv", "tav", "tiv"}
    for modality in INSTRUCTED:
        assert len(rows(f"instruction_{modality}")) >= 50


def test_ids_and_texts_occur_once() -> None:
    every = [row for task in TASKS for row in rows(task)]
    assert len({row["id"] for row in every}) == len(every)
    texts = Counter(prompt(row) for task in PROMPTED for row in rows(task))
    texts.update(
        question
        for task in CHOSEN
        for row in rows(task)
        for question in (
            *itertools.chain(*content_of(row).values()),
            *row["targets"].get("synergy", {}).values(),
        )
    )
    assert [text for text, count in texts.items() if count > 1] == []


def test_no_two_prompts_share_a_template() -> None:
    """The largest overlap (Jaccard, runs of four characters) is far below that of near-duplicates."""
    texts = [re.sub(r"\s+", " ", prompt(row).lower()) for task in PROMPTED for row in rows(task)]
    grams = [frozenset(t[i : i + 4] for i in range(len(t) - 3)) for t in texts]
    column = {gram: i for i, gram in enumerate(frozenset().union(*grams))}
    holds = np.zeros((len(texts), len(column)), np.float32)
    for row, found in zip(holds, grams, strict=True):
        row[[column[gram] for gram in found]] = 1
    sizes, both = holds.sum(axis=1), holds @ holds.T
    near = np.triu(both > 0.3 * (sizes[:, None] + sizes - both), 1)
    assert [(texts[i], texts[j]) for i, j in np.argwhere(near)] == []
    openings = Counter(" ".join(t.split()[:4]) for t in texts if t.isascii())
    assert max(openings.values()) <= 3


def test_chinese_has_chinese_punctuation() -> None:
    half_width = re.compile(r"[\u4e00-\u9fff]\s*[,;:?!]|[,;:?!]\s*[\u4e00-\u9fff]|[\u4e00-\u9fff]\.")
    for task in TASKS:
        for row in rows(task):
            text = json.dumps([prompt(row), row["targets"]], ensure_ascii=False)
            strings = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
            found = [s for s in strings if half_width.search(s)]
            assert not found, f"{row['id']}: {found}"
            chinese = len(re.findall(r"[\u4e00-\u9fff]", prompt(row)))
            assert (chinese >= 5) == (row["metadata"]["language"] == "zh"), row["id"]


@pytest.mark.parametrize("task", CHOSEN)
def test_contracts_follow_from_the_votes(task: str) -> None:
    for sample in loaded(task).samples:
        votes = sample.targets["votes"]
        assert math.isclose(sum(votes.values()), 1), sample.id
        chosen = [set(name) for name in votes]
        everywhere, anywhere = set.intersection(*chosen), set.union(*chosen)
        contract = sample.contract
        assert {LETTERS[m] for m in contract.required} == everywhere, sample.id
        assert {LETTERS[m] for m in contract.allowed} == anywhere - everywhere, sample.id
        assert {*contract.required, *contract.allowed, *contract.forbidden} == set(MODALITIES)
        assert votes[sample.metadata["combination"]] == max(votes.values()), sample.id
        assert sample.metadata["redundant"] not in contract.required, sample.id


@pytest.mark.parametrize("task", CHOSEN)
def test_every_required_part_has_expected_content_of_its_own(task: str) -> None:
    pool = Counter(w for row in rows(task) for w in set().union(*map(words, _flat(row))))
    for row in rows(task):
        contract = row["contract"]
        assert list(content_of(row)) == (contract["required"] or ["answer"]), row["id"]
        assert set(row["targets"].get("content_if_present", {})) <= set(contract["allowed"]), row["id"]
        for part, questions in content_of(row).items():
            own = set().union(*map(words, questions))
            assert min(pool[word] for word in own) <= 3, f"{row['id']}: {part} could be any sample's"


def _flat(row: Row) -> list[str]:
    return [question for questions in content_of(row).values() for question in questions]


def test_questions_on_synergy_hold_for_their_own_sample_alone() -> None:
    """By its rare words a question points to its own prompt before all others, so that it cannot be
    met by parts that answer another."""
    texts = {row["id"]: words(prompt(row)) for row in rows("synergy")}
    frequency = Counter(word for text in texts.values() for word in text)
    for row in rows("synergy"):
        required = [m for m in MODALITIES if m in row["contract"]["required"]]
        pairs = {f"{a}_{b}" for a, b in itertools.combinations(required, 2)}
        assert set(row["targets"]["synergy"]) == pairs, row["id"]
        assert len(required) >= 2
        for question in row["targets"]["synergy"].values():
            asked = words(question) & set(frequency)
            weight = {word: math.log(len(texts) / frequency[word]) for word in asked}
            fit = {i: sum(weight[word] for word in asked & text) for i, text in texts.items()}
            own = fit.pop(row["id"])
            assert own > max(fit.values()), (
                f"{row['id']}: {question} fits {max(fit, key=fit.__getitem__)}"
            )
            assert any(frequency[word] <= 3 for word in asked & texts[row["id"]]), question


# --- instruction following ----------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["text", "image"])
def test_checklists_have_four_points(modality: str) -> None:
    heads = {"text": {"requirements"}, "image": {"elements", "details", "scene"}}[modality]
    for row in rows(f"instruction_{modality}"):
        target = row["targets"][f"if_{modality}"]
        points = [point for listed in target.values() for point in listed]
        assert set(target) <= heads, row["id"]
        assert len(set(points)) == 4, row["id"]


@pytest.mark.parametrize("modality", ["audio", "video"])
def test_probes_have_one_right_choice_that_nothing_gives_away(modality: str) -> None:
    written, asked = Counter[int](), Counter[str]()
    longest = shortest = total = 0
    for sample in loaded(f"instruction_{modality}").samples:
        questions = questions_of(sample)
        assert len({q.question for q in questions}) == 4
        for question in questions:
            assert len(question.choices) == 4
            assert question.choices.count(question.answer) == 1
            lengths = {len(c): c for c in question.choices}
            alone = [len(c) for c in question.choices].count
            longest += lengths[max(lengths)] == question.answer and alone(max(lengths)) == 1
            shortest += lengths[min(lengths)] == question.answer and alone(min(lengths)) == 1
            written[question.choices.index(question.answer)] += 1
            lettered = letter(sample.id, question)
            asked[next(k for k, c in lettered.items() if c == question.answer)] += 1
            total += 1
    for places in (written, asked):
        assert len(places) == 4
        assert max(places.values()) <= 0.33 * total
    assert longest <= 0.3 * total
    assert shortest <= 0.3 * total


# --- cards --------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", CARD_KEYS)
def test_the_card_counts_what_is_there(task: str) -> None:
    card = (OPEN / task / "README.md").read_text("utf-8")
    counts = Counter((key, row["metadata"][key]) for key in CARD_KEYS[task] for row in rows(task))
    expected = {(*place, count) for place, count in counts.items()}
    assert table(card) == expected
    assert f"{len(rows(task))} prompts" in card


def test_cards_say_whose_labels_they_are() -> None:
    for task in TASKS:
        card = (OPEN / task / "README.md").read_text("utf-8")
        for said in ("author-labelled", "reviewed by no", f"annotate open/{task}", "CC0-1.0"):
            assert said in " ".join(card.split()), f"{task}: {said}"
        for link in re.findall(r"\]\(([^)#]+)\)", card):
            assert (OPEN / task / link).exists(), f"{task} links to {link}"


def test_the_card_of_the_suite_counts_all_of_it() -> None:
    card = (OPEN / "README.md").read_text("utf-8")
    expected = {("task", task, len(rows(task))) for task in TASKS}
    for key in ("language", "combination", "domain"):
        every = (row["metadata"].get(key) for task in TASKS for row in rows(task))
        expected |= {(key, value, n) for value, n in Counter(every).items() if value is not None}
    assert table(card) == expected
    assert f"{sum(len(rows(task)) for task in TASKS)} samples" in card
    for link in re.findall(r"\]\(([^)#]+)\)", card):
        assert (OPEN / link).exists(), link


def test_a_task_is_shown_with_its_counts(cli: Cli) -> None:
    shown = cli("tasks", "show", "open/synergy", "--json").json["groups"]
    languages = Counter(row["metadata"]["language"] for row in rows("synergy"))
    assert shown["language"] == dict(languages)
    assert list(shown["language"]) == [name for name, _ in languages.most_common()]
    assert f"\nlanguage: en {languages['en']}, zh" in cli("tasks", "show", "open/synergy").out
