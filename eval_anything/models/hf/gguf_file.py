"""Checkpoints in one GGUF file, as llama.cpp writes them, through the reader of transformers.

The file has all: config, tokenizer, chat template, weights in blocks of few bits. transformers makes
plain tensors of the blocks, so the model computes as any other. What its reader would leave out without
a word is refused here, or done.
"""

from __future__ import annotations

import contextlib
import io
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval_anything.answer_text import ENDS_OF_TURN
from eval_anything.errors import UserError, install
from eval_anything.files.reading import open_file

_SERVE = (
    "serve it with llama.cpp (llama-server -m FILE) and name the server: "
    "--model openai/NAME@http://127.0.0.1:8080/v1"
)

_KEYS_OF_ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")

# Cuts of text, by their names in llama.cpp, in whose place GPT-2's will do: they only cut digits apart,
# too, and the vocabularies that were learned with them join no digits.
_AS_GPT_2 = ("default", "gpt-2", "smollm", "starcoder", "refact", "command-r")

# Tensors of factors by which frequencies of positions are divided, one set or two by length.
_FREQUENCIES = "rope_freqs.weight"
_BY_LENGTH = "rope_factors_long.weight"


def read_config(path: Path) -> dict[str, Any]:
    """The config of transformers that a complete GGUF file describes.

    Raises:
        UserError: the file is damaged, a part of a model, or of a form that transformers does not read;
            or the package that reads it is missing.
    """
    _check_installed(path)
    metadata, tensor_names = read_metadata(path)
    _check_whole(path, metadata)
    _check_tensors(path)
    config = _config(path, metadata)
    _check_positions(path, metadata, tensor_names)
    return config


