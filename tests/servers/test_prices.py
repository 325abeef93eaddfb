"""Prices, the estimate before a run, and a budget that stops it cleanly."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Usage
from eval_anything.errors import UserError
from eval_anything.runs.spending_file import SpendingFile
from eval_anything.servers.prices import BudgetError, Spending, read_prices
from tests.support.helpers import Cli, answers, make_task, text_sample, write_jsonl
from tests.support.judge_server import GOOD, judge_server, talk_task
from tests.support.scripted_server import Handler, Reply, completion, raw, says, serve, streams

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


# --- no usage is not no cost ---------------------------------------------------------------------

# 14 letters of an answer are 4 tokens, and the requests are shorter than 30 tokens.
ANSWER = "It is Paris, I"
NO_USAGE: dict[str, dict[str, object]] = {
    "none": {"usage": None},
    "zeros": {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
    "the total alone": {"usage": {"total_tokens": 25}},
    "nonsense": {"usage": "many"},
}


def without_usage(shape: str) -> Reply:
    message = {"role": "assistant", "content": ANSWER}
    return raw(completion(message, **NO_USAGE[shape]))


COMMAND = ["--tasks", "mine/demo", "--include", "mine", "--out", "r"]


def records(run: Path) -> list[dict[str, Any]]:
    path = run / "mine" / "demo" / "records.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


@pytest.mark.parametrize("shape", list(NO_USAGE))
def test_a_budget_holds_without_usage(shape: str, cli: Cli, tmp_path: Path, prices: None) -> None:
    """An answer is estimated at 15 to 60 units: a budget of 100 is spent after 2 to 7 of 40."""
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(40)])
    with serve(lambda number, body: without_usage(shape)) as server:
        command = ["run", "--model", server.spec(), *COMMAND]
        stopped = cli(*command, "--budget", "100")
        assert stopped.code == 5, stopped.err
        assert 2 <= len(server.bodies) <= 7
        assert "Spent: about" in stopped.err
        assert "estimated" in stopped.err
        done = cli(*command, "--json")
    assert done.code == 0, done.err
    cost = done.json["cost"]
    assert cost["tokens"]["estimated"] is True
    assert cost["by"]["tester"]["tokens"]["estimated"] is True
    assert cost["money"] == pytest.approx(cost["spent"]["money"])
    assert 40 * 15 <= cost["money"] <= 40 * 60
    assert all(record["usage"]["estimated"] is True for record in records(tmp_path / "r"))


def test_reported_usage_of_any_number_is_no_estimate(cli: Cli, tmp_path: Path, prices: None) -> None:
    make_task(tmp_path)
    usage = {"prompt_tokens": 11.0, "completion_tokens": "7"}
    reply = raw(completion({"role": "assistant", "content": ANSWER}, usage=usage))
    with serve(lambda number, body: reply) as server:
        command = ["run", "--model", server.spec(), *COMMAND]
        done = cli(*command)
        cost = cli(*command, "--json").json["cost"]
    assert "Spent: 100.0000 USD for 4 calls, 44 tokens in and 28 out." in done.out
    assert cost["spent"] == {"calls": 4, "tokens": {"input": 44, "output": 28}, "money": 100.0}
    assert records(tmp_path / "r")[0]["usage"] == {"input": 11, "output": 7}


def test_a_stream_without_usage_is_estimated(cli: Cli, tmp_path: Path, prices: None) -> None:
    make_task(tmp_path)
    with serve(lambda number, body: streams(ANSWER)) as server:
        more = ["--model-arg", "stream=true", "--json"]
        done = cli("run", "--model", server.spec(), *COMMAND, *more)
    assert done.code == 0, done.err
    assert done.json["cost"]["tokens"]["output"] == 4 * 4
    assert done.json["cost"]["tokens"]["estimated"] is True


@pytest.mark.parametrize("usage", [True, False], ids=["usage", "no usage"])
def test_requests_at_the_same_time_do_not_overshoot(
    usage: bool, cli: Cli, tmp_path: Path, prices: None
) -> None:
    """64 at a time: without a reservation 64 answers would come before the first is counted."""
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(200)])

    def slow(handler: Handler) -> None:
        time.sleep(0.02)
        (says("fine") if usage else without_usage("none"))(handler)

    with serve(lambda number, body: slow) as server:
        command = ["run", "--model", server.spec(), *COMMAND, "--model-arg", "max_tokens=20"]
        stopped = cli(*command, "--concurrency", "64", "--budget", "500")
        spent = sum(p.tokens.input + 2 * p.tokens.output for p in SpendingFile(tmp_path / "r").read())
        assert stopped.code == 5, stopped.err
        assert 500 <= spent < 500 + 60, "one answer at most"
        assert len(records(tmp_path / "r")) == len(server.bodies)
        assert f"({spent:.4f} of 500 USD)" in stopped.err, "what was under way is counted"


def test_a_large_budget_lets_all_places_be_taken(cli: Cli, tmp_path: Path, prices: None) -> None:
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(100)])

    def slow(handler: Handler) -> None:
        time.sleep(0.05)
        says("fine")(handler)

    with serve(lambda number, body: slow) as server:
        done = cli("run", "--model", server.spec(), *COMMAND, "--budget", "10000000")
    assert done.code == 0, done.err
    assert server.most_at_once > 16


def test_a_stopped_command_counts_what_its_run_has_spent(cli: Cli, tmp_path: Path, prices: None) -> None:
    make_task(tmp_path, samples=[text_sample(f"s{i}") for i in range(40)])
    with serve(lambda number, body: says("fine")) as server:
        command = ["run", "--model", server.spec(), *COMMAND, "--concurrency", "1"]
        assert cli(*command, "--budget", "250").code == 5
        asked = len(server.bodies)
        again = cli(*command, "--budget", "250")
        assert (again.code, len(server.bodies)) == (5, asked), "nothing more is sent"
        assert "250.0000 of 250 USD" in again.err
        assert cli(*command, "--budget", "500").code == 5
        assert len(server.bodies) == 20
        (tmp_path / "r" / "spending.jsonl").unlink()  # as in runs of older versions
        assert cli(*command, "--budget", "600").code == 5
        assert len(server.bodies) == 24
        with (tmp_path / "r" / "spending.jsonl").open("ab") as file:
            file.write(b'{"model": "tester", "tok')  # a kill
        assert cli(*command, "--budget", "700").code == 5
        assert len(server.bodies) == 28
        done = cli(*command)
    assert done.code == 0, done.err
    assert "Spent: 1000.0000 USD for" in done.out


def test_replies_that_cannot_be_used_are_paid_for(cli: Cli, tmp_path: Path, prices: None) -> None:
    """An answer without choices is the model's failure, with no tokens on its record."""
    make_task(tmp_path)
    with serve(lambda number, body: raw(completion(None, choices=[]))) as server:
        command = ["run", "--model", server.spec(), *COMMAND, "--json", "--max-failed", "1"]
        cost = cli(*command).json["cost"]
    assert cost["money"] == 0
    assert cost["spent"] == {"calls": 4, "tokens": {"input": 44, "output": 28}, "money": 100.0}


