"""Converters from the formats of other projects to training rows.

Fields of align-anything are those of its 200K data and the formatters that read it
(PKU-Alignment/align-anything, align_anything/configs/format_dataset.py): `question` or `prompt`, a
medium in `image`, `audio`, `video` (or `..._path`, `..._url`), `response_1`, `response_2`, `overall_*`
in {1, 2}, ratings `<aspect>_rate_1`, `<aspect>_rate_2`, and `refinement` in rows of language feedback.
TRL's formats are those of its page "Dataset formats and types"; UltraFeedback (binarized) has its
preferences with the prompt in both sides and scores, HH-RLHF with transcripts as sides, OpenAI with
`preferred_output` and `non_preferred_output`. Alpaca, Dolly and MetaMath have an instruction and an
output, LLaVA and ShareGPT `conversations`. Every converter raises ValueError with the reason why a row
cannot be used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from align_plugins.data.foreign_row import PROMPTS, Fields, ForeignRow
from align_plugins.data.rows import Demonstration, Feedback, Preference, Prompt, Row
from align_plugins.data.turns import (
    ForeignTurn,
    assistant_turn,
    common_turns,
    is_transcript,
    only_answer,
    transcript_turns,
    turns_of,
    user_turn,
    words_for,
)
from eval_anything.content import Message, Modality, Part
from eval_anything.media import MediaStore

_RATE = re.compile(r"^(?P<aspect>\w+?)_(?:rate|rating|score)_(?P<side>[12])$")


_CONVERSATIONS = ("messages", "conversations", "conversation")


_ANSWERS = ("response", "answer", "output")


_SCORES = (
    *(("score_chosen", "score_rejected"), ("chosen_score", "rejected_score")),
    *(("chosen-rating", "rejected-rating"), ("chosen_rating", "rejected_rating")),
)


class ForeignRows(NamedTuple):
    """Rows made of one row of another project, and the names of its fields that were not read."""

    rows: list[Row]
    unread: list[str]


def form_of(fields: Fields) -> str | None:
    """Name of the format that a row has; None for an unknown one, and for rows of ours."""
    if _is_ours(fields):
        return None
    filled = {name: "" if content is None else content for name, content in fields.items()}
    return next(
        (name for row in (fields, filled) for name, (knows, _) in _FORMS.items() if knows(row)), None
    )


def convert_row(fields: Fields, identity: str, folder: Path, store: MediaStore) -> ForeignRows:
    """Training rows for one row of another project. Its media are put into the store.

    Args:
        fields: the row.
        identity: id of the new row.
        folder: folder that paths in the row are relative to.
        store: receives the media.

    Raises:
        ValueError: a field is missing or wrong, or the format is unknown.
    """
    form = form_of(fields)
    if form is None:
        raise ValueError(
            f"its fields ({', '.join(sorted(fields))}) are none of {', '.join(_FORMS)}, and no row of "
            "ours"
        )
    row = ForeignRow(fields, identity, folder, store)
    rows = list(_FORMS[form][1](row))
    return ForeignRows(rows, [name for name in fields if row.has(name) and name not in row.read])


def _is_ours(fields: Fields) -> bool:
    """Whether a row has messages with parts."""
    messages = fields.get("messages")
    return isinstance(messages, list) and any(
        isinstance(message, Mapping) and "parts" in message for message in messages
    )


# --- align-anything ----------------------------------------------------------------------------


def _has_prompt(fields: Fields) -> bool:
    return any(fields.get(name) is not None for name in PROMPTS)


def _prompt(row: ForeignRow) -> list[Message]:
    """The conversation of the prompt, with the row's media."""
    turns = _prompt_turns(row)
    (messages,) = row.messages(turns, apart=_is_text(row))
    return messages


def _prompt_turns(row: ForeignRow) -> list[ForeignTurn]:
    """Turns of the field with the prompt. An instruction is followed by what it is about."""
    name = row.first_of(PROMPTS)
    if not isinstance(row.fields[name], str):
        return row.with_system(row.turns(name))
    return row.with_system([user_turn("\n\n".join([row.text(name), *_context(row, name)]))])


