"""Converters from the formats of other projects to training rows: align-anything's data sets and TRL's
formats.

Field names of align-anything are those of its 200K data and the formatters that read it
(PKU-Alignment/align-anything, align_anything/configs/format_dataset.py): `question` or `prompt`, a
medium in `image`, `audio`, `video` (or `..._path`, `..._url`), `response_1`, `response_2`, `overall_*`
in {1, 2}, ratings `<aspect>_rate_1`, `<aspect>_rate_2`, and `refinement` in rows of language feedback.
TRL's formats are those of its page "Dataset formats and types".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from align_plugins.data.rows import Demonstration, Feedback, Preference, Prompt, Row, prompt_key
from eval_anything.content import MediaPart, Message, Modality, Part, TextPart
from eval_anything.media import MediaStore, sniff
from eval_anything.media.kinds import true_modality
from eval_anything.media.sniff import EXTENSIONS

Fields = Mapping[str, Any]


_PROMPTS = ("question", "prompt", "input_text")


_MEDIA = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)


_PLACEHOLDER = re.compile(r"\s*<(image|audio|video)>\s*")


_RATE = re.compile(r"^(?P<aspect>\w+?)_(?:rate|rating|score)_(?P<side>[12])$")


_ENDINGS = ("", "_path", "_url")


def form_of(fields: Fields) -> str | None:
    """Name of the format that a row has; None for an unknown one."""
    return next((name for name, (knows, _) in _FORMS.items() if knows(fields)), None)


def convert_row(fields: Fields, identity: str, folder: Path, store: MediaStore) -> list[Row]:
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
    return list(_FORMS[form][1](_Reader(fields, identity, folder, store)))


class _Reader:
    """Converts the fields of one row of another project into parts."""

    def __init__(self, fields: Fields, identity: str, folder: Path, store: MediaStore) -> None:
        self.fields = fields
        self.identity = identity
        self._folder = folder
        self._store = store

    def text(self, *names: str) -> str:
        """Text of the first of these fields that is present. ValueError if it is no text, or none is
        present."""
        for name in names:
            content = self.fields.get(name)
            if content is not None:
                if not isinstance(content, str):
                    raise ValueError(f"{name} must be text, not {type(content).__name__}")
                return content
        raise ValueError(f"needs the field {' or '.join(names)}")

    def medium(self, source: Any, modality: Modality, field: str) -> MediaPart:
        """Media part of bytes, a {"bytes", "path"} mapping or a path, put into the store."""
        if isinstance(source, Mapping):
            inside = source.get("bytes")
            source = inside if inside is not None else source.get("path")
        if isinstance(source, bytes):
            return self._store.put(source, modality)
        if not isinstance(source, str) or not source:
            raise ValueError(
                f"{field} must be the {modality}'s bytes or path, not {type(source).__name__}"
            )
        if "://" in source:
            raise ValueError(f"{field} is an address: download it, and give its path")
        path = self._folder / source
        try:
            return self._store.put(path.read_bytes(), modality)
        except OSError as error:
            raise ValueError(f"{field}: {path} cannot be read: {error.strerror}") from None

    def message(self) -> Message:
        """The user's message: media first, then the text without placeholders such as `<image>`."""
        media: list[Part] = [
            self.medium(self.fields[name], modality, name)
            for modality in _MEDIA
            for stem in (modality.value, f"input_{modality.value}")
            for name in (stem + ending for ending in _ENDINGS)
            if self.fields.get(name) is not None
        ]
        text = _PLACEHOLDER.sub(" ", self.text(*_PROMPTS)).strip()
        parts = [*media, *([TextPart(text)] if text else [])]
        if not parts:
            raise ValueError("its prompt is empty")
        return Message("user", tuple(parts))

    def response(self, field: str) -> list[Part]:
        """Parts of a field that holds a text, or the bytes or path of a medium."""
        content = self.fields[field]
        if isinstance(content, str):
            modality = _modality_of(content)
            if modality is None or not (self._folder / content).is_file():
                return [TextPart(content)] if content.strip() else []
            modality = true_modality(self._folder / content, modality)
            return [self.medium(content, modality, field)]
        return [self.medium(content, self._output(content), field)]

    def _output(self, content: Any) -> Modality:
        """Modality of a response that is a medium, by the ending of its path or else by its bytes."""
        name = content.get("path") if isinstance(content, Mapping) else None
        named_modality = _modality_of(name) if isinstance(name, str) else None
        if named_modality is not None:
            return named_modality
        encoded = content.get("bytes") if isinstance(content, Mapping) else content
        kind = sniff(encoded) if isinstance(encoded, bytes) else None
        if kind is None:
            raise ValueError(f"a response must be text or a known medium, not {type(content).__name__}")
        assert isinstance(encoded, bytes)
        return true_modality(encoded, kind.modality)

    def row(
        self, kind: type[Prompt], messages: Sequence[Message], ending: str = "", **content: Any
    ) -> Row:
        """Row of a type with these messages; `ending` is appended to its id."""
        conversation = tuple(messages)
        return kind(
            id=self.identity + ending,
            messages=conversation,
            source_id=prompt_key(conversation)[:16],
            **content,
        )


