"""Presets: YAML files with the settings of generation that a model's card recommends.

Bundled ones are in `presets/`, one file each; a user's own is named by its path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from eval_anything.errors import UserError, near
from eval_anything.evaluation.options import is_file
from eval_anything.files.places import content_folder
from eval_anything.files.reading import read_text
from eval_anything.files.yaml_files import read_yaml
from eval_anything.models.base import Model
from eval_anything.sampling import GenerationSettings


class Preset(GenerationSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A preset: settings of generation, and the models that they are for.

    Attributes:
        title: the models and the mode, for people.
        source: address of the page that the settings are from.
        families: `model_type` of the checkpoints that it is for; empty for any.
        names: patterns of names on servers, such as `*qwen3*`.
        chat_template: a Jinja file in place of the checkpoint's template, beside the preset.
    """

    title: str = ""
    source: str = ""
    families: list[str] = []
    names: list[str] = []
    chat_template: str | None = None


def preset_paths() -> dict[str, Path]:
    """The files of the bundled presets by name."""
    return {path.stem: path for path in sorted(content_folder("presets").glob("*.yaml"))}


def preset_path(name: str) -> Path:
    """The file of a preset, which is named by its name or a path. UserError if there is none."""
    if is_file(name):
        return Path(name)
    paths = preset_paths()
    if name in paths:
        return paths[name]
    hint = near(name, paths) or " `eval-anything presets list` shows all."
    raise UserError(f"--preset {name}: there is no such preset, and no such file.{hint}")


def read_preset(name: str) -> Preset:
    """A preset by name or path. UserError if there is none, FileProblemsError for its mistakes."""
    return read_yaml(preset_path(name), Preset)


def preset_arguments(name: str) -> dict[str, str]:
    """The arguments of a model that a preset decides: the chat template."""
    preset = read_preset(name)
    if preset.chat_template is None:
        return {}
    template = preset_path(name).parent / preset.chat_template
    if not template.is_file():
        raise UserError(f"--preset {name}: chat_template {preset.chat_template} is not beside it")
    return {"chat_template": str(template)}


def settings_of_preset(name: str, model: Model) -> tuple[Mapping[str, Any], list[str]]:
    """The settings of a preset for a model, and warnings.

    UserError for a checkpoint of a family that it is not for. The name of a model on a server may say
    anything, so that one which no pattern matches is only a warning.
    """
    preset = read_preset(name)
    settings = preset.values()
    if "system" in settings:
        folder = preset_path(name).parent
        settings["system"] = system_text(settings["system"], f"--preset {name}: system", folder)
    on = f"--preset {name} is for {preset.title or ', '.join([*preset.families, *preset.names])}"
    instead = (
        f"to use it all the same, write what `eval-anything presets show {name}` prints into a file of "
        "your own, without families and names, and name that file"
    )
    if model.architecture:
        if preset.families and model.architecture not in preset.families:
            kinds = ", ".join(preset.families)
            raise UserError(f"{on} ({kinds}), and {model.spec} is {model.architecture}: {instead}")
        return settings, []
    if preset.names and not any(fnmatch(model.name.lower(), pattern) for pattern in preset.names):
        return settings, [f"warning: {on}, and the name of {model.name} does not say that it is one"]
    return settings, []


_PATHS = re.compile(r"[^\s]*(/[^\s]*|\.(txt|md|jinja2?))")


def system_text(setting: str, option: str, folder: Path = Path()) -> str:
    """The text of a system prompt, which is given as a text or as the path of a file.

    Args:
        setting: the text, or a path.
        option: who gives it, for errors: "--system".
        folder: the folder that a path is relative to.

    Raises:
        UserError: it is a path, and there is no such file, or no text in it.
    """
    path = folder / Path(setting).expanduser() if len(setting) < 4096 else None
    if path is None or not is_file(str(path)):
        if setting and _PATHS.fullmatch(setting):
            raise UserError(f"{option} {setting}: there is no such file")
        return setting
    try:
        return read_text(path).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise UserError(f"{option} {setting}: the file cannot be read: {reason}") from None
