"""Policies: which tokens are learned, and that a medium makes a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from align_plugins.data.files import read_rows
from align_plugins.data.rows import Demonstration, Preference
from align_plugins.experiment.micro_data import DEMONSTRATIONS, PAIRS
from align_plugins.policies import policy_of
from align_plugins.policies.base import IGNORED, Policy
from eval_anything.content import MODALITIES, Modality, TextPart
from eval_anything.errors import UserError
from eval_anything.media import MediaStore
from tests.support.families import FAMILIES, asked, by_hand, check_logprobs, medium, sums
from tests.support.helpers import jpeg
from tests.support.tiny import tiny_llama

# As chat templates of today have it: a token ends the turn, and a newline follows.
IM = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def micro() -> Policy:
    policy = policy_of("micro")
    policy.load()
    return policy


def test_micro_by_hand_and_in_any_company(micro: Policy, micro_data: Path) -> None:
    rows = [row for row in read_rows(micro_data / PAIRS)[:6] if isinstance(row, Preference)]
    together = sums(micro, *((row.messages, row.chosen) for row in rows))
    alone = [by_hand(micro, row.messages, row.chosen) for row in rows]
    assert together == pytest.approx(alone, abs=1e-3)
    assert len({len(micro.encode(row.messages, row.chosen).response) for row in rows}) > 1


def test_micro_counts_tokens_by_modality(micro: Policy, micro_data: Path) -> None:
    row = next(
        row
        for row in read_rows(micro_data / DEMONSTRATIONS)
        if isinstance(row, Demonstration) and {p.modality for p in row.response} == {"image", "audio"}
    )
    item = micro.encode(row.messages, row.response)
    counts = micro.logprobs(micro.collate([item])).counts()[0].tolist()
    assert dict(zip(MODALITIES, counts, strict=True)) == {"text": 1, "image": 6, "audio": 14, "video": 0}


def test_micro_goes_back_to_parts(micro: Policy, micro_data: Path, tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    for row in read_rows(micro_data / DEMONSTRATIONS)[:8]:
        assert isinstance(row, Demonstration)
        parts = micro.decode(micro.encode(row.messages, row.response).response, store)
        again = micro.encode(row.messages, parts)
        assert again == micro.encode(row.messages, row.response)


def test_micro_reads_what_the_evaluation_asks(micro: Policy, micro_data: Path) -> None:
    from eval_anything.micro.model import codec

    for row in read_rows(micro_data / PAIRS)[:8]:
        assert isinstance(row, Preference)
        item = micro.encode(row.messages, row.chosen)
        assert item.prompt == codec.encode_prompt(row.messages)
        assert item.response == codec.encode_response(row.chosen)


def _with_template(path: Path, template: str, special: tuple[str, ...]) -> Policy:
    """A tiny Llama whose answers end with <|im_end|>."""
    from transformers import AutoModelForCausalLM

    from tests.support.tiny import tiny_tokenizer

    tiny_llama(path)
    tokenizer = tiny_tokenizer(special)
    tokenizer.chat_template = template
    model = AutoModelForCausalLM.from_pretrained(path)
    model.resize_token_embeddings(len(tokenizer))
    model.generation_config.eos_token_id = [
        tokenizer.eos_token_id,
        tokenizer.convert_tokens_to_ids("<|im_end|>"),
    ]
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    policy = policy_of(str(path))
    policy.load()
    return policy


def test_what_a_template_writes_after_an_answer_is_not_learned(tmp_path: Path) -> None:
    policy = _with_template(tmp_path / "im", IM, ("<|im_start|>", "<|im_end|>"))
    item = policy.encode(asked(TextPart("0 1 2?")), (TextPart("3 4"),))
    tokenizer: Any = policy._family.tokenizer  # type: ignore[attr-defined]
    written = tokenizer.decode(item.prompt + item.response)
    assert written == "<|im_start|>user\n0 1 2?<|im_end|>\n<|im_start|>assistant\n3 4<|im_end|>"
    assert tokenizer.decode(item.response) == "3 4<|im_end|>"


def test_without_an_end_in_the_template_the_checkpoints_own_is_learned(tiny: Path) -> None:
    policy = policy_of(str(tiny))
    policy.load()
    item = policy.encode(asked(TextPart("0 1 2?")), (TextPart("3 4"),))
    tokenizer: Any = policy._family.tokenizer  # type: ignore[attr-defined]
    assert tokenizer.decode(item.prompt) == "user: 0 1 2?\nassistant:"
    assert tokenizer.decode(item.response) == " 3 4</s>"


def test_a_template_that_hides_the_answer_is_refused(tmp_path: Path) -> None:
    policy = _with_template(tmp_path / "im", IM.replace("{{ m.content }}", "{{ m.content | upper }}"),
                            ("<|im_start|>", "<|im_end|>"))  # fmt: skip
    with pytest.raises(ValueError, match="changes its text"):
        policy.encode(asked(TextPart("What?")), (TextPart("Paris"),))


def test_text_by_hand_and_in_any_company(tiny: Path) -> None:
    policy = policy_of(str(tiny))
    policy.load()
    rows = [
        (asked(TextPart("What is the capital of France?")), (TextPart("Paris"),)),
        (asked(TextPart("0 1 2?")), (TextPart("3 4 5 6 7 8 9 and so on"),)),
    ]
    assert sums(policy, *rows) == pytest.approx([by_hand(policy, *row) for row in rows], abs=1e-3)


def test_padding_is_never_learned(tiny: Path) -> None:
    policy = policy_of(str(tiny))
    policy.load()
    items = [policy.encode(asked(TextPart("Hi")), (TextPart(t),)) for t in ("a", "a b c d e f")]
    labels = policy.collate(items)["labels"]
    assert [(row != IGNORED).sum().item() for row in labels] == [len(i.response) for i in items]
    assert labels[0, -1] == IGNORED


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llava", "qwen2_audio", "emu3"])
def test_taking_the_medium_away_changes_the_log_probability(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    policy = policy_of(str(family.make(tmp_path / "model")))
    policy.load()
    check_logprobs(family, policy, tmp_path)


def test_a_response_that_a_model_cannot_give_is_refused(tiny: Path, tmp_path: Path) -> None:
    policy = policy_of(str(tiny))
    policy.load()
    picture = medium(tmp_path, "a.jpg", jpeg(), Modality.IMAGE)
    with pytest.raises(ValueError, match="response has image"):
        policy.encode(asked(TextPart("Draw")), (picture,))
    with pytest.raises(ValueError, match="prompt has image"):
        policy.encode(asked(picture), (TextPart("A house."),))


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file or folder"):
        policy_of(str(tmp_path / "nowhere"))
