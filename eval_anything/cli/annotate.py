"""`eval-anything annotate`: people label prompts and responses on a local page."""

from __future__ import annotations

import getpass
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_anything.cli.printing import print_json, show
from eval_anything.errors import Exit, UserError
from eval_anything.output.progress import Progress
from eval_anything.output.tables import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eval_anything.annotate.choose import SampleChoice
    from eval_anything.annotate.log import Log
    from eval_anything.content import Sample
    from eval_anything.tasks.task import Task


_SUITE = "open"  # where bare names of tasks are looked up


def annotate(options: Namespace) -> Exit:
    """Serves the page until Ctrl-C; or summarizes or exports a file of annotations."""
    if options.summary is not None or options.export is not None:
        if options.task is not None:
            raise UserError("--summary and --export read a file: leave TASK out")
        return _summary(options) if options.summary is not None else _export(options)
    if options.task is None:
        raise UserError("name a TASK to annotate, or a file with --summary FILE or --export FILE")
    return _serve(options)


def _serve(options: Namespace) -> Exit:
    from eval_anything.annotate.export import check_name
    from eval_anything.annotate.log import latest_answers, open_log, read_annotations
    from eval_anything.annotate.questions import make_questions
    from eval_anything.annotate.server import AnnotationServer
    from eval_anything.annotate.session import Session
    from eval_anything.annotate.summary import summarize
    from eval_anything.media import MediaStore

    progress = Progress()
    _check_sources(options)
    annotator = _annotator(options.annotator)
    task = _task(options)
    path = options.out or Path("annotations") / f"{task.name.replace('/', '-')}.jsonl"
    check_name(path)
    with open_log(path) as log:
        choice = _choice(options, task.name, annotator, log)
        samples: Sequence[Sample] = task.samples[: options.limit]
        if choice is not None:
            samples = [task.by_id[sample_id] for sample_id in choice.sample_ids]
        store = MediaStore(log.path.resolve().parent / "media")
        question_set = make_questions(
            task, samples, options.outputs, options.against, store, annotator, options.seed
        )
        if not question_set.questions:
            raise UserError("there is nothing to annotate: no sample has a response from each side")
        questions = question_set.questions
        if choice is not None:  # the answers to one sample stand together, so that few lack one
            positions = {sample_id: i for i, sample_id in enumerate(choice.sample_ids)}
            questions.sort(key=lambda question: positions[question.sample.id])
        chosen = None if choice is None else choice.chosen
        session = Session(task, questions, log, annotator, options.scale, chosen)
        with AnnotationServer(session, options.port) as server:
            if left_out := question_set.left_out:
                progress.say(f"{left_out} left out: a response is missing or the model failed")
            progress.say(
                f"{task.name}: {session.done} of {session.total} done by {annotator}. Open\n\n"
                f"    {server.url}\n\nin a browser on this machine; Ctrl-C ends. Answers go to {path}"
            )
            try:
                server.serve_forever(poll_interval=0.1)
            except KeyboardInterrupt:
                progress.say("")
        summary = summarize(latest_answers(read_annotations(path)))
        written = _exported(path)
    if options.json:
        about = {"task": task.name, "annotator": annotator, "done": session.done, "total": session.total}
        print_json({"file": str(path), **about, **summary, "exports": written})
    else:
        progress.say(f"{session.done} of {session.total} done by {annotator}; the answers are in {path}")
        progress.say("\n".join(f"  {name}: {file}" for name, file in written.items()))
    return Exit.DONE


def _choice(options: Namespace, task: str, annotator: str, log: Log) -> SampleChoice | None:
    """The samples that --next proposes; None without it."""
    from eval_anything.annotate.choose import choose
    from eval_anything.annotate.log import latest_answers

    if options.next is None and options.metric is None:
        return None
    if options.next is None or options.metric is None or not options.outputs:
        raise UserError("--next N, --for METRIC and --outputs RUN belong together: give all of them")
    if options.against is not None or options.limit is not None:
        raise UserError("--next chooses samples to grade: leave out --against and --limit")
    before = latest_answers(log.before)
    return choose(task, options.outputs, options.metric, options.next, annotator, before, options.seed)


def _check_sources(options: Namespace) -> None:
    """UserError if a file or run of --outputs or --against does not exist."""
    if options.against is not None and not options.outputs:
        raise UserError("--against needs something to compare: add --outputs RUN")
    sources = [("--outputs", path) for path in options.outputs]
    sources += [("--against", options.against)] if options.against is not None else []
    for option, path in sources:
        if not path.exists():
            raise UserError(f"{option} {path}: there is no such file or run")


def _summary(options: Namespace) -> Exit:
    from eval_anything.annotate.log import latest_answers, read_annotations
    from eval_anything.annotate.summary import summarize

    summary = summarize(latest_answers(read_annotations(options.summary)))
    head = f"{options.summary}: {summary['n']} answers about {', '.join(summary['tasks']) or 'nothing'}"
    tables = (f"\n{_kind_text(kind, kind_summary)}" for kind, kind_summary in summary["kinds"].items())
    return show(options, {"file": str(options.summary), **summary}, head, *tables)


def _kind_text(kind: str, summary: dict[str, Any]) -> str:
    alpha = summary["alpha"]
    ends = "" if alpha.ci95 is None else f" ({alpha.ci95[0]:.3f} .. {alpha.ci95[1]:.3f})"
    alpha_text = "undefined: it needs questions with two answers that differ"
    if alpha.value is not None:
        alpha_text = f"{alpha.value:.3f}{ends}, {alpha.n} questions with two or more answers"
    counts = summary["answers_per_question"].items()
    rows = [
        ["answers", str(summary["n"])],
        ["questions", str(summary["questions"])],
        ["answers a question", ", ".join(f"{n}: {count} questions" for n, count in counts)],
        ["annotators", ", ".join(f"{name}: {n}" for name, n in summary["annotators"].items())],
        ["what was answered", ", ".join(f"{name}: {n}" for name, n in summary["answers"].items())],
        ["critiques", str(summary["critiques"])],
        [f"Krippendorff's alpha, {summary['level']}", alpha_text],
    ]
    return table([kind, ""], rows)


def _export(options: Namespace) -> Exit:
    from eval_anything.annotate.export import check_name

    check_name(options.export)
    written = _exported(options.export)
    lines = [f"{name}: {file}" for name, file in written.items()] or ["there are no answers"]
    return show(options, {"file": str(options.export), "exports": written}, *lines)


def _exported(path: Path) -> dict[str, str]:
    from eval_anything.annotate.export import export

    return {name: str(file) for name, file in export(path).items()}


def _task(options: Namespace) -> Task:
    from eval_anything.judges.folder import find_judges
    from eval_anything.judges.registry import JudgeMetrics
    from eval_anything.tasks.load import load_task
    from eval_anything.tasks.registry import Registry

    registry = Registry(options.include)
    names = registry.select([options.task], _SUITE)[0].tasks
    if len(names) != 1:
        raise UserError(f"{options.task} is a suite: choose one of {', '.join(names)}")
    judges = JudgeMetrics(find_judges(options.include))
    return load_task(registry.folders[names[0]], judges, options.data)


def _annotator(name: str | None) -> str:
    if name is None:
        try:
            name = getpass.getuser()
        except (OSError, KeyError):  # a user without a name
            name = ""
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise UserError(f"--annotator {name!r}: give a name of 1 to 100 visible characters")
    return name
