"""The stages: responses, critiques, refined responses, and the pairs made of them.

Each takes rows and makes rows. A failed response is counted, and its row is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from align_plugins.data.rows import Demonstration, Feedback, Preference, Prompt, parts_key, row_like
from align_plugins.methods.feedback.roles import CritiqueSource, ResponseSampler
from align_plugins.methods.feedback.settings import Critic, FeedbackSettings
from align_plugins.methods.feedback.stages import Counts, Stages
from eval_anything.content import NO_TOKENS, Message, Record, TextPart
from eval_anything.statistics.agreement import same_value


class PairFilter(Protocol):
    """Measures by how much refined responses are better. Gains must exceed `least`."""

    least: float

    @property
    def inputs(self) -> dict[str, Any]:
        """Everything that decides the gains, for the hash of a stage."""

    def gains(self, rows: Sequence[Feedback], folder: Path) -> dict[str, float]:
        """Gain of the refined response over the first one, by id; rows that could not be judged are
        missing."""


def sample_stage(
    stages: Stages, prompts: Sequence[Prompt], prompts_hash: str, start: ResponseSampler
) -> list[Demonstration]:
    """A response to each prompt. `prompts_hash` is the hash of their files."""

    def make(folder: Path) -> tuple[list[Demonstration], Counts]:
        records = start.answers("sample", prompts, folder)
        rows = [
            row_like(prompt, Demonstration, response=records[prompt.id].parts)
            for prompt in prompts
            if records[prompt.id].error is None
        ]
        return rows, _counts(records, len(prompts) - len(rows), {"prompts": len(prompts)})

    return stages.rows("responses", {"data": prompts_hash, **start.inputs}, Demonstration, make)


def critique_stage(
    stages: Stages,
    rows: Sequence[Demonstration],
    after: str,
    critic: CritiqueSource,
    name: str = "critiques",
) -> list[Feedback]:
    """A critique of each response. `after` is the key of the stage that made the responses."""

    def make(folder: Path) -> tuple[list[Feedback], Counts]:
        records = critic.critiques(rows, folder)
        texts = {row.id: critic.text(records[row.id]) for row in rows}
        critiqued = [
            row_like(row, Feedback, response=row.response, critique=texts[row.id])
            for row in rows
            if texts[row.id]
        ]
        most = Counter(texts[row.id] for row in rows if texts[row.id]).most_common(1)
        counts = {"different": len(set(texts.values()) - {""})}
        if most:
            counts["most_frequent"] = most[0][1]
        return critiqued, _counts(records, len(rows) - len(critiqued), counts)

    return stages.rows(name, {"after": after, **critic.inputs}, Feedback, make)


def sameness_warning(rows: Sequence[Feedback]) -> str | None:
    """Warning about a critic that gives nearly all responses the same critique; None if it does not."""
    same = same_value([row.critique for row in rows])
    if same is None:
        return None
    return (
        f"warning: the critic says the same of {same.count} of {same.n} responses "
        f"({str(same.value)[:60]!r}): it has not learned to tell them apart"
    )


def refine_stage(
    stages: Stages,
    rows: Sequence[Feedback] | Sequence[Demonstration],
    after: str,
    refiner: ResponseSampler,
    settings: FeedbackSettings,
) -> list[Feedback]:
    """A second response to each prompt: with the critique of the first one, or without."""
    heard = settings.critique == "critic"
    refine = settings.refine
    refining = {"shown": refine.shown, "ask": refine.ask} if heard else {"heard": False}

    def make(folder: Path) -> tuple[list[Feedback], Counts]:
        prompts = [
            row_like(row, Prompt, messages=_refining(row, settings))
            if isinstance(row, Feedback) and heard
            else row
            for row in rows
        ]
        records = refiner.answers("refine", prompts, folder)
        refined = [
            row_like(
                row,
                Feedback,
                response=row.response,
                critique=row.critique if isinstance(row, Feedback) else "",
                refined=records[row.id].parts,
            )
            for row in rows
            if records[row.id].error is None
        ]
        return refined, _counts(records, len(rows) - len(refined), {"asked": len(rows)})

    return stages.rows("refined", {"after": after, **refiner.inputs, **refining}, Feedback, make)


def _refining(row: Feedback, settings: FeedbackSettings) -> tuple[Message, ...]:
    """The conversation that asks for a refined response."""
    question = (TextPart(" ".join(filter(None, [row.critique, settings.refine.ask]))),)
    if settings.refine.shown:
        return (*row.messages, Message("assistant", row.response), Message("user", question))
    *before, last = row.messages
    return (*before, Message(last.role, (*last.parts, *question)))


def to_refine(rows: Sequence[Feedback], critic: Critic) -> list[Feedback]:
    """Rows in which the critic found something wrong."""
    return [row for row in rows if not is_fine(row.critique, critic)]


def is_fine(text: str, critic: Critic) -> bool:
    """Whether a critique finds nothing wrong, up to white space and letter case."""
    fine = critic.fine
    return fine is not None and text.lower().split() == fine.lower().split()


def pair_stage(
    stages: Stages, rows: Sequence[Feedback], after: str, pair_filter: PairFilter, most: int | None
) -> list[Preference]:
    """Pairs of the refined responses (chosen) and the first ones (rejected), where they differ and the
    refined one is better."""

    def make(folder: Path) -> tuple[list[Preference], Counts]:
        different = [r for r in rows if r.refined and parts_key(r.refined) != parts_key(r.response)]
        gains = pair_filter.gains(different, folder)
        pairs = [
            row_like(
                row,
                Preference,
                metadata={"critique": row.critique} if row.critique else {},
                chosen=row.refined,
                rejected=row.response,
            )
            for row in different
            if gains.get(row.id, 0.0) > pair_filter.least
        ]
        unjudged = sum(gains.get(row.id) is None for row in different)
        counts = {
            "refined": len(rows),
            "identical": len(rows) - len(different),
            "unjudged": unjudged,
            "not_better": len(different) - len(pairs) - unjudged,
            "kept": len(pairs),
        }
        return pairs[:most], counts

    inputs = {"after": after, "most": most, "least": pair_filter.least, **pair_filter.inputs}
    return stages.rows("pairs", inputs, Preference, make)


def _counts(records: Mapping[str, Record], failed: int, counts: Mapping[str, Any]) -> Counts:
    """Counts of a stage that asked a model: failures with the first reason, and tokens."""
    reasons = [record.error.message for record in records.values() if record.error is not None]
    return {
        **counts,
        "failed": failed,
        **({"first_failure": reasons[0][:80]} if reasons else {}),
        "tokens": sum((record.usage for record in records.values()), NO_TOKENS),
    }
