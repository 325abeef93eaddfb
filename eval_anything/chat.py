"""A chat client for OpenAI-compatible servers, shared by judges and models.

It tells three kinds of failure apart: the user must mend something (refused key, unknown model:
`UserError`, at once); the server does not work now (`ServerError`, after bounded tries: what was
asked stays pending); this one reply is of no use (`ReplyError`). A server that says "slow down" is
obeyed: fewer requests at a time, after the pause that it names, and nothing fails for it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from eval_anything.errors import ServerError, UserError
from eval_anything.prices import Spending

_ATTEMPTS = 4
_TIMEOUT = 120.0
_LONGEST_WAIT = 1800.0  # seconds of "slow down" for one request before it is left for another day
_LARGEST_REPLY = 2_000_000


class ReplyError(ValueError):
    """A reply that cannot be used: empty, refused by a filter, too large, or a bad request.

    `status` is the server's code where that is the reason.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Server(NamedTuple):
    """What `openai/NAME@URL` names; without a URL the environment says where the server is."""

    model: str
    base_url: str | None


class Reply(NamedTuple):
    """What a model said, why it stopped, and the tokens that it took (`input`, `output`)."""

    text: str
    stop_reason: str | None
    usage: Mapping[str, int]


def parse_server(spec: str, option: str) -> Server:
    """The server of a SPEC such as openai/NAME@http://host:port/v1; `option` names it in errors."""
    match = re.fullmatch(r"openai/([^@]+)(?:@(https?://\S+))?", spec)
    if match is None:
        raise UserError(
            f"{option}: must be openai/NAME@http://host:port/v1, or openai/NAME with OPENAI_BASE_URL "
            f"set, not {spec!r}"
        )
    if importlib.util.find_spec("openai") is None:  # its import takes a second: only when it is used
        raise UserError(f"{option}: pip install 'eval-anything[judges]' first")
    if match[2] is None and not os.environ.get("OPENAI_API_KEY"):
        raise UserError(f"{option}: set OPENAI_API_KEY, or name a server with openai/NAME@URL")
    return Server(match[1], match[2])


