"""What a run will ask of servers, estimated before anything is spent (`run --dry-run`).

A rough guide: four characters a token, a fixed allowance for a medium, an answer and a rubric.
"""

from __future__ import annotations

from typing import Any

from eval_anything.content import Message, TextPart
from eval_anything.planning import Plan
from eval_anything.prices import read_prices

_CHARACTERS = 4
_MEDIUM = 800  # an image or some seconds of sound
_ANSWER = 300
_RUBRIC = 500
_VERDICT = 80


def estimate(plan: Plan) -> dict[str, Any]:
    """Calls, tokens and money by who takes them; money is null where a price is not known."""
    prices = read_prices()
    asks: dict[str, tuple[str, int, dict[str, int]]] = {}

    def ask(who: str, paid_as: str | None, times: int, given: int, taken: int) -> None:
        if paid_as is not None:
            _, calls, tokens = asks.get(who, (paid_as, 0, {"input": 0, "output": 0}))
            tokens = {
                "input": tokens["input"] + times * given,
                "output": tokens["output"] + times * taken,
            }
            asks[who] = paid_as, calls + times, tokens

    for name, task in plan.tasks.items():
        for sample in task.samples[: plan.counts[name]]:
            request = _tokens(task.messages(sample))
            media = _MEDIUM * sum(m != "text" for m in sample.contract.required)
            for _ in range(plan.repeats):
                ask(plan.model.name, plan.model.paid_as, 1, request, _ANSWER)
                for scorer in plan.scorers[name].scorers:
                    given = _RUBRIC + request + media + _ANSWER
                    times = scorer.asks(sample)
                    ask(f"judge {scorer.name}", scorer.paid_as, times, given, _VERDICT)
    by = {
        who: {"calls": calls, "tokens": tokens, "money": prices.money(paid_as, tokens)}
        for who, (paid_as, calls, tokens) in asks.items()
    }
    known = [float(part["money"]) for part in by.values() if isinstance(part["money"], float)]
    money = sum(known) if len(known) == len(by) else None
    return {"money": money, "currency": prices.currency, "prices": prices.date, "by": by}


def _tokens(messages: tuple[Message, ...]) -> int:
    parts = [part for message in messages for part in message.parts]
    return sum(len(p.text) // _CHARACTERS if isinstance(p, TextPart) else _MEDIUM for p in parts)