def test_a_damaged_line_is_named(cli: Cli, tmp_path: Path, prices: None) -> None:
    make_task(tmp_path)
    with serve(lambda number, body: says("fine")) as server:
        command = ["run", "--model", server.spec(), *COMMAND]
        assert cli(*command).code == 0
        (tmp_path / "r" / "spending.jsonl").write_text("{}\n")
        result = cli(*command)
    assert result.code == 2
    assert "spending.jsonl:1: damaged" in result.err


JUDGE_PRICES = PRICES + "  judge: {input: 1000000, output: 2000000}\n"


@pytest.mark.parametrize("verdict", [GOOD, "no verdict"])
def test_judges_spend_too(verdict: str, cli: Cli, tmp_path: Path, own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "prices.yaml").write_text(JUDGE_PRICES)
    samples = [text_sample(f"s{i}", f"Q{i}?") for i in range(40)]
    make_task(tmp_path, samples=samples, yaml=talk_task())
    write_jsonl(tmp_path / "out.jsonl", answers([f"s{i}" for i in range(40)]))
    with judge_server() as server:
        server.reply = lambda asked: (200, verdict)
        command = ["score", "--outputs", "out.jsonl", *COMMAND, "--judge", server.spec]
        stopped = cli(*command, "--budget", "250")
        assert stopped.code == 5, stopped.err
        assert len(server.asked) == 10
        assert cli(*command, "--budget", "250").code == 5
        assert len(server.asked) == 10, "what was spent before counts"
        cli(*command, "--budget", "500")
        assert len(server.asked) == 20


def test_a_local_model_spends_nothing(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path)
    write_jsonl(tmp_path / "out.jsonl", answers([f"s{i}" for i in range(4)]))
    done = cli("score", "--outputs", "out.jsonl", *COMMAND)
    assert done.out.splitlines()[-1] == "Spent: no money on servers."
    assert not (tmp_path / "r" / "spending.jsonl").exists()


def test_money_is_reserved_until_a_request_ends(prices: None) -> None:
    async def body() -> list[str]:
        spending, log = Spending(budget=100), []

        async def request(name: str, most: Usage, took: Usage) -> None:
            try:
                async with spending.reserved("tester", most):
                    log.append(f"{name} begins")
                    await asyncio.sleep(0.01)
                    spending.add("tester", took)
                    log.append(f"{name} ends")
            except BudgetError:
                log.append(f"{name} is stopped")

        small, large = Usage(10, 10), Usage(60, 10)
        await asyncio.gather(
            request("a", small, Usage(10, 5)),
            request("b", small, Usage(10, 5)),
            request("c", large, Usage(60, 10)),
            request("d", small, Usage(10, 10)),
        )
        return log

    log = asyncio.run(body())
    assert log[:4] == ["a begins", "b begins", "d begins", "a ends"], "c waits for room"
    assert log[-2:] == ["c begins", "c ends"], "alone it may begin"


def test_a_request_that_is_cancelled_frees_what_it_reserved(prices: None) -> None:
    async def body() -> None:
        spending = Spending(budget=10)

        async def request() -> None:
            async with spending.reserved("tester", Usage(10, 10)):
                await asyncio.sleep(0.05)

        first, second, third = (asyncio.create_task(request()) for _ in range(3))
        await asyncio.sleep(0.01)
        second.cancel()
        first.cancel()
        async with asyncio.timeout(1):
            await third

    asyncio.run(body())


def test_the_money_does_not_depend_on_the_order_of_requests(tmp_path: Path) -> None:
    """Not even its last bit: shards of a run add up to what one process pays."""
    (tmp_path / "home").mkdir()
    models = "models: {a: {input: 0.1, output: 0.7}, b: {input: 0.3, output: 1.1}}\n"
    (tmp_path / "home" / "prices.yaml").write_text(f"date: now\nsource: here\ncurrency: USD\n{models}")
    payments = [("ab"[i % 2], Usage(i * 37 % 101, i * 53 % 97)) for i in range(200)]
    totals = set()
    for order in (payments, payments[::-1], sorted(payments, key=str)):
        spending = Spending()
        for model, usage in order:
            spending.add(model, usage)
        totals.add(spending.total())
    assert len(totals) == 1