def _is_text(row: ForeignRow) -> bool:
    """Whether the prompt is text, in whose sentences a mark such as <image> is a word."""
    return isinstance(row.fields[row.first_of(PROMPTS)], str)


def _context(row: ForeignRow, name: str) -> list[str]:
    """Texts beside an instruction that it is about, as Alpaca and Dolly have them."""
    key = next((key for key in ("input", "context") if row.has(key)), None)
    if name != "instruction" or key is None:
        return []
    text = row.text(key)
    return [text] if text.strip() else []


def _is_pair(fields: Fields) -> bool:
    return _has("response_1", "response_2")(fields) and _has_prompt(fields)


def _pair(row: ForeignRow) -> Iterator[Row]:
    """A preference pair of two responses, and a feedback row for each response that has a critique."""
    messages = _prompt(row)
    sides = [tuple(row.response(f"response_{n}") + _image_beside(row, n)) for n in (1, 2)]
    critiques = [_critique(row, f"feedback_{n}", f"critique_{n}") for n in (1, 2)]
    for n, critique in enumerate(critiques, start=1):
        if critique:
            yield row.row(Feedback, messages, f"-feedback-{n}", response=sides[n - 1], critique=critique)
    names = [name for name in sorted(row.fields) if name.startswith("overall_")]
    verdicts = [row.get(name) for name in names]
    better = next((v for v in verdicts if v in (1, 2) or v in ("1", "2", "1.0", "2.0")), None)
    if better is None:
        if any(critiques):
            return
        raise ValueError("no overall_response (or overall_image, ...) in {1, 2} says which is better")
    best = int(float(better)) - 1
    chosen, rejected = sides[best], sides[1 - best]
    aspects = _aspects(row, best)
    yield row.row(Preference, messages, chosen=chosen, rejected=rejected, aspects=aspects)


def _critique(row: ForeignRow, *names: str) -> str:
    """Critique of the first of these fields that is there, else empty."""
    return row.text(*names) if any(map(row.has, names)) else ""


def _image_beside(row: ForeignRow, side: int) -> list[Part]:
    """The image that belongs to a text response of a TI2TI row."""
    for name in (f"output_image_{side}", f"output_image_url_{side}", f"output_image_path_{side}"):
        if row.has(name):
            return [row.medium(row.get(name), Modality.IMAGE, name)]
    return []


def _aspects(row: ForeignRow, better: int) -> dict[str, float]:
    """Rating of the chosen response minus that of the rejected one, by aspect."""
    rates: dict[str, dict[str, float]] = {}
    for name in sorted(row.fields):
        match = _RATE.match(name)
        rating = row.number(name) if match is not None else None
        if match is not None and rating is not None:
            rates.setdefault(match["aspect"], {})[match["side"]] = rating
    chosen, rejected = ("1", "2") if better == 0 else ("2", "1")
    return {a: r[chosen] - r[rejected] for a, r in sorted(rates.items()) if len(r) == 2}


def _ti2ti(row: ForeignRow) -> Iterator[Row]:
    def side(name: str) -> tuple[Part, ...]:
        field = f"{name}_img"
        image = [row.medium(row.get(field), Modality.IMAGE, field)] if row.fields.get(field) else []
        return (*row.response(f"{name}_text"), *image)

    yield row.row(Preference, _prompt(row), chosen=side("better"), rejected=side("worse"))


def _is_feedback(fields: Fields) -> bool:
    remarks = {"refinement", "feedback", "critique"} & fields.keys()
    return fields.get("response") is not None and bool(remarks) and _has_prompt(fields)


