"""Chat models on OpenAI-compatible servers: `openai/NAME@http://host:port/v1`. Text in, text out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval_anything.chat import ChatClient, ReplyError, parse_server
from eval_anything.content import Failure, Response, TextPart
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request, typed_arguments
from eval_anything.tasks.task import sha256_of


class ChatModel(Model):
    """A chat model on an OpenAI-compatible server; text in, text out."""

    concurrency = 64

    def __init__(self, spec: str, arguments: Mapping[str, str]) -> None:
        self.spec = spec
        self.server = parse_server(spec, f"--model {spec}")
        self.paid_as = self.server.model
        self.name = self.server.model.replace("/", "--")
        self.arguments = typed_arguments(arguments, {"max_tokens": 1024}, "a chat model")
        self._client: ChatClient | None = None

    @classmethod
    def from_spec(cls, spec: str, reference: str | Path, arguments: Mapping[str, str]) -> ChatModel:
        return cls(spec, arguments)

    def weights(self) -> str:
        """The weights of a server cannot be seen: its name and address stand for them."""
        return sha256_of(list(self.server))

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        if self._client is None:
            self._client = ChatClient(
                self.server, f"--model {self.spec}", self.concurrency, spending=self.spending
            )
        return [await self._answer(self._client, request) for request in requests]

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _answer(self, client: ChatClient, request: Request) -> Response:
        messages: list[dict[str, Any]] = []
        for message in request.messages:
            media = [part for part in message.parts if not isinstance(part, TextPart)]
            if media:
                reason = f"this adapter cannot send {media[0].modality} yet"
                return Response(error=Failure("unsupported_input", reason))
            text = "\n".join(part.text for part in message.parts if isinstance(part, TextPart))
            messages.append({"role": message.role, "content": text})
        start = time.perf_counter()
        try:
            reply = await client.ask(
                messages,
                temperature=request.sampling.temperature,
                max_tokens=self.arguments["max_tokens"],
                seed=request.seed % 2**31,
            )
        except ReplyError as error:
            return Response(error=Failure("model_error", str(error)))
        return Response(
            parts=(TextPart(reply.text),),
            stop_reason=reply.stop_reason,
            usage=dict(reply.usage),
            latency={"total": round(time.perf_counter() - start, 4)},
        )
