"""The meaning of refusals and failures as servers word them, each a body seen in the wild."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eval_anything.servers.error_bodies import error_inside, read_error
from eval_anything.servers.refusals import RefusalKind, SentRequest, read_refusal

K = RefusalKind
SENT = SentRequest(
    "vision-1-image",
    "/chat/completions",
    ("model", "messages", "max_tokens", "temperature", "seed", "stop", "audio"),
)


def openai(
    message: str, code: Any = None, type_: str = "invalid_request_error", param: Any = None
) -> Any:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def openrouter(code: int, message: str, **metadata: Any) -> Any:
    return {"error": {"code": code, "message": message, "metadata": metadata}, "user_id": "user_1"}


def gemini(code: int, message: str, status: str, **detail: Any) -> Any:
    return [{"error": {"code": code, "message": message, "status": status, "details": [detail]}}]


AZURE = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
        "management policy. Please modify your prompt and retry.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
    }
}
QUOTA = "You exceeded your current quota, please check your plan and billing details."
RATE = (
    "Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000. Please "
    "try again in 2s. Add a payment method at https://platform.openai.com/account/billing for more."
)
RAW = json.dumps(openai("Your input was blocked by our safety system", "moderation_blocked"))

WILD: list[tuple[str, int | None, Any, RefusalKind]] = [
    # key and rights
    ("OpenAI", 401, openai("Incorrect API key provided: sk-1.", "invalid_api_key"), K.ACCOUNT),
    (
        "Gemini",
        400,
        gemini(
            400,
            "API key not valid. Please pass a valid API key.",
            "INVALID_ARGUMENT",
            reason="API_KEY_INVALID",
        ),
        K.ACCOUNT,
    ),
    ("Gemini, expired", 400, gemini(400, "API key expired. Please renew it.", "INVALID"), K.ACCOUNT),
    (
        "Gemini, region",
        400,
        gemini(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"),
        K.ACCOUNT,
    ),
    (
        "Gemini, rights",
        403,
        gemini(403, "Method doesn't allow unregistered callers", "PERMISSION_DENIED"),
        K.ACCOUNT,
    ),
    (
        "LiteLLM, no key",
        400,
        openai("Authentication Error, No api key passed in.", "400", "auth_error"),
        K.ACCOUNT,
    ),
    (
        "LiteLLM, another key, no database",
        400,
        openai("No connected db.", "400", "no_db_connection"),
        K.ACCOUNT,
    ),
    (
        "LiteLLM, a key for other models",
        403,
        openai(
            "key not allowed to access model. This key can only access models=['a']. Tried image-1",
            "403",
            "key_model_access_denied",
            "model",
        ),
        K.ACCOUNT,
    ),
    (
        "xAI",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect API key provided: "
            "ab***yz. You can obtain an API key from https://console.x.ai.",
        },
        K.ACCOUNT,
    ),
    (
        "Anthropic",
        401,
        {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}},
        K.ACCOUNT,
    ),
    (
        "Anthropic, 400",
        400,
        {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}},
        K.ACCOUNT,
    ),
    (
        "OpenAI, unverified",
        403,
        openai("Your organization must be verified to use the model `gpt-image-1`."),
        K.ACCOUNT,
    ),
    (
        "OpenAI, country",
        403,
        openai("Country, region, or territory not supported", "unsupported_country_region_territory"),
        K.ACCOUNT,
    ),
    (
        "OpenAI, no access",
        403,
        openai("Project `p` does not have access to model `gpt-image-1`", "model_not_found"),
        K.ACCOUNT,
    ),
    (
        "OpenAI, closed",
        403,
        openai("Your account has been flagged for violating our usage policies.", "account_deactivated"),
        K.ACCOUNT,
    ),
    (
        "OpenRouter, privacy",
        404,
        openrouter(
            404,
            "No endpoints found matching your data policy. "
            "Configure: https://openrouter.ai/settings/privacy",
        ),
        K.ACCOUNT,
    ),
    ("a bare 403", 403, "", K.ACCOUNT),
    ("a proxy", 407, "<html><h1>Proxy Authentication Required</h1></html>", K.ACCOUNT),
    ("FastAPI", 403, {"detail": "Not authenticated"}, K.ACCOUNT),
    ("no key at all", 400, openai("You didn't provide an API key."), K.ACCOUNT),
    ("one-api", 401, openai("无效的令牌", "", "new_api_error"), K.ACCOUNT),
    # money
    (
        "DeepSeek",
        402,
        openai("Insufficient Balance", "invalid_request_error", "unknown_error"),
        K.ACCOUNT,
    ),
    (
        "Anthropic, money",
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the "
                "Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
            },
        },
        K.ACCOUNT,
    ),
    (
        "Anthropic, a limit",
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "You have reached your specified API usage limits. "
                "You will regain access on 2026-01-01 at 00:00 UTC.",
            },
        },
        K.ACCOUNT,
    ),
    (
        "OpenRouter, money",
        402,
        openrouter(
            402,
            "This request requires more credits, or fewer max_tokens. "
            "You requested up to 1024 tokens, but can only afford 7.",
        ),
        K.ACCOUNT,
    ),
    (
        "OpenAI, images",
        400,
        openai("Billing hard limit has been reached", "billing_hard_limit_reached"),
        K.ACCOUNT,
    ),
    ("OpenAI, quota", 429, openai(QUOTA, "insufficient_quota", "insufficient_quota"), K.ACCOUNT),
    (
        "OpenAI, inactive",
        429,
        openai("Your account is not active, please check your billing details.", "billing_not_active"),
        K.ACCOUNT,
    ),
    (
        "LiteLLM, wrapped",
        429,
        openai(f"litellm.RateLimitError: RateLimitError: OpenAIException - {QUOTA}", "429", "None"),
        K.ACCOUNT,
    ),
    (
        "LiteLLM, budget",
        400,
        openai("Budget has been exceeded! Current cost: 1.2, Max budget: 1.0", "400", "budget_exceeded"),
        K.ACCOUNT,
    ),
    (
        "LiteLLM, budget as 429",
        429,
        openai("Budget has been exceeded! Current cost: 1.2", "429", "budget_exceeded"),
        K.ACCOUNT,
    ),
    (
        "DashScope",
        400,
        openai(
            "Access denied, please make sure your account is in good standing.", "Arrearage", "Arrearage"
        ),
        K.ACCOUNT,
    ),
    (
        "DashScope, native",
        400,
        {"code": "Arrearage", "message": "Access denied.", "request_id": "1"},
        K.ACCOUNT,
    ),
    (
        "SiliconFlow",
        403,
        {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None},
        K.ACCOUNT,
    ),
    (
        "Fireworks",
        412,
        openai(
            "Account x is suspended, possibly due to reaching the monthly spending "
            "limit or failure to pay past invoices"
        ),
        K.ACCOUNT,
    ),
    (
        "Hugging Face",
        402,
        {"error": "You have exceeded your monthly included credits for Inference Providers."},
        K.ACCOUNT,
    ),
    ("Zhipu", 429, {"error": {"code": "1113", "message": "您的账户已欠费，请充值后重试。"}}, K.ACCOUNT),
    (
        "Moonshot",
        429,
        openai(
            "Your account org-1 is suspended, please check your plan and billing details",
            None,
            "exceeded_current_quota_error",
        ),
        K.ACCOUNT,
    ),
    ("one-api, money", 403, openai("user quota is not enough", "insufficient_user_quota"), K.ACCOUNT),
    ("a proxy's 500", 500, openai("Insufficient Balance"), K.ACCOUNT),
    ("MiniMax", None, {"status_code": 1008, "status_msg": "insufficient balance"}, K.ACCOUNT),
    ("a 200", None, {"code": "insufficient_quota", "message": QUOTA}, K.ACCOUNT),
    # no such model or path
    (
        "LiteLLM, model",
        400,
        {
            "error": {
                "message": "Invalid model name passed in model=vision-1-image. "
                "Call `/v1/models` to view available models",
                "type": "None",
                "param": "None",
                "code": "400",
            }
        },
        K.MISSING,
    ),
    (
        "vLLM",
        404,
        {
            "object": "error",
            "message": "The model `vision-1-image` does not exist.",
            "type": "NotFoundError",
            "param": None,
            "code": 404,
        },
        K.MISSING,
    ),
    ("Ollama", 404, openai("model 'vision-1-image' not found", None, "not_found_error"), K.MISSING),
    ("OpenRouter, model", 400, openrouter(400, "vision-1-image is not a valid model ID"), K.MISSING),
    (
        "Groq",
        400,
        openai(
            "The model `m` has been decommissioned and is no longer supported.", "model_decommissioned"
        ),
        K.MISSING,
    ),
    (
        "Hugging Face, model",
        400,
        openai(
            "The requested model 'm' is not supported by any provider you have enabled.",
            "model_not_supported",
        ),
        K.MISSING,
    ),
    ("a path", 404, {"detail": "Not Found"}, K.MISSING),
    ("nginx", 404, "<html><head><title>404 Not Found</title></head></html>", K.MISSING),
    ("gone", 410, openai("This is deprecated."), K.MISSING),
    # content
    (
        "OpenRouter, flagged",
        403,
        openrouter(
            403,
            'gpt-4o requires moderation on OpenAI. Your input was flagged for "violence/graphic". '
            "No credits were charged.",
            reasons=["violence/graphic"],
            flagged_input="...",
        ),
        K.CONTENT,
    ),
    (
        "OpenRouter, raw",
        400,
        openrouter(400, "Provider returned error", raw=RAW, provider_name="x"),
        K.CONTENT,
    ),
    ("Azure", 400, AZURE, K.CONTENT),
    (
        "OpenAI, images",
        400,
        openai(
            "Your request was rejected as a result of our safety system.", "content_policy_violation"
        ),
        K.CONTENT,
    ),
    (
        "OpenAI, reasoning",
        400,
        openai(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            "invalid_prompt",
        ),
        K.CONTENT,
    ),
    (
        "DashScope, content",
        400,
        openai("Input data may contain inappropriate content.", "data_inspection_failed"),
        K.CONTENT,
    ),
    ("DashScope, native", 400, {"code": "DataInspectionFailed", "message": "Output failed."}, K.CONTENT),
    ("DeepSeek, content", 400, openai("Content Exists Risk"), K.CONTENT),
    (
        "Moonshot, content",
        400,
        openai("The request was rejected because it was considered high risk", None, "content_filter"),
        K.CONTENT,
    ),
    (
        "Zhipu, content",
        400,
        {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}},
        K.CONTENT,
    ),
    (
        "xAI, content",
        403,
        {
            "code": "permission",
            "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_CSAM",
        },
        K.CONTENT,
    ),
    (
        "LiteLLM, a guardrail",
        400,
        {"error": {"message": "{'error': 'Violated guardrail policy'}", "type": "None", "code": "400"}},
        K.CONTENT,
    ),
    ("a filter that is a 500", 500, openai("filtered", "content_filter"), K.CONTENT),
    (
        "a warning about the account",
        400,
        openai("Your prompt was flagged. Your account may be suspended if this goes on."),
        K.CONTENT,
    ),
    ("MiniMax", None, {"status_code": 1026, "status_msg": "input new_sensitive"}, K.CONTENT),
    ("terms", 403, openai("This violates our terms of service."), K.CONTENT),
    ("a topic", 403, openai("Content not allowed: self-harm"), K.CONTENT),
    ("a filter", 403, {"detail": "blocked by the filter"}, K.CONTENT),
    ("a field of that name", 400, openai("messages[0].content must be a string"), K.REQUEST),
    ("letters", 400, openai("names of tools are case-sensitive"), K.REQUEST),
    # media
    (
        "OpenRouter, images",
        404,
        openrouter(404, "No endpoints found that support image input"),
        K.MODALITY,
    ),
    ("no endpoint", 404, openai("no endpoint takes images"), K.MODALITY),
    (
        "vLLM, images",
        400,
        openai("At most 0 image(s) may be provided in one prompt.", 400, "BadRequestError"),
        K.MODALITY,
    ),
    (
        "OpenAI, images",
        400,
        openai(
            "Invalid content type. image_url is only supported by certain models.",
            param="messages.[1].content.[1].type",
        ),
        K.MODALITY,
    ),
    ("Ollama, images", 400, openai("this model is missing data required for image input"), K.MODALITY),
    (
        "Groq, images",
        400,
        openai("messages[0].content must be a string. The model does not support images."),
        K.MODALITY,
    ),
    ("403 for images", 403, openai("This model cannot take audio input."), K.MODALITY),
    # parameters
    (
        "OpenAI, max_tokens",
        400,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "unsupported_parameter",
            param="max_tokens",
        ),
        K.PARAMETER,
    ),
    (
        "OpenAI, temperature",
        400,
        openai(
            "'temperature' does not support 0.0 with this model.",
            "unsupported_value",
            param="temperature",
        ),
        K.PARAMETER,
    ),
    (
        "FastAPI, seed",
        422,
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "seed"],
                    "msg": "Extra inputs are not permitted",
                    "input": "an invalid api key",
                }
            ]
        },
        K.PARAMETER,
    ),
    (
        "Gemini, seed",
        400,
        gemini(
            400,
            'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
            "INVALID_ARGUMENT",
        ),
        K.PARAMETER,
    ),
    (
        "vLLM, too long",
        400,
        openai(
            "'max_tokens' or 'max_completion_tokens' is too large: 5000.",
            400,
            "BadRequestError",
            "max_tokens",
        ),
        K.PARAMETER,
    ),
    (
        "OpenRouter, parameters",
        404,
        openrouter(404, "No endpoints found that can handle the requested parameters."),
        K.PARAMETER,
    ),
    # anything else about the request
    ("no words", 400, "", K.REQUEST),
    ("bare", 422, openai("no", type_="error"), K.REQUEST),
    (
        "OpenAI, too long",
        400,
        openai(
            "This model's maximum context length is 8192 tokens.",
            "context_length_exceeded",
            param="messages",
        ),
        K.REQUEST,
    ),
    (
        "Together, too long",
        403,
        openai("Input token count exceeds the context length of the model."),
        K.REQUEST,
    ),
    ("Chinese, too long", 400, openai("超过最大令牌数"), K.REQUEST),
    # passing
    ("busy", 503, openai("overloaded", None, "overloaded_error"), K.PASSING),
    ("Anthropic, busy", 529, {"type": "error", "error": {"type": "overloaded_error"}}, K.PASSING),
    ("a conflict", 409, "", K.PASSING),
    ("a page", 502, "<html><title>502 Bad Gateway</title></html>", K.PASSING),
    ("inside of a 200", None, {"code": 502, "message": "Provider returned error"}, K.PASSING),
    ("OpenAI's code", None, {"code": "server_error", "message": "oh"}, K.PASSING),
    ("a code of failing", None, {"code": "video_generation_failed", "message": "oh"}, K.PASSING),
    ("no code", None, {"message": "oh"}, K.PASSING),
    # slow down
    ("a rate", 429, openai(RATE, "rate_limit_exceeded", "tokens"), K.SLOW_DOWN),
    (
        "Groq, a rate",
        429,
        openai(
            "Rate limit reached. Please try again in 7.5s. Need more tokens? Upgrade "
            "today at https://console.groq.com/settings/billing"
        ),
        K.SLOW_DOWN,
    ),
    (
        "Gemini, a rate",
        429,
        gemini(429, f"{QUOTA} Please retry in 37s.", "RESOURCE_EXHAUSTED", retryDelay="37s"),
        K.SLOW_DOWN,
    ),
    (
        "OpenRouter, a rate",
        429,
        openrouter(
            429,
            "Rate limit exceeded: free-models-per-day. Add 10 credits "
            "to unlock 1000 free model requests per day",
        ),
        K.SLOW_DOWN,
    ),
    (
        "Azure, a rate",
        429,
        openai(
            "Requests have exceeded token rate limit of your current OpenAI S0 "
            "pricing tier. Please retry after 58 seconds.",
            "429",
        ),
        K.SLOW_DOWN,
    ),
    ("bare", 429, "", K.SLOW_DOWN),
    (
        "a rate in a stream",
        None,
        {"message": "wait", "type": "rate_limit_error", "code": None},
        K.SLOW_DOWN,
    ),
]


@pytest.mark.parametrize(
    ("status", "body", "kind"), [row[1:] for row in WILD], ids=[f"{row[3]}, {row[0]}" for row in WILD]
)
@pytest.mark.parametrize("as_text", [False, True], ids=["decoded", "as text"])
def test_bodies_in_the_wild(status: int | None, body: Any, kind: RefusalKind, as_text: bool) -> None:
    refusal = read_refusal(status, json.dumps(body) if as_text and body else body, SENT)
    assert refusal.kind is kind, refusal
    assert refusal.words


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (openai("Unsupported parameter: 'max_tokens'", param="max_tokens"), "max_tokens"),
        (openai("Unrecognized request argument supplied: seed"), "seed"),
        (openai("`stop` may have at most 4 texts"), "stop"),
        (openai("please stop"), None),
        (openai("no", param="messages[0].content"), None),
        (openai("no", param="reasoning.effort"), "reasoning"),
        ({"detail": [{"loc": ["body", "temperature"], "msg": "too low"}]}, "temperature"),
    ],
)
def test_the_parameter_that_a_refusal_names(body: Any, parameter: str | None) -> None:
    assert read_refusal(400, body, SENT).parameter == parameter


def test_the_name_of_a_model_is_no_word_of_the_server() -> None:
    sent = SentRequest("seed-audio-moderation", "/x", ("seed",))
    refusal = read_refusal(400, openai("seed-audio-moderation refuses this"), sent)
    assert (refusal.kind, refusal.parameter) == (K.REQUEST, None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (openrouter(400, "Provider returned error", raw=RAW),
         "Provider returned error: Your input was blocked by our safety system"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs"}]}, "seed: Extra inputs"),
        ({"error": "plain"}, "plain"),
        ({"error": {"type": "overloaded_error"}}, "overloaded_error"),
        ("<html><style>x {}</style><h1>Bad\n gateway</h1></html>", "Bad gateway"),
        ("", "nothing more"),
        ([[[[[[[[[["deep"]]]]]]]]]], "nothing more"),
        (None, "nothing more"),
        (7, "nothing more"),
    ],
)  # fmt: skip
def test_the_words_of_a_server(body: Any, words: str) -> None:
    assert read_refusal(500, body).words == words


def test_words_are_said_once() -> None:
    body = {"message": "a: no such key", "error": {"message": "no such key"}}
    assert read_error(body).words == "a: no such key"


CHOICE = {"index": 0, "finish_reason": "stop", "message": {"content": "Pa"}}


@pytest.mark.parametrize(
    ("reply", "there"),
    [
        ({"choices": [CHOICE]}, False),
        ({"choices": [CHOICE], "error": None}, False),
        ({"choices": [CHOICE], "error": {}}, False),
        ({"choices": [CHOICE], "error": ""}, False),
        ({"choices": [CHOICE], "error": {"code": None, "message": None}}, False),
        ({"choices": [CHOICE], "base_resp": {"status_code": 0, "status_msg": "success"}}, False),
        ({"choices": [{**CHOICE, "finish_reason": None}]}, False),
        ({"status": "completed", "output": []}, False),
        ({"status": "incomplete", "output": []}, False),
        ({"id": "v", "status": "failed"}, False),
        ([1], False),
        ({"choices": [CHOICE], "error": {"code": 502, "message": "no"}}, True),
        ({"error": "no"}, True),
        ({"choices": [{**CHOICE, "error": {"code": 502}}]}, True),
        ({"choices": [{**CHOICE, "finish_reason": "error"}]}, True),
        ({"choices": [CHOICE, {**CHOICE, "finish_reason": "error"}]}, True),
        ({"choices": [{**CHOICE, "finish_reason": "abort"}]}, True),
        ({"choices": [{**CHOICE, "finish_reason": {"type": "abort", "message": "x"}}]}, True),
        ({"choices": [{**CHOICE, "finish_reason": "insufficient_system_resource"}]}, True),
        ({"choices": None, "base_resp": {"status_code": 1013, "status_msg": "unknown"}}, True),
        ({"status": "failed", "output": [], "error": None}, True),
        ({"object": "response", "status": "failed"}, True),
    ],
)
def test_errors_inside_of_good_replies(reply: Any, there: bool) -> None:
    assert (error_inside(reply) is not None) is there
