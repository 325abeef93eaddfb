"""The client of OpenAI-compatible servers that judges and models share, for every endpoint.

It distinguishes three kinds of failure (`refusals`): the user must fix something (refused key or
account, unknown model: `UserError`, at once); the server does not work now (`ServerError`, after a few
attempts: the samples stay pending); this one reply cannot be used (`ReplyError`; `failure_of` decides
whether it is a failure of that sample, or of all). On "slow down" (429) it sends fewer
requests at a time, after pauses that the server names or that grow, and nothing fails.

The size of a reply and the time of an attempt are bounded, and no redirect is followed: requests go
only to the server that the user named.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import math
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

from eval_anything.content import Failure, Usage
from eval_anything.errors import ServerError, UserError
from eval_anything.servers.addresses import Server, connection, parse_server
from eval_anything.servers.body import NO_CHANGES, BodyChanges
from eval_anything.servers.events import Fold, fold_events
from eval_anything.servers.limit import Limit
from eval_anything.servers.parameters import explain, refused_fields
from eval_anything.servers.pauses import Pauses, asked_pause
from eval_anything.servers.prices import Spending
from eval_anything.servers.refusals import Refusal, RefusalKind, SentRequest
from eval_anything.servers.replies import (
    Body,
    PassingError,
    ReplyError,
    raise_error,
    read_json,
    read_medium,
)
from eval_anything.servers.secrets import hide_in_logs, without_key
from eval_anything.servers.trial import Trial
from eval_anything.servers.usage import ReceivedTokens, counted, most_tokens, sent_tokens

__all__ = ["Client", "Files", "ReplyError", "Server", "Timed", "parse_server", "without_key"]


_ATTEMPTS = 4


_TIMEOUT = 120.0


_BAD_REQUEST = (400, 422)


_LONGEST_WAIT = 1800.0  # seconds of "slow down" before a request fails with ServerError


T = TypeVar("T")


F = TypeVar("F", bound=Fold)


Files = Sequence[tuple[str, tuple[str, bytes, str]]]
"""Files of a multipart form: the field, then the file's name, its bytes and its mime type."""


class Timed(NamedTuple, Generic[T]):
    """A reply, and the seconds of the attempt that succeeded, without pauses and failed attempts.

    `usage` has the tokens of a request that is paid for.
    """

    value: T
    seconds: float
    usage: Usage = Usage()


