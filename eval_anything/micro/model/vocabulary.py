"""The one discrete vocabulary of the micro world: structure tokens, patch codes, audio codes, words."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from eval_anything.content import Modality
from eval_anything.files.json_text import read_json
from eval_anything.micro.prompts.families import FAMILIES
from eval_anything.micro.prompts.feedback import NOUNS, SENTENCES
from eval_anything.micro.world.raster import AUDIO_FRAMES, FRAMES, RATE, SIDE, TONES_HZ, patch_book
from eval_anything.micro.world.scenes import DECLINE, VALUES, WORLD_VERSION

PAD, UNK, EOS = "<pad>", "<unk>", "<eos>"


ROLES = {"system": "<system>", "user": "<user>", "assistant": "<assistant>"}


MEDIA = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)


OPEN = {modality: f"<{modality}>" for modality in MEDIA}


CLOSE = {modality: f"</{modality}>" for modality in MEDIA}


CODES_PER_PART = {Modality.IMAGE: 4, Modality.AUDIO: AUDIO_FRAMES, Modality.VIDEO: 4 * FRAMES}


STRUCTURE = (PAD, UNK, EOS, *ROLES.values(), *(tag for m in MEDIA for tag in (OPEN[m], CLOSE[m])))


CODEC_FILE = "codec.json"


_DESCRIPTIONS = "a shape at the row column in the moving tone tones yes no , . ? ! :"


_PIECE = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")


def split_words(text: str) -> list[str]:
    """Words of a text in the vocabulary: lower-case words and single punctuation marks."""
    return _PIECE.findall(text.lower())


def join_words(words: list[str]) -> str:
    """The inverse of `split_words` for the texts of the grammar."""
    return re.sub(r" ([.,?!:])", r"\1", " ".join(words))


def _grammar_words() -> list[str]:
    texts = [template for family in FAMILIES.values() for template in family.templates]
    texts += [*VALUES, *(value for values in VALUES.values() for value in values)]
    texts += [*SENTENCES, *NOUNS.values(), DECLINE, _DESCRIPTIONS]
    return sorted({word for text in texts for word in split_words(re.sub(r"{\w*}", " ", text))})


@cache
def code_range(modality: Modality) -> range:
    """The token ids of a modality's codes; clips share the patches of images."""
    patches = range(len(STRUCTURE), len(STRUCTURE) + len(patch_book()))
    if modality is Modality.AUDIO:
        return range(patches.stop, patches.stop + len(TONES_HZ) + 1)
    return patches


@cache
def tokens() -> tuple[str, ...]:
    """All tokens by id."""
    patches = (f"<i{code}>" for code in range(len(patch_book())))
    tones = (f"<a{code}>" for code in range(len(TONES_HZ) + 1))
    return (*STRUCTURE, *patches, *tones, *_grammar_words())


@cache
def ids() -> dict[str, int]:
    """Token ids by token."""
    return {token: number for number, token in enumerate(tokens())}


def description() -> dict[str, object]:
    """The content of codec.json: enough to read the token ids without this package, but for patches."""
    patches, tones = code_range(Modality.IMAGE), code_range(Modality.AUDIO)
    return {
        "name": "micro-world",
        "version": WORLD_VERSION,
        "vocabulary_size": len(tokens()),
        "structure_tokens": {token: ids()[token] for token in STRUCTURE},
        "image": {
            "first_id": patches.start,
            "codes": len(patches),
            "codes_per_image": 4,
            "raster": [SIDE, SIDE],
        },
        "audio": {
            "first_id": tones.start,
            "codes": len(tones),
            "codes_per_sound": AUDIO_FRAMES,
            "sample_rate_hz": RATE,
            "tones_hz": [0, *TONES_HZ],
        },
        "video": {
            "first_id": patches.start,
            "codes": len(patches),
            "codes_per_clip": 4 * FRAMES,
            "frames": FRAMES,
        },
        "words": {"first_id": tones.stop},
    }


def save_description(folder: Path) -> None:
    """Writes codec.json, the mark of a checkpoint of the micro world."""
    (folder / CODEC_FILE).write_text(json.dumps(description(), indent=2) + "\n")


def check_description(folder: Path) -> None:
    """Raises ValueError if codec.json is absent or belongs to another version of the world."""
    try:
        document = read_json(folder / CODEC_FILE)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} has no readable {CODEC_FILE}: {error}") from None
    if document != description():
        raise ValueError(
            f"{folder / CODEC_FILE} does not describe version {WORLD_VERSION} of the micro world"
        )
