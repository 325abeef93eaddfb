"""Reading of a checkpoint's generation_config.json: the settings of generation in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from eval_anything.errors import UserError
from eval_anything.files.json_text import read_json
from eval_anything.models.hf.gguf_file import read_metadata
from eval_anything.models.hf.source import Source
from eval_anything.models.local.generation import SCORES
from eval_anything.sampling import GenerationSettings, Sampling

_NAME = "generation_config.json"


# Keys of ways to sample that we do not have, each with the value that does nothing.
_OTHER_WAYS: dict[str, Any] = {
    "num_beams": 1,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "top_h": None,
    "penalty_alpha": None,
}


# Settings in the metadata of GGUF files, and our names of them.
_OF_GGUF = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}


def note_of_scores(source: Source, sampling: Sampling) -> list[str]:
    """A line on what the checkpoint does to the scores of tokens, if no setting says otherwise."""
    changes = scores_of(source)
    if sampling.repetition_penalty is not None:
        changes.pop("repetition_penalty", None)
    if sampling.temperature > 0:
        changes.pop("num_beams", None)
    if not changes:
        return []
    listed = ", ".join(f"{name} {setting}" for name, setting in changes.items())
    off = ": --repetition-penalty 1 turns that off" if "repetition_penalty" in changes else ""
    return [f"the checkpoint's generation_config.json has {listed}, which transformers applies{off}"]


def scores_of(source: Source) -> dict[str, Any]:
    """Keys of the checkpoint's generation_config.json that change the scores of tokens."""
    config = _config(source)
    return {n: config[n] for n, none in SCORES.items() if config.get(n) not in (None, none)}


def recommended(source: Source) -> GenerationSettings:
    """The settings of generation in a checkpoint's generation_config.json, or in a GGUF file.

    UserError if it has none, or a way to sample that we do not have.
    """
    where = f"--sampling checkpoint: {source.location}"
    if source.gguf is not None:
        return _converted(_of_gguf(where, source.gguf), where)
    config = _config(source)
    if not config:
        raise UserError(f"{where} has no generation_config.json: give the settings as options")
    unsupported = [n for n, none in _OTHER_WAYS.items() if config.get(n) not in (None, none)]
    if unsupported:
        raise UserError(
            f"{where}: its generation_config.json has {', '.join(unsupported)}, which is not done here: "
            "give the settings that you want as options"
        )
    values = {
        n: config[n] for n in ("repetition_penalty", "max_new_tokens") if config.get(n) is not None
    }
    if config.get("stop_strings"):
        ends = config["stop_strings"]
        values["stop"] = [ends] if isinstance(ends, str) else ends
    if config.get("do_sample"):
        values["temperature"] = config["temperature"] if config.get("temperature") is not None else 1.0
        values |= {n: config[n] for n in ("top_p", "top_k", "min_p") if config.get(n) is not None}
        if values.get("top_k", 0) == -1:  # so vLLM and others write that all tokens are left
            values["top_k"] = 0
    else:
        values["temperature"] = 0.0
    return _converted(values, where)


def _of_gguf(where: str, file: Path) -> dict[str, Any]:
    """The settings in the metadata of a GGUF file. UserError as in `recommended`."""
    metadata, _ = read_metadata(file)
    start = "general.sampling."
    keys = {k.removeprefix(start): v for k, v in metadata.items() if k.startswith(start)}
    unsupported = [n for n in ("mirostat", "xtc_probability") if keys.get(n)]
    if unsupported:
        raise UserError(
            f"{where}: its metadata have {', '.join(unsupported)}, which is not done here: give the "
            "settings that you want as options"
        )
    if "temp" not in keys:
        raise UserError(f"{where} names no temperature ({start}temp): give the settings as options")
    values = {setting: keys[key] for key, setting in _OF_GGUF.items() if key in keys}
    return values if values["temperature"] else {"temperature": 0.0}


def _converted(values: Mapping[str, Any], where: str) -> GenerationSettings:
    try:
        return msgspec.convert(values, GenerationSettings)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: its settings of generation are not usable: {error}") from None


def _config(source: Source) -> dict[str, Any]:
    """The keys of generation_config.json; none if there is no such file.

    UserError if it cannot be read.
    """
    try:
        if source.path is not None:
            file = source.path / _NAME
            config = read_json(file) if file.is_file() else {}
        else:
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import EntryNotFoundError

            try:
                path = hf_hub_download(source.location, _NAME, revision=source.revision)
            except EntryNotFoundError:
                return {}
            config = read_json(Path(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{source.location}/{_NAME} cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{source.location}/{_NAME} is no object of JSON")
    return config
