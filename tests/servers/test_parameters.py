"""Fields that servers refuse, in the words of each of them, and the option that helps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eval_anything.servers.body import BodyChanges
from eval_anything.servers.parameters import RefusedFields, advice, refused_fields

CHAT = {"model": "m", "messages": [], "temperature": 0.0, "max_tokens": 1024, "seed": 1}
AUDIO = {**CHAT, "modalities": ["text", "audio"], "audio": {"voice": "alloy"}, "stop": ["\n"]}
RESPONSES = {"model": "m", "input": [], "temperature": 0.0, "max_output_tokens": 1024, "store": False}


def pydantic(
    field: str, kind: str = "extra_forbidden", words: str = "Extra inputs are not permitted"
) -> Any:
    return {"detail": [{"type": kind, "loc": ["body", field], "msg": words, "input": 1}]}


# An error, and the option that helps.
HELPED: dict[str, tuple[Any, str]] = {
    "OpenAI, another name": (
        {
            "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "type": "invalid_request_error",
            "param": "max_tokens",
            "code": "unsupported_parameter",
        },
        "body.rename=max_tokens:max_completion_tokens",
    ),
    "OpenAI, a value": (
        {
            "message": "Unsupported value: 'temperature' does not support 0 with this model. Only the "
            "default (1) value is supported.",
            "param": "temperature",
            "code": "unsupported_value",
        },
        "body.drop=temperature",
    ),
    "OpenAI, without param": (
        {"message": "Unrecognized request argument supplied: seed", "param": None, "code": None},
        "body.drop=seed",
    ),
    "OpenAI, several": (
        "Unrecognized request arguments supplied: seed, temperature",
        "body.drop=seed,temperature",
    ),
    "OpenAI, a limit": (
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas "
        "you provided 100000.",
        "max_tokens=16384",
    ),
    "FastAPI": (pydantic("seed"), "body.drop=seed"),
    "FastAPI, a value": (
        pydantic("temperature", "greater_than", "Input should be greater than 0"),
        "body.drop=temperature",
    ),
    "FastAPI, missing": (
        pydantic("max_completion_tokens", "missing", "Field required"),
        "'body.add={\"max_completion_tokens\": 1024}'",
    ),
    "Mistral": ({"object": "error", "message": pydantic("seed")}, "body.drop=seed"),
    "vLLM": (
        {
            "object": "error",
            "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are "
            "not permitted', 'input': 1}]",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        "body.drop=seed",
    ),
    "Gemini": (
        [
            {
                "error": {
                    "code": 400,
                    "message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        "body.drop=seed",
    ),
    "OpenRouter": (
        {"error": {"message": "Provider returned error", "code": 400, "metadata": {
            "raw": '{"error": {"message": "Unknown name \\"seed\\": Cannot find field."}}'}}},
        "body.drop=seed",
    ),
    "LiteLLM": (
        {
            "message": "litellm.UnsupportedParamsError: vertex_ai does not support parameters: "
            "['seed'], for model=gemini-pro. To drop these, set `litellm.drop_params=True` or for "
            "proxy: `litellm_settings:\n drop_params: true`\n. If you want to use these params "
            "dynamically send allowed_openai_params=['seed'] in your request.",
            "type": "None",
            "param": "None",
            "code": "400",
        },
        "body.drop=seed",
    ),
    "LiteLLM, a value": (
        "litellm.UnsupportedParamsError: O-series models don't support temperature=0.0. Only "
        "temperature=1 is supported.",
        "body.drop=temperature",
    ),
    "LiteLLM, of OpenAI": (
        "litellm.BadRequestError: OpenAIException - {'error': {'message': \"Unsupported parameter: "
        "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.\"}}",
        "body.rename=max_tokens:max_completion_tokens",
    ),
    "Anthropic": (
        "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        "body.drop=temperature",
    ),
    "Anthropic, plain": ("temperature and top_p cannot both be specified", "body.drop=temperature"),
    "Anthropic, thinking": (
        "`temperature` may only be set to 1 when thinking is enabled.",
        "body.drop=temperature",
    ),
    "Anthropic, extra": ("seed: Extra inputs are not permitted", "body.drop=seed"),
    "Anthropic, a limit": (
        "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens for claude",
        "max_tokens=8192",
    ),
    "TGI": (
        "Failed to deserialize the JSON body into the target type: unknown field `seed`, expected one "
        "of `messages`, `temperature`, `max_tokens`",
        "body.drop=seed",
    ),
    "TGI, a value": (
        "Input validation error: `temperature` must be strictly positive",
        "body.drop=temperature",
    ),
    "Groq": ("property 'seed' is unsupported, did you mean 'speed'?", "body.rename=seed:speed"),
    "Groq, a limit": (
        "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less "
        "than the `context_window` for this model",
        "max_tokens=8192",
    ),
    "Fireworks": ("Extra inputs are not permitted, field: 'seed', value: 1", "body.drop=seed"),
    "Bedrock": (
        "Malformed input request: extraneous key [seed] is not permitted, please reformat your input",
        "body.drop=seed",
    ),
    "Moonshot": ("invalid temperature: only 1 is allowed for this model", "body.drop=temperature"),
    "DashScope": ("<400> InvalidParameter: Range of max_tokens should be [1, 8192]", "max_tokens=8192"),
    "a context that no prompt fits into": (
        "'max_tokens' is too large: 1024. This model's maximum context length is 512 tokens and your "
        "request has 12 input tokens (1024 > 512 - 12).",
        "max_tokens=256",
    ),
}  # fmt: skip


@pytest.mark.parametrize("server", list(HELPED))
def test_the_option_that_helps(server: str) -> None:
    error, words = HELPED[server]
    for shape in (error, {"error": error}, json.dumps({"error": error})):
        refused = refused_fields(shape, CHAT)
        assert refused is not None
        assert advice(refused, BodyChanges(), "--model-arg") == f"--model-arg {words}"


@pytest.mark.parametrize(
    "error",
    [
        "no",
        "API key not valid. Please pass a valid API key.",
        "Your credit balance is too low to access the API.",
        "Invalid model name passed in model=tester. Call `/v1/models` to view available models",
        "Your request was rejected by the safety system: temperature records are no topic",
        "This model's maximum context length is 8192 tokens. However, you requested 1024 output tokens "
        "and your prompt contains at least 7800 input tokens. Please reduce max_tokens.",
        "'max_tokens' or 'max_completion_tokens' is too large: 1024. This model's maximum context "
        "length is 2048 tokens and your request has 1500 input tokens (1024 > 2048 - 1500).",
        "input length and `max_tokens` exceed context limit: 199000 + 1024 > 200000, decrease input "
        "length or `max_tokens` and try again",
        {"message": "Invalid value: 'image_url'. Must be 'text'.", "param": "messages[0].content[1]"},
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "messages", 0, "x"], "msg": "Extra"}]},
        {"message": "Invalid prompt: your prompt was flagged", "param": None, "code": "invalid_prompt"},
        {"message": "No auth header: api_key is required", "param": "api_key"},
        {"detail": [{"type": "missing", "loc": ["header", "authorization"], "msg": "Field required"}]},
        "image input is not supported: try a model with vision",
        "At most 1 audio(s) may be provided in one prompt.",
        "a" * 100_000,
        {"error": {"error": [[[[[[[[[[[["seed is unknown"]]]]]]]]]]]]}},
        None,
        7,
    ],
)
@pytest.mark.parametrize("sent", [CHAT, AUDIO], ids=["chat", "audio"])
def test_errors_that_are_about_something_else(error: Any, sent: dict[str, Any]) -> None:
    assert refused_fields(error, sent) is None


def test_fields_of_the_responses_api() -> None:
    error = {"message": "Unsupported parameter: 'temperature' is not supported with this model.",
             "param": "temperature"}  # fmt: skip
    assert refused_fields(error, RESPONSES) == RefusedFields(("temperature",))


@pytest.mark.parametrize(
    ("refused", "changes", "words"),
    [
        (RefusedFields(("seed",)), BodyChanges(drop=["stop"]), "body.drop=stop,seed"),
        (
            RefusedFields(("a",), instead="c"),
            BodyChanges(rename={"max_tokens": "a", "stop": "b"}),
            "body.rename=max_tokens:c,stop:b",
        ),
        (RefusedFields(("a",), "seed"), BodyChanges(rename={"seed": "a"}), "without body.rename"),
        (RefusedFields(("a",)), BodyChanges(rename={"seed": "a"}), "body.drop=seed without body.rename"),
        (RefusedFields(("a",)), BodyChanges(add={"a": 1}), "without body.add"),
        (RefusedFields(("a",)), BodyChanges(add={"a": 1, "b": "c d"}), '\'body.add={"b": "c d"}\''),
        (
            RefusedFields(("a",), most=5),
            BodyChanges(add={"a": 9}),
            "'body.add={\"a\": 5}'",
        ),
    ],
)
def test_the_option_includes_what_was_changed_already(
    refused: RefusedFields, changes: BodyChanges, words: str
) -> None:
    assert advice(refused, changes, "--model-arg") == f"--model-arg {words}"


def test_the_option_is_that_of_the_judge_or_the_file() -> None:
    refused = RefusedFields(("seed",))
    assert advice(refused, BodyChanges(), "--judge-arg mine") == "--judge-arg mine:body.drop=seed"
    in_file = advice(refused, BodyChanges(), "agent.yaml: generators.image.arguments:")
    assert in_file == "agent.yaml: generators.image.arguments: {body.drop: 'seed'}"
