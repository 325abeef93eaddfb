"""How the chat model of an agent is asked, and how its answers are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins

from eval_anything.content import Message, Modality, TextPart, Usage
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.agent.grammar import parse, render
from eval_anything.models.agent.plan import Plan, PlanError
from eval_anything.models.agent.plan_parser import read_json, read_message
from eval_anything.models.base import Request, Sampling
from tests.support.agent_server import in_json, in_tools, plan, planner
from tests.support.agents import DRAWN, agent, answers, request, write_agent
from tests.support.helpers import Cli, make_task, png, text_sample
from tests.support.scripted_server import completion, fails, raw, serve

FOX = plan(text="A fox.", image="a fox asleep in a teacup", audio="soft snoring")


@pytest.mark.parametrize(
    ("tools", "json_schema", "form", "requests"),
    [
        ("works", "works", "tools", 1 + 3),
        ("refused", "works", "json", 2 + 3),
        ("ignored", "works", "json", 2 + 3),
        ("refused", "without bounds", "json", 3 + 3),
        ("refused", "guided_json", "json", 4 + 3),
        ("refused", "refused", "text", 4 + 3),
        ("ignored", "ignored", "text", 2 + 3),
    ],
)
def test_the_best_form_that_works_is_found_once(
    tools: Any, json_schema: Any, form: str, requests: int, tmp_path: Path
) -> None:
    with serve(planner({"fox": FOX}, tools, json_schema)) as server:
        file = write_agent(tmp_path, server.spec())
        given = answers(file, *(request(id_=f"s{i}") for i in range(3)))
    assert len(server.bodies) == requests
    for response in given:
        assert response.error is None
        assert [p.modality for p in response.parts] == ["text", "image", "audio"]
        assert response.details == {
            "form": form,
            "plan": [
                {"modality": "text"},
                {"modality": "image", "prompt": "a fox asleep in a teacup"},
                {"modality": "audio", "prompt": "soft snoring"},
            ],
        }
        assert response.order_known is (form != "tools")
        assert response.usage == Usage(11, 7)
        assert set(to_builtins(response.latency)) >= {"total", "plan", "image", "audio"}


@pytest.mark.parametrize("form", ["tools", "json", "text"])
@pytest.mark.parametrize(
    ("reason", "kind"), [("length", "unparsable_plan"), ("content_filter", "refusal")]
)
def test_an_answer_that_is_cut_off_is_no_choice_of_what_it_has(
    reason: str, kind: str, form: str, tmp_path: Path
) -> None:
    chosen = plan(text="A fox.")
    message = {"tools": in_tools, "json": in_json}.get(form, lambda p: {"content": render(p)})(chosen)
    body = completion(None, choices=[{"index": 0, "finish_reason": reason, "message": message}])
    with serve(lambda number, asked: raw(body)) as server:
        [response] = answers(write_agent(tmp_path, server.spec(), form=form), request())
    assert response.error is not None
    assert response.error.kind == kind
    assert response.parts == ()
    assert "A fox." in response.details["outside"]


@pytest.mark.parametrize("form", ["tools", "json", "text"])
def test_a_form_can_be_fixed(form: str, tmp_path: Path) -> None:
    with serve(planner({"fox": FOX})) as server:
        [response] = answers(write_agent(tmp_path, server.spec(), form=form), request())
    assert response.details["form"] == form
    [body] = server.bodies
    assert ("tools" in body) is (form == "tools")
    assert ("response_format" in body) is (form == "json")


@pytest.mark.parametrize("json_schema", ["without bounds", "guided_json"])
def test_a_refused_way_to_ask_for_a_fixed_form_costs_no_sample(json_schema: Any, tmp_path: Path) -> None:
    with serve(planner({"fox": FOX}, json_schema=json_schema)) as server:
        file = write_agent(tmp_path, server.spec(), form="json")
        given = answers(file, *(request(id_=f"s{i}") for i in range(2)))
    assert [response.error for response in given] == [None, None]
    taken = server.bodies[-1]
    assert ("guided_json" in taken) is (json_schema == "guided_json")
    assert "maxItems" not in str(taken.get("response_format"))


def test_a_server_that_takes_no_schema_is_not_held_against_the_model(tmp_path: Path) -> None:
    """The run stops. A field that a server passes over is no way to ask."""
    with serve(planner({"fox": FOX}, json_schema="refused")) as server:
        file = write_agent(tmp_path, server.spec(), form="json")
        with pytest.raises(UserError, match="answers without a JSON schema and takes none"):
            answers(file, request())


def test_the_trial_of_forms_has_the_settings_of_the_run(tmp_path: Path) -> None:
    settings = Sampling(0.7, 3, top_k=5, max_new_tokens=40)
    asked = Request("t", "s0", 0, request().messages, settings)
    with serve(planner({"fox": FOX}, tools="ignored", json_schema="ignored")) as server:
        answers(write_agent(tmp_path, server.spec()), asked)
    sent = [(body["temperature"], body["top_k"], body["max_tokens"]) for body in server.bodies]
    assert sent == [(0.7, 5, 40)] * 3


def test_a_form_works_although_a_small_model_gets_the_medium_wrong(tmp_path: Path) -> None:
    def script(number: int, body: dict[str, Any]) -> Any:
        if "tools" in body:
            return raw(completion({"role": "assistant", "content": "A red circle."}))
        return raw(completion(in_json(plan(text="a red circle"))))

    with serve(script) as server:
        [response] = answers(write_agent(tmp_path, server.spec()), request())
    assert response.details["form"] == "json"


EXAMPLES = [
    {
        "user": "A cat?",
        "parts": [
            {"modality": "text", "content": "Here."},
            {"modality": "image", "content": "a cat"},
        ],
    }
]


@pytest.mark.parametrize("form", ["tools", "json", "text"])
def test_examples_stand_before_the_conversation(form: str, tmp_path: Path) -> None:
    with serve(planner({"fox": FOX})) as server:
        answers(write_agent(tmp_path, server.spec(), form=form, examples=EXAMPLES), request())
    turns = server.bodies[0]["messages"]
    roles = ["system", "user", "assistant", *(["tool"] if form == "tools" else []), "user"]
    assert [turn["role"] for turn in turns] == roles
    chosen = plan(text="Here.", image="a cat")
    if form == "tools":
        assert read_message(turns[2]).plan == chosen
        assert turns[3]["tool_call_id"] == turns[2]["tool_calls"][0]["id"]
    else:
        read: Any = read_json if form == "json" else parse
        assert read(turns[2]["content"]).plan == chosen


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"examples": [{"user": "x", "parts": []}]}, "examples[0].parts"),
        ({"examples": [{"user": "x", "parts": [{"modality": "text", "text": "y"}]}]}, "key 'text'"),
        (
            {"examples": [{"user": "x", "parts": [{"modality": "video", "content": "y"}]}]},
            "examples[0] has video, for which the agent has no generator",
        ),
        ({"examples": [{"user": "x", "parts": [{"modality": "text", "content": " "}]}]}, "without cont"),
        ({"most_parts": 17}, "most_parts"),
        ({"most_characters": 0}, "most_characters"),
    ],
)
def test_mistakes_in_examples_and_bounds_are_named(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = write_agent(tmp_path, "openai/m@http://127.0.0.1:1/v1", {"image": DRAWN}, **settings)
    with pytest.raises(UserError, match=re.escape(message)):
        agent(file)


def test_a_field_that_the_form_decides_is_refused(tmp_path: Path) -> None:
    model = agent(write_agent(tmp_path, "openai/m@http://127.0.0.1:1/v1"))
    with pytest.raises(UserError, match="--extra-body response_format: the form of plans decides it"):
        model.check_sampling(Sampling(extra_body={"response_format": {}}))


def test_what_the_chat_model_is_told(tmp_path: Path) -> None:
    generators = {"audio": {**DRAWN, "about": "reads its prompt aloud"}}
    with serve(planner({"fox": plan(text="A fox.")})) as server:
        file = write_agent(tmp_path, server.spec(), generators, form="tools", system="Be brief.")
        system = Message("system", (TextPart("The user is five."),))
        own = Request("t", "s", 0, (system, *request().messages), Sampling(0.5, 1))
        answers(file, own)
    [body] = server.bodies
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    told = body["messages"][0]["content"]
    for part in ("Be brief.", "reads its prompt aloud", "The user is five."):
        assert part in told
    assert [tool["function"]["name"] for tool in body["tools"]] == ["make_audio"]
    assert (body["temperature"], body["seed"]) == (0.5, own.seed % 2**31)


def test_settings_of_generation_are_for_the_chat_model(cli: Cli, tmp_path: Path) -> None:
    make_task(tmp_path, "mine/demo", [text_sample("s0", "A fox?")])
    with serve(planner({"fox": plan(text="A fox.")})) as server:
        settings = {"repetition_penalty": 1.2, "max_new_tokens": 70, "top_k": 9, "temperature": 0.4}
        file = write_agent(tmp_path, server.spec(), form="tools", generation=settings)
        words = ("run", "--model", f"agent/{file}", "--tasks", "mine/demo", "--include", "mine")
        done = cli(*words, "--top-k", "5", "--system", "Be brief.")
        assert done.code == 0, done.err
        assert "repetition_penalty 1.2" in done.err
        refused = cli(*words, "--stop", "x", "--out", "other")
    assert refused.code == 2
    assert "--stop: agent/" in refused.err
    [body] = server.bodies
    sent = {name: body[name] for name in ("repetition_penalty", "max_tokens", "top_k", "temperature")}
    assert sent == {"repetition_penalty": 1.2, "max_tokens": 70, "top_k": 5, "temperature": 0.4}
    assert body["messages"][0]["content"].endswith("Be brief.")


@pytest.mark.parametrize(
    ("generation", "message"),
    [
        ({"top_k": 5}, "generators.image.generation: temperature 0 takes the likeliest token"),
        ({"temperature": 1, "top_k": 5}, "generators.image.generation.temperature: openai/"),
        ({"top_q": 5}, "unknown key 'top_q'"),
    ],
)
def test_settings_that_a_generator_does_not_take_are_named(
    generation: dict[str, Any], message: str, tmp_path: Path
) -> None:
    images = {"model": "openai/i@http://127.0.0.1:1/v1", "arguments": {"api": "images"}}
    file = write_agent(
        tmp_path, "openai/m@http://127.0.0.1:1/v1", {"image": {**images, "generation": generation}}
    )
    with pytest.raises(UserError, match=re.escape(message)):
        agent(file)


def test_media_of_the_prompt_go_to_the_chat_model(tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(png())
    part = MediaStore(tmp_path / "store").put(png(), Modality.IMAGE)
    asked = Request("t", "s0", 0, (Message("user", (part, TextPart("a fox"))),), Sampling())
    with serve(planner({"fox": FOX})) as server:
        [response] = answers(write_agent(tmp_path, server.spec(), form="tools"), asked)
    assert response.error is None
    content = server.bodies[0]["messages"][1]["content"]
    assert content[0]["image_url"]["url"].startswith("data:image/png;base64,")
    with serve(lambda number, body: fails(400, "no images")) as server:
        [response] = answers(write_agent(tmp_path, server.spec(), form="tools"), asked)
    assert response.error is not None
    assert response.error.kind == "unsupported_input"


def test_media_of_the_prompt_are_no_input_of_a_text_model(tmp_path: Path, tiny: Path) -> None:
    part = MediaStore(tmp_path / "store").put(png(), Modality.IMAGE)
    asked = Request("t", "s0", 0, (Message("user", (part,)),), Sampling())
    [response] = answers(write_agent(tmp_path, str(tiny)), asked)
    assert response.error is not None
    assert response.error.kind == "unsupported_input"


# --- what it answers ---------------------------------------------------------------------------

MESSAGES: dict[str, tuple[dict[str, Any], Plan]] = {
    "text alone": ({"content": "Paris."}, plan(text="Paris.")),
    "a call alone": (in_tools(plan(image="a cat")), plan(image="a cat")),
    "both": (in_tools(plan(text="Look:", video="a cat runs")), plan(text="Look:", video="a cat runs")),
    "content in parts": ({"content": [{"type": "text", "text": "Paris."}]}, plan(text="Paris.")),
    "arguments as an object": (
        {"tool_calls": [{"function": {"name": "make_image", "arguments": {"prompt": "a cat"}}}]},
        plan(image="a cat"),
    ),
    "texts of one answer": (
        {"content": [{"type": "text", "text": "Par"}, {"type": "text", "text": "is."}]},
        plan(text="Paris."),
    ),
    "thinking": ({"content": "<think>a cat?</think>Paris."}, plan(text="Paris.")),
    "the end of thinking": ({"content": "a cat?</think>Paris."}, plan(text="Paris.")),
    "thinking of another family": ({"content": "[THINK]a cat?[/THINK]Paris."}, plan(text="Paris.")),
    "thinking in a block": (
        {"content": [{"type": "thinking", "thinking": "a cat?"}, {"type": "text", "text": "Paris."}]},
        plan(text="Paris."),
    ),
    "no refusal": ({"content": "Paris.", "refusal": False}, plan(text="Paris.")),
    "a call for none": (in_tools(plan(text="Paris.", image="None.")), plan(text="Paris.")),
    "nothing": ({"content": ""}, ()),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_messages_are_read(case: str) -> None:
    message, expected = MESSAGES[case]
    reading = read_message(message)
    assert reading.plan == expected
    assert reading.order_known is (len({one.modality for one in expected}) < 2)


def _call(name: str, arguments: Any) -> dict[str, Any]:
    return {"content": "ok", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}


NO_PLANS: dict[str, tuple[Callable[[Any], Any], Any, str]] = {
    "unknown tool": (read_message, _call("draw", '{"prompt": "x"}'), "unparsable_plan"),
    "cut arguments": (read_message, _call("make_image", '{"prompt": "a c'), "unparsable_plan"),
    "no prompt": (read_message, _call("make_image", '{"text": "a cat"}'), "unparsable_plan"),
    "no function": (read_message, {"tool_calls": ["x"]}, "unparsable_plan"),
    "a call in the text": (
        read_message,
        {"content": '<tool_call>{"name": "make_image", "arguments": {"prompt": "x"}}</tool_call>'},
        "unparsable_plan",
    ),
    "a call as code": (read_message, {"content": 'make_image("a cat")'}, "unparsable_plan"),
    "a refusal": (read_message, {"content": None, "refusal": "I will not"}, "refusal"),
    "words for JSON": (read_json, "Paris.", "unparsable_plan"),
    "cut JSON": (read_json, '{"parts": [{"modality": "text", "cont', "unparsable_plan"),
    "a smell": (read_json, '{"parts": [{"modality": "smell", "content": "x"}]}', "unparsable_plan"),
    "other JSON": (read_json, '{"answer": "Paris"}', "unparsable_plan"),
    "deep JSON": (read_json, "[" * 100_000, "unparsable_plan"),
    "a refusal for JSON": (read_json, "I'm sorry, I can't help with that.", "refusal"),
    "too many parts": (read_message, in_tools(plan(image="a cat") * 17), "unparsable_plan"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_PLANS)
def test_what_is_no_plan(case: str) -> None:
    read, answer, kind = NO_PLANS[case]
    with pytest.raises(PlanError) as error:
        read(answer)
    assert error.value.kind == kind


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "<think>hm</think>\n{}", "  {}\n"])
def test_json_is_read(around: str) -> None:
    expected = plan(image="a cat", text="Meow: it says", video="a cat runs")
    answer = around.format(in_json((*expected, *plan(audio="None.")))["content"])
    assert read_json(answer).plan == expected


@pytest.mark.parametrize("form", ["tools", "json", "text"])
@pytest.mark.parametrize("apart", [False, True])
def test_thoughts_of_the_chat_model_are_kept_apart(form: str, apart: bool, tmp_path: Path) -> None:
    chosen = plan(text="A fox and a </think> tag.")
    message = {"tools": in_tools, "json": in_json}.get(form, lambda p: {"content": render(p)})(chosen)
    if apart:
        message["reasoning_content"] = "hm"
    else:
        message["content"] = f"<think>hm</think>{message['content']}"
    with serve(lambda number, asked: raw(completion(message))) as server:
        [response] = answers(write_agent(tmp_path, server.spec(), form=form), request())
    assert response.error is None
    assert response.text == "A fox and a </think> tag."
    assert response.details["thoughts"] == "hm"
    assert "outside" not in response.details


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_answer_of_thoughts_alone_is_no_plan(form: str, tmp_path: Path) -> None:
    message = {"role": "assistant", "content": "", "reasoning_content": "hm"}
    with serve(lambda number, asked: raw(completion(message))) as server:
        [response] = answers(write_agent(tmp_path, server.spec(), form=form), request())
    assert response.error is not None
    assert "only thoughts" in response.error.message
    assert response.details["thoughts"] == "hm"
