"""Prices of models on servers, from a dated file, and the money that a run has spent.

Prices change, so none is in code: `judges/prices.yaml` has a date and a source, and the file of the
user overrides it. The cost of a model that is in neither file is unknown, not 0.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from eval_anything.content import NO_TOKENS, Usage
from eval_anything.errors import EvalError, Exit, UserError, near
from eval_anything.files.places import content_folder, home
from eval_anything.files.yaml_files import read_yaml


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """Price of a million input tokens and of a million output tokens."""

    input: float
    output: float

    def __post_init__(self) -> None:
        if self.input < 0 or self.output < 0:
            raise ValueError("a price is not below 0")


class PriceFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of prices.yaml: date and source of the prices, and the price of each model."""

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
    """The bundled prices, overridden by those of the user; other currencies replace all of them."""
    bundled = read_yaml(content_folder("judges") / "prices.yaml", PriceFile)
    path = home() / "prices.yaml"
    if not path.is_file():
        return bundled
    custom = read_yaml(path, PriceFile)
    if custom.currency != bundled.currency:
        return custom
    return PriceFile(custom.date, custom.source, custom.currency, bundled.models | custom.models)


class BudgetError(EvalError):
    """The budget of the run is spent: the run stops, and can go on with a larger one."""

    exit_code = Exit.STOPPED


class Spent(Struct, frozen=True):
    """Calls, tokens and money that one model took.

    `prices` is the date of the price file. `money` is None for a model without a known price, and 0 for
    a local one.
    """

    calls: int
    tokens: Usage
    money: float | None
    currency: str
    prices: str


class Spending:
    """A counter of the calls, tokens and money of a run, with the budget that it may spend."""

    def __init__(self, budget: float | None = None) -> None:
        self.budget = budget
        self.prices = read_prices()
        self.money = 0.0
        self.calls = 0
        self.tokens = NO_TOKENS

    def must_know(self, models: Collection[str]) -> None:
        """Raises UserError if there is a budget and one of the models has no known price."""
        for model in models if self.budget is not None else ():
            if model not in self.prices.models:
                raise UserError(
                    f"--budget: the price of {model!r} is not known.{near(model, self.prices.models)} "
                    f"Add it to {home() / 'prices.yaml'}, {{input: 0, output: 0}} if it is free."
                )

    def check(self) -> None:
        """Raises BudgetError if the budget is spent. Requests under way may still spend more."""
        if self.budget is not None and self.money >= self.budget:
            raise BudgetError(
                f"the budget is spent ({self.money:.4f} of {self.budget:g} {self.prices.currency}). "
                "What is recorded is kept: the same command with a new budget goes on."
            )

    def add(self, model: str, usage: Usage) -> None:
        """Adds a request that was answered to the totals."""
        self.money += self.prices.money(model, usage) or 0.0
        self.calls += 1
        self.tokens += usage

    def cost(self, paid_as: str | None) -> Spent:
        """The totals, priced as if one model took all of it; `paid_as` is None for a local model."""
        money = 0.0 if paid_as is None else self.prices.money(paid_as, self.tokens)
        return Spent(self.calls, self.tokens, money, self.prices.currency, self.prices.date)
