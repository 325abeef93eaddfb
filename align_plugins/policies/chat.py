"""Checkpoints of transformers that answer with text, to text, images, sounds and clips.

Prompts are made by the family that the evaluation uses, so that what is trained is what is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from align_plugins.policies.base import Encoded, Policy, labels_of, padded_right
from eval_anything.content import MODALITIES, Message, Modality, Part, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from eval_anything.models.base import Request, Sampling
from eval_anything.models.hf.family import Settings
from eval_anything.models.hf.generic import GenericFamily
from eval_anything.models.hf.source import Source

if TYPE_CHECKING:
    import torch

_TEXT = MODALITIES.index(Modality.TEXT)


class ChatPolicy(Policy):
    """A language model with a chat template, whose prompts may carry media.

    A response is what the template puts after the prompt, up to the end of the answer's text, and one
    token that ends it: what a template adds after that (a newline, a next turn) is not learned.
    """

    name: ClassVar[str] = "chat"

    def __init__(self, source: Source, dtype: str = "float32") -> None:
        self.source = source
        self.spec = source.location if source.path is not None else f"hf/{source.location}"
        self.outputs = frozenset({Modality.TEXT})
        self._family = _family(source, Settings(dtype=dtype))

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

    @property
    def source_inputs(self) -> tuple[Modality, ...]:
        """What prompts may hold, known after `load`."""
        return self._family.inputs

    def encode(self, messages: Sequence[Message], response: Sequence[Part]) -> Encoded:
        foreign = [p.modality for p in response if not isinstance(p, TextPart)]
        if foreign:
            raise ValueError(f"its response has {foreign[0]}, and this model answers with text alone")
        strange = [p.modality for m in messages for p in m.parts if p.modality not in self.source_inputs]
        if strange:
            raise ValueError(f"its prompt has {strange[0]}, which this checkpoint cannot read")
        text = "\n\n".join(part.text for part in response if isinstance(part, TextPart))
        ids = self._response_ids(messages, text)
        media = any(not isinstance(p, TextPart) for m in messages for p in m.parts)
        said = tuple(messages)
        prompt = [] if media or self._family.processor is not None else self._prompt_ids(said)
        return Encoded(prompt, ids, [_TEXT] * len(ids), said)

    def _prompt_ids(self, messages: tuple[Message, ...]) -> list[int]:
        ids: list[int] = self._family.prompt(_request(messages)).data
        return ids

    def _response_ids(self, messages: Sequence[Message], text: str) -> list[int]:
        """The template's text after the prompt up to the end of the answer, tokenised on its own as
        generation makes it, and the token that ends it."""
        tokenizer = self._family.tokenizer
        turns = [
            {"role": m.role, "content": "".join(p.text for p in m.parts if isinstance(p, TextPart))}
            for m in messages
        ]
        head, tail = "", ""
        if self._family.template is not None:
            before = self._written(turns, True)
            whole = self._written([*turns, {"role": "assistant", "content": text}], False)
            if not whole.startswith(before):
                raise ValueError(
                    "the chat template writes the prompt otherwise once there is an answer: give the "
                    "checkpoint one whose prompt, with add_generation_prompt, begins the conversation"
                )
            after = whole[len(before) :]
            for content in (text, text.strip()):
                if content in after:
                    head, _, tail = after.partition(content)
                    text = content
                    break
            else:
                raise ValueError("the chat template leaves the answer out or changes its text")
        ids = list(tokenizer(head + text, add_special_tokens=False)["input_ids"])
        return [*ids, self._end(tail)]

    def _written(self, turns: Sequence[Mapping[str, str]], open_for_answer: bool) -> str:
        """A conversation of texts as the template writes it; media have no part in where answers end."""
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
        """The stop token that the template writes after an answer; without one, the checkpoint's own."""
        tokenizer, stop = self._family.tokenizer, list(self._family.stop)
        written = {token: tail.find(tokenizer.convert_ids_to_tokens(token)) for token in stop}
        present = [token for token in stop if written[token] >= 0]
        return min(present, key=written.__getitem__) if present else stop[0]

    def decode(self, ids: Sequence[int], store: MediaStore) -> tuple[Part, ...]:
        text = self._family.tokenizer.decode(list(ids), skip_special_tokens=True).strip()
        return (TextPart(text),) if text else ()

    def collate(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """Padding is on the right, where no real token looks: text alone needs no mask, and attention is
        faster without. Media are read here, a batch at a time."""
        pad = self._family.tokenizer.pad_token_id
        made = [self._inputs(row) for row in rows]
        prompts = [list(inputs.pop("input_ids")) for inputs in made]
        ids = [[*prompt, *row.response] for prompt, row in zip(prompts, rows, strict=True)]
        labels, modalities = labels_of([len(prompt) for prompt in prompts], rows)
        inputs: dict[str, torch.Tensor] = {"input_ids": padded_right(ids, pad if pad is not None else 0)}
        media = sorted({name for own in made for name in own})
        if media:
            inputs["attention_mask"] = padded_right([[1] * len(row) for row in ids], 0)
        for name in media:
            inputs[name] = _joined(
                name, [own[name] for own in made if name in own], prompts, inputs["input_ids"].shape
            )
        return {"inputs": inputs, "labels": labels, "modalities": modalities}

    def _inputs(self, row: Encoded) -> dict[str, Any]:
        """What the model takes for one prompt: its token ids as a list, and tensors of its media."""
        if row.prompt:
            return {"input_ids": row.prompt}
        prompt = self._family.prompt(_request(row.messages))
        found = dict(self._family.build_inputs([prompt]))
        found.pop("attention_mask", None)
        found["input_ids"] = found["input_ids"][0].tolist()
        return {k: v if k == "input_ids" else v.cpu() for k, v in found.items()}

    def save_beside(self, folder: Path) -> None:
        holder = self._family.processor
        (holder if holder is not None else self._family.tokenizer).save_pretrained(folder)


def _joined(
    name: str, values: Sequence[Any], prompts: Sequence[Sequence[int]], shape: Sequence[int]
) -> torch.Tensor:
    """One tensor of a batch: rows that run along the tokens are filled up with 0 (text, in all the
    families that have such), media stand one after another."""
    import torch

    along = [v.ndim == 2 and v.shape == (1, len(p)) for v, p in zip(values, prompts, strict=False)]
    if len(values) == shape[0] and all(along) and name.endswith("token_type_ids"):
        return padded_right([v[0].tolist() + [0] * (shape[1] - v.shape[1]) for v in values], 0)
    try:
        return torch.cat(list(values))
    except RuntimeError as error:
        raise UserError(
            f"the media of this batch differ in size ({name}: {error}): set batch_size: 1 and use "
            "accumulation"
        ) from None


def _request(messages: tuple[Message, ...]) -> Request:
    return Request("", "", 0, messages, Sampling())


def _family(source: Source, settings: Settings) -> GenericFamily:
    from eval_anything.models.hf.families import family_of

    cls = family_of(source.model_type)
    if cls is not GenericFamily:
        raise UserError(
            f"model: checkpoints of type {source.model_type} (family {cls.name}) are evaluated, but no "
            "policy trains them yet"
        )
    return GenericFamily(source, settings)