def _feedback(row: ForeignRow) -> Iterator[Row]:
    refined = tuple(row.response("refinement")) if row.has("refinement") else None
    critique = _critique(row, "critique", "feedback")
    if refined is None and not critique:
        raise ValueError("needs a critique or a refinement")
    response = tuple(row.response("response"))
    yield row.row(Feedback, _prompt(row), response=response, critique=critique, refined=refined)


def _is_supervised(fields: Fields) -> bool:
    return any(fields.get(name) is not None for name in _ANSWERS) and _has_prompt(fields)


def _supervised(row: ForeignRow) -> Iterator[Row]:
    name = row.first_of(_ANSWERS)
    messages = _prompt(row)
    yield row.row(Demonstration, messages, response=tuple(row.response(name)))


# --- preferences -------------------------------------------------------------------------------


def _preference(row: ForeignRow) -> Iterator[Row]:
    """A pair of texts or turns, whose prompt is a field of its own, or what both sides begin with."""
    sides = [_side(row, name) for name in ("chosen", "rejected")]
    have_prompts = all(side[0].role != "assistant" for side in sides)
    name = next((n for n in (*PROMPTS, *_CONVERSATIONS) if row.has(n)), None)
    if have_prompts:
        prompt, *answers = common_turns(*sides)
        if name in PROMPTS and not _begins_with(prompt, row, name):
            raise ValueError(f"{name} is not what chosen and rejected begin with")
        yield _pair_of(row, row.with_system(prompt), answers, margin=_margin(row))
        return
    if name is None:
        raise ValueError("needs the field prompt: `chosen` does not show where the prompt ends")
    for side, answer in zip(("chosen", "rejected"), sides, strict=True):
        only_answer(answer, side, "beside a prompt")
    if name in PROMPTS:
        yield _pair_of(row, _prompt_turns(row), sides, apart=_is_text(row), margin=_margin(row))
    else:
        yield _pair_of(row, row.with_system(row.turns(name)), sides, margin=_margin(row))


def _side(row: ForeignRow, name: str) -> list[ForeignTurn]:
    """Turns of a side; text is an answer, or a transcript."""
    content = row.get(name)
    if content is None or content in ("", []):
        raise ValueError(f"{name} is empty")
    if is_transcript(content):
        return transcript_turns(content)
    return [assistant_turn(content)] if isinstance(content, str) else turns_of(content, name)


def _begins_with(prompt: Sequence[ForeignTurn], row: ForeignRow, name: str) -> bool:
    """Whether a field has the turns of a prompt, or the text of one of its questions."""
    content = row.get(name)
    if isinstance(content, str):
        question = " ".join(content.split())
        return any(" ".join(turn.text.split()) == question for turn in prompt if turn.role == "user")
    turns = turns_of(content, name)
    return list(prompt[-len(turns) :]) == turns


def _pair_of(
    row: ForeignRow,
    prompt: Sequence[ForeignTurn],
    answers: Sequence[Sequence[ForeignTurn]],
    apart: bool = False,
    margin: float | None = None,
) -> Row:
    """Pair of the chosen and the rejected answer, one turn each."""
    messages, (chosen,), (rejected,) = row.messages(prompt, *answers, apart=apart)
    return row.row(Preference, messages, chosen=chosen.parts, rejected=rejected.parts, margin=margin)


def _margin(row: ForeignRow) -> float | None:
    """Score of the chosen response minus that of the rejected one; None without both. ValueError if the
    rejected one has the higher score."""
    for names in _SCORES:
        chosen, rejected = (row.number(name) for name in names)
        if chosen is not None and rejected is not None:
            if chosen < rejected:
                raise ValueError(f"{names[0]} is below {names[1]}: the rejected one is rated higher")
            return chosen - rejected
    return None


def _safe_rlhf(row: ForeignRow) -> Iterator[Row]:
    better = row.number("better_response_id")
    if better not in (0, 1):
        raise ValueError("better_response_id must be 0 or 1")
    sides = [[assistant_turn(row.text(f"response_{n}"))] for n in (0, 1)]
    answers = sides if better == 0 else sides[::-1]
    yield _pair_of(row, _prompt_turns(row), answers, apart=_is_text(row))


