"""A chat model on a server as one that goes on with plain text: the text is what the user says.

It gives no likelihoods: chat servers tell at best those of their own answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from eval_anything.content import Response, TextPart
from eval_anything.errors import EvalError
from eval_anything.media import MediaStore
from eval_anything.models.base import Request
from eval_anything.models.text import Ending, TextModel

if TYPE_CHECKING:
    from eval_anything.models.openai.model import ChatModel

# OpenAI's servers refuse more.
_MOST_STOPS = 4


class ServerText(TextModel):
    """The answers of a server, cut at every ending; the server is told of the first four, so that it
    does not write on for nothing."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def go_on(
        self, requests: Sequence[Request], ending: Ending, store: MediaStore
    ) -> list[Response | EvalError]:
        settings = msgspec.structs.replace(
            self._model.settings,
            max_tokens=ending.max_tokens,
            stop=tuple(text for text in ending.until if text)[:_MOST_STOPS],
        )

        async def answer(request: Request) -> Response | EvalError:
            try:
                given = await self._model.answer(request, store, settings)
            except EvalError as error:
                return error
            return msgspec.structs.replace(given, parts=(TextPart(ending.cut(given.text)),))

        return await asyncio.gather(*map(answer, requests))
