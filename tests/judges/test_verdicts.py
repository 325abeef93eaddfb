"""Kept verdicts: nothing is paid for twice, nothing bad is kept, the key is what decides a verdict."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval_anything.content import Usage
from eval_anything.errors import InfrastructureError
from eval_anything.judges.asking.ask import JudgeAnswer, JudgeAsker, JudgeQuestion
from eval_anything.judges.asking.cache import Verdicts
from eval_anything.judges.asking.checklist import Criterion
from eval_anything.judges.asking.verdict import Marked, last_marked, marked_format, read_verdict
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


# --- how they are written ------------------------------------------------------------------------


START = '{"mark": "@MARK@", '
WRITTEN = {
    "no explanation": START + '"grades": {"synergy": 7}}',
    "a null for an explanation": START + '"explanation": null, "grades": {"synergy": 7}}',
    "a list for an explanation": START + '"explanation": ["one", "two"], "grades": {"synergy": 7}}',
    "a number for an explanation": START + '"explanation": 7, "grades": {"synergy": 7}}',
    "a number as a text": START + '"explanation": "x", "grades": {"synergy": "7"}}',
    "a number of ten": START + '"explanation": "x", "grades": {"synergy": "7/10"}}',
    "another case": START + '"explanation": "x", "grades": {"Synergy": 7}}',
    "a raw newline": START + '"explanation": "one\ntwo\tthree", "grades": {"synergy": 7}}',
    "a backslash of LaTeX": START + '"explanation": "\\(x\\) and \\d", "grades": {"synergy": 7}}',
    "a half of an emoji": START + '"explanation": "\\ud83d", "grades": {"synergy": 7}}',
    "a code fence": f'```json\n{START}"grades": {{"synergy": 7}}}}\n```',
    "a comma too many": START + '"grades": {"synergy": 7,},}',
    "cut after the grades": START + '"grades": {"synergy": 7}, "explanation": "they agr',
    "cut behind a comma": START + '"grades": {"synergy": 7, ',
    "a brace is missing": START + '"explanation": "x", "grades": {"synergy": 7}',
    "thoughts before": f"<think>{POOR.replace('0}', '1}')}</think>{GOOD}",
    "the end of thoughts before": f"Is it {POOR}?\n</think>\n{GOOD}",
}


@pytest.mark.parametrize("case", WRITTEN)
def test_a_verdict_whose_meaning_is_sure_is_read(cli: Cli, outputs: Path, case: str) -> None:
    with judge_server() as server:
        server.reply = lambda asked: (200, WRITTEN[case] if "Paris" in str(asked.answer) else POOR)
        done = score(cli, server, "a")
    assert done.code == 0, done.err
    metric = done.json["tasks"]["mine/demo"]["metrics"]["synergy"]
    assert (metric["value"], metric["unscored"]) == (pytest.approx(0.7), 0)


UNREADABLE = {
    "no mark": ('{"explanation": "x", "grades": {"synergy": 7}}', "does not repeat"),
    "another mark": ('{"mark": "0123", "grades": {"synergy": 7}}', "does not repeat"),
    "no verdict": ("It is fine.", "no JSON verdict"),
    "no grade": (START + '"explanation": "x", "grades": {}}', "no grade for synergy"),
    "no grades": (START + '"explanation": "x"}', "missing required field `grades`"),
    "out of range": (START + '"grades": {"synergy": "70"}}', "70 for synergy is outside 0 to 10"),
    "of another scale": (START + '"grades": {"synergy": "70/100"}}', "'70/100' for synergy"),
    "cut inside of the number": (START + '"grades": {"synergy": 7', "no grade for synergy"),
    "cut before the grades": (START + '"explanation": "they ag', "it is cut off"),
    "broken": (START + '"grades": {synergy: 7}}', "broken JSON"),
    "two commas": (START + '"grades": {"synergy": 7,,}}', "broken JSON"),
    "the last one is broken": (f'{GOOD} or {START} "grades": "none"}}', "at `$.grades`"),
}  # fmt: skip


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_wrong_with_a_verdict_is_said(
    cli: Cli, outputs: Path, tmp_path: Path, case: str, reason: str
) -> None:
    reply, words = UNREADABLE[case]
    with judge_server() as server:
        server.reply, server.finish_reason = lambda asked: (200, reply), reason
        assert score(cli, server, "a").code == 1
    [row, *_] = [json.loads(line) for line in (tmp_path / "a/mine/demo/records.jsonl").open()]
    assert row["scores"]["synergy"]["value"] is None
    explanation = row["scores"]["synergy"]["explanation"]
    assert words in explanation
    assert ("cut at max_tokens after 7 tokens" in explanation) is (reason == "length")


def test_thoughts_that_take_all_tokens_are_said(cli: Cli, outputs: Path, tmp_path: Path) -> None:
    with judge_server() as server:
        server.reply, server.finish_reason = lambda asked: (200, f"<think>Is it {GOOD}"), "length"
        assert score(cli, server, "a").code == 1
    [row, *_] = [json.loads(line) for line in (tmp_path / "a/mine/demo/records.jsonl").open()]
    words = "its thoughts took all tokens (finish reason length, 7 tokens)"
    assert words in row["scores"]["synergy"]["explanation"]


QUOTED = '{"grades": {"synergy": 10}, "explanation": "'


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([QUOTED, '"mark": ', *'{}[]",:', "7f", "\\", "\n", "10", "true"]), max_size=12
    )
)
def test_no_quotation_is_a_verdict(pieces: list[str]) -> None:
    """Whatever a judge quotes before and behind its verdict, the verdict counts or none does."""
    noise = "".join(pieces).replace("7f", "8e")
    real = '{"mark": "7f", "explanation": "x", "grades": {"synergy": 3}}'
    criteria = [Criterion("synergy", "synergy", "", 1.0, (0.0, 10.0))]
    for reply in (f"{noise}\n{real}", f"{real}\n{noise}"):
        assert read_verdict(reply, "7f", criteria).grades == {"synergy": 3}
    with contextlib.suppress(ValueError):
        assert read_verdict(f"{noise}{real[:-9]}", "7f", criteria).grades == {"synergy": 3}
