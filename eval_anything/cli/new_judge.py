"""`eval-anything judges new`: a commented judge of a kind, with a task to try it on."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from pathlib import Path

from eval_anything.cli.printing import show
from eval_anything.errors import Exit, UserError
from eval_anything.judges.folder import JudgeFolder, find_judges
from eval_anything.judges.kind import JudgeFile
from eval_anything.judges.kinds.program import CodeFile
from eval_anything.judges.registry import judge_kind, read_judge_file

DEMO = "demo"
"""The folder of a new judge with its task."""


def new_judge(options: Namespace) -> Exit:
    """Writes a small judge that runs, to be changed by hand."""
    name, folder = options.name, options.dir / options.name
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise UserError(f"{name!r}: a judge is named with small letters, digits, _ and -")
    if folder.exists():
        raise UserError(f"{folder} is there already: choose another name")
    if name in find_judges():
        raise UserError(f"{name} is the name of a bundled judge: choose another name")
    kind = judge_kind(options.kind)
    starter = kind.starter()
    if not starter.is_dir():
        raise UserError(f"the package of the kind {options.kind} has no judge to start from")
    _copy(starter, folder, name)
    file = read_judge_file(JudgeFolder(name, folder.resolve(), trusted=False))
    return show(
        options,
        {"judge": name, "kind": options.kind, "path": str(folder), "task": f"{name}/{DEMO}"},
        f"made {folder}, with a task to try it on. Check it:",
        f"  eval-anything judges validate {shlex.quote(str(folder))}{_code_option(file)}",
        "Run it:",
        f"  eval-anything run --model micro --tasks {name}/{DEMO} "
        f"--include {shlex.quote(str(options.dir))}{_code_option(file)}{_model_options(name, file)}",
    )


def _copy(starter: Path, folder: Path, name: str) -> None:
    """Copies a folder of text files; the word NAME in them becomes the name of the judge."""
    for source in sorted(starter.rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            target = folder / source.relative_to(starter)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(re.sub(r"\bNAME\b", name, source.read_text("utf-8")), "utf-8")


def _code_option(file: JudgeFile) -> str:
    return " --allow-code" if isinstance(file, CodeFile) else ""


def _model_options(name: str, file: JudgeFile) -> str:
    """Options that a run with the judge needs, in capitals what the user must choose."""
    model = f" --judge {name}={file.model_form}" if file.needs_model else ""
    return model + (" --against RUN" if file.scorer_type.compares else "")