def read_metadata(path: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The metadata of a GGUF file, with the lengths of lists of text in their place, and the names of
    its tensors. UserError for a damaged file."""
    from transformers.integrations.gguf import read_gguf_metadata

    try:
        with open_file(path) as file:
            start = file.read(64)
        if start.startswith(b"version https://git-lfs"):
            raise UserError(f"{path} is a pointer of Git LFS, not the file itself: git lfs pull")
        if start[:4] != b"GGUF":
            raise UserError(f"{path} is no GGUF file: it does not begin with the letters GGUF")
        metadata, names = read_gguf_metadata(str(path))
    except (OSError, ValueError, struct.error, OverflowError, MemoryError) as error:
        raise UserError(f"{path} is truncated or damaged ({error}): copy it again") from None
    return metadata, names


def note_of_tokenizer(path: Path) -> list[str]:
    """A line for a file whose text transformers may cut into other tokens than llama.cpp does."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    metadata, _ = read_metadata(path)
    cut = metadata.get("tokenizer.ggml.pre", "default")
    if metadata.get("tokenizer.ggml.model") != "gpt2" or cut in {*GGUF_PRE_TOKENIZER_SPLITS, *_AS_GPT_2}:
        return []
    return [
        f"transformers does not know how the tokenizer of this GGUF file cuts text ({cut}): prompts may "
        "have other tokens than in the original checkpoint"
    ]


@contextlib.contextmanager
def alone(path: Path) -> Iterator[tuple[str, str]]:
    """A folder that has this file alone, and its name there: so nothing beside it decides answers, such
    as another tokenizer. Progress bars of the reader are not shown."""
    with (
        tempfile.TemporaryDirectory(prefix="eval-anything-gguf-") as folder,
        contextlib.redirect_stderr(io.StringIO()),
    ):
        (Path(folder) / "model.gguf").symlink_to(path.resolve())
        yield folder, "model.gguf"


def end_ids(path: Path, tokenizer: Any) -> list[int]:
    """Token ids that end an answer: those that the file names, and control tokens that are known to end
    a turn. A file names one end of text alone, often not that of a turn; llama.cpp does the same."""
    metadata, _ = read_metadata(path)
    keys = (f"tokenizer.ggml.{key}" for key in _KEYS_OF_ENDS)
    ids = {int(metadata[key]) for key in keys if key in metadata}
    count = metadata["tokenizer.ggml.tokens"]  # the reader may add tokens that the model does not have
    added = {i: token for i, token in tokenizer.added_tokens_decoder.items() if i < count}
    control = {str(token.content): i for i, token in added.items() if token.special}
    ends = ENDS_OF_TURN.intersection(control)
    if "<|return|>" in ends:  # Harmony, where <|end|> ends a message among several
        ends -= {"<|end|>"}
    return sorted(ids | {control[end] for end in ends})


def divide_frequencies(model: Any, path: Path) -> None:
    """Divides the frequencies of positions by the factors in the file (Llama 3.1 and later), which the
    reader leaves out. UserError if the model has no such frequencies."""
    if _FREQUENCIES not in read_metadata(path)[1]:
        return
    import torch
    from gguf import GGUFReader

    factors = next(t.data for t in GGUFReader(path).tensors if t.name == _FREQUENCIES)
    rotary = [module for module in model.modules() if hasattr(module, "inv_freq")]
    if len(rotary) != 1 or rotary[0].inv_freq.shape != factors.shape:
        raise UserError(f"{path}: its {_FREQUENCIES} does not fit its model: {_SERVE}")
    divisors = torch.tensor(factors, device=rotary[0].inv_freq.device)
    for name in ("inv_freq", "original_inv_freq"):
        if getattr(rotary[0], name, None) is not None:
            setattr(rotary[0], name, getattr(rotary[0], name) / divisors)


def _check_installed(path: Path) -> None:
    from importlib.util import find_spec

    for package in ("gguf", "accelerate"):
        if find_spec(package) is None:
            raise UserError(f"{path}: a GGUF file needs the package {package}: {install('hf')}")


def _check_whole(path: Path, metadata: Mapping[str, Any]) -> None:
    """UserError for a file that is a part of a model."""
    parts = metadata.get("split.count", 1)
    if parts != 1:
        raise UserError(
            f"{path} is one of {parts} files of a model, and transformers reads a single one. Join them "
            f"first: llama-gguf-split --merge {path} WHOLE.gguf"
        )
    kind, architecture = metadata.get("general.type", "model"), metadata["general.architecture"]
    if architecture == "clip" or kind == "mmproj":
        raise UserError(
            f"{path} has the encoder of a model that sees or hears, without its language model. "
            f"transformers does not read such a pair: {_SERVE}, with --mmproj"
        )
    if kind != "model":
        raise UserError(f"{path} holds no model: its general.type is {kind!r}")


def _check_tensors(path: Path) -> None:
    """UserError if the file ends before its last tensor, or has blocks that cannot be read."""
    from transformers.integrations.gguf import GgufHeader

    try:
        header = GgufHeader.from_file(str(path))
    except ValueError:  # it does not know all types of blocks
        _check_blocks(path)
        return
    end = header.data_start + max((t.offset + t.nbytes for t in header.tensors), default=0)
    size = path.stat().st_size
    if size < end:
        raise UserError(f"{path} is truncated or damaged ({size} bytes of {end}): copy it again")


def _check_blocks(path: Path) -> None:
    """Checks the same by a reader that knows more types of blocks, and takes seconds."""
    import numpy as np
    from gguf import GGML_QUANT_SIZES, GGUFReader, dequantize

    try:
        tensors = GGUFReader(path).tensors
    except (ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path} is truncated or damaged ({error}): copy it again") from None
    for kind in {tensor.tensor_type for tensor in tensors}:
        try:
            dequantize(np.zeros(GGML_QUANT_SIZES[kind][1], np.uint8), kind)
        except NotImplementedError:
            raise UserError(
                f"{path} has blocks of type {kind.name}, which the package gguf does not read: {_SERVE}"
            ) from None


def _config(path: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    import transformers

    architecture = metadata["general.architecture"]
    try:
        with alone(path) as (folder, name):
            config = transformers.AutoConfig.from_pretrained(folder, gguf_file=name)
    except Exception as error:
        raise UserError(
            f"{path}: transformers {transformers.__version__} does not read its architecture, "
            f"{architecture} ({error}): {_SERVE}"
        ) from None
    fields: dict[str, Any] = config.to_dict()
    return fields


def _check_positions(path: Path, metadata: Mapping[str, Any], tensor_names: tuple[str, ...]) -> None:
    """UserError if positions are scaled in a way that the reader leaves out."""
    from transformers.integrations.gguf import GGUF_CONFIG_ARCHS

    architecture = metadata["general.architecture"]
    if architecture in GGUF_CONFIG_ARCHS or architecture in ("gpt-oss", "gpt_oss"):
        return
    scaling = metadata.get(f"{architecture}.rope.scaling.type", "none")
    if scaling != "none" or _BY_LENGTH in tensor_names:
        raise UserError(
            f"{path}: its positions are scaled ({'by length' if scaling == 'none' else scaling}), which "
            f"transformers leaves out of GGUF files, so that its answers would be others: {_SERVE}"
        )
