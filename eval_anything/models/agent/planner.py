"""Planners: they ask the chat model of an agent for plans.

A chat model on a server is tested once with tools, then with structured output, with the settings of the
run. A server may silently ignore either, so the test is whether the answer has the form. Checkpoints are
held to the JSON schema where they can be; all other models write plans in the text grammar.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from eval_anything.content import Failure, Latency, Message, TextPart, Usage
from eval_anything.errors import UserError
from eval_anything.media import MediaError, MediaStore
from eval_anything.models.agent.grammar import parse_answer
from eval_anything.models.agent.instructions import (
    AgentInstructions,
    Form,
    example_turns,
    plan_schema,
    schema_fields,
    tools,
)
from eval_anything.models.agent.plan import ParsedPlan, Plan, PlanError
from eval_anything.models.agent.plan_parser import read_json, read_message
from eval_anything.models.base import Model, Request, Sampling, failure_of, with_system
from eval_anything.models.openai.fields import chat_fields
from eval_anything.models.openai.inputs import UnsupportedInputError, chat_input, has_media
from eval_anything.models.openai.model import ChatModel
from eval_anything.servers import completions
from eval_anything.servers.client import ReplyError
from eval_anything.thoughts import nothing_but

_MOST_OUTSIDE = 20_000  # characters outside of the plan that are recorded


A = TypeVar("A")


class PlannedAnswer(Struct):
    """The chat model's answer to one request: a plan, or the error for which there is none.

    `outside` is the text besides the plan, or the whole answer if there is no plan; `thoughts` are in
    neither.
    """

    form: Form
    plan: Plan = ()
    order_known: bool = True
    error: Failure | None = None
    outside: str = ""
    thoughts: str = ""
    stop_reason: str | None = None
    usage: Usage = Usage()
    latency: Latency = Latency()


class Planner:
    """Asks any model that answers with text for plans: as JSON if its answers can be held to a schema
    (`Model.schema_problem`), else in the text grammar."""

    def __init__(
        self, model: Model, instructions: AgentInstructions, form: Literal["json", "text"]
    ) -> None:
        self._model = model
        self._instructions = instructions
        self._chosen = form

    def load(self) -> None:
        """Checks the loaded model. UserError if its answers cannot be held to the schema."""
        if self._chosen == "json":
            self._model.check_schema(plan_schema(self._instructions))

    async def plans(self, requests: Sequence[Request], store: MediaStore) -> list[PlannedAnswer]:
        """The planned answer to each request, in order. ServerError leaves all of them pending."""
        form = self._chosen
        instructed_requests = [_instructed_request(r, self._instructions, form) for r in requests]
        if form == "json":
            schema = plan_schema(self._instructions)
            instructed_requests = [
                msgspec.structs.replace(r, schema=schema) for r in instructed_requests
            ]
        answers = []
        for response in await self._model.generate(instructed_requests, store):
            answer = PlannedAnswer(
                form,
                error=response.error,
                stop_reason=response.stop_reason,
                usage=response.usage,
                latency=response.latency,
                thoughts=response.details.get("thoughts", ""),
            )
            if response.error is None:
                _read(answer, read_json if form == "json" else parse_answer, response.text)
            answers.append(answer)
        return answers


class ServerPlanner(Planner):
    """Asks a chat model on a server for plans in the best form that works there, or a fixed one."""

    _model: ChatModel

    def __init__(self, model: ChatModel, instructions: AgentInstructions, form: Form | None) -> None:
        super().__init__(model, instructions, "text")
        self._form = form
        self._form_lock = asyncio.Lock()
        self._schema_fields = schema_fields(instructions)

    async def plans(self, requests: Sequence[Request], store: MediaStore) -> list[PlannedAnswer]:
        """The planned answer to each request, in order, in the form that works at this server."""
        form = await self._best_form(requests[0].sampling)
        if form == "text":
            return await super().plans(requests, store)
        return [await self._answer(request, form) for request in requests]

    def load(self) -> None:
        """Does nothing: what a server takes is found out with the first request."""

    async def _best_form(self, sampling: Sampling) -> Form:
        async with self._form_lock:
            if self._form is None:
                self._form = "tools" if await self._works("tools", sampling) else None
            if self._form is None:
                self._form = "json" if await self._works("json", sampling) else "text"
            return self._form

    async def _works(self, form: Form, sampling: Sampling) -> bool:
        """Whether the answer to an instruction has this form. Tools must also make the medium, since a
        message without calls would be a choice; a small model may get the medium of a list wrong."""
        medium = next(iter(self._instructions.about))
        order = f"Give no text. Give one {medium} with exactly this prompt: a red circle"
        messages = (Message("user", (TextPart(order),)),)
        try:
            answer = await self._plan(Request("", "", 0, messages, sampling), form)
        except ReplyError:  # such as a refusal of the form
            return False
        if form == "json":
            return answer.error is None
        return any(plan_item.modality is medium for plan_item in answer.plan)

    async def _answer(self, request: Request, form: Form) -> PlannedAnswer:
        """The plan, or the error for which there is none."""
        try:
            return await self._plan(request, form)
        except UnsupportedInputError as error:
            return PlannedAnswer(form, error=Failure("unsupported_input", str(error)))
        except MediaError as error:
            return PlannedAnswer(form, error=failure_of(error))
        except ReplyError as error:
            if form == "json" and len(self._schema_fields) > 1 and await self._takes(request):
                raise UserError(
                    f"form: json: {self._model.spec} answers without a JSON schema and takes none "
                    f"({error}): leave `form` out of the agent's file, or choose text"
                ) from None
            failure = self._model.client.failure_of(error, has_media(request.messages))
            return PlannedAnswer(form, error=failure)

    async def _takes(self, request: Request) -> bool:
        """Whether the server answers a request without a schema."""
        try:
            await self._ask(request, "json", {})
        except ReplyError:
            return False
        return True

    async def _plan(self, request: Request, form: Form) -> PlannedAnswer:
        if form == "tools":
            fields = {"tools": tools(self._instructions.about), "tool_choice": "auto"}
            return await self._ask(request, form, fields)
        refusal: ReplyError | None = None
        for fields in self._schema_fields:
            try:
                answer = await self._ask(request, form, fields)
            except ReplyError as error:
                if error.status not in (400, 422):
                    raise
                refusal = refusal or error
                continue
            if refusal is not None and "response_format" not in fields and answer.error is not None:
                continue  # servers pass over a field that they do not know
            self._schema_fields = [fields]
            return answer
        assert refusal is not None
        raise refusal

    async def _ask(self, request: Request, form: Form, fields: Mapping[str, Any]) -> PlannedAnswer:
        """The plan in the reply to a request with further fields."""
        model, answer = self._model, PlannedAnswer(form)
        instructed_request = _instructed_request(request, self._instructions, form)
        body = {
            "model": model.server.model,
            **await asyncio.to_thread(chat_input, instructed_request.messages, model.settings),
            "seed": instructed_request.seed % 2**31,
            **chat_fields(instructed_request.sampling, model.settings),
            **fields,
        }
        if form == "tools":
            body["messages"][1:1] = example_turns(self._instructions.examples, form)
        reply = await model.client.post("/chat/completions", body)
        answer.usage = reply.usage
        message = _message(reply.value, answer)
        answer.latency = Latency(total=round(reply.seconds, 4))
        words = completions.read_message(message)
        answer.thoughts = "\n\n".join(words.thoughts)
        if form == "tools" or words.refusal is not None:
            _read(answer, read_message, message)
        else:
            _read(answer, read_json, words.text)
        return answer


def _instructed_request(request: Request, instructions: AgentInstructions, form: Form) -> Request:
    """The request behind the system prompt and the examples; those with calls of tools are added to the
    body of the request (`ServerPlanner`), since messages have no calls."""
    system, *conversation = with_system(request.messages, instructions.text(form))
    examples = () if form == "tools" else example_turns(instructions.examples, form)
    turns = (Message(turn["role"], (TextPart(turn["content"]),)) for turn in examples)
    return msgspec.structs.replace(request, messages=(system, *turns, *conversation))


def _message(raw: Any, answer: PlannedAnswer) -> Mapping[str, Any]:
    """The message of a chat completion, whose stop reason goes into `answer`."""
    messages = completions.messages_of(raw)
    if not messages:
        raise ReplyError("a reply without a message")
    answer.stop_reason = completions.stop_reason_of(raw)
    return messages[0]


def _read(answer: PlannedAnswer, read: Callable[[A], ParsedPlan], reply: A) -> None:
    """Reads the plan of a reply into `answer`, or the error for which there is none."""
    try:
        if answer.stop_reason == "content_filter":
            raise PlanError("the server's filter refuses", "refusal")
        if answer.stop_reason == "length":
            raise PlanError("the answer is cut off, and what it lacks is not known: allow more tokens")
        if answer.thoughts and reply == "":
            raise PlanError(nothing_but(True, answer.stop_reason, answer.usage.output))
        answer.plan, answer.outside, answer.order_known = read(reply)
    except PlanError as error:
        answer.error = Failure(error.kind, str(error))
        answer.outside = reply if isinstance(reply, str) else msgspec.json.encode(reply).decode()
    answer.outside = TextPart(answer.outside[:_MOST_OUTSIDE]).text
