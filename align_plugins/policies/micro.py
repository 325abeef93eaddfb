"""Checkpoints of the micro world: one vocabulary for all modalities, in and out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from align_plugins.policies.base import Encoded, Policy, labels_of, modalities_of, padded_right
from eval_anything.content import MODALITIES, Message, Modality, Part, TextPart
from eval_anything.media import MediaStore
from eval_anything.micro.model import codec, vocabulary
from eval_anything.micro.model.adapter import MicroModel
from eval_anything.models.base import Model, Sampling
from eval_anything.models.local.checkpoint import check_complete

if TYPE_CHECKING:
    from eval_anything.models.local.decoding import Continuation


class MicroPolicy(Policy):
    """The model of the micro world. Parts are words and codes; a response ends with <eos>, which is
    learned."""

    name: ClassVar[str] = "micro"
    reads_adapters: ClassVar[bool] = False

    def __init__(self, path: Path, dtype: str = "float32") -> None:
        check_complete(path)
        self.spec = str(path)
        self.path = path
        self._dtype = dtype
        self._codes: dict[str, list[int]] = {}  # of media, by sha256, since they recur
        self.outputs = frozenset(MODALITIES)

    @classmethod
    def of(cls, model: Model, dtype: str) -> MicroPolicy:
        assert isinstance(model, MicroModel)
        return cls(model.path, dtype)

    def load(self) -> None:
        from eval_anything.models.local.generation import load_causal_lm

        vocabulary.check_description(self.path)
        self.model = load_causal_lm(self.path, self._dtype)

    def encode(self, messages: Sequence[Message], response: Sequence[Part]) -> Encoded:
        token_ids = vocabulary.ids()
        prompt: list[int] = []
        for message in messages:
            prompt.append(token_ids[vocabulary.ROLES[message.role]])
            prompt += [token for part in message.parts for token in self._tokens(part)]
        prompt.append(token_ids[vocabulary.ROLES["assistant"]])
        ids: list[int] = []
        modalities: list[int] = []
        for part in response:
            tokens = self._tokens(part)
            ids += tokens
            modalities += [MODALITIES.index(part.modality)] * len(tokens)
        ids.append(token_ids[vocabulary.EOS])
        modalities.append(MODALITIES.index(Modality.TEXT))
        return Encoded(prompt, ids, modalities)

    def _tokens(self, part: Part) -> list[int]:
        if isinstance(part, TextPart):
            return codec.encode_part(part)
        if part.sha256 not in self._codes:
            self._codes[part.sha256] = codec.encode_part(part)
        return self._codes[part.sha256]

    def respond(
        self,
        prompts: Sequence[Sequence[Message]],
        seeds: Sequence[int],
        temperature: float,
        max_new_tokens: int,
    ) -> list[Continuation]:
        from eval_anything.models.local.decoding import decode

        token_ids = vocabulary.ids()
        return decode(
            self.model,
            [self.prompt(messages).prompt for messages in prompts],
            seeds=seeds,
            sampling=Sampling(temperature),
            max_new_tokens=max_new_tokens,
            pad=token_ids[vocabulary.PAD],
            stop=[token_ids[vocabulary.EOS]],
        )

    def with_response(self, prompt: Encoded, ids: Sequence[int]) -> Encoded:
        """The prompt with a sampled response. The tokens that open and close a medium count as the
        medium's."""
        token_ids = vocabulary.ids()
        opens = {token_ids[mark]: modality for modality, mark in vocabulary.OPEN.items()}
        closes = {token_ids[mark] for mark in vocabulary.CLOSE.values()}
        return prompt._replace(response=list(ids), modalities=modalities_of(ids, opens, closes))

    def decode(self, ids: Sequence[int], store: MediaStore) -> tuple[Part, ...]:
        decoded = codec.decode(ids)
        if decoded.problems:
            raise ValueError("; ".join(decoded.problems))
        return tuple(
            TextPart(p) if isinstance(p, str) else store.put(p.data, p.modality) for p in decoded.parts
        )

    def collate(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """Batch of rows, padded on the right, where no real token attends: no mask is needed."""
        pad = vocabulary.ids()[vocabulary.PAD]
        inputs = {"input_ids": padded_right([row.prompt + row.response for row in rows], pad)}
        labels, modalities = labels_of([len(row.prompt) for row in rows], rows)
        return {"inputs": inputs, "labels": labels, "modalities": modalities}

    def save_beside(self, folder: Path) -> None:
        from eval_anything.micro.model.tokenizer import make_tokenizer

        make_tokenizer().save_pretrained(folder)
        vocabulary.save_description(folder)
