"""The directory of a checkpoint of transformers before it is loaded: is it complete, its name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from eval_anything.errors import UserError
from eval_anything.files.json_text import read_json

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "*.model")


_OF_A_TRAINING = ("final", "best", "last", "latest")


_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


CONVERT = (
    "convert it once, where you trust it: CLASS.from_pretrained(OLD).save_pretrained(NEW), with CLASS "
    "the class of its model, AutoModelForCausalLM for text"
)


def name_of_checkpoint(path: Path) -> str:
    """The name of the model in a directory or file: that of the directory or, for one checkpoint of a
    training, that of the training, too.

    Example:
        >>> name_of_checkpoint(Path("/models/tiny")), name_of_checkpoint(Path("/runs/dpo/final"))
        ('tiny', 'dpo/final')
        >>> name_of_checkpoint(Path("/runs/dpo/checkpoints/checkpoint-20"))
        'dpo/step-20'
    """
    if path.is_file():
        return path.stem
    path = path.resolve()
    if path.name == "merged":  # the whole model beside an adapter
        path = path.parent
    step = re.fullmatch(r"(?:checkpoint|step)-0*(\d+)", path.name)
    if step is None and path.name not in _OF_A_TRAINING:
        return path.name
    training = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    return f"{training.name}/{f'step-{step[1]}' if step else path.name}".removeprefix("/")


def check_complete(path: Path) -> dict[str, Any]:
    """The content of config.json of a complete checkpoint.

    Raises:
        UserError: a file is missing, truncated, or of a format that can run code; the message names it.
    """
    if not (path / "config.json").is_file():
        raise UserError(f"{path}: the checkpoint is incomplete, config.json is missing")
    try:
        config: dict[str, Any] = read_json(path / "config.json")
    except ValueError as error:
        raise UserError(f"{path}/config.json is not valid JSON: {error}") from None
    weights = weight_files(path)
    for file in weights:
        _check_safetensors(file)
    if not any(any(path.glob(name)) for name in _TOKENIZERS):
        raise UserError(
            f"{path}: the checkpoint is incomplete, its tokenizer is missing "
            f"({', '.join(_TOKENIZERS[:3])} ...): save it with tokenizer.save_pretrained"
        )
    return config


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a checkpoint; with an index, all shards that it names.

    Raises:
        UserError: a file is missing, or the weights are a pickle.
    """
    index = path / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(read_json(index)["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError):
            raise UserError(f"{index} is no index of weights: save the checkpoint again") from None
        missing = [name for name in names if not (path / name).is_file()]
        if missing:
            raise UserError(f"{path}: the checkpoint is incomplete, {missing[0]} is missing")
        return [path / name for name in names]
    files = sorted(path.glob("*.safetensors"))
    if not files:
        pickled = next((p.name for kind in _PICKLES for p in sorted(path.glob(kind))), None)
        if pickled:
            raise UserError(
                f"{path}: {pickled} is a pickle, which can run code; only safetensors are "
                f"loaded: {CONVERT}"
            )
        raise UserError(
            f"{path}: the checkpoint is incomplete, model.safetensors is missing: save it as safetensors"
        )
    return files


def _check_safetensors(file: Path) -> None:
    """Raises UserError if the file is not as long as its header says; it does not read the weights."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "numpy"):
            pass
    except SafetensorError as error:
        raise UserError(
            f"{file} is truncated, or no safetensors file ({error}): copy it again"
        ) from None