class ChatClient:
    """One server, with as many requests at a time as it bears (`concurrency` at most).

    `who` names the judge or model in messages; `timeout` is in seconds, for one try; `spending`
    counts what replies cost and stops at the budget.
    """

    def __init__(
        self,
        server: Server,
        who: str,
        concurrency: int = 64,
        timeout: float = _TIMEOUT,
        spending: Spending | None = None,
    ) -> None:
        self.server = server
        self.timeout = timeout
        self._who = who
        self._spending = spending
        self._limit = _Limit(concurrency)
        self._client: Any = None

    async def ask(self, messages: list[dict[str, Any]], **parameters: Any) -> Reply:
        """The reply to messages in the form of the chat completions API."""
        deadline = time.monotonic() + _LONGEST_WAIT
        failures = 0
        while True:
            async with self._limit.place():
                if self._spending is not None:
                    self._spending.check()
                outcome = await self._once(messages, parameters)
            if isinstance(outcome, Reply):
                if self._spending is not None:
                    self._spending.add(self.server.model, outcome.usage)
                self._limit.went_well()
                return outcome
            if outcome.slow_down:
                self._limit.slow_down()
                if time.monotonic() > deadline:
                    raise ServerError(f"{self._who}: rate-limited for {_LONGEST_WAIT / 60:.0f} minutes")
            else:
                failures += 1
                if failures == _ATTEMPTS:
                    raise ServerError(f"{self._who}: {outcome.reason}, {_ATTEMPTS} times")
            pause = outcome.pause if outcome.pause is not None else 0.5 * 2**failures
            await asyncio.sleep(pause * random.uniform(1.0, 1.2))

    async def close(self) -> None:
        """Ends the connections; a later `ask` opens new ones."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _once(
        self, messages: list[dict[str, Any]], parameters: Mapping[str, Any]
    ) -> Reply | _Retry:
        import openai

        if self._client is None:
            self._client = _connect(self.server, self.timeout)
        try:
            # The package's own door to the endpoint, past the walk through its request and reply
            # types: measured, that walk takes as much time as all the rest.
            raw = await self._client.post(
                "/chat/completions",
                cast_to=object,
                body={"model": self.server.model, "messages": messages, **parameters},
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise UserError(
                f"{self._who}: the server refuses the key ({error.status_code}). Set OPENAI_API_KEY "
                "to one that it accepts."
            ) from None
        except openai.NotFoundError:
            raise UserError(
                f"{self._who}: the server has no model {self.server.model!r} (404)"
            ) from None
        except openai.RateLimitError as error:
            return _Retry("rate-limited", _pause(error), slow_down=True)
        except openai.APIStatusError as error:
            if error.status_code < 500 and error.status_code not in (408, 409):
                raise ReplyError(f"the server answered {error.status_code}", error.status_code) from None
            return _Retry(f"the server answered {error.status_code}", _pause(error))
        except openai.APIConnectionError as error:
            refused = type(error.__cause__).__name__.startswith("Connect")
            if isinstance(error, openai.APITimeoutError) and not refused:
                return _Retry(f"no answer within {self.timeout:g} s", None)
            return _Retry(f"no connection to {self._client.base_url} ({error.__cause__ or error})", None)
        except (openai.APIResponseValidationError, ValueError) as error:  # a body that is no JSON
            return _Retry(f"the answer cannot be read ({type(error).__name__})", None)
        return _reply(raw)


class _Retry(NamedTuple):
    reason: str
    pause: float | None
    slow_down: bool = False


def _connect(server: Server, timeout: float) -> Any:
    import openai

    try:  # measured: twice the requests a second of the package's own transport
        transport: Any = openai.DefaultAioHttpClient(timeout=timeout)
    except RuntimeError:
        transport = None
    return openai.AsyncOpenAI(
        base_url=server.base_url,
        api_key=os.environ.get("OPENAI_API_KEY") or "none",
        max_retries=0,
        timeout=timeout,
        http_client=transport,
    )


def _pause(error: Any) -> float | None:
    """Seconds that the server asks to wait, if it says so in a form and size that make sense."""
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= _LONGEST_WAIT else None


class _Message(Struct):
    content: str | list[Any] | None = None
    refusal: str | None = None


class _Choice(Struct):
    message: _Message | None = None
    finish_reason: str | None = None


class _Usage(Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0


class _Completion(Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None


def _reply(raw: Any) -> Reply:
    try:
        completion = msgspec.convert(raw, _Completion)
    except msgspec.ValidationError as error:
        raise ReplyError(f"no chat completion: {error}") from None
    if not completion.choices:
        raise ReplyError("a reply without choices")
    choice = completion.choices[0]
    message = choice.message or _Message()
    text = message.content
    if not isinstance(text, str) or not text.strip():
        raise ReplyError(f"a refusal: {message.refusal[:200]}" if message.refusal else "an empty reply")
    if len(text) > _LARGEST_REPLY:
        raise ReplyError(f"a reply of {len(text)} characters")
    usage = completion.usage or _Usage()
    tokens = {"input": usage.prompt_tokens or 0, "output": usage.completion_tokens or 0}
    return Reply(text, choice.finish_reason, tokens)


class _Limit:
    """How many requests may be under way: halved at "slow down", one more after each full round."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = float(most)
        self._under_way = 0
        self._changed = asyncio.Condition()
        self._quiet_until = 0.0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._under_way < int(self._allowed))
            self._under_way += 1
        try:
            yield
        finally:
            async with self._changed:
                self._under_way -= 1
                self._changed.notify()

    def went_well(self) -> None:
        self._allowed = min(self._most, self._allowed + 1 / self._allowed)

    def slow_down(self) -> None:
        """Requests that were under way together are refused together: that counts once."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._allowed = max(1.0, self._allowed / 2)
            self._quiet_until = now + 1.0
