"""The location of a checkpoint of transformers, and its metadata before anything is loaded."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from eval_anything.errors import UserError
from eval_anything.files.hashing import hash_files
from eval_anything.files.json_text import read_json
from eval_anything.models.hf.architecture import check_served
from eval_anything.models.hf.gguf_file import read_config
from eval_anything.models.local.checkpoint import CONVERT, check_complete, weight_files

ADAPTER = "adapter_config.json"


GGUF = ".gguf"


class Source(NamedTuple):
    """A checkpoint: a local folder, a GGUF file or an id of the hub, with or without an adapter of LoRA.

    Attributes:
        location: the folder, GGUF file or id, for `from_pretrained` of transformers.
        path: the folder or GGUF file, None for an id.
        revision: branch, tag or commit of an id.
        adapter: the folder of the adapter.
        config: the content of config.json.
    """

    location: str
    path: Path | None
    revision: str | None
    adapter: Path | None
    config: dict[str, Any]

    @property
    def model_type(self) -> str:
        """The value of config.model_type; empty if there is none."""
        return str(self.config.get("model_type", ""))

    @property
    def gguf(self) -> Path | None:
        """The GGUF file; None for a checkpoint of another form."""
        return self.path if self.path is not None and self.path.is_file() else None

    @property
    def weight_bytes(self) -> int | None:
        """Size of the files of weights; None for an id."""
        if self.path is None:
            return None
        files = [self.gguf] if self.gguf is not None else self.path.glob("*.safetensors")
        return sum(file.stat().st_size for file in files)

    @property
    def processing(self) -> str:
        """The location of tokenizer and processor: that of the adapter if it has its own."""
        if self.adapter is not None:
            media = any(name in self.config for name in ("vision_config", "audio_config"))
            names = _PROCESSORS if media else ("tokenizer_config.json",)
            if any((self.adapter / name).is_file() for name in names):
                return str(self.adapter)
        return self.location

    def weights(self) -> str:
        """sha256 of all files that decide the answers: weights, tokenizer, settings.

        Raises:
            UserError: an id has no weights as safetensors, or the hub does not answer.
        """
        adapter = [] if self.adapter is None else [*_settings(self.adapter), *weight_files(self.adapter)]
        if self.gguf is not None:
            return hash_files([self.gguf, *adapter])
        if self.path is not None:
            return hash_files([*_settings(self.path), *weight_files(self.path), *adapter])
        from huggingface_hub import HfApi  # the commit that the id stands for names its files

        try:
            hub_model = HfApi().model_info(self.location, revision=self.revision)
        except Exception as error:
            raise _hub_error(self.location, error) from error
        if not any(file.rfilename.endswith(".safetensors") for file in hub_model.siblings or ()):
            raise UserError(
                f"--model hf/{self.location}: no weights as safetensors; a pickle can run code and is "
                f"not loaded: {CONVERT}"
            )
        key = f"{self.location}@{hub_model.sha}" + (f"+{hash_files(adapter)}" if adapter else "")
        return hashlib.sha256(key.encode()).hexdigest()


_PROCESSORS = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")


_SETTINGS = ("*.json", "*.jinja", "*.model", "*.txt", "spk_dict.pt")


def find_source(reference: str | Path, revision: str, adapter: str) -> Source:
    """The checkpoint that a SPEC names.

    Args:
        reference: a folder, a GGUF file or an id of the hub; a folder with an adapter_config.json stands
            for its base model with this adapter.
        revision: branch, tag or commit of an id; empty for the default.
        adapter: the folder of an adapter; empty for none.

    Raises:
        UserError: the checkpoint is incomplete, unsafe or not there.
    """
    path = Path(reference)
    on_top = None
    if (path / ADAPTER).is_file() and not (path / "config.json").is_file():
        if adapter:
            raise UserError(f"{path} is an adapter already: leave out --model-arg adapter={adapter}")
        on_top = path
        reference = _base_of(path, _adapter_config(path))
        path = Path(reference)
    elif adapter:
        on_top = Path(adapter)
        _adapter_config(on_top)
    if path.exists() or path.suffix == GGUF:
        if revision:
            raise UserError(f"--model-arg revision={revision}: {path} is a path; ids have revisions")
        return Source(str(path), path, None, on_top, _config_of_path(path))
    config = _config_of_id(str(reference), revision or None)
    return Source(str(reference), None, revision or None, on_top, config)


def _config_of_path(path: Path) -> dict[str, Any]:
    """The content of config.json of a complete checkpoint, or what stands for it in a GGUF file.

    If a file is missing and no family serves the architecture, the error is about the architecture:
    such checkpoints may have other files.
    """
    if path.suffix == GGUF and not path.is_dir():
        if not path.is_file():
            raise UserError(f"{path}: there is no such file")
        return read_config(path)
    files = sorted(file.name for file in path.glob(f"*{GGUF}"))
    if files and not (path / "config.json").is_file():
        raise UserError(f"{path} has GGUF files ({', '.join(files)}): name one, as {path / files[0]}")
    try:
        return check_complete(path)
    except UserError:
        with contextlib.suppress(OSError, ValueError, ImportError):
            check_served(str(path), read_json(path / "config.json"))
        raise


def _settings(folder: Path) -> list[Path]:
    return [file for pattern in _SETTINGS for file in folder.glob(pattern)]


def _adapter_config(path: Path) -> dict[str, Any]:
    """The content of an adapter's config. UserError if there is none, or no weights."""
    if not (path / ADAPTER).is_file():
        raise UserError(f"{path} is no adapter of LoRA: {ADAPTER} is missing")
    try:
        config: dict[str, Any] = read_json(path / ADAPTER)
    except ValueError as error:
        raise UserError(f"{path}/{ADAPTER} is not valid JSON: {error}") from None
    weight_files(path)
    return config


def _base_of(adapter: Path, config: Mapping[str, Any]) -> str:
    base = config.get("base_model_name_or_path")
    if not base:
        raise UserError(
            f"{adapter}/{ADAPTER} names no base model: give the base as --model and this folder as "
            f"--model-arg adapter={adapter}"
        )
    beside = adapter / str(base)
    if beside.is_dir():  # an absolute path too
        return str(beside)
    if Path(base).is_absolute():
        raise UserError(
            f"{adapter}: its base model {base} is not there: give the base as --model and this "
            f"folder as --model-arg adapter={adapter}"
        )
    return str(base)


def _config_of_id(name: str, revision: str | None) -> dict[str, Any]:
    from huggingface_hub import hf_hub_download

    try:
        file = hf_hub_download(name, "config.json", revision=revision)
    except Exception as error:
        raise _hub_error(name, error) from error
    config: dict[str, Any] = read_json(Path(file))
    return config


def _hub_error(name: str, error: Exception) -> UserError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return UserError(
        f"--model hf/{name}: no such folder, and the hub has no checkpoint of this name in reach "
        f"({reason}). Check the id, sign in if it is a gated one, or give a local path."
    )
