"""Requests of a judge to its chat model for a verdict, for all kinds of judges that ask one.

Each request has its own random fence and mark (`verdict.py`). Usable verdicts are cached (`cache.py`),
and equal questions at the same time share one request, so nothing is paid for twice. Structured output
is used where the server supports it.
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
from eval_anything.servers.body import NO_CHANGES, BodyChanges
from eval_anything.servers.chat import ChatClient, Reply, ReplyError, Server
from eval_anything.servers.prices import Spending
from eval_anything.servers.refusals import RefusalKind
from eval_anything.servers.trial import Trial

Messages = list[dict[str, Any]]


V = TypeVar("V", bound=Marked)


# Replaces the random fence and mark where a request is hashed.
_NO_NONCE = "0" * 16


# Number of requests to a model whose replies are no verdicts.
_TRIES = 2


class JudgeQuestion(NamedTuple, Generic[V]):
    """One question to a judge model.

    Attributes:
        messages: makes the messages from a fence and a mark.
        read: makes the verdict from a reply and the mark. ValueError if the reply is no verdict.
        type_: type of the verdict.
        form: form of the verdict for structured output.
        temperature: temperature of the sampling.
        repeat: number of the repetition; each repetition has its own verdict.
    """

    messages: Callable[[str, str], Messages]
    read: Callable[[str, str], V]
    type_: type[V]
    form: Mapping[str, Any]
    temperature: float = 0.0
    repeat: int = 0


class JudgeAnswer(NamedTuple, Generic[V]):
    """A usable verdict, and the tokens that it took: none if it was cached, or shared with an earlier
    caller."""

    verdict: V
    usage: Usage


class _SharedRequest(Struct):
    """A request in progress, the number of callers that wait for it, and whether one of them has counted
    its tokens."""

    task: asyncio.Task[JudgeAnswer[Any]]
    waiting: int = 0
    counted: bool = False


def _cut(reply: Reply) -> str:
    """The end of a message about a reply that the server cut; empty for another reply."""
    if reply.stop_reason != "length":
        return ""
    tokens = f" after {reply.usage.output} tokens" if reply.usage.output else ""
    return f"; the reply was cut at max_tokens{tokens}"


class JudgeAsker:
    """Client of a judge's model on its server.

    Args:
        name: that of the judge, for messages.
        server: the model and its address.
        changes: changes to the body of each request.
        option: the option that has the changes, for messages.

    Attributes:
        kept: number of verdicts that an earlier run has left in the cache, and this one used.
    """

    def __init__(
        self,
        name: str,
        server: Server,
        changes: BodyChanges = NO_CHANGES,
        option: str = "--judge-arg",
    ) -> None:
        self.server = server
        self._changes = changes
        self._option = option
        self._name = name
        self._client: ChatClient | None = None
        self._verdicts: Verdicts | None = None
        self._structured = True
        self._requests: dict[str, _SharedRequest] = {}
        self._trial = Trial()
        self._given: set[str] = set()
        self.kept = 0

    def answered_before(self) -> None:
        """Notes that the model has given a verdict before, to this run or another one."""
        self._trial.accepted = True

    async def ask(
        self, question: JudgeQuestion[V], spending: Spending | None, fresh: bool = False
    ) -> JudgeAnswer[V]:
        """A verdict from the cache or the model; if `fresh`, none that was cached before this run.
        ValueError if the model gives none.

        Equal questions at the same time get the answer, or the error, of one request, which is cancelled
        with the last of its callers. Errors of the server are not caught.
        """
        if self._verdicts is None:
            self._verdicts = Verdicts(home() / "verdicts.sqlite")
        parameters = [{"temperature": question.temperature}, question.repeat]
        parameters += [self._changes.arguments()] if self._changes else []
        messages = question.messages(_NO_NONCE, _NO_NONCE)
        key = sha256_of([self.server.identity, guard.VERSION, messages, *parameters])
        shared = self._requests.get(key)
        if shared is None or shared.task.done():
            is_own = key in self._given
            cached = self._verdicts.get(key) if is_own or not fresh else None
            if cached is not None:
                self.kept += not is_own
                self.answered_before()
                return JudgeAnswer(msgspec.json.decode(cached, type=question.type_), Usage())
            if self._client is None:
                self._client = ChatClient(
                    self.server,
                    self._name,
                    spending=spending,
                    trial=self._trial,
                    changes=self._changes,
                    option=self._option,
                )
            request = self._request(self._client, self._verdicts, key, question, fresh)
            shared = self._requests[key] = _SharedRequest(asyncio.create_task(request))
        return await self._answer_of(key, shared)

    async def _answer_of(self, key: str, shared: _SharedRequest) -> JudgeAnswer[Any]:
        shared.waiting += 1
        try:
            await asyncio.wait((shared.task,))  # unlike awaiting it, this does not cancel it
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                if self._requests.get(key) is shared:
                    del self._requests[key]
                if not shared.task.done():
                    shared.task.cancel()
                    await asyncio.wait((shared.task,))
        answer = shared.task.result()
        usage = Usage() if shared.counted else answer.usage
        shared.counted = True
        return answer._replace(usage=usage)

    async def _request(
        self,
        client: ChatClient,
        verdicts: Verdicts,
        key: str,
        question: JudgeQuestion[V],
        replace: bool,
    ) -> JudgeAnswer[V]:
        """Asks the model, again if the reply is no verdict, and caches the verdict; `replace` puts it in
        the place of one that is there."""
        usage = Usage()
        for retries in reversed(range(_TRIES)):
            fence, mark = secrets.token_hex(8), secrets.token_hex(8)
            reply = await self._reply(client, question, question.messages(fence, mark))
            usage += reply.usage
            try:
                verdict = question.read(reply.text, mark)
                break
            except ValueError as error:
                if not retries:
                    raise ValueError(f"{error}{_cut(reply)}") from None
        verdicts.put(key, msgspec.json.encode(verdict).decode(), replace)
        self._given.add(key)
        return JudgeAnswer(verdict, usage)

    async def close(self) -> None:
        """Closes the connection and the cache; a later `ask` opens them again."""
        if self._client is not None:
            await self._client.close()
        if self._verdicts is not None:
            self._verdicts.close()
            self._verdicts = None

    async def _reply(self, client: ChatClient, question: JudgeQuestion[V], messages: Messages) -> Reply:
        """Reply of the server, with structured output unless the server refuses that."""
        temperature = question.temperature
        try:
            if self._structured:
                try:
                    return await client.ask(
                        messages, response_format=question.form, temperature=temperature
                    )
                except ReplyError as error:
                    if not _may_refuse_the_form(error):
                        raise
            reply = await client.ask(messages, temperature=temperature)
        except ReplyError as error:
            client.failure_of(error, _show_media(messages))  # raises what stops the run
            raise
        self._structured = False  # the server refused the form, not this one request
        return reply


def _show_media(messages: Messages) -> bool:
    """Whether a message has a part that is no text."""
    contents = (message["content"] for message in messages if isinstance(message["content"], list))
    return any(part.get("type") != "text" for content in contents for part in content)


def _may_refuse_the_form(error: ReplyError) -> bool:
    """Whether the server may have refused structured output, and take the request without it."""
    refusal = error.refusal
    if refusal is None or refusal.kind is RefusalKind.CONTENT:
        return False
    return refusal.kind is RefusalKind.PARAMETER or refusal.status in (400, 422)
