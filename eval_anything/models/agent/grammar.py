"""The text grammar of a plan: sections in double square brackets, for chat models without tools.

    [[text]]
    Here is your lighthouse.
    [[/text]]
    [[image]]
    a white lighthouse on a cliff at night
    [[/image]]

`render` writes it exactly and `parse` reads it back. Models write it less exactly, so `parse` also
accepts their usual deviations: no closing tags, bold or numbered names, other brackets, a colon after
the name, "None." for a section that is not wanted, a code fence around everything, an echo of the
template, words before it. It never guesses: an answer without a section is no plan.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from eval_anything.content import MODALITIES, Modality
from eval_anything.models.agent.plan import (
    FENCE,
    ParsedPlan,
    Plan,
    PlanError,
    PlanItem,
    bare,
    no_plan,
    normal_item,
    plan_of,
    unwanted,
)
from eval_anything.thoughts import begins_with_mark, closes_thoughts, split_thoughts

PLACEHOLDERS = {
    Modality.TEXT: "the words that the user reads, in full",
    Modality.IMAGE: "the prompt for one image",
    Modality.AUDIO: "the prompt for one sound",
    Modality.VIDEO: "the prompt for one clip",
}
"""The content of the sections in the template; a section that only repeats it is an echo."""


# Runs of blanks are possessive (`*+`): given back one by one, they would take quadratic time.
_NAME = (
    r"\s*+(?P<name>text|image|audio|video)"
    r"(?:[ _-]?(?:prompt|instruction|description|response|answer))?(?:[ _-]?\d{1,2})?\s*+"
)


# The brackets of the first section are those of all sections; others are content. Angle brackets are
# not among them, since a web page has <video> on a line of its own.
_BRACKETS = {"[[": r"\[\[%s\]\]", "[": r"\[%s\](?!\()", "【": "【%s】"}


_DECORATION = r"\s*+(?:>\s*+)?(?:#{1,6}\s*+|[-*+]\s++|\d{1,2}[.)]\s*+)?(?P<mark>[*_`]{1,3})?\s*+"


_HEADERS = {
    style: re.compile(
        _DECORATION
        + form % _NAME
        + r"(?(mark)(?P<closed>\s*+(?:[:：]\s*+)?(?P=mark))?)\s*+(?:[:：]\s*+)?(?P<rest>.*)",
        re.IGNORECASE | re.DOTALL,
    )
    for style, form in _BRACKETS.items()
}


_CLOSING = re.compile(
    r"(?:(?<!\S)[*_`]{1,3})?(?P<open>\[{1,2}|<|【)\s*+/\s*+(?P<name>text|image|audio|video)"
    r"(?:[ _-]?\w+)?\s*+(?:\]{1,2}|>|】)[\s*_`.。]*+\Z",
    re.IGNORECASE,
)


# Stands for an escaped line while thoughts are looked for.
_HIDDEN = "\ufdd0%d\ufdd1"


_PROSE = ("", "markdown", "md", "text", "txt")


def render(plan: Plan) -> str:
    """The plan as text, which `parse` reads back to the same plan.

    Example:
        >>> print(render((PlanItem(Modality.IMAGE, "a red circle"),)))
        [[image]]
        a red circle
        [[/image]]
    """
    return "\n".join(_section(plan_item) for plan_item in plan)


def template(modalities: Collection[Modality]) -> str:
    """The grammar with placeholders as content, to show a chat model."""
    sections = (f"[[{m}]]\n{PLACEHOLDERS[m]}\n[[/{m}]]" for m in MODALITIES if m in modalities)
    return "\n".join(sections)


def parse(answer: str) -> ParsedPlan:
    """The plan that an answer states.

    Raises:
        PlanError: the answer has no sections, refuses, only repeats the template, or is cut off before
            its thoughts end.
    """
    return parse_answer(after_thinking(answer.replace("\r\n", "\n").replace("\r", "\n")))


def parse_answer(answer: str) -> ParsedPlan:
    """The plan that an answer without thoughts states. PlanError as for `parse`."""
    lines = answer.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    style = _style(lines)
    if style is None:
        raise no_plan(answer, "the answer has no section")
    items, outside, echoed = [], [], False
    for modality, content in _sections(lines, style):
        if modality is None:
            outside.append(content)
            continue
        cleaned = normal_item(modality, content).content
        if bare(cleaned) == bare(PLACEHOLDERS[modality]):
            echoed = True
        elif not unwanted(modality, cleaned):
            items.append(PlanItem(modality, _unescaped(modality, cleaned)))
    if echoed and not items:
        raise PlanError("the answer only repeats the template")
    return ParsedPlan(plan_of(items), "\n".join(outside).strip())


def _section(plan_item: PlanItem) -> str:
    lines = [f"\\{line}" if _special(line) else line for line in plan_item.content.split("\n")]
    if _skipped(plan_item.modality, plan_item.content.lstrip("\\")):
        lines[0] = f"\\{lines[0]}"
    return "\n".join([f"[[{plan_item.modality}]]", *lines, f"[[/{plan_item.modality}]]"])


def _special(line: str) -> bool:
    """Whether a line is part of the grammar, apart from backslashes before it."""
    line = line.lstrip("\\")
    return (
        any(header.fullmatch(line) for header in _HEADERS.values())
        or _CLOSING.search(line) is not None
        or closes_thoughts(line)
    )


def _escaped(line: str) -> bool:
    return line.startswith("\\") and _special(line)


def after_thinking(answer: str) -> str:
    """The answer of a reasoning model without its thoughts. PlanError if only thoughts are there."""
    lines = answer.split("\n")
    hidden = {_HIDDEN % i: line for i, line in enumerate(lines) if _escaped(line)}
    masked = [_HIDDEN % i if _escaped(line) else line for i, line in enumerate(lines)]
    start = _thoughts_start(masked)
    split = split_thoughts("\n".join(masked[start:]))
    if split.unfinished:
        raise PlanError("the chat model is cut off in its thoughts: raise max_tokens")
    unthinking = [*masked[:start], *split.answer.split("\n")]
    return "\n".join(hidden.get(line, line) for line in unthinking)


def _thoughts_start(lines: Sequence[str]) -> int:
    """The line at which thoughts may start: the first one, or one with a mark before all sections."""
    for number, line in enumerate(lines):
        if begins_with_mark(line):
            return number
        if any(header.fullmatch(line) for header in _HEADERS.values()):
            return 0
    return 0


def _style(lines: Sequence[str]) -> str | None:
    """The brackets of the first section, None if there is none.

    Single brackets inside a block of code are not a section: the header of a settings file looks the
    same.
    """
    code = fenced = False
    for line in lines:
        if (fence := FENCE.match(line)) is not None:
            fenced = not fenced
            code = fenced and fence["info"].strip().lower() not in _PROSE
        for style, header in _HEADERS.items():
            if header.fullmatch(line) and (style == "[[" or not code):
                return style
    return None


def _sections(lines: Sequence[str], style: str) -> Iterator[tuple[Modality | None, str]]:
    """The sections in order, each with its modality; text outside of all sections has None.

    Lines of a code block inside a section never begin a section. A fence that opens outside of all
    sections is only wrapped around them.
    """
    modality: Modality | None = None
    content: list[str] = []
    hidden = -1  # the number of the last line that a block of code hides
    wrapped = False
    for number, line in enumerate(lines):
        if number <= hidden or _escaped(line):
            content.append(line[1:] if _escaped(line) else line)
            continue
        header = _HEADERS[style].fullmatch(line)
        if header is not None:
            yield modality, "\n".join(content)
            modality, content, line = Modality(header["name"].lower()), [], _content_on_line(header)
        closing = _CLOSING.search(line)
        fence = FENCE.match(line)
        if closing is not None and _closes(closing, modality, lines, number + 1, style):
            yield modality, "\n".join([*content, line[: closing.start()].rstrip()])
            modality, content = None, []
        elif fence is not None and modality is None:
            wrapped = not wrapped
        elif fence is not None and wrapped and not fence["info"].strip():
            yield modality, "\n".join(content)
            modality, content, wrapped = None, [], False
        else:
            if fence is not None:
                hidden = _end_of_block(lines, number, fence["fence"])
            content.append(line)
    yield modality, "\n".join(content)


def _closes(
    closing: re.Match[str], modality: Modality | None, lines: Sequence[str], after: int, style: str
) -> bool:
    """Whether a closing tag ends the section; `after` is the number of the next line.

    One in angle brackets may belong to a drawing or a web page in the text, so it only ends the section
    if nothing else follows in it.
    """
    if closing["name"].lower() != modality:
        return False
    if closing["open"] != "<":
        return True
    remaining = (lines[number] for number in range(after, len(lines)))
    following = next((line for line in remaining if line.strip() and not FENCE.match(line)), None)
    return following is None or bool(_HEADERS[style].fullmatch(following))


def _end_of_block(lines: Sequence[str], start: int, fence: str) -> int:
    """The number of the line that closes a block of code within its section, or `start`."""
    for number in range(start + 1, len(lines)):
        closes = FENCE.match(lines[number])
        if closes is not None and closes["fence"].startswith(fence) and not closes["info"].strip():
            return number
        if _CLOSING.search(lines[number]) and not _escaped(lines[number]):
            break
    return start


def _content_on_line(header: re.Match[str]) -> str:
    """The text after the name on its line, without a bold marker around both."""
    content, mark = header["rest"], header["mark"]
    if mark and header["closed"] is None:
        content = content.rstrip().removesuffix(mark)
    return content


def _skipped(modality: Modality, content: str) -> bool:
    return unwanted(modality, content) or bare(content) == bare(PLACEHOLDERS[modality])


def _unescaped(modality: Modality, content: str) -> str:
    """The content without the backslash that `render` puts before content that would be skipped."""
    skipped = content.startswith("\\") and _skipped(modality, content.lstrip("\\"))
    return content[1:] if skipped else content