class Client:
    """A client of one server, with as many requests at a time as the server accepts.

    Every method raises UserError, ServerError, ReplyError or, before a request that costs money,
    BudgetError.

    Args:
        server: the model and its address.
        label: names the judge or model in errors, such as "--model openai/NAME".
        concurrency: the most requests under way at once.
        timeout: seconds for one attempt, with reading the whole reply.
        spending: counts what replies cost and stops at the budget.
        trial: whether the server accepts the requests of the run at all; clients may share it.
        changes: changes to the body of each request.
        option: the option that has the changes, for errors.
    """

    def __init__(
        self,
        server: Server,
        label: str,
        concurrency: int = 64,
        timeout: float = _TIMEOUT,
        spending: Spending | None = None,
        trial: Trial | None = None,
        changes: BodyChanges = NO_CHANGES,
        option: str = "--model-arg",
    ) -> None:
        self.server = server
        self.timeout = timeout
        self.trial = trial or Trial()
        self._label = without_key(label)
        self._query = connection(server.base_url).query
        self._spending = spending
        self._changes = changes
        self._option = option
        self._longest = 0  # tokens of an answer
        self._limit = Limit(concurrency)
        self._pauses = Pauses(self._label, self._limit)
        self._client: Any = None

    async def post(self, path: str, body: Mapping[str, Any], files: Files | None = None) -> Timed[Any]:
        """The JSON that a path answers to a post; with `files` the request is a multipart form."""

        async def read(body_: Body, received: ReceivedTokens) -> Any:
            reply = await read_json(body_)
            received.add(reply)
            return reply

        return await self._post(path, read, body, files)

    async def post_for_bytes(self, path: str, body: Mapping[str, Any]) -> Timed[bytes]:
        """The bytes of a medium that a path answers to a post."""

        async def read(body_: Body, received: ReceivedTokens) -> bytes:
            content = await read_medium(body_)
            received.add_medium()
            return content

        return await self._post(path, read, body)

    async def post_for_events(
        self, path: str, body: Mapping[str, Any], begin: Callable[[], F]
    ) -> Timed[F]:
        """Folds the events that a path streams; `begin` makes a new fold for each attempt."""

        async def read(body_: Body, received: ReceivedTokens) -> F:
            if not body_.content_type.startswith("text/event-stream"):
                received.add(await read_json(body_))
                raise ReplyError(f"no stream, but {body_.content_type or 'something else'}")
            fold = begin()
            counted_fold = _CountedFold(fold, received)
            await fold_events(body_.chunks(), counted_fold, body_.begun, body_.sent)
            return fold

        return await self._post(path, read, body)

    async def get(self, path: str) -> Timed[Any]:
        """The JSON at a path, such as the state of a job that a `post` started and paid for."""
        return await self._retried(lambda: self._attempt("GET", path, read_json))

    async def get_bytes(self, path: str) -> Timed[bytes]:
        """The bytes at a path of the server."""
        return await self._retried(lambda: self._attempt("GET", path, read_medium))

    async def download(self, url: str) -> bytes:
        """The bytes at any address, fetched without the key and the other headers of this server."""
        return (await self._retried(lambda: self._fetch(url))).value

    def failure_of(self, error: ReplyError, media: bool = False) -> Failure:
        """The failure of a sample whose reply cannot be used.

        Args:
            error: the reason.
            media: whether the sample has media.

        Raises:
            UserError: the refusal is not of this sample; EarlyRefusalError if that is not decided yet.
        """
        refusal = error.refusal
        if refusal is None:
            return Failure("model_error", str(error))
        if refusal.status == 404 and refusal.kind is RefusalKind.MODALITY and not media:
            raise self._stopped(refusal._replace(kind=RefusalKind.MISSING), "such endpoint")
        failure = refusal.failure(str(error), media)
        if refusal.is_of_every_request(media):
            self.trial.refuse(self._label, refusal, failure, error.hint)
        else:
            self.trial.interrupt()
        return failure

    async def close(self) -> None:
        """Closes the connections; a later request opens new ones."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _post(
        self,
        path: str,
        read: Callable[[Body, ReceivedTokens], Awaitable[T]],
        body: Mapping[str, Any],
        files: Files | None = None,
    ) -> Timed[T]:
        """The reply to a post that is paid for, with its tokens, which are added to the spending."""
        fields = self._changes.applied(body)
        sent = sent_tokens(fields, len(files or ()))

        async def attempt() -> Timed[T]:
            received = ReceivedTokens()
            async with self._reserved(fields, sent):
                try:
                    reply = await self._attempt(
                        "POST", path, lambda body_: read(body_, received), fields, files
                    )
                finally:  # a reply that cannot be used is paid for, too
                    usage = self._pay(sent, received) if received.begun else Usage()
            return reply._replace(usage=usage)

        try:
            return await self._retried(attempt)
        except ReplyError as error:
            error.hint = self._hint(error, fields)
            raise

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The reply of the first attempt that succeeds, with pauses between attempts."""
        failures = 0
        refused_since = math.inf
        while True:
            async with self._limit.slot():
                self._pauses.check()
                begun = time.monotonic()
                try:
                    reply = await attempt()
                except PassingError as error:
                    passing = error
                except ReplyError:  # an answer, too
                    self._limit.speed_up()
                    raise
                else:
                    self._limit.speed_up()
                    return reply
                if passing.slow_down or isinstance(passing, _TooLateError):
                    self._limit.slow_down(begun)
                if passing.slow_down:  # the place stays taken: nobody else is sent into the refusal
                    refused_since = min(refused_since, begun)
                    await _wait(self._pauses.after(passing, refused_since, _LONGEST_WAIT))
                    continue
            failures += 1
            if failures == _ATTEMPTS:
                raise ServerError(f"{self._label}: {passing}, {_ATTEMPTS} times{passing.words}")
            if passing.pause is None:
                await _wait(0.5 * 2**failures)
            else:
                await _wait(self._pauses.asked(passing, passing.pause, _LONGEST_WAIT))

    async def _attempt(
        self,
        method: str,
        path: str,
        read: Callable[[Body], Awaitable[T]],
        body: Mapping[str, Any] | None = None,
        files: Files | None = None,
    ) -> Timed[T]:
        """Sends one request. Raises PassingError for a failure that another attempt may not have, and
        UserError for a refusal that stops the run."""
        sent = SentRequest(self.server.model, path, tuple(body or ()))
        try:
            reply = await self._exchange(method, path, read, sent, body, files)
        except ReplyError as error:
            if error.refusal is not None and error.refusal.stops:
                raise self._stopped(error.refusal, path) from None
            raise
        self.trial.accepted = True
        return reply

    async def _exchange(
        self,
        method: str,
        path: str,
        read: Callable[[Body], Awaitable[T]],
        sent: SentRequest,
        body: Mapping[str, Any] | None,
        files: Files | None,
    ) -> Timed[T]:
        import openai

        if self._client is None:
            self._client = _connect(self.server, self.timeout)
        # The package's generic call for any endpoint skips the conversion to its request and reply
        # types, which was measured to take as much time as everything else together.
        send: dict[str, Any] = {"cast_to": _http().Response, "stream": True}
        if method == "POST":
            send["body"] = body
        if files is not None:
            send["files"] = files
            send["options"] = {"headers": {"Content-Type": "multipart/form-data"}}
        call = self._client.post if method == "POST" else self._client.get
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self.timeout):  # the transport's own begins anew with each read
                response = await _well_formed(call(self._with_query(path), **send))
                try:
                    reply = await read(Body(response, start, sent))
                finally:
                    await response.aclose()
        except openai.APIStatusError as error:
            self._raise_status(error, method, sent)
        except openai.APIConnectionError as error:
            refused = type(error.__cause__).__name__.startswith("Connect")
            if isinstance(error, openai.APITimeoutError) and not refused:
                raise self._too_late() from None
            reason = f"no connection to {self._client.base_url} ({error.__cause__ or error})"
            raise PassingError(without_key(reason)) from None
        except TimeoutError:
            raise self._too_late() from None
        return Timed(reply, time.perf_counter() - start)

    def _raise_status(self, error: Any, method: str, sent: SentRequest) -> NoReturn:
        status: int = error.status_code
        if 300 <= status < 400 and method == "POST":
            raise UserError(
                f"{self._label}: the server sends on to "
                f"{without_key(str(error.response.headers.get('location')))}, and "
                "that is not followed: name the address itself, openai/NAME@URL"
            ) from None
        if status == 404 and method == "GET":  # of a job that was just started
            raise PassingError(f"the server has no {sent.path} (404)") from None
        raise_error(error.response.text, status, sent, asked_pause(error.response.headers))

    def _stopped(self, refusal: Refusal, path: str) -> UserError:
        """The error that stops the run for a refusal, with the server's words."""
        status = f" ({refusal.status})" if refusal.status is not None else ""
        if refusal.kind is RefusalKind.MISSING:
            reason = f"the server has no model {self.server.model!r}, or no {path}{status}"
            return UserError(f"{self._label}: {reason}: {refusal.words}")
        return UserError(
            f"{self._label}: the server refuses the key or the account{status}: {refusal.words}. "
            "Set OPENAI_API_KEY to one that it accepts, or see to the account, and repeat the command."
        )

    def _reserved(self, body: Mapping[str, Any], sent: int) -> AbstractAsyncContextManager[None]:
        """Reserves the money for a request inside the block; see `Spending.reserved`."""
        if self._spending is None:
            return nullcontext()
        return self._spending.reserved(self.server.model, most_tokens(body, sent, self._longest))

    def _pay(self, sent: int, received: ReceivedTokens) -> Usage:
        """The tokens of a request that was answered, which are added to the spending."""
        usage = counted(received.reported, sent, received.tokens)
        self._longest = max(self._longest, usage.output or 0)
        if self._spending is not None:
            self._spending.add(self.server.model, usage)
        return usage

    def _hint(self, error: ReplyError, fields: Mapping[str, Any]) -> str:
        """A sentence with the option that helps, if an error names a field of the request."""
        refusal = error.refusal
        if refusal is None or refusal.kind not in (RefusalKind.PARAMETER, RefusalKind.REQUEST):
            return ""
        refused = refused_fields(error.body, fields) if refusal.status in _BAD_REQUEST else None
        return explain(refused, self._changes, self._option) if refused is not None else ""

    def _with_query(self, path: str) -> str:
        """The path with the query that the server's address has."""
        return f"{path}{'&' if '?' in path else '?'}{self._query}" if self._query else path

    async def _fetch(self, url: str) -> Timed[bytes]:
        import openai

        address = without_key(url)
        start = time.perf_counter()
        try:
            async with (
                asyncio.timeout(self.timeout),
                openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=self.timeout) as client,
                _opened(client, url) as response,
            ):
                if response.status_code == 429 or response.status_code >= 500:
                    raise PassingError(f"{address} answered {response.status_code}")
                if response.status_code != 200:
                    raise ReplyError(f"{address} answered {response.status_code}")
                return Timed(await read_medium(Body(response, start)), time.perf_counter() - start)
        except TimeoutError:
            raise self._too_late() from None

    def _too_late(self) -> PassingError:
        return _TooLateError(f"no answer within {self.timeout:g} s")


