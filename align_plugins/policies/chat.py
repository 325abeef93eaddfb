"""Checkpoints of transformers that respond with text, to text, images, sounds and clips.

Prompts are made by the family code that the evaluation uses, so training and evaluation see the same
prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from align_plugins.policies.base import (
    Encoded,
    Policy,
    RowError,
    inputs_of,
    labels_of,
    max_sequence_length,
    too_long,
)
from eval_anything.content import MODALITIES, Message, Modality, Part, TextPart
from eval_anything.errors import EvalError, UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Model, Request, Sampling
from eval_anything.models.hf.family import FamilySettings
from eval_anything.models.hf.generic import GenericFamily
from eval_anything.models.hf.model import TransformersModel
from eval_anything.models.hf.source import Source

if TYPE_CHECKING:
    from eval_anything.models.local.decoding import Continuation


_TEXT = MODALITIES.index(Modality.TEXT)


class ChatPolicy(Policy):
    """A language model with a chat template, whose prompts may carry media.

    A response is the text that the template puts after the prompt, up to the end of the response's text,
    and one token that ends it. Text that a template adds after that (a newline, a next turn) is not
    learned.
    """

    name: ClassVar[str] = "chat"

    def __init__(self, source: Source, dtype: str = "float32") -> None:
        self.source = source
        self.spec = source.location if source.path is not None else f"hf/{source.location}"
        self.outputs = frozenset({Modality.TEXT})
        self._family = self._family_of(source, dtype)
        self._last_count: tuple[tuple[Message, ...], int] = ((), 0)

    @classmethod
    def of(cls, model: Model, dtype: str) -> ChatPolicy:
        if not isinstance(model, TransformersModel):
            raise UserError(f"model: {model.spec} is no folder with a checkpoint, and no hf/ID")
        return cls(model.source, dtype)

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

    def encode(self, messages: Sequence[Message], response: Sequence[Part]) -> Encoded:
        self._check(messages, response)
        text = "\n\n".join(part.text for part in response if isinstance(part, TextPart))
        head, text, tail = self._around(messages, text)
        ids = [*self._text_ids(head + text), self._end(tail)]
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

    def _text_ids(self, text: str) -> list[int]:
        """Token ids of a text without special tokens, as generation makes them."""
        return list(self._family.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _around(self, messages: Sequence[Message], text: str) -> tuple[str, str, str]:
        """Text that the template puts between the prompt and a response, the response's text as it
        renders it, and the text that follows."""
        turns = [
            {"role": m.role, "content": "".join(p.text for p in m.parts if isinstance(p, TextPart))}
            for m in messages
        ]
        if self._family.template is None:
            return "", text, ""
        before = self._render(turns, True)
        full_text = self._render([*turns, {"role": "assistant", "content": text}], False)
        if not full_text.startswith(before):
            raise ValueError(
                "the chat template writes the prompt otherwise once there is an answer: give the "
                "checkpoint one whose prompt, with add_generation_prompt, begins the conversation"
            )
        after = full_text[len(before) :]
        for content in (text, text.strip()):
            if content and content in after:
                head, _, tail = after.partition(content)
                return head, content, tail
        raise ValueError("the chat template leaves the answer out or changes its text")

    def _render(self, turns: Sequence[Mapping[str, str]], open_for_answer: bool) -> str:
        """Conversation of texts as the template renders it; media do not change where responses end."""
        holder = self._family.tokenizer
        shaped: Any = list(turns)
        if self._family.processor is not None:  # such templates go through the parts of a message
            shaped = [
                {"role": t["role"], "content": [{"type": "text", "text": t["content"]}]} for t in turns
            ]
        written: str = holder.apply_chat_template(
            shaped,
            chat_template=self._family.template,
            tokenize=False,
            add_generation_prompt=open_for_answer,
        )
        return written

    def _end(self, tail: str) -> int:
        """The stop token that the template puts after a response, or else the checkpoint's own."""
        tokenizer, stop = self._family.tokenizer, list(self._family.stop)
        written = {token: tail.find(tokenizer.convert_ids_to_tokens(token)) for token in stop}
        present = [token for token in stop if written[token] >= 0]
        return min(present, key=written.__getitem__) if present else stop[0]

    def respond(
        self,
        prompts: Sequence[Sequence[Message]],
        seeds: Sequence[int],
        temperature: float,
        max_new_tokens: int,
    ) -> list[Continuation]:
        from msgspec.structs import replace

        from eval_anything.models.local.decoding import Continuation, decode, decodes

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
                temperature=temperature,
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
            ids = family.generate(inputs, group)
            for index, row in zip(indices, ids, strict=True):
                continuations[index] = Continuation(row, [], bool(row) and row[-1] in family.stop)
        return continuations

    def decode(self, ids: Sequence[int], store: MediaStore) -> tuple[Part, ...]:
        text = self._family.tokenizer.decode(list(ids), skip_special_tokens=True).strip()
        return (TextPart(text),) if text else ()

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
