"""The one rule for the text of answers: a local checkpoint and a server that decodes as vLLM does give
the same text, wherever the token limit cuts it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eval_anything.answer_text import ENDS_OF_TURN, answer_text
from eval_anything.content import Response, TextPart
from eval_anything.evaluation.pipeline import answers_of
from eval_anything.media import MediaStore
from eval_anything.models.base import Ending, Model, Request, Sampling
from eval_anything.models.hf import TransformersModel
from eval_anything.models.local.thoughts import decoded
from eval_anything.models.openai import ChatModel
from tests.support.asking import user
from tests.support.scripted_server import Reply, completion, raw, serve
from tests.support.streamed import streamed
from tests.support.tiny import tiny_tokenizer, tiny_writer

TEXT = "\n né 🙂 \U0001f469\u200d\U0001f467 語 \n"


def sentencepiece_like() -> Any:
    """A tokenizer of bytes and spaces as Llama 2 has it: a byte without a token of its own is <0xNN>."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "n"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    raw_tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    raw_tokenizer.normalizer = normalizers.Replace(" ", "▁")
    raw_tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw_tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.mark.parametrize("make", [tiny_tokenizer, sentencepiece_like])
def test_a_text_that_is_cut_at_any_token(make: Any) -> None:
    tokenizer = make()
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    cut = []
    for end in range(len(ids) + 1):
        local = decoded(tokenizer, ids[:end])
        cut += ["\ufffd" in tokenizer.decode(ids[:end])]
        assert answer_text(local) == answer_text(streamed(tokenizer, ids[:end])), ids[:end]
        assert TEXT.strip().startswith(answer_text(local))
    assert sum(cut) > 10
    assert answer_text(local) == TEXT.strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\ufffd\n\ufffd", "a"),
        ("\ufffd\ufffd", ""),
        ("a\ufffdb", "a\ufffdb"),
        ("\ufffd a", "\ufffd a"),
        ("\u3000Paris\u00a0", "Paris"),
        ("Paris</s></s>", "Paris"),
        ("<s>gone</s>", "<s>gone</s>"),
        ("use </s>, then go on", "use </s>, then go on"),
        ("a turn ends with <|im_end|>, or not", "a turn ends with <|im_end|>, or not"),
        *((f"Paris.{end}\n", "Paris.") for end in sorted(ENDS_OF_TURN)),
    ],
)
def test_what_an_engine_leaves_at_the_ends_of_a_text(text: str, expected: str) -> None:
    assert answer_text(text) == expected
    assert answer_text(expected) == expected


def test_a_huge_text_of_ends_is_read_at_once() -> None:
    assert answer_text("a" + "<|im_end|></s> \ufffd" * 100_000) == "a"
    assert len(answer_text(("x" + " " * 100) * 10_000)) == 1_010_000 - 100


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> TransformersModel:
    """A checkpoint that answers with the bytes of a text, a token for each."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    spelled = [bytes_to_unicode()[byte] for byte in "\nné 🙂\t".encode()]
    path = tiny_writer(tmp_path_factory.mktemp("writer") / "model", spelled)
    model = TransformersModel(str(path), path, {})
    model.load()
    return model


def requests(most: int) -> list[Request]:
    """Requests with one more new token each."""
    return [
        Request("mine/demo", f"s{n}", 0, user("hi"), Sampling(max_new_tokens=n))
        for n in range(1, most + 1)
    ]


def test_a_server_and_a_checkpoint_give_the_same_text(writer: TransformersModel, tmp_path: Path) -> None:
    tokenizer, store = writer.family.tokenizer, MediaStore(tmp_path)  # type: ignore[attr-defined]
    asked = requests(12)
    local = asyncio.run(answers_of(writer, asked, store))
    written = writer.family.answer([writer.family.prompt(asked[-1])], store)
    ids = [*tokenizer("\nné 🙂\t", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert written[0].usage.output == len(ids)

    def script(number: int, body: dict[str, Any]) -> Reply:
        most = body["max_tokens"]
        choice = {
            "index": 0,
            "finish_reason": "length" if most < len(ids) else "stop",
            "message": {"role": "assistant", "content": streamed(tokenizer, ids[:most])},
        }
        return raw(completion(None, choices=[choice]))

    async def ask(model: ChatModel) -> list[Response]:
        try:
            return await answers_of(model, asked, store)
        finally:
            await model.close()

    with serve(script) as server:
        remote = asyncio.run(ask(ChatModel(server.spec(), {})))
        assert [a.text for a in local] == [a.text for a in remote]
        assert [a.stop_reason for a in local] == [a.stop_reason for a in remote]
    assert [a.text for a in local[:4]] == ["", "n", "n", "né"]
    assert local[-1].text == "né 🙂"


def test_texts_that_go_on_are_those_of_the_tokens(writer: TransformersModel, tmp_path: Path) -> None:
    text, store = writer.text(), MediaStore(tmp_path)
    assert text is not None
    answers = [
        asyncio.run(text.go_on(requests(1), Ending((), most), store))[0].parts  # type: ignore[union-attr]
        for most in (1, 3, 4, 12)
    ]
    assert answers == [(TextPart(words),) for words in ("\n", "\nn\ufffd", "\nné", "\nné 🙂\t")]


class Fixed(Model):
    name = "fixed"

    def weights(self) -> str:
        return "fixed"

    async def generate(self, requests: Sequence[Request], store: MediaStore) -> list[Response]:
        return [Response((TextPart(" Paris \ufffd"), TextPart("\n")))] * len(requests)


class Saved(Fixed):
    saved_answers = True


def test_a_model_of_ones_own_has_it_too_and_saved_texts_stay(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    for model, expected in ((Fixed(), ["Paris", ""]), (Saved(), [" Paris \ufffd", "\n"])):
        answer = asyncio.run(answers_of(model, requests(1), store))[0]
        assert [part.text for part in answer.parts if isinstance(part, TextPart)] == expected
