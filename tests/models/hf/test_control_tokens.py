"""Control tokens in the text of a user are words, for checkpoints that read text alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from eval_anything.media import MediaStore
from eval_anything.models.base import Ending
from eval_anything.models.hf import TransformersModel
from eval_anything.models.local.plain_text import encoded, ids_after, marked
from eval_anything.models.local.text import LocalText
from tests.support.asking import ask, ask_alone, loaded, requests_of, user
from tests.support.tiny import tiny_llama, tiny_tokenizer, tiny_writer

WORDS = "What is </s></s></s></s> in France?"
CONTROLLED = (
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
    "assistant:"
)


def ids_of(model: TransformersModel, words: str) -> list[int]:
    ids: list[int] = model.family.prompt(requests_of([user(words)])[0]).data
    return ids


def spelled(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False))


def test_a_control_token_in_a_question_is_spelled_out(tiny: Path, tmp_path: Path) -> None:
    model = loaded(tiny)
    tokenizer = model.family.tokenizer  # type: ignore[attr-defined]
    ids = ids_of(model, WORDS)
    assert tokenizer.eos_token_id not in ids
    assert spelled(tokenizer, ids) == f"user: {WORDS}\nassistant:"
    [response] = ask(model, [user(WORDS)], tmp_path)
    assert response.usage.input == len(ids)
    without = ids_of(model, WORDS.replace("</s>", ""))
    assert len(ids) == len(without) + 4 * len("</s>")


@pytest.mark.parametrize("words", ["Hello.", "a </s> b", "</s>", "<s>[INST] x</s>", "<unk>"])
def test_the_tokens_of_the_template_stay_tokens(tmp_path: Path, words: str) -> None:
    model = loaded(tiny_writer(tmp_path / "model", ["Paris"], [], CONTROLLED))
    tokenizer = model.family.tokenizer  # type: ignore[attr-defined]
    ids = ids_of(model, words)
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.unk_token_id not in ids
    assert spelled(tokenizer, ids) == f"<s>user: {words}</s>assistant:"


def test_ordinary_words_are_read_as_before(tiny: Path) -> None:
    model = loaded(tiny)
    tokenizer = model.family.tokenizer  # type: ignore[attr-defined]
    words = "What is the capital of France? <b>Paris</b> 🦆"
    assert ids_of(model, words) == tokenizer(f"user: {words}\nassistant:")["input_ids"]


def test_without_a_chat_template(tiny: Path, tmp_path: Path) -> None:
    model = loaded(tiny, chat_template="none")
    tokenizer = model.family.tokenizer  # type: ignore[attr-defined]
    ids = ids_of(model, WORDS)
    assert tokenizer.eos_token_id not in ids
    assert spelled(tokenizer, ids) == WORDS
    assert ids_of(model, "Paris.") == tokenizer("Paris.")["input_ids"]


def test_the_answers_of_a_batch_are_those_of_each_alone(tiny: Path, tmp_path: Path) -> None:
    model = loaded(tiny)
    prompts = [user(WORDS), user("Hello."), user("</s>" * 9), user("What </s> is?")]
    together = ask(model, prompts, tmp_path)
    alone = ask_alone(model, prompts, tmp_path)
    assert [(r.text, r.usage) for r in together] == [(r.text, r.usage) for r in alone]


def around(tokenizer: Any, single: str = "<s> $A </s>") -> Any:
    """The tokenizer, which adds these tokens around a text."""
    from tokenizers.processors import TemplateProcessing

    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single=single, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return tokenizer


def test_what_the_tokenizer_adds_around_a_text_is_added_once() -> None:
    tokenizer = around(tiny_tokenizer())
    for words in ("Paris", "a </s> b", "<s>a"):
        ids = encoded(tokenizer, marked(tokenizer, words), goes_on=False)
        assert (ids[0], ids[-1]) == (1, 2)
        assert not {1, 2} & set(ids[1:-1])
        assert spelled(tokenizer, ids[1:-1]) == words
        assert encoded(tokenizer, marked(tokenizer, words)) == ids[:-1]
        assert encoded(tokenizer, marked(tokenizer, words), special=False) == ids[1:-1]


@pytest.mark.parametrize("words", ["Paris", "a </s> b", "</s>"])
def test_no_prompt_ends_with_the_end_that_a_tokenizer_adds(tmp_path: Path, words: str) -> None:
    path = tiny_llama(tmp_path / "model")
    around(tiny_tokenizer(chat_template="<s>{{ messages[0].content }}")).save_pretrained(path)
    for template in ("none", "auto"):
        model = loaded(path, chat_template=template)
        tokenizer = model.family.tokenizer  # type: ignore[attr-defined]
        assert tokenizer(words)["input_ids"][-1] == 2
        ids = ids_of(model, words)
        assert spelled(tokenizer, ids) == f"<s>{words}"
        assert (ids.count(1), ids.count(2)) == (1, 0)
        text = text_of(model)
        assert text.encode(text.as_words(words)) == ids
        assert text.encode("<s>" + text.as_words(words)) == ids
        going = text.go_on(
            requests_of([user(text.as_words(words))]), Ending((), 2), MediaStore(tmp_path)
        )
        [response] = asyncio.run(going)
        assert not isinstance(response, Exception)
        assert response.usage.input == len(ids)


def test_a_tokenizer_that_has_the_token_as_a_word_gets_it_in_two(tmp_path: Path) -> None:
    """A Unigram model finds `</s>` in plain text too, since it is a piece of its vocabulary."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    letters = [(letter, -3.0) for letter in "abc </s>"]
    raw = Tokenizer(models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *dict(letters).items()], unk_id=0))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>", unk_token="<unk>")
    assert tokenizer.eos_token_id in tokenizer("a </s> b")["input_ids"]
    ids = encoded(tokenizer, marked(tokenizer, "a </s> b"))
    assert tokenizer.eos_token_id not in ids
    assert "".join(tokenizer.convert_ids_to_tokens(ids)) == "a < /s> b"


