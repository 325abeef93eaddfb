"""Prices, the estimate before a run, and a budget that stops it cleanly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval_anything.content import Usage
from eval_anything.errors import UserError
from eval_anything.servers.prices import BudgetError, Spending, read_prices
from tests.support.helpers import Cli, make_task, text_sample
from tests.support.scripted_server import says, serve

# The scripted server says that a reply took 11 tokens in and 7 out: 25 units of money.
PRICES = """\
date: "2026-01-01"
source: a test
currency: USD
models:
  tester: {input: 1000000, output: 2000000}
"""


@pytest.fixture
def prices(own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "prices.yaml").write_text(PRICES)


def test_bundled_prices_have_a_date_and_a_source() -> None:
    prices = read_prices()
    assert len(prices.date) == 10
    assert prices.source
    assert prices.money("gpt-4o", Usage(1_000_000, 100_000)) == pytest.approx(3.5)
    assert prices.money("nobody", Usage(1)) is None


def test_own_prices_lie_over_the_bundled_ones(prices: None) -> None:
    assert read_prices().money("tester", Usage(1, 1)) == 3.0
    assert "gpt-4o" in read_prices().models
    assert read_prices().date == "2026-01-01"


def test_a_negative_price_is_refused(own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "prices.yaml").write_text(PRICES.replace("2000000", "-2"))
    with pytest.raises(UserError, match="not below 0"):
        read_prices()


def test_spending_stops_at_the_budget(prices: None) -> None:
    spending = Spending(budget=30)
    spending.check()
    spending.add("tester", Usage(11, 7))
    spending.check()
    spending.add("tester", Usage(11, 7))
    with pytest.raises(BudgetError, match=r"50.0000 of 30 USD"):
        spending.check()


def test_a_budget_stops_the_run_and_a_new_one_goes_on(cli: Cli, tmp_path: Path, prices: None) -> None:
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(40)])
    with serve(lambda number, body: says("fine")) as server:
        command = ["run", "--model", server.spec(), "--tasks", "mine/demo", "--include", "mine"]
        command += ["--concurrency", "1", "--out", "r", "--json"]
        first = cli(*command, "--budget", "250")
        assert first.code == 5
        assert "the budget is spent" in first.err
        assert len(server.bodies) == 10
        assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "stopped"
        done = cli(*command, "--budget", "1000")
    assert done.code == 0, done.err
    assert len(server.bodies) == 40
    assert done.json["tasks"]["mine/demo"]["metrics"]["selection"]["n"] == 40
    assert done.json["cost"]["money"] == pytest.approx(40 * 25)
    assert done.json["cost"]["by"]["tester"]["money"] == pytest.approx(40 * 25)


def test_a_budget_needs_a_price(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path)
    command = ["run", "--model", "openai/gpt-4o-mnii@http://127.0.0.1:9/v1", "--tasks", "mine/demo"]
    done = cli(*command, "--include", "mine", "--budget", "1")
    assert done.code == 2
    assert "Did you mean gpt-4o-mini" in done.err


def test_without_a_price_the_money_is_unknown_not_zero(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path)
    with serve(lambda number, body: says("fine")) as server:
        command = ["run", "--model", server.spec(), "--tasks", "mine/demo", "--include", "mine"]
        assert cli(*command, "--json").json["cost"]["money"] is None


def test_a_dry_run_estimates_and_asks_nothing(cli: Cli, tmp_path: Path, prices: None) -> None:
    make_task(tmp_path)
    with serve(lambda number, body: says("fine")) as server:
        command = ["run", "--model", server.spec(), "--tasks", "mine/demo", "--include", "mine"]
        cost = cli(*command, "--dry-run", "--json").json["cost"]
        assert server.bodies == []
        assert cost["by"]["tester"]["calls"] == 4
        assert cost["money"] > 0
        assert "in all about" in cli(*command, "--dry-run").out
    assert not (tmp_path / "runs").exists()
