"""Messages that differ only in ids, numbers, hashes, addresses or paths, recognised as one.

A status of HTTP and a line of code are no such numbers: they tell messages apart.
"""

from __future__ import annotations

import re

_LONGEST = 2000


_VARIABLE = re.compile(
    r"""
    (?P<kept> (?<=HTTP\ )\d{3}\b | (?<=answered\ )\d{3}\b | (?<=status\ )\d{3}\b | (?<=code\ )\d{3}\b
      | \b(?:mp3|mp4|h26[45]|utf-?8)\b )
    | (?:[^\s'"():,]*[/\\])? (?P<code>[\w.-]+\.py:\d+)
    | \b\w+://[^\s'"<>)\]]+                                              # an address
    | (?<![\w/])(?:[A-Za-z]:|~|\.{1,2})?(?:[/\\][\w.@%+~=-]+)+[/\\]?     # a path
    | (?<![\w/])[\w.-]+(?:/[\w.@%+~=-]+)+\.\w+                           # a relative path
    | \b[0-9a-fA-F]{16,}\b                                               # a hash
    | \b(?:req|request|chatcmpl|msg|resp|trace|run|call|toolu)[_-]\w{6,} # an id without digits
    | (?<=\b[Ii][Dd][\ :=])\s*['"]?[\w-]+
    | \b(?=\w*[a-z])(?=\w*[A-Z])\w{20,}\b
    | (?<!\w)[-+]?[\w-]*\d[\w-]*(?:[.,:]\d[\w-]*)*%?                     # a number, or an id with one
    """,
    re.VERBOSE,
)


def wording_key(message: str, sample_id: str = "") -> str:
    """A message without what differs between equal reasons.

    Example:
        >>> wording_key("s3: 17 tokens") == wording_key("s4: 1,024 tokens")
        True
        >>> wording_key("the server answered 500") == wording_key("the server answered 503")
        False
    """
    text = " ".join(message[:_LONGEST].split())
    if sample_id:
        text = re.sub(rf"(?<!\w){re.escape(sample_id)}(?!\w)", "#", text)
    return _VARIABLE.sub(lambda match: match["kept"] or match["code"] or "#", text)