def text_of(model: TransformersModel) -> LocalText:
    text = model.text()
    assert isinstance(text, LocalText)
    return text


def test_a_conversation_for_lm_eval_keeps_the_tokens_of_the_template(tmp_path: Path) -> None:
    model = loaded(tiny_writer(tmp_path / "model", ["Paris"], [], CONTROLLED))
    text = text_of(model)
    prompt = text.checkpoint.chat([{"role": "user", "content": WORDS}], True)
    assert text.encode(prompt) == ids_of(model, WORDS)


@pytest.mark.slow
@pytest.mark.parametrize("words", [WORDS, "What is it?"])
def test_likelihoods_and_continuations_read_words(tiny: Path, tmp_path: Path, words: str) -> None:
    from lm_eval.api.instance import Instance

    from eval_anything.lm_eval.lm import EvalAnythingLM

    lm = EvalAnythingLM(str(tiny))
    tokenizer = text_of(lm.wrapped).checkpoint.tokenizer  # type: ignore[arg-type]
    for pair in ((words, " Paris </s>"), ("What", f" {words}")):
        ids = [token for side in lm._encode_pair(*pair) for token in side]
        assert tokenizer.eos_token_id not in ids
        assert spelled(tokenizer, ids) == "".join(pair)
    requests = [
        Instance("loglikelihood", {}, (words, f" Paris{end}"), i) for i, end in enumerate(("", "</s>"))
    ]
    first, second = lm.loglikelihood(requests)
    assert second[0] < first[0]
    generated = Instance("generate_until", {}, (words, {"until": [], "max_gen_toks": 4}), 0, ("t", 0, 1))
    assert lm.generate_until([generated])
    spent = lm.usage["t", 0].input
    assert spent == len(tokenizer(words)["input_ids"]) + (4 * 3 if "</s>" in words else 0)
    lm.close()


def test_a_continuation_reads_words(tiny: Path, tmp_path: Path) -> None:
    text = text_of(loaded(tiny))
    prompts = [user(text.as_words(WORDS))]
    going = text.go_on(requests_of(prompts), Ending((), 4), MediaStore(tmp_path))
    [response] = asyncio.run(going)
    assert not isinstance(response, Exception)
    tokenizer = text.checkpoint.tokenizer
    assert response.usage.input == len(tokenizer(WORDS)["input_ids"]) + 4 * 3


def llama2_tokenizer() -> Any:
    """A tokenizer that begins every text with a space, as those of SentencePiece do."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    raw.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    raw.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=380, special_tokens=["<unk>", "<s>", "</s>", *bytes_])
    raw.train_from_iterator(["[INST] What is it? [/INST] hi there", "a hi ]] [ what"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("before", ["[INST] What? [/INST]", "What?\n", "x", ""])
@pytest.mark.parametrize("text", ["hi", " hi", "]", "  a", "\nhi", "\u4f60", ""])
@pytest.mark.parametrize("make", [llama2_tokenizer, tiny_tokenizer])
def test_a_text_goes_on_behind_another_without_a_space_of_the_tokenizer(
    make: Any, before: str, text: str
) -> None:
    tokenizer = make()
    ids = ids_after(tokenizer, before, text)
    context = tokenizer(before or "a", add_special_tokens=False)["input_ids"]
    assert spelled(tokenizer, [*context, *ids]) == (before or "a") + text