def _modality_of(name: str) -> Modality | None:
    mime = EXTENSIONS.get(name.rpartition(".")[2].lower(), "") if "." in name else ""
    return next((m for m in _MEDIA if mime.startswith(m.value)), None)


# --- align-anything ----------------------------------------------------------------------------


def _is_pair(fields: Fields) -> bool:
    return {"response_1", "response_2"} <= fields.keys() and bool(fields.keys() & set(_PROMPTS))


def _pair(read: _Reader) -> Iterator[Row]:
    """A preference pair of two responses, and a feedback row for each response that has a critique."""
    message = read.message()
    sides = [tuple(read.response(f"response_{n}") + _image_beside(read, n)) for n in (1, 2)]
    critiques = [read.fields.get(f"feedback_{n}") or read.fields.get(f"critique_{n}") for n in (1, 2)]
    for n, critique in enumerate(critiques, start=1):
        if critique is not None:
            yield read.row(
                Feedback, [message], f"-feedback-{n}", response=sides[n - 1], critique=critique
            )
    names = [name for name in sorted(read.fields) if name.startswith("overall_")]
    verdicts = [read.fields[n] for n in names if str(read.fields[n]) in ("1", "2", "1.0", "2.0")]
    if not verdicts:
        if any(critiques):
            return
        raise ValueError("no overall_response (or overall_image, ...) in {1, 2} says which is better")
    better = int(float(verdicts[0])) - 1
    yield read.row(
        Preference,
        [message],
        chosen=sides[better],
        rejected=sides[1 - better],
        aspects=_aspects(read.fields, better),
    )


def _image_beside(read: _Reader, side: int) -> list[Part]:
    """The image that belongs to a text response of a TI2TI row."""
    for name in (f"output_image_{side}", f"output_image_url_{side}", f"output_image_path_{side}"):
        if read.fields.get(name) is not None:
            return [read.medium(read.fields[name], Modality.IMAGE, name)]
    return []


def _aspects(fields: Fields, better: int) -> dict[str, float]:
    """Rating of the chosen response minus that of the rejected one, by aspect."""
    rates: dict[str, dict[str, float]] = {}
    for name, rating in fields.items():
        match = _RATE.match(name)
        if match is not None and rating is not None:
            try:
                rates.setdefault(match["aspect"], {})[match["side"]] = float(rating)
            except (TypeError, ValueError):
                raise ValueError(f"{name} must be a number, not {rating!r:.40}") from None
    chosen, rejected = ("1", "2") if better == 0 else ("2", "1")
    return {a: r[chosen] - r[rejected] for a, r in sorted(rates.items()) if len(r) == 2}


def _ti2ti(read: _Reader) -> Iterator[Row]:
    def side(name: str) -> tuple[Part, ...]:
        image = read.fields.get(f"{name}_img")
        parts = read.response(f"{name}_text")
        return (*parts, *([read.medium(image, Modality.IMAGE, f"{name}_img")] if image else []))

    yield read.row(Preference, [read.message()], chosen=side("better"), rejected=side("worse"))


def _is_feedback(fields: Fields) -> bool:
    remarks = {"refinement", "feedback", "critique"} & fields.keys()
    return "response" in fields and bool(remarks) and bool(fields.keys() & set(_PROMPTS))


def _feedback(read: _Reader) -> Iterator[Row]:
    refined = read.response("refinement") if read.fields.get("refinement") is not None else None
    critique = read.fields.get("critique") or read.fields.get("feedback") or ""
    if not isinstance(critique, str):
        raise ValueError("the critique must be text")
    if refined is None and not critique:
        raise ValueError("needs a critique or a refinement")
    yield read.row(
        Feedback,
        [read.message()],
        response=tuple(read.response("response")),
        critique=critique,
        refined=tuple(refined) if refined is not None else None,
    )


def _is_supervised(fields: Fields) -> bool:
    return "response" in fields and bool(fields.keys() & set(_PROMPTS))


def _supervised(read: _Reader) -> Iterator[Row]:
    yield read.row(Demonstration, [read.message()], response=tuple(read.response("response")))


# --- TRL -----------------------------------------------------------------------------------------


def _is_chat(content: Any) -> bool:
    """Whether a field holds turns in the format of chat completions."""
    return isinstance(content, list) and all(isinstance(t, Mapping) and "content" in t for t in content)


