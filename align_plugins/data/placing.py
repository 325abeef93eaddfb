"""The media of a row put into the places that its turns have for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from align_plugins.data.turns import ForeignTurn, Mark
from eval_anything.content import MediaPart, Message, Modality, Part, TextPart

_WORDS = "image|audio|video"


_ANYWHERE = re.compile(rf"""(?<!["'`“«])<({_WORDS})>(?!["'`”»])""")


_LEADING = re.compile(rf"(?:\s*<(?:{_WORDS})>)+")


_OWN_LINE = re.compile(rf"^[ \t]*<({_WORDS})>[ \t]*$", re.MULTILINE)


def placed(
    conversations: Sequence[Sequence[ForeignTurn]],
    media: Mapping[Modality, Sequence[MediaPart]],
    stored: Callable[[Mark], MediaPart],
    apart: bool = False,
) -> list[list[Message]]:
    """Messages of a row's conversations with its media, each of which is used exactly once.

    Blocks that are marks of a modality are replaced by its media in order; if there are none, marks such
    as `<image>` in texts are; if there are none of these either, the media stand before the first
    text of the user. Texts keep marks that stand for no medium, and those in quotes.

    Args:
        conversations: prompt and answers, in the order in which they use up media.
        media: the row's media, by modality.
        stored: the medium of a mark that names it.
        apart: whether marks in texts count only if they begin the text or are alone on their line.

    Raises:
        ValueError: there are more or fewer marks than media, or no turn of the user.
    """
    turns = [turn for conversation in conversations for turn in conversation]
    in_text, in_front = set(), []
    for modality, parts in media.items():
        marks = sum(piece == Mark(modality) for turn in turns for piece in turn.pieces)
        if marks == 0:
            words = sum(_word_marks(turn, modality, apart) for turn in turns)
            if not parts:
                _check_not_missing(turns, modality)
                continue
            if not words:
                in_front += [Mark(modality)] * len(parts)
                continue
            in_text.add(modality)
            marks = words
        if marks != len(parts):
            names = _many(modality)
            raise ValueError(
                f"its {names} ({len(parts)}) and its marks of {names} ({marks}) differ in number"
            )
    media_left = {modality: iter(parts) for modality, parts in media.items()}
    placed_conversations = []
    for conversation in conversations:
        messages = []
        for turn in conversation:
            pieces = [new for piece in turn.pieces for new in _split(piece, in_text, apart)]
            if turn.role == "user":
                pieces, in_front = [*in_front, *pieces], []
            content = tuple(_part(piece, media_left, stored) for piece in pieces)
            messages.append(Message(turn.role, content))  # type: ignore[arg-type]  # a role of `turns`
        placed_conversations.append(messages)
    if in_front:
        raise ValueError(f"has {_many(in_front[0].modality)} and no turn of the user for them")
    return placed_conversations


def _many(modality: Modality) -> str:
    return {Modality.IMAGE: "images", Modality.AUDIO: "sounds", Modality.VIDEO: "clips"}[modality]


def _part(
    piece: TextPart | Mark,
    media: Mapping[Modality, Iterator[MediaPart]],
    stored: Callable[[Mark], MediaPart],
) -> Part:
    if isinstance(piece, TextPart):
        return piece
    return stored(piece) if piece.source is not None else next(media[piece.modality])


def _word_marks(turn: ForeignTurn, modality: Modality, apart: bool) -> int:
    """Number of marks of a modality in the texts of a turn."""
    return sum(
        match[1] == modality.value
        for piece in turn.pieces
        if isinstance(piece, TextPart)
        for match in _matches(piece.text, apart)
    )


def _check_not_missing(turns: Sequence[ForeignTurn], modality: Modality) -> None:
    """ValueError if a mark of a modality stands alone on a line, and the row has no medium for it."""
    for turn in turns:
        for piece in turn.pieces:
            lines = _OWN_LINE.finditer(piece.text) if isinstance(piece, TextPart) else ()
            if any(match[1] == modality.value for match in lines):
                raise ValueError(f"has a mark <{modality}> and no {_many(modality)}")


def _matches(text: str, apart: bool) -> list[re.Match[str]]:
    """Marks in a text, as matches whose first group is the modality."""
    if not apart:
        return list(_ANYWHERE.finditer(text))
    leading = _LEADING.match(text)
    end = leading.end() if leading is not None else 0
    return [*_ANYWHERE.finditer(text, 0, end), *_OWN_LINE.finditer(text, end)]


def _split(piece: TextPart | Mark, modalities: set[Modality], apart: bool) -> list[TextPart | Mark]:
    """A text cut at its marks of these modalities, without the lines and spaces that set them apart."""
    if isinstance(piece, Mark) or not modalities:
        return [piece]
    text = piece.text
    matches = [match for match in _matches(text, apart) if Modality(match[1]) in modalities]
    if not matches:
        return [piece]
    pieces: list[TextPart | Mark] = []
    end = 0
    for match in matches:
        _add(pieces, text[end : match.start()], followed=True)
        pieces.append(Mark(Modality(match[1])))
        end = match.end()
    _add(pieces, text[end:], followed=False)
    return pieces


def _add(pieces: list[TextPart | Mark], text: str, followed: bool) -> None:
    """Appends the text between two marks, or at an end. A mark in the middle of a line keeps the spaces
    around it."""
    first_line, newline, _ = text.partition("\n")
    only_marks = all(isinstance(piece, Mark) for piece in pieces)
    if only_marks or (newline and not first_line.strip()):
        text = text.lstrip()
    last_line = text.rpartition("\n")
    if not followed or (last_line[1] and not last_line[2].strip()):
        text = text.rstrip()
    if text.strip():
        pieces.append(TextPart(text))
