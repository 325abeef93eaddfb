"""`eval-anything presets`: list and show the settings of generation that models' cards recommend."""

from __future__ import annotations

from argparse import Namespace

from eval_anything.cli.printing import show
from eval_anything.errors import Exit
from eval_anything.evaluation.presets import preset_path, preset_paths, read_preset
from eval_anything.files.reading import read_text
from eval_anything.output.tables import table
from eval_anything.runs.resume import shown


def list_presets(options: Namespace) -> Exit:
    """Prints a line for each bundled preset."""
    presets = {name: read_preset(name) for name in preset_paths()}
    document = [{"name": name, "preset": preset} for name, preset in presets.items()]
    cells = [
        [name, preset.title, ", ".join(f"{key} {shown(s)}" for key, s in preset.values().items())]
        for name, preset in presets.items()
    ]
    return show(options, document, table(["preset", "for", "settings"], cells))


def show_preset(options: Namespace) -> Exit:
    """Prints the file of a preset, once it is checked."""
    preset = read_preset(options.name)
    path = preset_path(options.name)
    document = {"name": options.name, "path": str(path), "preset": preset}
    return show(options, document, read_text(path).rstrip())
