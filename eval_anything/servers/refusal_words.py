"""The words by which servers refuse: patterns for texts in lower case, with spaces in place of
punctuation, underscores and hyphens, and between the words of CamelCase (`plain`).

They are collected from OpenAI, Azure, Anthropic, Gemini, OpenRouter, LiteLLM, vLLM, SGLang, Ollama,
Together, Groq, Mistral, xAI, DeepSeek, DashScope, Zhipu, Moonshot, MiniMax, SiliconFlow and Fireworks.
"""

from __future__ import annotations

import re

_KEY = (
    r"\b(invalid|incorrect|wrong|missing|unknown|expired|revoked|malformed|no|disabled) (\w+ ){0,3}"
    r"(api ?key|access token|auth token|bearer token|credentials?)\b"
    r"|\bapi ?key\S* (\S+ ){0,6}?(not valid|invalid|incorrect|expired|missing|required|not found"
    r"|not provided|revoked|disabled|not (been )?set|unauthorized|blocked|leaked|suspended)"
    r"|\b(provide|specify|set|send) (\w+ ){0,3}(api ?key|credentials|access token)\b"
    r"|\b(in)?valid authentication\b|\bauth(entication)? (error|fail\w*|required)|\bunauthenticated\b"
    r"|\bunauthori[sz]ed\b|\bnot (authenticated|authori[sz]ed)\b"
    r"|\bno connected db\b"  # LiteLLM without a database, of every key that is not its own
    r"|无效的?(令牌|密钥)|令牌(已|无效|过期)"
)


_RIGHTS = (
    r"\bpermission (denied|error)|\baccess denied|\binsufficient permission"
    r"|(\bnot|n.t) have (\w+ ){0,3}(access|permissions?)\b|(\bnot|n.t) allowed to access\b"
    r"|\bunsupported country\b|\b(country|region|location)\b.{0,40}\bnot (supported|available|allowed)"
    r"|\b(organi[sz]ation|account|team) must be verified"
    r"|\b(data|privacy) (policy|policies|settings?)\b"
)


_NO_MONEY = (
    r"\binsufficient (\w+ ){0,2}(balance|credits?|funds|quota)\b|\bexceeded current quota error\b"
    r"|\bcredit balance\b|\b(out of|not enough) (\w+ ){0,2}(credits?|balance|funds|quota)\b"
    r"|\bbilling (hard limit|not active)|(?<!thinking )\bbudget (\w+ ){0,2}exceeded"
    r"|\b(balance|credits?|quota|funds) (\S+ ){0,5}?(too low|insufficient|exhausted|depleted|not enough"
    r"|used up|run out)\b|余额不足|欠费|额度(不足|已)"
)


_MONEY = (
    r"\bmore credits\b|\bpayment (is )?required|\bbilling\b|\barrear\w*|\boverdue\b|\bin good standing\b"
    r"|\b(recharge|top up)\b|\bexceeded your (\w+ ){0,3}(quota|credits?|spend\w*)"
    r"|\b(spend\w*|(?<!token )usage|monthly|credit) (\w+ )?limits?\b"
)


_ACCOUNT_STATE = (
    r"\baccount (suspended|deactivated|disabled|overdue|blocked|terminated)\b"
    r"|\b(account|organi[sz]ation|subscription|project|team|workspace|plan|api access)\b (\S+ ){0,6}?"
    r"(is|was|has been|have been|been|are) (\w+ ){0,2}?(suspended|deactivated|disabled|blocked"
    r"|terminated|inactive|not active|banned|flagged|expired|restricted|locked|frozen|closed|on hold)\b"
    r"|\baccess (\w+ )?terminated\b"
)


ACCOUNT = re.compile("|".join((_KEY, _RIGHTS, _NO_MONEY, _MONEY, _ACCOUNT_STATE)))
"""Key, rights, money or region."""


CERTAIN = re.compile(f"{_NO_MONEY}|{_ACCOUNT_STATE}|\\bincorrect api ?key")
"""Words of the account that no rate limit has: those speak of billing, credits and quota, too."""