def _openai_preference(row: ForeignRow) -> Iterator[Row]:
    conversation = row.get("input")
    if not isinstance(conversation, Mapping):
        raise ValueError(f"input must be an object with messages, not {words_for(conversation)}")
    if conversation.get("tools"):
        raise ValueError("input has tools, which training rows have no place for")
    prompt = turns_of(conversation.get("messages"), "input.messages")
    names = ("preferred_output", "non_preferred_output")
    sides = [turns_of(row.get(name), name) for name in names]
    for name, side in zip(names, sides, strict=True):
        only_answer(side, name, "as an answer")
    yield _pair_of(row, prompt, sides)


# --- demonstrations and prompts ----------------------------------------------------------------


def _unpaired(row: ForeignRow) -> Iterator[Row]:
    raise ValueError("unpaired preferences (`label`) are not read: give `chosen` and `rejected`")


def _completion(row: ForeignRow) -> Iterator[Row]:
    completion = row.get("completion")
    answer = (
        [assistant_turn(completion)]
        if isinstance(completion, str)
        else turns_of(completion, "completion")
    )
    only_answer(answer, "completion", "beside a prompt")
    messages, (response,) = row.messages(_prompt_turns(row), answer, apart=_is_text(row))
    yield row.row(Demonstration, messages, response=response.parts)


def _conversation(row: ForeignRow) -> Iterator[Row]:
    """A demonstration of the last turn; the answers before it stay in its prompt. Turns of the user
    alone are a prompt."""
    (messages,) = row.messages(row.with_system(row.turns(row.first_of(_CONVERSATIONS))))
    roles = {message.role for message in messages}
    if messages[-1].role == "assistant":
        yield row.row(Demonstration, messages[:-1], response=messages[-1].parts)
    elif "assistant" in roles:
        raise ValueError("ends with a question without an answer: as a prompt it is the field `prompt`")
    else:
        yield row.row(Prompt, messages)


def _is_prompt(fields: Fields) -> bool:
    return "prompt" in fields and fields.keys() <= {"prompt", "images", "image", "id", "prompt_id"}


def _only_prompt(row: ForeignRow) -> Iterator[Row]:
    yield row.row(Prompt, _prompt(row))


def _has(*names: str) -> Callable[[Fields], bool]:
    """Whether a row has all of these fields, and not null in both of the last two."""
    return lambda fields: (
        fields.keys() >= set(names) and any(fields[name] is not None for name in names[-2:])
    )


def _has_conversation(fields: Fields) -> bool:
    return any(isinstance(fields.get(name), list) for name in _CONVERSATIONS)


_FORMS: dict[str, tuple[Callable[[Fields], bool], Callable[[ForeignRow], Iterator[Row]]]] = {
    "align-anything's preferences": (_is_pair, _pair),
    "align-anything's TI2TI preferences": (_has("input_text", "better_text", "worse_text"), _ti2ti),
    "PKU-SafeRLHF's preferences": (
        _has("prompt", "response_0", "response_1", "better_response_id"),
        _safe_rlhf,
    ),
    "OpenAI's preferences": (
        _has("input", "preferred_output", "non_preferred_output"),
        _openai_preference,
    ),
    "preferences of chosen and rejected (TRL, UltraFeedback, HH-RLHF)": (
        _has("chosen", "rejected"),
        _preference,
    ),
    "unpaired preferences": (_has("prompt", "completion", "label"), _unpaired),
    "TRL's prompts with completions": (_has("prompt", "completion"), _completion),
    "align-anything's language feedback": (_is_feedback, _feedback),
    "instructions with answers (align-anything, Alpaca)": (_is_supervised, _supervised),
    "conversations (OpenAI, TRL, ShareGPT, LLaVA)": (_has_conversation, _conversation),
    "TRL's prompts": (_is_prompt, _only_prompt),
}