class _CountedFold:
    """A fold that counts the tokens of the events that it passes on."""

    def __init__(self, fold: Fold, received: ReceivedTokens) -> None:
        self.finished = False
        self._fold = fold
        self._received = received

    def add(self, event: Mapping[str, Any], seconds: float) -> None:
        self._received.add(event)
        self._fold.add(event, seconds)
        self.finished = self._fold.finished


class _TooLateError(PassingError):
    """A request that timed out: a server that answers one request after another may have too many."""


@asynccontextmanager
async def _opened(client: Any, url: str) -> AsyncIterator[Any]:
    """The response to a GET of which only the head is read."""
    try:
        response = await client.send(client.build_request("GET", url), stream=True)
    except Exception as error:  # as in Body.chunks
        address = without_key(url)
        raise PassingError(f"no connection to {address} ({type(error).__name__})") from None
    try:
        yield response
    finally:
        await response.aclose()


async def _well_formed(reply: Awaitable[T]) -> T:
    """The reply. PassingError for one that is no HTTP, which the transport lets through as it is."""
    try:
        return await reply
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "aiohttp":
            raise
        raise PassingError(f"the answer is no HTTP ({type(error).__name__})") from None


def _connect(server: Server, timeout: float) -> Any:
    import openai

    options = {"timeout": timeout, "follow_redirects": False, "verify": _certificates()}
    try:  # measured: twice as many requests per second as the package's own transport
        transport: Any = openai.DefaultAioHttpClient(**options)
    except RuntimeError:
        transport = openai.DefaultAsyncHttpxClient(**options)
    hide_in_logs(_http().__name__, "openai._base_client")  # both name the address of a request
    base, _, authorization = connection(server.base_url)
    return openai.AsyncOpenAI(
        base_url=base,
        api_key=os.environ.get("OPENAI_API_KEY") or "none",
        max_retries=0,
        timeout=timeout,
        http_client=transport,
        default_headers={"Authorization": authorization} if authorization else None,
    )


@functools.cache
def _http() -> Any:
    """The HTTP package of `openai`; a call with `cast_to` its `Response` returns the reply unread."""
    import openai

    package = openai.DefaultAsyncHttpxClient.__base__.__module__.partition(".")[0]
    return importlib.import_module(package)


@functools.cache
def _certificates() -> Any:
    """The certificates of trusted authorities; cached, since reading them takes 0.05 s."""
    return _http().create_ssl_context()


async def _wait(seconds: float) -> None:
    """Waits a little longer than that, so that requests do not come all at once afterwards."""
    await asyncio.sleep(seconds * random.uniform(1.0, 1.1))
