"""One row of another project: its fields, read into parts and messages."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align_plugins.data.placing import placed
from align_plugins.data.rows import RESPONSES, Prompt, Row, check_row, prompt_key
from align_plugins.data.turns import (
    MEDIA,
    SAME_SIDES,
    ForeignTurn,
    Mark,
    turns_of,
    user_turn,
    words_for,
)
from eval_anything.content import MediaPart, Message, Modality, Part, TextPart
from eval_anything.media import MediaError, MediaStore, medium_bytes, sniff
from eval_anything.media.kinds import true_modality
from eval_anything.media.sniff import EXTENSIONS

Fields = Mapping[str, Any]


PROMPTS = ("question", "prompt", "input_text", "instruction", "query", "input")
"""Names of a field with a prompt, the first that a row has."""


_ENDINGS = ("", "_path", "_url")


_SYSTEM = ("system", "system_prompt")


class ForeignRow:
    """The fields of one row. Notes which of them are read.

    Attributes:
        fields: the fields themselves.
        read: names of those that were read so far.
    """

    def __init__(self, fields: Fields, identity: str, folder: Path, store: MediaStore) -> None:
        """`identity` is the id of the new row, `folder` what paths are relative to; `store` receives the
        media."""
        self.fields = fields
        self.read: set[str] = set()
        self._identity = identity
        self._folder = folder
        self._store = store

    def has(self, name: str) -> bool:
        """Whether the row has the field, and it is not null."""
        return self.fields.get(name) is not None

    def get(self, name: str) -> Any:
        """The value of a field; None if it is not there."""
        self.read.add(name)
        return self.fields.get(name)

    def first_of(self, names: Sequence[str]) -> str:
        """The first of these fields that the row has. ValueError if it has none."""
        name = next((name for name in names if self.has(name)), None)
        if name is None:
            raise ValueError(f"needs the field {' or '.join(names)}")
        return name

    def text(self, *names: str) -> str:
        """Text of the first of these fields that is there. ValueError if it is no text, or none is."""
        name = self.first_of(names)
        content = self.get(name)
        if not isinstance(content, str):
            raise ValueError(f"{name} must be text, not {words_for(content)}")
        return content

    def number(self, name: str) -> float | None:
        """Number of a field, perhaps written as text; None if it is not there. ValueError for anything
        else, and for one that is not finite."""
        content = self.get(name)
        if content is None:
            return None
        try:
            number = float(content)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{name} must be a finite number")
        return number

    def turns(self, name: str) -> list[ForeignTurn]:
        """Turns of a field; of text, which is one turn of the user."""
        content = self.get(name)
        return [user_turn(content)] if isinstance(content, str) else turns_of(content, name)

    def with_system(self, turns: Sequence[ForeignTurn]) -> list[ForeignTurn]:
        """The turns after the row's system message, if it has one and they have none."""
        key = next((key for key in _SYSTEM if self.has(key)), None)
        if key is None or (turns and turns[0].role == "system"):
            return list(turns)
        system = self.text(key)
        return [ForeignTurn("system", (TextPart(system),)), *turns] if system else list(turns)

    def messages(
        self, *conversations: Sequence[ForeignTurn], apart: bool = False
    ) -> list[list[Message]]:
        """Messages of prompt and answers with the row's media; arguments and errors as of `placed`."""
        media = {modality: self._media(modality) for modality in MEDIA}
        return placed(conversations, media, self._named_by, apart)

    def _media(self, modality: Modality) -> list[MediaPart]:
        """Media of one modality, from the first of each kind of field for them that is there."""
        parts = []
        for stems in ((f"{modality}s", modality.value), (f"input_{modality}",)):
            names = [stem + ending for stem in stems for ending in _ENDINGS]
            name = next((name for name in names if self.fields.get(name) not in (None, [])), None)
            if name is not None:
                content = self.get(name)
                sources = content if isinstance(content, list | tuple) else [content]
                parts += [self.medium(source, modality, name) for source in sources]
        return parts

    def _named_by(self, mark: Mark) -> MediaPart:
        return self.medium(mark.source, mark.modality, f"a block of type {mark.modality.value!r}")

    def medium(self, source: Any, modality: Modality, field: str) -> MediaPart:
        """Media part of bytes, a {"bytes", "path"} mapping, a path or a data URI, put into the store."""
        if isinstance(source, Mapping):
            inside = source.get("bytes")
            source = inside if inside is not None else source.get("path")
        if isinstance(source, str) and source.startswith("data:"):
            source = _data_of(source, field)
        if isinstance(source, str) and source:
            source = self._file(source, field)
        if not isinstance(source, bytes):
            raise ValueError(f"{field} must be the {modality}'s bytes or path, not {words_for(source)}")
        try:
            return self._store.put(source, modality)
        except MediaError as error:
            raise ValueError(f"{field}: {error}") from None

    def _file(self, name: str, field: str) -> bytes:
        if "://" in name:
            raise ValueError(f"{field} is an address: download it, and give its path")
        path = self._folder / name
        try:
            if path.exists() and not path.is_file():
                raise ValueError(f"{field}: {path} is no file")
            return medium_bytes(path)
        except OSError as error:
            raise ValueError(f"{field}: {path} cannot be read: {error.strerror}") from None

    def response(self, field: str) -> list[Part]:
        """Parts of a field that holds a text, or the bytes or path of a medium."""
        content = self.get(field)
        if isinstance(content, str):
            modality = _modality_of(content)
            if modality is None or not self._is_file(content):
                return [TextPart(content)] if content.strip() else []
            return [self.medium(content, true_modality(self._folder / content, modality), field)]
        return [self.medium(content, _output_of(content, field), field)]

    def _is_file(self, name: str) -> bool:
        try:
            return (self._folder / name).is_file()
        except (OSError, ValueError):  # a name that is too long
            return False

    def row(
        self, kind: type[Prompt], messages: Sequence[Message], ending: str = "", **content: Any
    ) -> Row:
        """Row of a type with these messages; `ending` is appended to its id. ValueError if it would not
        be read back, or nothing could be learned from it."""
        conversation = tuple(messages)
        row: Row = kind(
            id=self._identity + ending,
            messages=conversation,
            source_id=prompt_key(conversation)[:16],
            **content,
        )
        check_row(row)
        if not conversation[-1].parts or not _says_something(conversation[-1].parts):
            raise ValueError("its prompt is empty")
        for name in RESPONSES:
            parts = getattr(row, name, None)
            if parts is not None and not _says_something(parts):
                raise ValueError(f"{name} is empty")
        if "chosen" in content and content["chosen"] == content["rejected"]:
            raise ValueError(SAME_SIDES)
        return row


def _says_something(parts: Sequence[Part]) -> bool:
    return any(not isinstance(part, TextPart) or part.text.strip() for part in parts)


def _data_of(uri: str, field: str) -> bytes:
    """Bytes of a data URI in base64."""
    head, comma, encoded = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        raise ValueError(f"{field} is a data URI that is not in base64")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{field} is a data URI whose base64 is broken") from None


def _modality_of(name: str) -> Modality | None:
    mime = EXTENSIONS.get(name.rpartition(".")[2].lower(), "") if "." in name else ""
    return next((m for m in MEDIA if mime.startswith(m.value)), None)


def _output_of(content: Any, field: str) -> Modality:
    """Modality of a response that is a medium, by the ending of its path or else by its bytes."""
    name = content.get("path") if isinstance(content, Mapping) else None
    named_modality = _modality_of(name) if isinstance(name, str) else None
    if named_modality is not None:
        return named_modality
    encoded = content.get("bytes") if isinstance(content, Mapping) else content
    kind = sniff(encoded) if isinstance(encoded, bytes) else None
    if kind is None:
        raise ValueError(f"{field} must be text or a known medium, not {words_for(content)}")
    assert isinstance(encoded, bytes)
    return true_modality(encoded, kind.modality)
