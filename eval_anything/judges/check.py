"""Checks a judge folder as a run would read it, without running code of it or asking a model."""

from __future__ import annotations

from pathlib import Path

from eval_anything.errors import UserError
from eval_anything.files.code import check_code
from eval_anything.files.mistakes import FileProblemsError, Problem
from eval_anything.files.templates import compile_template, render_template
from eval_anything.files.yaml_files import line_of
from eval_anything.judges.folder import JudgeFile, JudgeFolder, Kind, read_judge_file

# What a template may be given beside the fence: a rubric something that is expected of the parts, or
# nothing; a probe and a comparison never anything.
_GIVEN: dict[Kind, tuple[dict[str, dict[str, str]], ...]] = {
    "rubric": (
        {"expected": {}},
        {"expected": {"text_image": "the picture shows what the text says"}},
    ),
    "probe": ({},),
    "pairwise": ({},),
}


def judge_at(path: Path) -> JudgeFolder:
    """A judge folder given by its path."""
    if not path.is_dir():
        raise UserError(f"{path}: there is no such folder")
    if not (path / "judge.yaml").is_file():
        raise UserError(f"{path}: no judge.yaml in it; copy a folder of judges/ to start from")
    path = path.resolve()
    return JudgeFolder(path.name, path, trusted=False)


def check_judge(folder: JudgeFolder) -> JudgeFile:
    """judge.yaml and what it refers to. FileProblemsError names each mistake and its line."""
    file = read_judge_file(folder)
    path = folder.path / "judge.yaml"
    problems = []
    for key in ("scorer", "factory"):
        reference = getattr(file, key)
        message = check_code(folder.path, reference) if reference is not None else None
        if message is not None:
            problems.append(Problem(path, line_of(path, key), f"{key}: {message}"))
    if file.template is not None:
        problems += _check_template(folder.path / file.template, file.kind)
    if problems:
        raise FileProblemsError(problems)
    return file


def _check_template(path: Path, kind: Kind) -> list[Problem]:
    """Renders a template with the variables that its kind is given."""
    import jinja2

    try:
        source = path.read_text("utf-8")
        compile_template(source)
    except jinja2.TemplateSyntaxError as error:
        return [Problem(path, error.lineno, f"template: {error.message}")]
    except (OSError, ValueError) as error:
        return [Problem(path, 0, f"template: cannot be read: {error}")]
    rendered = ""
    for given in _GIVEN[kind]:
        try:
            rendered = render_template(source, fence="0123456789abcdef", **given)
        except Exception as error:  # a template can do anything that an expression can
            known = " and ".join(f"`{name}`" for name in ("fence", *given))
            message = f"template: {error}; a {kind} knows {known}"
            return [Problem(path, _line_in_template(error), message)]
    if "0123456789abcdef" not in rendered:
        message = "template: {{ fence }} is nowhere: the judge must be told what marks the answer"
        return [Problem(path, 0, message)]
    return []


def _line_in_template(error: Exception) -> int:
    """The line of the template that failed; Jinja2 rewrites tracebacks so that they have it."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
