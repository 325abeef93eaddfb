"""What models on servers cost: a dated price file, and the money that a run has spent.

Prices change, so none is in code: `judges/prices.yaml` carries its date and source, and the user's
own file overrides it. A model that neither names has no known price: its cost is unknown, not 0.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from eval_anything.content import NO_TOKENS, Usage
from eval_anything.errors import EvalError, Exit, UserError, near
from eval_anything.files.places import content_folder, home
from eval_anything.files.yaml_files import read_yaml


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """Money for a million tokens, in and out."""

    input: float
    output: float

    def __post_init__(self) -> None:
        if self.input < 0 or self.output < 0:
            raise ValueError("a price is not below 0")


class PriceFile(Struct, frozen=True, forbid_unknown_fields=True):
    """prices.yaml: when and where the prices were read, and the price of each model."""

    date: str
    source: str
    currency: str
    models: dict[str, Price]

    def money(self, model: str, usage: Usage) -> float | None:
        """The money for these tokens; None if the model's price is not known."""
        price = self.models.get(model)
        if price is None:
            return None
        return ((usage.input or 0) * price.input + (usage.output or 0) * price.output) / 1e6


def read_prices() -> PriceFile:
    """The bundled prices with the user's own laid over them."""
    bundled = read_yaml(content_folder("judges") / "prices.yaml", PriceFile)
    path = home() / "prices.yaml"
    if not path.is_file():
        return bundled
    own = read_yaml(path, PriceFile)
    if own.currency != bundled.currency:
        bundled = PriceFile(own.date, own.source, own.currency, {})
    return PriceFile(own.date, own.source, own.currency, {**bundled.models, **own.models})


class BudgetError(EvalError):
    """The money that the user allowed is spent: the run stops, and can go on with more."""

    exit_code = Exit.STOPPED


class Spent(Struct, frozen=True):
    """Calls and tokens of one model, and their price by the price file of that date. `money` is None if
    its price is not known, 0 for a model that is on no server."""

    calls: int
    tokens: Usage
    money: float | None
    currency: str
    prices: str


class Spending:
    """The calls, tokens and money that a run takes from servers, and the money it may take."""

    def __init__(self, budget: float | None = None) -> None:
        self.budget = budget
        self.prices = read_prices()
        self.money = 0.0
        self.calls = 0
        self.tokens = NO_TOKENS

    def must_know(self, models: Collection[str]) -> None:
        """With a budget, every model needs a known price. UserError names one without."""
        for model in models if self.budget is not None else ():
            if model not in self.prices.models:
                raise UserError(
                    f"--budget: the price of {model!r} is not known.{near(model, self.prices.models)} "
                    f"Add it to {home() / 'prices.yaml'}, {{input: 0, output: 0}} if it is free."
                )

    def check(self) -> None:
        """Raises BudgetError if the budget is spent. Requests under way may still add to it."""
        if self.budget is not None and self.money >= self.budget:
            raise BudgetError(
                f"the budget is spent ({self.money:.4f} of {self.budget:g} {self.prices.currency}). "
                "What is recorded is kept: the same command with a new budget goes on."
            )

    def add(self, model: str, usage: Usage) -> None:
        """Counts a request that was answered."""
        self.money += self.prices.money(model, usage) or 0.0
        self.calls += 1
        self.tokens += usage

    def cost(self, paid_as: str | None) -> Spent:
        """All that was counted, if one model took it."""
        money = 0.0 if paid_as is None else self.prices.money(paid_as, self.tokens)
        return Spent(self.calls, self.tokens, money, self.prices.currency, self.prices.date)
