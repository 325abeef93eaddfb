"""What will be asked of servers, estimated before anything is spent (`--dry-run`).

A rough guide: four characters a token, a fixed allowance for a medium, an answer, a rubric and each
further line of a checklist.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eval_anything.content import NO_TOKENS, Message, Part, Sample, TextPart, Usage
from eval_anything.evaluation.plan import RunPlan
from eval_anything.judges.calibration.labels import Labelled
from eval_anything.judges.scorer import Scorer
from eval_anything.servers.prices import read_prices

_CHARACTERS = 4


_MEDIUM = 800  # an image or some seconds of sound


_ANSWER = 300


_RUBRIC = 500


_VERDICT = 80


_LINE_ASKED, _LINE_ANSWERED = 30, 10


def estimate(plan: RunPlan) -> dict[str, Any]:
    """Calls, tokens and money by who takes them; money is null where a price is not known."""
    asks = _Asks()
    for name, task in plan.tasks.items():
        for sample in task.samples[: plan.counts[name]]:
            request = _tokens(task.messages(sample))
            turns = len(sample.turns) + 1
            media = _MEDIUM * sum(m != "text" for m in sample.contract.required)
            for _ in range(plan.repeats):
                asks.add(plan.model.name, plan.model.paid_as, turns, turns * request, _ANSWER)
                for scorer in plan.scorers[name].scorers:
                    asks.add_judge(scorer, sample, _RUBRIC + request + media + _ANSWER)
    return asks.json()


def estimate_calibration(scorer: Scorer, rows: Iterable[Labelled]) -> dict[str, Any]:
    """The same for a judge and labelled rows, each as often as the judge is asked about it.

    Nothing is known of verdicts that are kept from before, so it is at most this.
    """
    asks = _Asks()
    for row in rows:
        request = _RUBRIC + _tokens(row.sample.messages)
        answers = [_tokens_of_parts(response.parts) for response in row.responses]
        for given in [sum(answers)] if scorer.compares else answers:
            asks.add_judge(scorer, row.sample, request + given)
    return asks.json()


class _Asks:
    """Calls and tokens by who takes them."""

    def __init__(self) -> None:
        self._asks: dict[str, tuple[str, int, Usage]] = {}

    def add(self, who: str, paid_as: str | None, times: int, given: int, taken: int) -> None:
        """`times` calls, each with so many tokens; what asks no server takes nothing."""
        if paid_as is not None:
            _, calls, tokens = self._asks.get(who, (paid_as, 0, NO_TOKENS))
            self._asks[who] = paid_as, calls + times, tokens + Usage(times * given, times * taken)

    def add_judge(self, scorer: Scorer, sample: Sample, given: int) -> None:
        """What a judge asks about one response, shown it in `given` tokens without a checklist."""
        more = scorer.answers(sample) - 1
        given, taken = given + more * _LINE_ASKED, _VERDICT + more * _LINE_ANSWERED
        self.add(f"judge {scorer.name}", scorer.paid_as, scorer.asks(sample), given, taken)

    def json(self) -> dict[str, Any]:
        """With the money, in all and for each."""
        prices = read_prices()
        by = {
            who: {"calls": calls, "tokens": tokens, "money": prices.money(paid_as, tokens)}
            for who, (paid_as, calls, tokens) in self._asks.items()
        }
        known = [float(part["money"]) for part in by.values() if isinstance(part["money"], float)]
        money = sum(known) if len(known) == len(by) else None
        return {"money": money, "currency": prices.currency, "prices": prices.date, "by": by}


def _tokens(messages: tuple[Message, ...]) -> int:
    return sum(_tokens_of_parts(message.parts) for message in messages)


def _tokens_of_parts(parts: tuple[Part, ...]) -> int:
    return sum(len(p.text) // _CHARACTERS if isinstance(p, TextPart) else _MEDIUM for p in parts)
