"""A model on an OpenAI-compatible server: `openai/NAME@http://host:port/v1`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from eval_anything.content import Failure, Modality, Part, Response, TextPart, Usage
from eval_anything.errors import EvalError, UserError
from eval_anything.files.hashing import sha256_of
from eval_anything.media import MediaError, MediaStore
from eval_anything.models.base import Ending, Model, Request, TextModel, failure_of
from eval_anything.models.openai.endpoints import ENDPOINTS, EndpointReply
from eval_anything.models.openai.fields import SETTINGS, check_extra_body
from eval_anything.models.openai.inputs import UnsupportedInputError, has_media
from eval_anything.models.openai.payload import Link, Medium, medium
from eval_anything.models.openai.replies import Content
from eval_anything.models.openai.settings import names, read_settings
from eval_anything.sampling import Sampling
from eval_anything.servers.client import Client, ReplyError, parse_server, without_key
from eval_anything.servers.trial import EarlyRefusalError, Held, Trial

if TYPE_CHECKING:
    from eval_anything.tasks.task import Task


_WITHOUT_TOKENS = ("speech", "videos")


_WITHOUT_MEDIA = ("images", "speech")


class ChatModel(Model):
    """A model on an OpenAI-compatible server; any modality in and out.

    Args:
        spec: openai/NAME@URL, or openai/NAME with the address in OPENAI_BASE_URL.
        arguments: `--model-arg` values; the keys are the fields of `ServerSettings`.

    Attributes:
        option: the option that has its arguments, for errors.
    """

    concurrency = 64
    option = "--model-arg"

    def __init__(self, spec: str, arguments: Mapping[str, str]) -> None:
        self.server = parse_server(spec, f"--model {spec}")
        self.spec = without_key(spec)
        self.paid_as = self.server.model
        self.name = self.server.model.strip("/").replace("/", "--")
        self.settings, self.arguments = read_settings(arguments)
        self._trial = Trial()

    @cached_property
    def client(self) -> Client:
        """The client of the server, made with the first request."""
        return Client(
            self.server,
            f"--model {self.spec}",
            self.concurrency,
            self.settings.timeout,
            self.spending,
            self._trial,
            self.settings.body,
            self.option,
        )

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> ChatModel:
        return cls(spec, arguments)

    @property
    def inputs(self) -> Collection[Modality] | None:
        return (Modality.TEXT,) if self.settings.api in _WITHOUT_MEDIA else None

    @property
    def generation_settings(self) -> Collection[str]:
        return SETTINGS[self.settings.api]

    def check_sampling(self, sampling: Sampling) -> list[str]:
        check_extra_body(sampling, self.settings)
        return []

    def weights(self) -> str:
        """sha256 of the model's name and address, which stand for the weights that nobody can see."""
        return sha256_of(self.server.identity)

    def prepare(
        self, tasks: Sequence[Task], keys: Iterable[tuple[str, str, int]], task_names: Collection[str]
    ) -> None:
        """Raises UserError if there is a budget and the endpoint reports no tokens to count."""
        if self.settings.api not in _WITHOUT_TOKENS or self.spending is None:
            return
        costs = self.spending.prices.money(self.server.model, Usage(1, 1))
        if self.spending.budget is not None and costs != 0:
            raise UserError(
                f"--budget: a server counts no tokens for api={self.settings.api}, so it cannot be kept"
            )

    def text(self) -> TextModel | None:
        """The model as one that continues text; only the endpoints chat and responses can."""
        return ServerText(self) if self.settings.api in ("chat", "responses") else None

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        return [await self.answer(request, store) for request in requests]

    async def answer(self, request: Request, store: MediaStore) -> Response:
        """The response to one request."""
        try:
            answer = await ENDPOINTS[self.settings.api](self.client, self.settings, request)
        except UnsupportedInputError as error:
            return Response(error=Failure("unsupported_input", str(error)))
        except MediaError as error:
            return Response(error=failure_of(error))
        except ReplyError as error:
            return Response(error=self.client.failure_of(error, has_media(request.messages)))
        response = await self._response(answer, store)
        return _cut(response, request.sampling.stop) if request.sampling.stop else response

    def answered_before(self) -> None:
        self._trial.accepted = True

    async def close(self) -> None:
        if "client" in vars(self):
            await self.client.close()

    async def _response(self, answer: EndpointReply, store: MediaStore) -> Response:
        """The response for a reply, with its media in the store; unusable parts make it a failure."""
        content = answer.content
        parts: list[Part] = []
        problems = list(content.problems)
        for piece in content.pieces:
            if isinstance(piece, TextPart):
                parts.append(piece)
                continue
            try:
                fetched = await self._fetch(piece) if isinstance(piece, Link) else piece
                parts.append(await asyncio.to_thread(store.put, fetched.data, fetched.modality))
            except (MediaError, ReplyError) as error:
                problems.append(str(error))
        return Response(
            parts=tuple(parts),
            order_known=content.order_known,
            stop_reason=content.stop_reason,
            usage=content.usage,
            latency=answer.latency,
            error=_failure(content, parts, problems),
            details=_details(content),
        )

    async def _fetch(self, link: Link) -> Medium:
        """The medium at an address in a reply. ReplyError if the user did not allow its host."""
        address = without_key(link.address)[:200]
        try:
            url = urlsplit(link.address)
            host, port = (url.hostname or "").lower(), url.port
        except ValueError:
            raise ReplyError(f"no address of {link.modality}: {address}") from None
        if url.scheme not in ("http", "https") or not host:
            raise ReplyError(f"the {link.modality} is a file of the server: {address}")
        allowed = names(self.settings.allow_hosts.lower())
        if host not in allowed and f"{host}:{port}" not in allowed:
            raise ReplyError(
                f"the {link.modality} is at an address, which is not fetched: {address} "
                f"(--model-arg allow_hosts={host} allows that host)"
            )
        return medium(await self.client.download(link.address), link.modality)