def _is_trl_preference(fields: Fields) -> bool:
    chosen = fields.get("chosen")
    return "rejected" in fields and (isinstance(chosen, str) or (_is_chat(chosen) and bool(chosen)))


def _trl_preference(read: _Reader) -> Iterator[Row]:
    media = _images(read)
    prompt = _conversation(read, "prompt", media) if "prompt" in read.fields else None
    if isinstance(read.fields["chosen"], str):
        if prompt is None:
            raise ValueError("needs the field prompt: `chosen` does not show where the prompt ends")
        chosen, rejected = ((TextPart(read.text(n)),) for n in ("chosen", "rejected"))
        yield read.row(Preference, prompt, chosen=chosen, rejected=rejected)
        return
    sides = [_conversation(read, name, media) for name in ("chosen", "rejected")]
    if prompt is None:  # the turns that both begin with
        turn_pairs = zip(*sides, strict=False)
        prompt = [pair[0] for pair in takewhile(lambda pair: pair[0] == pair[1], turn_pairs)]
        sides = [side[len(prompt) :] for side in sides]
    responses = [_only_answer(side) for side in sides]
    yield read.row(Preference, prompt, chosen=responses[0], rejected=responses[1])


def _trl_completion(read: _Reader) -> Iterator[Row]:
    if "label" in read.fields:
        raise ValueError("unpaired preferences (`label`) are not read: give `chosen` and `rejected`")
    completion = read.fields["completion"]
    prompt = _conversation(read, "prompt", _images(read))
    answer: tuple[Part, ...] = (
        (TextPart(completion),)
        if isinstance(completion, str)
        else _only_answer(_conversation(read, "completion", iter(())))
    )
    yield read.row(Demonstration, prompt, response=answer)


def _is_trl_messages(fields: Fields) -> bool:
    return bool(fields.get("messages")) and _is_chat(fields["messages"])


def _trl_messages(read: _Reader) -> Iterator[Row]:
    messages = _conversation(read, "messages", _images(read))
    if messages[-1].role == "user":
        yield read.row(Prompt, messages)
    else:
        yield read.row(Demonstration, messages[:-1], response=messages[-1].parts)


def _is_trl_prompt(fields: Fields) -> bool:
    return set(fields) & {"prompt", "images", "image"} == set(fields) and "prompt" in fields


def _trl_prompt(read: _Reader) -> Iterator[Row]:
    yield read.row(Prompt, _conversation(read, "prompt", _images(read)))


def _images(read: _Reader) -> Iterator[MediaPart]:
    """Images of a row, for the image blocks of its turns; all its conversations use them up in order."""
    images = read.fields.get("images")
    if images is None:
        images = [read.fields["image"]] if read.fields.get("image") is not None else []
    return iter([read.medium(image, Modality.IMAGE, "images") for image in images])


def _conversation(read: _Reader, field: str, media: Iterator[MediaPart]) -> list[Message]:
    conversation = read.fields[field]
    if isinstance(conversation, str):
        return [Message("user", (*media, TextPart(conversation)))]
    if not _is_chat(conversation) or not conversation:
        raise ValueError(f"{field} must be text or a list of turns with role and content")
    turns = []
    for turn in conversation:
        role, content = turn.get("role"), turn["content"]
        if role not in ("system", "user", "assistant"):
            raise ValueError(f"{field}: the role {role!r} is none of system, user, assistant")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        parts: list[Part] = []
        for block in blocks:
            if block.get("type") == "text":
                parts.append(TextPart(block["text"]))
            elif block.get("type") == "image":
                part = next(media, None)
                if part is None:
                    raise ValueError(f"{field} has more marks of pictures than `images` has pictures")
                parts.append(part)
            else:
                raise ValueError(f"{field}: a block of type {block.get('type')!r} is not read")
        turns.append(Message(role, tuple(parts)))
    return turns


def _only_answer(turns: Sequence[Message]) -> tuple[Part, ...]:
    if len(turns) != 1 or turns[0].role != "assistant":
        raise ValueError("after the prompt there must be exactly one turn, of the assistant")
    return turns[0].parts


_FORMS: dict[str, tuple[Callable[[Fields], bool], Callable[[_Reader], Iterator[Row]]]] = {
    "align-anything's preferences": (_is_pair, _pair),
    "align-anything's TI2TI preferences": ({"input_text", "better_text", "worse_text"}.issubset, _ti2ti),
    "align-anything's language feedback": (_is_feedback, _feedback),
    "align-anything's demonstrations": (_is_supervised, _supervised),
    "TRL's preferences": (_is_trl_preference, _trl_preference),
    "TRL's prompts with completions": ({"prompt", "completion"}.issubset, _trl_completion),
    "TRL's conversations": (_is_trl_messages, _trl_messages),
    "TRL's prompts": (_is_trl_prompt, _trl_prompt),
}
