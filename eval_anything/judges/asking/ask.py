"""How a judge asks its chat model for a verdict: the same for all kinds that ask one.

Each request has a fence and a mark of its own (`verdict.py`). Usable verdicts are kept
(`verdicts.py`), and equal questions that are asked at the same time share one request, so nothing is
paid for twice. Structured output is used where the server has it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from eval_anything.content import Usage
from eval_anything.files.hashing import sha256_of
from eval_anything.files.places import home
from eval_anything.judges.asking import guard
from eval_anything.judges.asking.cache import Verdicts
from eval_anything.judges.asking.verdict import Marked
from eval_anything.servers.chat import ChatClient, Reply, ReplyError, Server
from eval_anything.servers.prices import Spending

Messages = list[dict[str, Any]]


V = TypeVar("V", bound=Marked)


# Stands for the random fence and mark where a request is hashed.
_NO_NONCE = "0" * 16


# How often a model is asked that answers with something else than a verdict.
_TRIES = 2


class JudgeQuestion(NamedTuple, Generic[V]):
    """One question to the model: its messages with a fence and a mark, how the answer is read with
    the mark (ValueError if it is no verdict), as which type, and its form for structured output."""

    messages: Callable[[str, str], Messages]
    read: Callable[[str, str], V]
    type_: type[V]
    form: Mapping[str, Any]
    temperature: float = 0.0
    repeat: int = 0


class JudgeAnswer(NamedTuple, Generic[V]):
    """A usable verdict, and the tokens that it took; none if it was kept, or another had asked."""

    verdict: V
    usage: Usage


class _UnderWay(Struct):
    """A request and how many wait for its answer; the first to get it notes its tokens."""

    task: asyncio.Task[JudgeAnswer[Any]]
    waiting: int = 0
    noted: bool = False


class JudgeAsker:
    """The model of one judge on its server; `who` names the judge in messages."""

    def __init__(self, who: str, server: Server) -> None:
        self.server = server
        self._who = who
        self._client: ChatClient | None = None
        self._verdicts: Verdicts | None = None
        self._structured = True
        self._under_way: dict[str, _UnderWay] = {}

    async def ask(self, question: JudgeQuestion[V], spending: Spending | None) -> JudgeAnswer[V]:
        """A verdict, kept or new. ValueError if the model gives none; other errors go on up.

        All who ask the same while it is under way get the answer, or the error, of one request, which
        goes on until the last of them is cancelled.
        """
        if self._verdicts is None:
            self._verdicts = Verdicts(home() / "verdicts.sqlite")
        parameters = [{"temperature": question.temperature}, question.repeat]
        messages = question.messages(_NO_NONCE, _NO_NONCE)
        key = sha256_of([list(self.server), guard.VERSION, messages, *parameters])
        one = self._under_way.get(key)
        if one is None or one.task.done():
            kept = self._verdicts.get(key)
            if kept is not None:
                return JudgeAnswer(msgspec.json.decode(kept, type=question.type_), Usage())
            if self._client is None:
                self._client = ChatClient(self.server, self._who, spending=spending)
            request = self._request(self._client, self._verdicts, key, question)
            one = self._under_way[key] = _UnderWay(asyncio.create_task(request))
        return await self._answer_of(key, one)

    async def _answer_of(self, key: str, one: _UnderWay) -> JudgeAnswer[Any]:
        one.waiting += 1
        try:
            await asyncio.wait((one.task,))  # unlike awaiting it, this does not cancel it
        finally:
            one.waiting -= 1
            if not one.waiting:
                if self._under_way.get(key) is one:
                    del self._under_way[key]
                if not one.task.done():
                    one.task.cancel()
                    await asyncio.wait((one.task,))
        answer = one.task.result()
        usage = Usage() if one.noted else answer.usage
        one.noted = True
        return answer._replace(usage=usage)

    async def _request(
        self, client: ChatClient, verdicts: Verdicts, key: str, question: JudgeQuestion[V]
    ) -> JudgeAnswer[V]:
        """Asks, again if the reply is no verdict, and keeps what is usable."""
        usage = Usage()
        for left in reversed(range(_TRIES)):
            fence, mark = secrets.token_hex(8), secrets.token_hex(8)
            reply = await self._reply(client, question, question.messages(fence, mark))
            usage += reply.usage
            try:
                verdict = question.read(reply.text, mark)
                break
            except ValueError:
                if not left:
                    raise
        verdicts.put(key, msgspec.json.encode(verdict).decode())
        return JudgeAnswer(verdict, usage)

    async def close(self) -> None:
        """Ends what `ask` opened; a later `ask` opens it anew."""
        if self._client is not None:
            await self._client.close()
        if self._verdicts is not None:
            self._verdicts.close()
            self._verdicts = None

    async def _reply(self, client: ChatClient, question: JudgeQuestion[V], messages: Messages) -> Reply:
        """With structured output where the server has it, else without."""
        temperature = question.temperature
        if self._structured:
            try:
                return await client.ask(messages, response_format=question.form, temperature=temperature)
            except ReplyError as error:
                if error.status not in (400, 422):
                    raise
        reply = await client.ask(messages, temperature=temperature)
        self._structured = False  # it was the form that the server refused, not this one request
        return reply