QUOTA_OF_A_RATE = re.compile(
    r"resource exhausted|rate ?limit(?! ?error)|try again|retry|per (minute|day|hour|second|month)"
    r"|\b[rt]p[mds]\b"
)
"""A quota of requests or tokens by the minute or day, which comes back by itself."""


CONTENT_CODES = re.compile(
    r"content filter|content policy|moderation|data inspection|policy violation|invalid prompt"
    r"|sensitive content|safety(?! service)|guardrail|prohibited content|content violation|risk control"
)
"""Codes and types that name a policy."""


CONTENT = re.compile(
    r"\bflagged\b|\bmoderat(ion|ed)\b|\bpolic(y|ies)\b|\bguardrails?\b|\bsafety\b|\binappropriate\b"
    r"|\bharmful\b|\bunsafe\b|\boffensive\b|\bresponsible ai|\bcontent exists risk|\bhigh risk\b"
    r"|\bcontent (filter\w*|management|moderation|guidelines?|violat\w*)|\b(usage|community) guidelines"
    r"|\b(prohibited|sensitive|disallowed|forbidden|illegal) (content|information|words?|topics?)"
    r"|\bviolat\w+ .{0,60}(guidelines?|terms|rules)\b|\bterms of (use|service)\b"
    r"|\b(violence|violent|sexual|hate speech|self harm|nsfw|jailbreak\w*|toxic\w*|profanity)\b"
    r"|\b(prompt|topic|content) (is |was )?not (allowed|permitted|acceptable)\b"
    r"|\b(blocked|rejected|refused|stopped) (\w+ ){0,3}filters?\b"
    r"|\b(prompt|input|content|message|output|answer|completion|image|video|audio)s? (\w+ ){0,4}?"
    r"(was|were|is|are|been) (\w+ ){0,2}?(blocked|filtered|censored)\b|\bnew sensitive\b"
    r"|\b(prompt|question|conversation)s? (\w+ ){0,4}?(was|were|is|are|been) (rejected|refused)\b"
    r"|敏感|不安全|违规|违法|审核"
)
"""Words of a policy about content."""


MISSING = re.compile(
    r"\b(invalid|unknown|no such|unrecogni[sz]ed) model\b(?! (input|output|param|config|kwarg))"
    r"|\bmodel (\S+ ){0,4}?(does not exist|doesn.t exist|not exist|is not a valid|not found"
    r"|has been (deprecated|decommissioned|removed|retired)|decommissioned|is not served|is not loaded)"
    r"|\bnot a valid model\b|\brequested model (is )?not supported\b|\bmodel not supported\b"
    r"|\bmodel (id|name) (\S+ )?(is )?invalid|模型不存在"
)
"""No such model."""


MODALITY = re.compile(
    r"\b(images?|pictures?|photos?|vision|visual|audios?|sounds?|speech|videos?|multi ?modal\w*"
    r"|modalit(y|ies)|media(?! type)|mime)\b|图片|图像|音频|视频"
)
"""Names of media."""


OF_OUTPUT = re.compile(
    r"\b(output|generat\w+|synthesi\w+|response modalit\w+|requested modalit\w+|produce)\b"
)
"""Words about media that a model shall make."""


PASSING_CODES = re.compile(
    r"server|internal|overload|unavailable|timeout|capacity|busy|fail|abort|disconnect"
)
"""Codes of a failure of the server."""


TOO_LONG = re.compile(r"context (length|window)|too (long|large|many tokens)|tokens? limit")
"""A request that is longer than the model can read."""


def plain(text: str) -> str:
    """The words of a text in the form that the patterns are for, without addresses and paths.

    Example:
        >>> plain("DataInspectionFailed: see https://example.org/billing")
        'data inspection failed see'
    """
    text = re.sub(r"\w+://\S+|(?<!\S)/\S+", " ", text)
    text = re.sub(r"([a-z])([A-Z])", r"\1 \2", text)
    return " ".join(re.sub(r"[_\-'\"`.,;:()]+", " ", text).lower().split())
