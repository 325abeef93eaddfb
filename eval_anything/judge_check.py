"""Checks a judge folder as a run would read it, without running code of it or asking a model."""

from __future__ import annotations

from pathlib import Path

from eval_anything.errors import UserError
from eval_anything.judges import JudgeFile, JudgeFolder, read_judge_file
from eval_anything.tasks.load import check_code
from eval_anything.tasks.task import compile_template, render_template
from eval_anything.yamlfile import FileProblemsError, Problem, line_of

# What the template of a rubric may be given, with and without something expected of the parts.
_EXPECTED: tuple[dict[str, str], ...] = ({}, {"text_image": "the picture shows what the text says"})


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
        problems += _check_template(folder.path / file.template)
    if problems:
        raise FileProblemsError(problems)
    return file


def _check_template(path: Path) -> list[Problem]:
    """Renders a rubric with the variables that it is given: `fence` and `expected`."""
    import jinja2

    try:
        source = path.read_text("utf-8")
        compile_template(source)
    except jinja2.TemplateSyntaxError as error:
        return [Problem(path, error.lineno, f"template: {error.message}")]
    except (OSError, ValueError) as error:
        return [Problem(path, 0, f"template: cannot be read: {error}")]
    rendered = ""
    for expected in _EXPECTED:
        try:
            rendered = render_template(source, fence="0123456789abcdef", expected=expected)
        except Exception as error:  # a template can do anything that an expression can
            message = f"template: {error}; a rubric knows `fence` and `expected`"
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
