"""Round trips between parts and tokens are exact; malformed tokens are reported."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval_anything.content import Message, Modality, TextPart
from eval_anything.micro.model import vocabulary as vocab
from eval_anything.micro.model.codec import (
    decode,
    encode_part,
    encode_prompt,
    encode_response,
    encode_symbolic,
)
from eval_anything.micro.prompts.exchange import draw_exchange
from eval_anything.micro.prompts.families import FAMILIES
from eval_anything.micro.world.render import Rendered, render
from eval_anything.micro.world.scenes import KINDS, Picture, all_scenes
from tests.micro.conftest import Respond, render_items

IDS = vocab.ids()
EOS = IDS[vocab.EOS]


def tokens(text: str) -> list[int]:
    """Token ids of tokens separated by spaces."""
    return [IDS[token] for token in text.split()]


@pytest.mark.parametrize("modality", [Modality.IMAGE, Modality.AUDIO, Modality.VIDEO])
def test_things_files_and_tokens_agree(modality: Modality, respond: Respond) -> None:
    for scene in all_scenes(KINDS[modality]):
        ids = encode_symbolic(scene)
        assert encode_part(respond([render(scene)]).parts[0]) == ids
        assert decode([*ids, EOS]).parts == (render(scene),)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_round_trips(name: str) -> None:
    rng = random.Random(name)
    for template in range(len(FAMILIES[name].templates)):
        exchange = draw_exchange(FAMILIES[name], rng, held_out=False, template=template)
        for items in (exchange.prompt, exchange.answer):
            ids = [token for item in items for token in encode_symbolic(item)]
            assert IDS[vocab.UNK] not in ids
            assert decode(ids) == decode([*ids, EOS, *ids])
            assert decode(ids).parts == render_items(items)
            assert not decode(ids).problems


def test_a_prompt_has_its_roles(respond: Respond) -> None:
    picture = next(all_scenes(Picture))
    part = respond([render(picture)]).parts[0]
    messages = [
        Message("user", (part, TextPart("What Colour?"))),
        Message("assistant", (TextPart("red"),)),
    ]
    got = [vocab.tokens()[token] for token in encode_prompt(messages)]
    assert got[0] == "<user>"
    assert got[-6:] == ["what", "colour", "?", "<assistant>", "red", "<assistant>"]
    assert encode_response((TextPart("xylophone"),)) == [IDS[vocab.UNK], EOS]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<image> <i1> <i2> <i3> </image>", "3 codes"),
        ("<image> <i1> <i2> <i3> <i4>", "no end"),
        ("<image> <i1> <i2> <a3> <i4> </image>", "<a3> inside"),
        ("<audio> <a1> </audio>", "1 codes"),
        ("<video> </image> red", "no end"),
        ("<i1>", "out of place"),
        ("<image> <i1> <eos> <i2> <i3> <i4> </image>", "no end"),
        ("<unk>", "out of place"),
    ],
)
def test_malformed_media_are_reported(text: str, problem: str) -> None:
    decoded = decode(tokens(text))
    assert not any(isinstance(part, Rendered) for part in decoded.parts)
    assert any(problem in found for found in decoded.problems)


def test_what_follows_a_malformed_part_is_kept() -> None:
    decoded = decode(
        tokens("a red circle . <image> <i1> </image> <audio> " + "<a0> " * 12 + "</audio> two")
    )
    first, second, third = decoded.parts
    assert (first, third) == ("a red circle.", "two")
    assert isinstance(second, Rendered)
    assert second.modality is Modality.AUDIO
    assert len(decoded.problems) == 1


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(-3, len(vocab.tokens()) + 3), max_size=40))
def test_any_tokens_decode_without_error(ids: list[int]) -> None:
    for part in decode(ids).parts:
        assert part if isinstance(part, str) else part.data


def test_description_marks_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no readable"):
        vocab.check_description(tmp_path)
    vocab.save_description(tmp_path)
    vocab.check_description(tmp_path)
    path = tmp_path / vocab.CODEC_FILE
    path.write_text(path.read_text().replace('"version": "', '"version": "0.'))
    with pytest.raises(ValueError, match="does not describe"):
        vocab.check_description(tmp_path)
