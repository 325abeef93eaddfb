"""Kept verdicts: nothing is paid for twice, nothing bad is kept, the key is what decides a verdict."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from eval_anything.content import Usage
from eval_anything.errors import InfrastructureError
from eval_anything.judges.asking.ask import JudgeAnswer, JudgeAsker, JudgeQuestion
from eval_anything.judges.asking.cache import Verdicts
from eval_anything.judges.asking.verdict import Marked, last_marked, marked_format
from eval_anything.servers.chat import parse_server
from tests.support.helpers import Cli, Result, answers, make_task, text_sample, write_jsonl
from tests.support.judge_server import GOOD, POOR, Asked, JudgeServer, judge_server, talk_task

TASK = talk_task()
IDS = [f"s{i}" for i in range(12)]


def fair(asked: Asked) -> tuple[int, str]:
    """7 for the task's answers, nothing for canaries."""
    return 200, GOOD if "Paris" in str(asked.answer) else POOR


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    make_task(tmp_path, samples=[text_sample(i, f"Question {i}?") for i in IDS], yaml=TASK)
    return write_jsonl(tmp_path / "out.jsonl", answers(IDS))


def score(cli: Cli, server: JudgeServer, out: str, model: str = "judge") -> Result:
    spec = server.spec.replace("/judge@", f"/{model}@")
    command = ["score", "--outputs", "out.jsonl", "--tasks", "mine/demo", "--include", "mine", "--json"]
    return cli(*command, "--judge", f"synergy_rubric={spec}", "--out", out)


def test_a_second_run_asks_nothing_and_says_the_same(cli: Cli, outputs: Path) -> None:
    with judge_server() as server:
        server.reply = fair
        first = score(cli, server, "a")
        asked = len(server.asked)
        assert asked == len(IDS) + 6, "each answer once, and two samples' canaries"
        second = score(cli, server, "b")
        assert len(server.asked) == asked
    one, other = (r.json["tasks"]["mine/demo"]["metrics"]["synergy"] for r in (first, second))
    assert one == other
    assert one["value"] == pytest.approx(0.7)
    assert first.json["cost"]["by"]["judge synergy_rubric"]["tokens"]["input"] >= 0
    assert second.json["cost"]["by"]["judge synergy_rubric"]["tokens"] == {"input": 0, "output": 0}


def test_another_model_or_another_answer_is_asked(cli: Cli, outputs: Path) -> None:
    with judge_server() as server:
        server.reply = fair
        score(cli, server, "a")
        asked = len(server.asked)
        score(cli, server, "b", model="other")
        assert len(server.asked) == 2 * asked
        write_jsonl(outputs, [*answers(IDS[:1], "Paris, I think"), *answers(IDS[1:])])
        score(cli, server, "c")
        assert len(server.asked) == 2 * asked + 1


@pytest.mark.parametrize("bad", ["not a verdict", '{"mark": "@MARK@", "grades": {"synergy": 99}}'])
def test_failures_are_not_kept(cli: Cli, outputs: Path, bad: str) -> None:
    with judge_server() as server:
        server.reply = lambda asked: (200, bad)
        assert score(cli, server, "a").json["tasks"]["mine/demo"]["metrics"]["synergy"]["unscored"] == 12
        server.reply = fair
        done = score(cli, server, "b")
    assert done.code == 0
    assert done.json["tasks"]["mine/demo"]["metrics"]["synergy"]["value"] == pytest.approx(0.7)


# --- equal questions at the same time ------------------------------------------------------------


class Said(Marked, frozen=True):
    """A verdict with one word."""

    word: str


YES = '{"mark": "@MARK@", "word": "yes"}'


def asking_for(words: str, repeat: int = 0) -> JudgeQuestion[Said]:
    """A question whose verdict is a word."""
    form = '{"mark": "MARK", "word": "yes or no"}'
    return JudgeQuestion(
        messages=lambda fence, mark: [
            {"role": "system", "content": f"{fence} {form.replace('MARK', mark)}"},
            {"role": "user", "content": [{"type": "text", "text": words}]},
        ],
        read=lambda reply, mark: last_marked(reply, mark, Said),
        type_=Said,
        form=marked_format({"word": {"type": "string"}}),
        repeat=repeat,
    )


def with_asker(
    server: JudgeServer, body: Callable[[Callable[..., Asking]], Coroutine[Any, Any, None]]
) -> None:
    """Runs `body(ask)`, where `ask` begins to ask a question on the server."""

    async def run() -> None:
        asker = JudgeAsker("judge own", parse_server(server.spec, "--judge"))

        def ask(words: str, repeat: int = 0) -> Asking:
            return asyncio.create_task(asker.ask(asking_for(words, repeat), None))

        try:
            await body(ask)
        finally:
            await asker.close()
            assert not [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]

    asyncio.run(run())


Asking = asyncio.Task[JudgeAnswer[Said]]


