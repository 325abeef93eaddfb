"""Prices of models on servers, from a dated file, and the money that a run has spent.

Prices change, so none is in code: `judges/prices.yaml` has a date and a source, and the file of the
user overrides it. The cost of a model that is in neither file is unknown, not 0.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

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


def spent_text(spent: Spent) -> str:
    """A sentence on what was spent; it says if tokens are estimated.

    Example:
        >>> spent_text(Spent(2, Usage(22, 14), 0.05, "USD", "2026-01-01"))
        'Spent: 0.0500 USD for 2 calls, 22 tokens in and 14 out.'
    """
    money = "unknown money" if spent.money is None else f"{spent.money:.4f} {spent.currency}"
    tokens = f"{spent.tokens.input or 0} tokens in and {spent.tokens.output or 0} out"
    if not spent.tokens.estimated:
        return f"Spent: {money} for {spent.calls} calls, {tokens}."
    return (
        f"Spent: about {money} for {spent.calls} calls, about {tokens}; tokens that a server did not "
        "report are estimated."
    )


class Spending:
    """A counter of the calls, tokens and money of a run, with the budget that it may spend.

    Money for requests under way is reserved, so that they stay within the budget together. `on_payment`
    is called with the model and the tokens of each request that was paid.
    """

    def __init__(self, budget: float | None = None) -> None:
        self.budget = budget
        self.prices = read_prices()
        self.calls = 0
        self.on_payment: Callable[[str, Usage], None] = lambda model, usage: None
        self._by_model: dict[str, Usage] = {}
        self._reserved: list[float] = []
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def tokens(self) -> Usage:
        """All tokens."""
        return sum(self._by_model.values(), NO_TOKENS)

    @property
    def money(self) -> float:
        """The money for models with a known price. It does not depend on the order of the requests."""
        return math.fsum(amount for amount in self._amounts() if amount is not None)

    def _amounts(self) -> list[float | None]:
        return [self.prices.money(model, usage) for model, usage in self._by_model.items()]

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
            raise self.stop()

    def stop(self) -> BudgetError:
        """The error that ends a run, with all that is spent by now."""
        return BudgetError(
            f"the budget is spent ({self.money:.4f} of {self.budget:g} {self.prices.currency}). "
            "What is recorded is kept: the same command with a larger --budget goes on. "
            f"{spent_text(self.total())}"
        )

    @asynccontextmanager
    async def reserved(self, model: str, most: Usage) -> AsyncIterator[None]:
        """Reserves the money for a request inside the block.

        Where the budget has no room for it, it waits until others have ended. Alone it may always begin,
        so that the last request may spend more than is left.

        Args:
            model: the model that is asked.
            most: the tokens that the request may take.

        Raises:
            BudgetError: the budget is spent.
        """
        if self.budget is None:
            yield
            return
        amount = self.prices.money(model, most) or 0.0
        self.check()
        while self._reserved and self.money + sum(self._reserved) + amount > self.budget:
            ended = asyncio.get_running_loop().create_future()
            self._waiting.append(ended)
            await ended
            self.check()
        self._reserved.append(amount)
        try:
            yield
        finally:
            self._reserved.remove(amount)
            waiting, self._waiting = self._waiting, []
            for ended in waiting:
                if not ended.done():
                    ended.set_result(None)

    def add(self, model: str, usage: Usage) -> None:
        """Adds a request that was answered to the totals."""
        self.add_earlier(model, 1, usage)
        self.on_payment(model, usage)

    def add_earlier(self, model: str, calls: int, usage: Usage) -> None:
        """Adds requests that the run has paid for before."""
        self.calls += calls
        self._by_model[model] = self._by_model.get(model, NO_TOKENS) + usage

    def total(self) -> Spent:
        """All that the run has spent; its money is None if a model has no known price."""
        money = None if None in self._amounts() else self.money
        return Spent(self.calls, self.tokens, money, self.prices.currency, self.prices.date)

    def cost(self, paid_as: str | None) -> Spent:
        """The totals, priced as if one model took all of it; `paid_as` is None for a local model."""
        money = 0.0 if paid_as is None else self.prices.money(paid_as, self.tokens)
        return Spent(self.calls, self.tokens, money, self.prices.currency, self.prices.date)
