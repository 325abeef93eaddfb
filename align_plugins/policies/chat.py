"""Checkpoints of transformers that respond with text, to text, images, sounds and clips.

Prompts are made by the family code that the evaluation uses, so training and evaluation see the same
prompts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace

from align_plugins.policies.answer_frame import Frame, FramedAnswer, FrameError, Turns, frame_of
from align_plugins.policies.base import (
    Encoded,
    Policy,
    RowError,
    inputs_of,
    labels_of,
    max_sequence_length,
    too_long,
)
from eval_anything.answer_text import answer_text
from eval_anything.content import MODALITIES, Message, Modality, Part, TextPart
from eval_anything.errors import EvalError, UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request, Sampling
from eval_anything.models.hf.family import FamilySettings
from eval_anything.models.hf.generic import GenericFamily
from eval_anything.models.hf.model import TransformersModel
from eval_anything.models.hf.source import Source
from eval_anything.models.local.generation import until_stop
from eval_anything.models.local.plain_text import control_tokens, ids_after, marked
from eval_anything.models.local.thoughts import decoded
from eval_anything.thoughts import marks_among, opens_thoughts, split_thoughts

if TYPE_CHECKING:
    from eval_anything.models.local.decoding import Continuation


_TEXT = MODALITIES.index(Modality.TEXT)


# A conversation and an answer, by which a chat template is checked before any row is read.
_QUESTION = (Message("user", (TextPart("What is it?"),)),)
_WORD = "Hello"


_CONTEXT = 64  # characters at the end of a prompt, on which the tokens of an answer depend


class ChatPolicy(Policy):
    """A language model with a chat template, whose prompts may carry media.

    A response is what the model has to write when it is asked as in the evaluation: what the template
    has before an answer and its prompt lacks (answer_frame.py), the answer, and one token that ends it.
    Text that a template adds after that (a newline, a next turn) is not learned.
    """

    name: ClassVar[str] = "chat"

    def __init__(self, source: Source, dtype: str = "float32") -> None:
        self.source = source
        self.spec = source.location if source.path is not None else f"hf/{source.location}"
        self.outputs = frozenset({Modality.TEXT})
        self._family = self._family_of(source, dtype)
        self._last_count: tuple[tuple[Message, ...], int] = ((), 0)
        self._last_frame: tuple[tuple[Message, ...], Frame] | None = None
        self._read_heads: set[str] = set()  # that an evaluation leaves out
        self._opened: bool | None = None  # whether prompts leave the model in its thoughts

    @classmethod
    def of(cls, model: Model, dtype: str) -> ChatPolicy:
        if not isinstance(model, TransformersModel):
            raise UserError(f"model: {model.spec} is no folder with a checkpoint, and no hf/ID")
        policy = cls(model.source, dtype)
        template = model.family.settings.chat_template
        policy._family.settings = replace(policy._family.settings, chat_template=template)
        return policy

    def _family_of(self, source: Source, dtype: str) -> GenericFamily:
        """Family that the evaluation uses for such a checkpoint. UserError if this policy does not train
        it."""
        from eval_anything.models.hf.families import family_of

        cls = family_of(source.model_type)
        if cls is not GenericFamily:
            raise UserError(
                f"model: checkpoints of type {source.model_type} (family {cls.name}) are evaluated, but "
                "no policy trains them yet"
            )
        return GenericFamily(source, FamilySettings(dtype=dtype))

    def load(self) -> None:
        if self.source.adapter is not None:
            raise UserError(
                f"model: {self.source.adapter} is an adapter of LoRA: merge it into its base first "
                "(lora: {merge: true} in the training that made it does that)"
            )
        self._family.load()
        self.model = self._family.model
        if self.model.config.is_encoder_decoder:
            raise UserError(f"model: {self.spec} is an encoder-decoder; only decoders are trained")
        with contextlib.suppress(ValueError):  # reported by `learned_example`
            self._opened = opens_thoughts(self._frame(_QUESTION).prompt) or None

    def learned_example(self) -> str:
        try:
            ids = self._response_ids(_QUESTION, _WORD)
        except ValueError as error:
            raise UserError(f"model: {self.spec}: {error}") from None
        head = self._frame(_QUESTION).head
        reason = f" ({head!r} is not in the prompt, so the model writes it)" if head.strip() else ""
        return f"learned of the answer {_WORD!r}: {self._family.tokenizer.decode(ids)!r}{reason}"

    def encode(self, messages: Sequence[Message], response: Sequence[Part]) -> Encoded:
        self._check(messages, response)
        text = "\n\n".join(part.text for part in response if isinstance(part, TextPart))
        ids = self._response_ids(messages, text)
        conversation = tuple(messages)
        is_text = not _has_media(conversation) and self._family.processor is None
        prompt = self._prompt_ids(conversation) if is_text else []
        return Encoded(prompt, ids, [_TEXT] * len(ids), conversation)

    def _prompt_ids(self, messages: tuple[Message, ...]) -> list[int]:
        ids: list[int] = self._family.prompt(request_of(messages)).data
        return ids

    def _check(self, messages: Sequence[Message], response: Sequence[Part]) -> None:
        """ValueError for a modality that this checkpoint cannot read or write."""
        foreign = [p.modality for p in response if p.modality not in self.outputs]
        if foreign:
            able = " and ".join(m for m in MODALITIES if m in self.outputs)
            raise ValueError(f"its response has {foreign[0]}, and this model answers with {able} alone")
        readable = self._family.inputs  # known after `load`
        strange = [p.modality for m in messages for p in m.parts if p.modality not in readable]
        if strange:
            raise ValueError(f"its prompt has {strange[0]}, which this checkpoint cannot read")

    def _response_ids(self, messages: Sequence[Message], text: str) -> list[int]:
        """Token ids of an answer, with what the model writes before it and the token that ends it."""
        frame = self._frame(messages)
        answer = FramedAnswer("", text)
        if self._family.template is not None:
            answer = frame.around(text, self._render, self._turns(messages))
        ids = self._text_ids(answer.text, frame.prompt, answer.head, answer.thinks)
        return [*ids, self._end(frame)]

    def _text_ids(self, text: str, before: str, head: str = "", thinks: bool = False) -> list[int]:
        """Token ids of `head` and a text of a response, behind the text `before`. Control tokens in the
        text are words, as are tokens that end a response; with `thinks`, marks of thoughts are not."""
        words = marked(self._family.tokenizer, text, self._controls[thinks])
        return ids_after(self._family.tokenizer, before[-_CONTEXT:], head + words)

    @cached_property
    def _controls(self) -> tuple[list[str], list[str]]:
        """Tokens that are words in a response, the longest first: all, and all but marks of thoughts."""
        tokenizer = self._family.tokenizer
        ends = set(tokenizer.convert_ids_to_tokens(self._family.stop))
        ends &= tokenizer.added_tokens_encoder.keys()
        controls = set(control_tokens(tokenizer))
        all_tokens, no_marks = ends | controls, ends | (controls - marks_among(controls))
        return sorted(all_tokens, key=len, reverse=True), sorted(no_marks, key=len, reverse=True)

    def _turns(self, messages: Sequence[Message]) -> Turns:
        """The texts of a conversation as prompts have them."""
        between = "\n" if self._family.processor is None else ""
        return [
            {"role": m.role, "content": between.join(p.text for p in m.parts if isinstance(p, TextPart))}
            for m in messages
        ]

    def _frame(self, messages: Sequence[Message]) -> Frame:
        """The text around an answer to a prompt. Both sides of a pair have the same one, which is
        made once. ValueError for a prompt that the template refuses."""
        if self._last_frame is None or self._last_frame[0] != tuple(messages):
            self._last_frame = (tuple(messages), self._new_frame(messages))
        return self._last_frame[1]

    def _new_frame(self, messages: Sequence[Message]) -> Frame:
        turns = self._turns(messages)
        if self._family.template is None:
            prompt = "\n\n".join(turn["content"] for turn in turns)
            return Frame(prompt, head="", before=prompt, tail="")
        frame = frame_of(self._render, turns)
        if frame.head.strip() and frame.head not in self._read_heads:
            self._check_head(frame)
            self._read_heads.add(frame.head)
        return frame

    def _check_head(self, frame: Frame) -> None:
        """FrameError if an evaluation would not leave out what the model writes before an answer."""
        ids = [*self._text_ids(_WORD, frame.prompt, frame.head), self._end(frame)]
        text = decoded(self._family.tokenizer, until_stop(ids, set(self._family.stop)))
        if split_thoughts(text, opens_thoughts(frame.prompt)).answer.strip() != _WORD:
            raise FrameError(
                f"the chat template writes {frame.head!r} before an answer, its prompt lacks it, and "
                "an evaluation takes it for words of the answer: give the checkpoint a template "
                "whose prompt, with add_generation_prompt, has it"
            )

    def _render(self, turns: Turns, open_for_answer: bool) -> str:
        """Conversation of texts as the template renders it; media do not change where responses end.
        ValueError if it refuses the conversation."""
        holder = self._family.tokenizer
        shaped: Any = list(turns)
        if self._family.processor is not None:  # such templates go through the parts of a message
            shaped = [
                {"role": t["role"], "content": [{"type": "text", "text": t["content"]}]} for t in turns
            ]
        try:
            rendered: str = holder.apply_chat_template(
                shaped,
                chat_template=self._family.template,
                tokenize=False,
                add_generation_prompt=open_for_answer,
            )
        except Exception as error:  # a template may raise anything, for a role that it does not know
            raise ValueError(f"the chat template refuses this conversation: {error}") from None
        return rendered

    def _end(self, frame: Frame) -> int:
        """The stop token that the template puts after a response, or else the checkpoint's own."""
        tokenizer, stop = self._family.tokenizer, list(self._family.stop)
        written = {token: frame.tail.find(tokenizer.convert_ids_to_tokens(token)) for token in stop}
        present = [token for token in stop if written[token] >= 0]
        return min(present, key=written.__getitem__) if present else stop[0]

    def respond(
        self,
        prompts: Sequence[Sequence[Message]],
        seeds: Sequence[int],
        temperature: float,
        max_new_tokens: int,
    ) -> list[Continuation]:
        from eval_anything.models.local.decoding import Continuation, decode, decodes
        from eval_anything.models.local.generation import plain_softmax

        family = self._family
        family.settings = replace(family.settings, max_new_tokens=max_new_tokens)
        sampling = Sampling(temperature)
        family_prompts = [
            family.prompt(Request("", str(seed), 0, tuple(messages), sampling))
            for seed, messages in zip(seeds, prompts, strict=True)
        ]
        if family.processor is None and decodes(self.model):
            return decode(
                self.model,
                [prompt.data for prompt in family_prompts],
                seeds=[prompt.request.seed for prompt in family_prompts],
                sampling=sampling,
                max_new_tokens=max_new_tokens,
                pad=family.stop[0],
                stop=family.stop,
            )
        continuations = [Continuation([], [], False) for _ in family_prompts]
        for kind in dict.fromkeys(prompt.kind for prompt in family_prompts):
            indices = [index for index, prompt in enumerate(family_prompts) if prompt.kind == kind]
            group = [family_prompts[index] for index in indices]
            inputs = family.build_inputs(group)
            tokens, positions = (
                inputs["input_ids"].shape[1] + max_new_tokens,
                max_sequence_length(self.model),
            )
            if positions is not None and tokens > positions:
                raise ValueError(too_long(tokens, positions))
            with plain_softmax(family.model):
                ids = family.generate(inputs, group)
            for index, row in zip(indices, ids, strict=True):
                continuations[index] = Continuation(row, [], bool(row) and row[-1] in family.stop)
        return continuations

    def decode(self, ids: Sequence[int], store: MediaStore) -> tuple[Part, ...]:
        text = decoded(self._family.tokenizer, list(ids))
        answer = answer_text(split_thoughts(text.strip(), self._opened).answer)
        return (TextPart(answer),) if answer else ()

    def collate(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """Batch of rows. Media are read here, a batch at a time, and once for both sides of a pair."""
        pad, positions = self._family.tokenizer.pad_token_id, max_sequence_length(self.model)
        read: dict[tuple[Message, ...], tuple[list[int], dict[str, Any]]] = {}
        for row in rows:
            if not row.prompt and row.messages not in read:
                read[row.messages] = self._read(row)
        prompts = [(row.prompt, {}) if row.prompt else read[row.messages] for row in rows]
        ids = [[*prompt, *row.response] for (prompt, _), row in zip(prompts, rows, strict=True)]
        for row, row_ids in zip(rows, ids, strict=True):
            if positions is not None and len(row_ids) > positions:
                raise RowError(row.row, too_long(len(row_ids), positions))
        labels, modalities = labels_of([len(prompt) for prompt, _ in prompts], rows)
        inputs = inputs_of(ids, [media for _, media in prompts], pad if pad is not None else 0)
        return {"inputs": inputs, "labels": labels, "modalities": modalities}

    def with_token_count(self, row: Encoded, reads_media: bool) -> Encoded:
        """The row with its number of tokens. Both sides of a pair have the same prompt, which is read
        once."""
        if row.prompt or (_has_media(row.messages) and not reads_media):
            return row
        if self._last_count[0] != row.messages:
            self._last_count = (row.messages, len(self._read(row)[0]))
        return row._replace(deferred=self._last_count[1])

    def _read(self, row: Encoded) -> tuple[list[int], dict[str, Any]]:
        """`_inputs` of a row's prompt. RowError says why it cannot be read."""
        try:
            return self._inputs(row.messages)
        except EvalError:
            raise
        except Exception as error:  # a template may raise anything, and so may a processor
            raise RowError(row.row, f"its prompt cannot be read: {error}") from None

    def _inputs(self, messages: tuple[Message, ...]) -> tuple[list[int], dict[str, Any]]:
        """Arguments of the model for one prompt: its token ids, and tensors of its media."""
        tensors = dict(self._family.build_inputs([self._family.prompt(request_of(messages))]))
        tensors.pop("attention_mask", None)
        ids: list[int] = tensors.pop("input_ids")[0].tolist()
        return ids, {name: tensor.cpu() for name, tensor in tensors.items()}

    def as_tokens(self, body: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs of one row, with media replaced by tokens where the model's `body` has tokens
        for them."""
        return dict(inputs)

    def save_beside(self, folder: Path) -> None:
        holder = self._family.processor
        (holder if holder is not None else self._family.tokenizer).save_pretrained(folder)


def _has_media(messages: tuple[Message, ...]) -> bool:
    return any(not isinstance(part, TextPart) for message in messages for part in message.parts)


def request_of(messages: tuple[Message, ...]) -> Request:
    """Request of the evaluation for a prompt."""
    return Request("", "", 0, messages, Sampling())
