"""Samples of several turns: each question is asked once the answer before it is there.

A question may show what the model itself gave before (`FromTurn`), and a fresh one hides all that was
said. A conversation ends where a turn fails: the sample has failed, as with any other model's failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from eval_anything.content import Failure, FromTurn, Message, Part, Response, Sample, TextPart, Usage
from eval_anything.models.base import Request, Sampling

Ask = Callable[[list[Request]], Awaitable[list[Response]]]


class _Conversation:
    """One sample: the request that is next, or was last, and the answers so far."""

    def __init__(self, request: Request, sample: Sample) -> None:
        self.request = request
        self.answers: list[Response] = []
        self.open = True
        self._turns = sample.turns

    def take(self, answer: Response) -> None:
        """Goes on with the answer to the request."""
        self.answers.append(answer)
        self.open = answer.error is None and len(self.answers) <= len(self._turns)
        if not self.open:
            return
        turn = self._turns[len(self.answers) - 1]
        try:
            asked = Message("user", tuple(self._resolved(part) for part in turn.parts))
        except LookupError as error:
            failure = Failure("missing_output", str(error))
            self.answers[-1] = msgspec.structs.replace(answer, error=failure)
            self.open = False
            return
        before = self.request.messages
        if turn.fresh:
            kept = tuple(message for message in before if message.role == "system")
        else:
            kept = (*before, Message("assistant", answer.parts))
        self.request = msgspec.structs.replace(
            self.request, messages=(*kept, asked), turn=len(self.answers)
        )

    def _resolved(self, part: Part | FromTurn) -> Part:
        if not isinstance(part, FromTurn):
            return part
        answer = self.answers[part.turn - 1]
        found = TextPart(answer.text) if part.modality == "text" else answer.first(part.modality)
        if found is None or (isinstance(found, TextPart) and not found.text):
            raise LookupError(f"turn {part.turn} has no {part.modality}, which a later question shows")
        return found

    def response(self) -> Response:
        """The last answer, with the parts of those before it, and what all of them took."""
        *before, last = self.answers
        if not before:
            return last
        seconds = [a.latency.total for a in self.answers if a.latency.total is not None]
        total = round(sum(seconds), 4) if seconds else None
        told = [answer.details for answer in before]
        return msgspec.structs.replace(
            last,
            turns=tuple(answer.parts for answer in before),
            order_known=all(answer.order_known for answer in self.answers),
            usage=sum((answer.usage for answer in self.answers), Usage()),
            latency=msgspec.structs.replace(last.latency, total=total),
            details=last.details | ({"turns": told} if any(told) else {}),
        )


def messages_before(sample: Sample, answers: Sequence[Sequence[Part]]) -> tuple[Message, ...]:
    """The messages that the last answer to a sample was given to, where these are the parts of the
    answers before it."""
    talk = _Conversation(Request("", sample.id, 0, sample.messages, Sampling()), sample)
    for parts in answers:
        talk.take(Response(tuple(parts)))
    return talk.request.messages


async def converse(
    requests: Sequence[Request],
    samples: Mapping[tuple[str, str], Sample],
    ask: Ask,
    check: Callable[[Response], Response],
) -> list[tuple[Request, Response]]:
    """The last request and the response of each sample; `samples` are by task and id.

    Those that have a next turn are asked it together. `check` finds what is wrong with an answer that
    another turn follows. Errors of `ask` are not caught: nothing of the conversations is kept then.
    """
    talks = [_Conversation(r, samples[r.task, r.sample_id]) for r in requests]
    asked = talks
    while asked:
        answers = await ask([talk.request for talk in asked])
        for talk, answer in zip(asked, answers, strict=True):
            more = len(talk.answers) < len(samples[talk.request.task, talk.request.sample_id].turns)
            talk.take(await asyncio.to_thread(check, answer) if more else answer)
        asked = [talk for talk in asked if talk.open]
    return [(talk.request, talk.response()) for talk in talks]
