"""Samples of several turns: each question is sent once the answer before it has come.

A question may show parts of the model's earlier answers (`FromTurn`); a fresh one hides the messages
before it. A conversation ends with the first turn that fails: then the sample has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from eval_anything.content import Failure, FromTurn, Message, Part, Response, Sample, TextPart, Usage
from eval_anything.models.base import Request, Sampling

Ask = Callable[[list[Request]], Awaitable[list[Response]]]


class _Conversation:
    """The conversation about one sample: its next (or last) request, and the answers so far."""

    def __init__(self, request: Request, sample: Sample) -> None:
        self.request = request
        self.answers: list[Response] = []
        self.open = True
        self._turns = sample.turns

    @property
    def turns_left(self) -> int:
        """Number of turns after the one that is asked now."""
        return len(self._turns) - len(self.answers)

    def take(self, answer: Response) -> None:
        """Adds the answer to the current request and prepares the next request, if there is one."""
        self.answers.append(answer)
        self.open = answer.error is None and self.turns_left >= 0
        if not self.open:
            return
        turn = self._turns[len(self.answers) - 1]
        try:
            question = Message("user", tuple(self._resolved(part) for part in turn.parts))
        except LookupError as error:
            failure = Failure("missing_output", str(error))
            self.answers[-1] = msgspec.structs.replace(answer, error=failure)
            self.open = False
            return
        history = (*self.request.messages, Message("assistant", answer.parts))
        if turn.fresh:
            history = tuple(message for message in history if message.role == "system")
        self.request = msgspec.structs.replace(
            self.request, messages=(*history, question), turn=len(self.answers)
        )

    def _resolved(self, part: Part | FromTurn) -> Part:
        """The part itself, or the part of an earlier answer to which it refers."""
        if not isinstance(part, FromTurn):
            return part
        answer = self.answers[part.turn - 1]
        shared = TextPart(answer.text) if part.modality == "text" else answer.first(part.modality)
        if shared is None or (isinstance(shared, TextPart) and not shared.text):
            raise LookupError(f"turn {part.turn} has no {part.modality}, which a later question shows")
        return shared

    def response(self) -> Response:
        """The last answer, with the parts of the answers before it; tokens and seconds are totals."""
        *before, last = self.answers
        if not before:
            return last
        seconds = [a.latency.total for a in self.answers if a.latency.total is not None]
        total = round(sum(seconds), 4) if seconds else None
        details = [answer.details for answer in before]
        return msgspec.structs.replace(
            last,
            turns=tuple(answer.parts for answer in before),
            order_known=all(answer.order_known for answer in self.answers),
            usage=sum((answer.usage for answer in self.answers), Usage()),
            latency=msgspec.structs.replace(last.latency, total=total),
            details=last.details | ({"turns": details} if any(details) else {}),
        )


def messages_before(sample: Sample, answers: Sequence[Sequence[Part]]) -> tuple[Message, ...]:
    """The messages before the last answer to a sample of several turns.

    Args:
        sample: the sample with its turns.
        answers: the parts of each answer before the last, in order.
    """
    conversation = _Conversation(Request("", sample.id, 0, sample.messages, Sampling()), sample)
    for parts in answers:
        conversation.take(Response(tuple(parts)))
    return conversation.request.messages


async def converse(
    requests: Sequence[Request],
    samples: Mapping[tuple[str, str], Sample],
    ask: Ask,
    check: Callable[[Response], Response],
) -> list[tuple[Request, Response]]:
    """Runs the conversations about a batch of samples, turn by turn.

    Args:
        requests: the first request of each sample.
        samples: the samples by task and id.
        ask: answers requests, in order. Its errors are not caught: then all conversations are lost.
        check: finds errors in an answer that another turn follows, such as a broken medium.

    Returns:
        The last request and the whole response of each sample, in the order of the requests.
    """
    conversations = [_Conversation(r, samples[r.task, r.sample_id]) for r in requests]
    pending = conversations
    while pending:
        answers = await ask([conversation.request for conversation in pending])
        for conversation, answer in zip(pending, answers, strict=True):
            turn_follows = conversation.turns_left > 0
            conversation.take(await asyncio.to_thread(check, answer) if turn_follows else answer)
        pending = [conversation for conversation in pending if conversation.open]
    return [(conversation.request, conversation.response()) for conversation in conversations]