def _cut(response: Response, stop: Sequence[str]) -> Response:
    """The response up to the first of the texts that end it: a server gets only some of them."""
    texts = [part.text for part in response.parts if isinstance(part, TextPart)]
    if len(texts) != len(response.parts):
        return response
    text = "".join(texts)
    until = Ending(tuple(stop), 0).cut(text)
    if until == text:
        return response
    return msgspec.structs.replace(
        response, parts=(TextPart(until),) if until else (), stop_reason="stop"
    )


def _details(content: Content) -> dict[str, Any]:
    details = {"transcripts": content.transcripts, "thoughts": "\n\n".join(content.thoughts)}
    return {name: detail for name, detail in details.items() if detail}


def _failure(content: Content, parts: Sequence[Part], problems: Sequence[str]) -> Failure | None:
    if problems:
        return Failure("invalid_output", without_key("; ".join(problems)))
    if content.refusal is not None and not parts:
        return Failure("refusal", f"a refusal: {without_key(content.refusal)[:200]}")
    return None


class ServerText(TextModel):
    """The answers of a server, cut at every ending.

    The first four endings are sent to the server, so that it stops there and spends no more tokens.
    """

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def go_on(
        self, requests: Sequence[Request], ending: Ending, store: MediaStore
    ) -> list[Response | EvalError]:
        stop = [text for text in ending.until if text] or None

        async def answer(request: Request) -> Response | EvalError:
            sampling = msgspec.structs.replace(
                request.sampling, max_new_tokens=ending.max_tokens, stop=stop
            )
            request = msgspec.structs.replace(request, sampling=sampling)
            try:
                response = await self._model.answer(request, store)
            except EvalError as error:
                return error
            return msgspec.structs.replace(response, parts=(TextPart(ending.cut(response.text)),))

        answers = await asyncio.gather(*map(answer, requests))
        refused: Held[int] = Held()
        for row, refusal in enumerate(answers):
            if isinstance(refusal, EarlyRefusalError):
                refused.add(row, refusal)
        with contextlib.suppress(EarlyRefusalError):  # which then stay the answers
            for row, refusal in refused.decide():
                answers[row] = Response(error=refusal.failure)
        return answers