async def arrived(server: JudgeServer, count: int) -> None:
    """Waits until so many requests are there."""
    async with asyncio.timeout(10):
        while len(server.asked) < count:
            await asyncio.sleep(0.005)


def test_equal_questions_at_the_same_time_share_one_request() -> None:
    async def body(ask: Callable[..., Asking]) -> None:
        many = [ask("a") for _ in range(50)]
        others = [ask("b"), ask("a", repeat=1)]
        found = await asyncio.gather(*many, *others)
        assert [answer.verdict.word for answer in found] == ["yes"] * 52
        assert len({answer.verdict.mark for answer in found[:50]}) == 1
        used = [answer.usage for answer in found[:50] if answer.usage != Usage()]
        assert len(used) == 1, "its tokens are noted once"
        assert (await ask("a")).usage == Usage(), "and kept"

    with judge_server() as server:
        server.reply = lambda asked: (200, YES)
        with_asker(server, body)
        assert len(server.asked) == 3


def test_a_failure_reaches_all_and_is_not_kept() -> None:
    async def body(ask: Callable[..., Asking]) -> None:
        found = await asyncio.gather(ask("a"), ask("a"), ask("a"), return_exceptions=True)
        assert ["no JSON verdict" in str(error) for error in found] == [True] * 3
        assert all(isinstance(error, ValueError) for error in found)
        assert len(server.asked) == 2, "it was asked once more, for all of them"
        server.reply = lambda asked: (200, YES)
        assert (await ask("a")).verdict.word == "yes"

    with judge_server() as server:
        server.reply = lambda asked: (200, "no verdict")
        with_asker(server, body)
        assert len(server.asked) == 3


def test_who_gives_no_verdict_is_asked_once_more_with_another_mark() -> None:
    async def body(ask: Callable[..., Asking]) -> None:
        answer = await ask("a")
        assert answer.verdict.word == "yes"
        assert answer.usage == Usage(2 * usage.input, 2 * usage.output)

    with judge_server() as server:
        server.reply = lambda asked: (200, YES)
        once: list[JudgeAnswer[Said]] = []

        async def alone(ask: Callable[..., Asking]) -> None:
            once.append(await ask("b"))

        with_asker(server, alone)
        usage = once[0].usage
        server.asked.clear()
        server.reply = lambda asked: (200, "hm" if asked.number == 1 else YES)
        with_asker(server, body)
        first, second = server.asked
        assert first.mark != second.mark


@pytest.mark.parametrize("first", [0, 1, 2])
def test_who_is_cancelled_takes_nobody_along(first: int) -> None:
    go_on = threading.Event()

    def reply(asked: Asked) -> tuple[int, str]:
        assert go_on.wait(10)
        return 200, YES

    async def body(ask: Callable[..., Asking]) -> None:
        tasks = [ask("a") for _ in range(3)]
        await arrived(server, 1)
        tasks[first].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[first]
        go_on.set()
        others = [await task for task in tasks if task is not tasks[first]]
        assert [answer.verdict.word for answer in others] == ["yes", "yes"]
        assert [answer.usage != Usage() for answer in others] == [True, False], "they were paid for"

    with judge_server() as server:
        server.reply = reply
        with_asker(server, body)
        assert len(server.asked) == 1


def test_when_all_are_cancelled_the_request_is_too_and_can_be_made_anew() -> None:
    go_on = threading.Event()

    def reply(asked: Asked) -> tuple[int, str]:
        assert asked.number > 1 or go_on.wait(10)
        return 200, YES

    async def body(ask: Callable[..., Asking]) -> None:
        tasks = [ask("a") for _ in range(3)]
        await arrived(server, 1)
        for task in tasks:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in found)
        assert (await ask("a")).verdict.word == "yes"
        go_on.set()

    with judge_server() as server:
        server.reply = reply
        with_asker(server, body)
        assert len(server.asked) == 2


def _write(path: Path, first: int) -> None:
    verdicts = Verdicts(path)
    for i in range(first, first + 200):
        verdicts.put(f"key {i}", f"text {i}")
        assert verdicts.get(f"key {i}") == f"text {i}"
    verdicts.close()


def test_several_processes_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "verdicts.sqlite"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(path, 100 * i)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    verdicts = Verdicts(path)
    assert all(verdicts.get(f"key {i}") == f"text {i}" for i in range(500))
    assert verdicts.get("key 500") is None


def test_the_first_verdict_of_a_key_stays(tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path / "v.sqlite")
    verdicts.put("key", "one")
    verdicts.put("key", "two")
    assert verdicts.get("key") == "one"


def test_a_file_that_is_no_base_says_so(tmp_path: Path) -> None:
    (tmp_path / "v.sqlite").write_bytes(b"not a data base at all" * 100)
    with pytest.raises(InfrastructureError, match=r"v\.sqlite"):
        Verdicts(tmp_path / "v.sqlite").get("key")
