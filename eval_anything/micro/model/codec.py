"""Parts to token ids and back: media are read from files and rendered to bytes.

Nothing malformed is repaired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from eval_anything.content import Message, Modality, Part, TextPart
from eval_anything.media import read_audio, read_frames, read_image
from eval_anything.micro.model import vocabulary as vocab
from eval_anything.micro.world.hearing import hear_codes
from eval_anything.micro.world.perceive import shrink
from eval_anything.micro.world.raster import (
    FRAMES,
    RATE,
    codes_of,
    pixels_to_codes,
)
from eval_anything.micro.world.render import Rendered, render_codes
from eval_anything.micro.world.scenes import SymbolicPart


@dataclass(frozen=True)
class DecodedParts:
    """Parts in the order of their tokens, and what could not be decoded; adjacent words are one text."""

    parts: tuple[str | Rendered, ...]
    problems: tuple[str, ...] = ()


def encode_prompt(messages: Sequence[Message]) -> list[int]:
    """Token ids of a conversation up to where the assistant begins to speak.

    Unknown words become <unk>. Raises MediaError or ValueError for a medium that does not decode or has
    no code: a picture that is not square, a sound that is silent, noisy or of foreign tones.
    """
    ids = vocab.ids()
    sequence: list[int] = []
    for message in messages:
        sequence.append(ids[vocab.ROLES[message.role]])
        for part in message.parts:
            sequence += encode_part(part)
    return [*sequence, ids[vocab.ROLES["assistant"]]]


def encode_response(parts: Iterable[Part]) -> list[int]:
    """Token ids of a response, <eos> included; errors as in `encode_prompt`."""
    return [token for part in parts for token in encode_part(part)] + [vocab.ids()[vocab.EOS]]


def encode_part(part: Part) -> list[int]:
    """Token ids of one part; errors as in `encode_prompt`."""
    if isinstance(part, TextPart):
        return _text_ids(part.text)
    return media_ids(part.modality, _file_codes(part.modality, Path(part.path)))


def encode_symbolic(part: SymbolicPart) -> list[int]:
    """Token ids of a text or scene: the same as those of its file."""
    return _text_ids(part) if isinstance(part, str) else media_ids(part.modality, codes_of(part))


def decode(token_ids: Iterable[int]) -> DecodedParts:
    """Parts of a response up to <eos>.

    A medium with a wrong number or kind of codes, or without an end, is reported in `problems` and left
    out; so is a token out of place.
    """
    every = vocab.tokens()
    tokens = [every[number] if 0 <= number < len(every) else vocab.UNK for number in token_ids]
    if vocab.EOS in tokens:
        tokens = tokens[: tokens.index(vocab.EOS)]
    opening = {vocab.OPEN[modality]: modality for modality in vocab.MEDIA}
    parts: list[str | Rendered] = []
    words: list[str] = []
    problems: list[str] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if not token.startswith("<"):
            words.append(token)
            continue
        if words:
            parts.append(vocab.join_words(words))
            words = []
        if token in opening:
            inside = list(takewhile(lambda token: token not in vocab.STRUCTURE, tokens[position:]))
            position += len(inside)
            closed = position < len(tokens) and tokens[position] == vocab.CLOSE[opening[token]]
            position += closed
            try:
                parts.append(_medium(opening[token], inside, closed))
            except ValueError as error:
                problems.append(str(error))
        elif token != vocab.PAD:
            problems.append(f"{token} out of place")
    if words:
        parts.append(vocab.join_words(words))
    return DecodedParts(tuple(parts), tuple(problems))


def _medium(modality: Modality, inside: list[str], closed: bool) -> Rendered:
    """The medium of these code tokens. Raises ValueError if they are malformed."""
    codes = vocab.code_range(modality)
    numbers = [vocab.ids()[token] for token in inside]
    if not closed:
        raise ValueError(f"malformed {modality}: no end after {len(numbers)} codes")
    for token, number in zip(inside, numbers, strict=True):
        if number not in codes:
            raise ValueError(f"malformed {modality}: {token} inside")
    if len(numbers) != vocab.CODES_PER_PART[modality]:
        raise ValueError(
            f"malformed {modality}: {len(numbers)} codes instead of {vocab.CODES_PER_PART[modality]}"
        )
    return render_codes(modality, tuple(number - codes.start for number in numbers))


def _text_ids(text: str) -> list[int]:
    ids = vocab.ids()
    return [ids.get(word, ids[vocab.UNK]) for word in vocab.split_words(text)]


def media_ids(modality: Modality, codes: Sequence[int]) -> list[int]:
    """Token ids of a medium with these codes, between its marks."""
    ids, base = vocab.ids(), vocab.code_range(modality).start
    return [ids[vocab.OPEN[modality]], *(base + code for code in codes), ids[vocab.CLOSE[modality]]]


def _file_codes(modality: Modality, path: Path) -> list[int]:
    if modality is Modality.IMAGE:
        return list(pixels_to_codes(shrink(read_image(path))))
    if modality is Modality.AUDIO:
        return list(hear_codes(read_audio(path, RATE)))
    frames = read_frames(path, FRAMES).frames
    # A clip of fewer frames shows some of them longer.
    middles = [int((number + 0.5) * len(frames) / FRAMES) for number in range(FRAMES)]
    return [code for middle in middles for code in pixels_to_codes(shrink(frames[middle]))]
