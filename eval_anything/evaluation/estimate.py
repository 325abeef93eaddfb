"""Estimate of calls to servers, tokens and money before a run (`--dry-run`).

It is rough: four characters per token, and constant numbers of tokens for a medium, an answer, a rubric
and each further line of a checklist.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eval_anything.content import NO_TOKENS, Message, Part, Sample, TextPart, Usage
from eval_anything.evaluation.plan import RunPlan
from eval_anything.judges.calibration.labels import Labelled
from eval_anything.judges.scorer import Scorer
from eval_anything.servers.prices import read_prices
from eval_anything.servers.usage import SENT_MEDIUM, tokens_of_text

_ANSWER = 300


_RUBRIC = 500


_VERDICT = 80


_LINE_ASKED, _LINE_ANSWERED = 30, 10


def estimate(plan: RunPlan) -> dict[str, Any]:
    """Calls, tokens and money of a run, in total and by model and judge, as JSON values.

    Money is None where a price is not known.
    """
    total = _Calls()
    for name, task in plan.tasks.items():
        for sample in plan.samples[name]:
            request = _tokens(task.messages(sample))
            turns = len(sample.turns) + 1
            media = SENT_MEDIUM * sum(m != "text" for m in sample.contract.required)
            for _ in range(plan.repeats):
                total.add(plan.model.name, plan.model.paid_as, turns, turns * request, _ANSWER)
                for scorer in plan.scorers[name].scorers:
                    total.add_judge(scorer, sample, _RUBRIC + request + media + _ANSWER)
    return total.json()


def estimate_calibration(scorer: Scorer, rows: Iterable[Labelled]) -> dict[str, Any]:
    """Calls, tokens and money of a judge on labelled rows, as `estimate` returns them.

    A row counts once for each time that the judge is asked about it. The estimate is an upper bound,
    since verdicts in the cache are free and not known here.
    """
    total = _Calls()
    for row in rows:
        request = _RUBRIC + _tokens(row.sample.messages)
        answers = [_tokens_of_parts(response.parts) for response in row.responses]
        for answer_tokens in [sum(answers)] if scorer.compares else answers:
            total.add_judge(scorer, row.sample, request + answer_tokens)
    return total.json()


class _Calls:
    """Calls and tokens by model and judge."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[str, int, Usage]] = {}

    def add(self, payer: str, paid_as: str | None, calls: int, sent: int, received: int) -> None:
        """Adds calls that send and receive so many tokens each. A model without `paid_as` runs on no
        server, so its calls are not counted."""
        if paid_as is not None:
            _, calls_before, tokens = self._calls.get(payer, (paid_as, 0, NO_TOKENS))
            tokens += Usage(calls * sent, calls * received)
            self._calls[payer] = paid_as, calls_before + calls, tokens

    def add_judge(self, scorer: Scorer, sample: Sample, sent: int) -> None:
        """Adds the calls of a judge about one response; each sends `sent` tokens without a checklist."""
        lines = scorer.answers(sample) - 1
        sent, received = sent + lines * _LINE_ASKED, _VERDICT + lines * _LINE_ANSWERED
        self.add(f"judge {scorer.name}", scorer.paid_as, scorer.asks(sample), sent, received)

    def json(self) -> dict[str, Any]:
        """The counts as JSON values, with the money in total and for each."""
        prices = read_prices()
        by = {
            payer: {"calls": calls, "tokens": tokens, "money": prices.money(paid_as, tokens)}
            for payer, (paid_as, calls, tokens) in self._calls.items()
        }
        amounts = [float(part["money"]) for part in by.values() if isinstance(part["money"], float)]
        money = sum(amounts) if len(amounts) == len(by) else None
        return {"money": money, "currency": prices.currency, "prices": prices.date, "by": by}


def _tokens(messages: tuple[Message, ...]) -> int:
    return sum(_tokens_of_parts(message.parts) for message in messages)


def _tokens_of_parts(parts: tuple[Part, ...]) -> int:
    return sum(tokens_of_text(p.text) if isinstance(p, TextPart) else SENT_MEDIUM for p in parts)
