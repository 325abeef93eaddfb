"""Commands and their options. The code of a command is imported only when it runs."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from eval_anything.cli.values import at_least_one, number, share, whole, within
from eval_anything.errors import Exit, GateExit, near
from eval_anything.output.colour import coloured
from eval_anything.version import __version__

_EXITS = """\
exit codes: 0 done; 1 too many samples failed, or a judged metric is invalid; 2 wrong input, or runs
that cannot be compared; 4 disk, network or server failed; 5 stopped early. After 4 and 5 the same
command resumes where it stopped."""


class _Parser(argparse.ArgumentParser):
    """A parser that answers a wrong option with one line and the nearest names, not with the usage. Its
    help ends with examples."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **keywords)

    def format_help(self) -> str:
        from eval_anything.cli.examples import EXAMPLES

        lines = EXAMPLES.get(self.prog.partition(" ")[2], "").splitlines()
        examples = "\n".join(["\nexamples:", *(f"  {line}" for line in lines)]) + "\n" if lines else ""
        return super().format_help() + examples

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Options and no words: words that no option takes are an error of the command that they were
        given to, not of `eval-anything`."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown and " " in self.prog:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        hint = ""
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if unknown:
            hint = self._hint(unknown[1].partition("=")[0])
        elif choice:
            hint = near(choice[1], re.findall(r"[\w-]+", choice[2]))
        is_gate = self.prog.startswith("eval-anything gate")
        code = GateExit.INVALID if is_gate else Exit.WRONG_INPUT
        stop = "" if message.endswith(("?", ".")) else "."
        text = f"{self.prog}: error: {message}{stop}{hint} `{self.prog} --help` shows all options.\n"
        self.exit(code, coloured(text, sys.stderr))

    def _hint(self, option: str) -> str:
        """The commands that have an option which this one has not, else its nearest options."""
        owners = [p.prog for p in _parsers(whole_parser()) if option in p._option_string_actions]
        if option.startswith("-") and owners:
            commands = ", ".join(f"`{owner}`" for owner in owners[:3])
            return f" It is an option of {commands}{' and others' if len(owners) > 3 else ''}."
        return near(option, self._option_string_actions)


def whole_parser() -> argparse.ArgumentParser:
    """The parser of all commands with all their options."""
    return parser_for(list(_COMMANDS))


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands; aliases and groups once."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _parsers(sub)


def parser_for(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of a command line: all commands by name, and the options of the one that is called."""
    parser = _Parser(
        prog="eval-anything",
        description="Evaluation of any-to-any models: text, images, audio and video, in and out.",
        epilog=_EXITS,
    )
    parser.add_argument("--version", action="version", version=f"eval-anything {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (about, add_options) in _COMMANDS.items():
        command = commands.add_parser(name, help=about, description=_sentence(about))
        if name in arguments:
            add_options(command)
    return parser


def _sentence(about: str) -> str:
    return about[:1].upper() + about[1:] + ("" if about.endswith("?") else ".")


def _add_handler(parser: argparse.ArgumentParser, handler: str) -> None:
    """Makes a parser that of a command: `handler` is `module:function` in eval_anything.cli."""
    parser.set_defaults(handler=handler)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def _command(commands: Any, name: str, about: str, handler: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=_sentence(about))
    _add_handler(parser, handler)
    return parser


def _group(parser: argparse.ArgumentParser) -> Any:
    return parser.add_subparsers(metavar="COMMAND", required=True)


def _add_fields(parser: argparse.ArgumentParser, *names: str, suppress: bool = False) -> None:
    """Adds options of an evaluation by the names of their fields; `suppress` as in `add_option`."""
    from eval_anything.cli.fields import add_option
    from eval_anything.evaluation.options import Options, options_of

    for option in options_of(Options):
        if option.name in names:
            add_option(parser, option, suppress)


def _add_run(run: argparse.ArgumentParser) -> None:
    _add_handler(run, "run:run")
    about = "a YAML file of options; the command line overrides it"
    run.add_argument("--config", metavar="FILE", type=Path, help=about)
    about = "stop as soon as a gate of the run can decide (with --baseline and --policy)"
    run.add_argument("--until", choices=["decided"], help=about)
    run.add_argument("--baseline", metavar="RUN", type=Path, help="of --until: the run to compare with")
    about = "of --until: the gate's rules as YAML, or a suite with bundled ones"
    run.add_argument("--policy", metavar="FILE", type=Path, help=about)
    _add_evaluation(run, asks_a_model=True)


def _add_score(score: argparse.ArgumentParser) -> None:
    _add_handler(score, "run:score")
    metavar, about = "FILE|FOLDER|RUN", "saved outputs (JSONL, CSV, parquet, a folder), or a run"
    score.add_argument("--outputs", metavar=metavar, type=Path, required=True, help=about)
    _add_evaluation(score, asks_a_model=False)


def _add_evaluation(parser: argparse.ArgumentParser, asks_a_model: bool) -> None:
    """Adds all options of an evaluation; those that are not used are absent from the namespace."""
    from eval_anything.cli.fields import add_option
    from eval_anything.evaluation.options import Options, options_of

    groups: dict[str | None, argparse._ActionsContainer] = {None: parser}
    for option in options_of(Options):
        if asks_a_model or not option.extra.get("run"):
            title = option.extra.get("group")
            if title not in groups:
                groups[title] = parser.add_argument_group(f"{title} (docs/generation.md)")
            add_option(groups[title], option, suppress=True)
    add = parser.add_argument
    add(
        "--lm-eval",
        metavar="K=V",
        dest="source_options",
        action="append",
        type="lm_eval.{}".format,
        default=argparse.SUPPRESS,
        help="an option of lm-evaluation-harness, for tasks lm_eval/NAME",
    )
    add("--allow-missing", action="store_true", help="replay: a missing output scores the floor")
    about = "replay: samples with a missing output are left out"
    add("--only-answered", action="store_true", help=about)
    add("--dry-run", action="store_true", help="show what would run and what it costs, and stop")
    add("--open", action="store_true", help="open the page of the run when it is done")


def _add_runs(parser: argparse.ArgumentParser) -> None:
    about = "merge the shards of a run (run --shard I/N) into one run"
    merge = _command(_group(parser), "merge", about, "runs:merge_shards")
    merge.add_argument("out", metavar="OUT", type=Path, help="the directory of the merged run")
    shards = "the directory of a shard; all of them, in any order"
    merge.add_argument("shards", metavar="SHARD", type=Path, nargs="+", help=shards)
    merge.add_argument("--open", action="store_true", help="open the page of the run when it is done")
    _add_fields(merge, "include", "data", "allow_code", "max_failed", suppress=True)


def _add_tasks(parser: argparse.ArgumentParser) -> None:
    tasks = _group(parser)
    list_ = _command(tasks, "list", "list all available tasks", "tasks:list_tasks")
    list_.add_argument("--suite", metavar="S", help="list only this suite")
    _add_fields(list_, "include")
    about = "show a task with its metrics and first sample, or a suite"
    show = _command(tasks, "show", about, "tasks:show_task")
    show.add_argument("name", metavar="NAME", help="a task, group or suite")
    show.add_argument(
        "--reference", action="store_true", help="a suite's published results, computed again"
    )
    _add_fields(show, "include", "data")
    check = _command(tasks, "validate", "check a task folder of your own", "tasks:validate_task")
    check.add_argument("path", metavar="PATH", type=Path, help="the folder, with a task.yaml")
    _add_fields(check, "include", "data")
    fetch = _command(tasks, "fetch", "download the data sets that a suite needs", "fetch:fetch")
    fetch.add_argument("name", metavar="SUITE", help="a suite, or one task of it")
    _add_fields(fetch, "include")
    about = "write prompts to answer elsewhere, or tasks for another tool"
    export = _command(tasks, "export", about, "export:export_tasks")
    about = "the prompts with a file for answers, or a folder for lm-evaluation-harness"
    forms = ["prompts", "lm_eval"]
    export.add_argument("form", metavar="prompts|lm_eval", choices=forms, help=about)
    about = "tasks or suites for prompts; full names of tasks for lm_eval"
    export.add_argument("names", metavar="TASKS", nargs="+", help=about)
    export.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder to write")
    about = "longest answer, in tokens (512)"
    export.add_argument("--max-tokens", metavar="N", type=at_least_one, default=512, help=about)
    _add_fields(export, "include", "data", "suite", "limit", "first", "where")
    new = _command(tasks, "new", "create a task folder to start from", "tasks:new_task")
    new.add_argument("name", metavar="SUITE/TASK", help="name of the new task")
    new.add_argument(
        "--dir", metavar="DIR", type=Path, default=Path(), help="where the suite's folder goes (.)"
    )


def _add_judges(parser: argparse.ArgumentParser) -> None:
    judges = _group(parser)
    list_ = _command(judges, "list", "list all available judges", "judges:list_judges")
    _add_fields(list_, "include")
    about = "show a judge with its metrics and its measured quality"
    show = _command(judges, "show", about, "judges:show_judge")
    show.add_argument("name", metavar="NAME", help="a judge")
    _add_fields(show, "include")
    check = _command(judges, "validate", "check a judge folder", "judges:validate_judge")
    check.add_argument("path", metavar="PATH", type=Path, help="the folder, with a judge.yaml")
    _add_fields(check, "allow_code")
    new = _command(judges, "new", "create a judge folder to start from", "new_judge:new_judge")
    new.add_argument("name", metavar="NAME", help="name of the new judge")
    about = "rubric, pairwise, probe, reward_model, program, metric, or one of a package"
    new.add_argument("--kind", metavar="K", required=True, help=about)
    new.add_argument("--dir", metavar="DIR", type=Path, default=Path(), help="where its folder goes (.)")
    about = "measure the quality of a judge against labels"
    measure = _command(judges, "calibrate", about, "judges:calibrate_judge")
    add = measure.add_argument
    add("name", metavar="NAME", help="a judge")
    labels = measure.add_mutually_exclusive_group(required=True)
    labels.add_argument("--labels", metavar="FILE", type=Path, help="JSONL of labelled responses")
    labels.add_argument("--micro", action="store_true", help="500 pairs of the micro world as labels")
    add("--metric", metavar="M", help="metric to measure; default: synergy, or the only one")
    add("--limit", metavar="N", type=at_least_one, help="only the first N labels")
    add("--again", metavar="N", type=whole, default=50, help="number of labels to ask about twice (50)")
    add(
        "--budget",
        metavar="MONEY",
        type=within(0, None, None),
        help="stop when this much money is spent",
    )
    add("--dry-run", action="store_true", help="estimate calls and costs, and stop")
    _add_fields(measure, "judges", "judge_args", "include", "allow_code")
    about = "correct a judged metric of runs by labels of some of their answers"
    correct = _command(judges, "correct", about, "judges:correct_runs")
    correct.add_argument(
        "runs", metavar="RUN", type=Path, nargs="+", help="directories of finished runs"
    )
    correct.add_argument(
        "--labels", metavar="FILE", type=Path, required=True, help="JSONL of graded responses"
    )
    correct.add_argument("--metric", metavar="M", help="the metric; default: the one the labels name")
    correct.add_argument(
        "--uniform", action="store_true", help="every sample was equally likely to be labelled"
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    models = _group(parser)
    _command(models, "list", "list the kinds of models and how they are named", "models:list_models")


def _add_schema(schema: argparse.ArgumentParser) -> None:
    _add_handler(schema, "schema:schema")
    about = "results, records, task, judge, policy, run or preset"
    schema.add_argument("name", metavar="NAME", help=about)


def _add_completion(parser: argparse.ArgumentParser) -> None:
    _add_handler(parser, "completion:completion")
    parser.add_argument("shell", choices=["bash", "zsh", "fish"], help="bash, zsh or fish")


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    _add_handler(doctor, "doctor:doctor")


def _add_presets(parser: argparse.ArgumentParser) -> None:
    presets = _group(parser)
    _command(presets, "list", "list the bundled presets", "presets:list_presets")
    about = "print a preset as YAML, to use as it is or to start from"
    show = _command(presets, "show", about, "presets:show_preset")
    show.add_argument("name", metavar="NAME|FILE", help="a bundled preset, or a file")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    _add_handler(parser, "compare:compare_runs")
    parser.add_argument("base", metavar="BASE", type=Path, help="directory of the first run")
    parser.add_argument("candidate", metavar="CANDIDATE", type=Path, help="directory of the second run")
    parser.add_argument(
        "--equivalence",
        metavar="MARGIN",
        type=float,
        help="say whether the runs are equal within this share of the range"
        ", and how often their answers are the same",
    )
    parser.add_argument("--all", action="store_true", help="show every metric and group")
    parser.add_argument(
        "--corrected",
        action="store_true",
        help="decide by numbers that labels correct, where there are any",
    )
    parser.add_argument("--markdown", action="store_true", help="print Markdown")


def _add_bill(parser: argparse.ArgumentParser) -> None:
    _add_handler(parser, "bill:show_bill")
    parser.add_argument("base", metavar="BASE", type=Path, help="directory of the run before")
    parser.add_argument("candidate", metavar="NEW", type=Path, help="directory of the run after")
    parser.add_argument(
        "--training", metavar="DIR", type=Path, help="find the checkpoint at which a loss begins"
    )
    parser.add_argument(
        "--margin",
        metavar="SHARE",
        type=float,
        default=0.05,
        help="the loss that is still harmless, a share of the range (default: 0.05)",
    )
    parser.add_argument("--corrected", action="store_true", help="use numbers that labels correct")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page, with media")


def _add_gate(parser: argparse.ArgumentParser) -> None:
    gate = _group(parser)
    rules = "the gate's rules as YAML, or a suite with bundled ones"
    run = _command(gate, "run", "give a verdict on a run", "gate:run_gate")
    run.epilog = (
        "exit codes: 0 pass or warn; 1 block; 2 inconclusive; 3 invalid or wrong input; 4 disk failed"
    )
    run.add_argument("--candidate", metavar="RUN", type=Path, required=True, help="the run to judge")
    run.add_argument(
        "--baseline", metavar="RUN", type=Path, help="a run to compare with, in place of the policy's"
    )
    run.add_argument("--policy", metavar="FILE", type=Path, required=True, help=rules)
    run.add_argument(
        "--out", metavar="DIR", type=Path, help="folder for reports; default: the candidate"
    )
    about = "count only samples that are new since the last time, and decide as soon as it is possible"
    run.add_argument("--sequential", action="store_true", help=about)
    plan = _command(gate, "plan", "show how small a loss the gate can detect", "gate:plan")
    plan.add_argument("--policy", metavar="FILE", type=Path, required=True, help=rules)
    plan.add_argument(
        "--baseline", metavar="RUN", type=Path, required=True, help="the run to compare with"
    )
    plan.add_argument("--pilot", metavar="RUN", type=Path, help="a second run, to measure the spread")
    about = "correlation of two runs, assumed without a pilot (0.5)"
    plan.add_argument("--correlation", metavar="R", type=number, default=0.5, help=about)
    init = _command(gate, "init", "write a commented policy to start from", "gate:init")
    about = "the file to write (policy.yaml)"
    init.add_argument(
        "path", metavar="FILE", type=Path, nargs="?", default=Path("policy.yaml"), help=about
    )
    init.add_argument("--schema", action="store_true", help="print the JSON schema of policies instead")


def _add_leaderboard(parser: argparse.ArgumentParser) -> None:
    leaderboard = _group(parser)
    build = _command(leaderboard, "build", "build or update a site of runs", "leaderboard:build_site")
    add = build.add_argument
    add("runs", metavar="RUN", type=Path, nargs="+", help="the directory of a run")
    about = "folder of the site; with --single-file also a file X.html"
    add("--out", metavar="DIR", type=Path, required=True, help=about)
    add("--single-file", action="store_true", help="write one page that has it all, at most 25 MB")
    add("--title", metavar="TEXT", default="", help="the name of the site (Leaderboard)")
    add("--about", metavar="TEXT", default="", help="a sentence about the site, at its head")
    add("--open", action="store_true", help="open the site when it is built")
    _add_fields(build, "include")


def _add_annotate(annotate: argparse.ArgumentParser) -> None:
    _add_handler(annotate, "annotate:annotate")
    add = annotate.add_argument
    add("task", metavar="TASK", nargs="?", help="a task; without --outputs people vote on modalities")
    add(
        "--outputs",
        metavar="RUN|FILE",
        type=Path,
        nargs="+",
        default=[],
        help="responses to grade or, with --against, to compare",
    )
    add("--against", metavar="RUN|FILE", type=Path, help="the responses to compare with")
    add("--out", metavar="FILE.jsonl", type=Path, help="file of answers (annotations/SUITE-TASK.jsonl)")
    add("--annotator", metavar="NAME", help="name of who answers; default: the login name")
    add(
        "--scale",
        metavar="N",
        type=int,
        choices=range(2, 10),
        default=5,
        help="grades go from 1 to N (5)",
    )
    add("--next", metavar="N", type=at_least_one, help="the N samples whose labels tell most")
    add("--for", dest="metric", metavar="METRIC", help="the judged metric that --next is to correct")
    add("--port", metavar="N", type=whole, default=0, help="port of the page; default: any that is free")
    add("--limit", metavar="N", type=at_least_one, help="only the first N samples")
    add("--seed", metavar="N", type=int, default=0, help="seed for the order of samples and sides (0)")
    reading = annotate.add_mutually_exclusive_group()
    reading.add_argument(
        "--summary", metavar="FILE", type=Path, help="print counts and agreement of answers"
    )
    reading.add_argument(
        "--export", metavar="FILE", type=Path, help="write answers as labels, votes and training rows"
    )
    _add_fields(annotate, "include", "data")


def _add_train(train: argparse.ArgumentParser) -> None:
    _add_handler(train, "train:train")
    add = train.add_argument
    add("method", metavar="METHOD", help="sft, reward, dpo, or one that an installed package adds")
    add("--config", metavar="FILE", type=Path, required=True, help="settings as YAML (docs/training.md)")
    add(
        "changes",
        metavar="KEY=VALUE",
        nargs="*",
        help="a setting that overrides the file's, such as beta=0.2",
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    commands = _group(parser)
    check = _command(commands, "check", "check a file of training data", "data:command")
    check.set_defaults(data_command="check")
    check.add_argument("file", metavar="FILE", type=Path, help="JSONL of training rows")
    check.add_argument(
        "--examples", metavar="N", type=whole, default=2, help="show N rows of each kind (2)"
    )
    about = "accept rows with prompts of benchmarks"
    check.add_argument("--allow-contamination", action="store_true", help=about)
    _add_fields(check, "include", "data")
    convert = _command(commands, "convert", "convert rows with other projects' fields", "data:command")
    convert.set_defaults(data_command="convert")
    convert.add_argument("source", metavar="SOURCE", type=Path, help="JSONL, JSON, parquet or a folder")
    convert.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for rows.jsonl")
    convert.add_argument(
        "--most-wrong",
        metavar="SHARE",
        type=share,
        default=1.0,
        help="share of rows that may be left out (1: all but one row)",
    )
    # What happens anyway; scripts may still say so.
    convert.add_argument("--skip-wrong", action="store_true", help=argparse.SUPPRESS)


_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "run": ("evaluate a model", _add_run),
    "score": ("score saved outputs, or judge a run again", _add_score),
    "runs": ("merge the shards of a run", _add_runs),
    "tasks": ("list, show, check and make tasks", _add_tasks),
    "judges": ("list, show, check and calibrate judges", _add_judges),
    "models": ("list the kinds of models", _add_models),
    "presets": ("list and show settings of generation by name", _add_presets),
    "compare": ("compare two runs on the same samples", _add_compare),
    "bill": ("say which modalities a change has cost", _add_bill),
    "gate": ("check that a run is not worse than a baseline", _add_gate),
    "leaderboard": ("build a site of runs that opens without a server", _add_leaderboard),
    "annotate": ("label or grade by hand, on a local page", _add_annotate),
    "train": ("train a model, and evaluate it during training", _add_train),
    "data": ("check and convert training data", _add_data),
    "schema": ("print the JSON schema of a kind of file", _add_schema),
    "doctor": ("show what is installed and what is missing", _add_doctor),
    "completion": ("print a script that completes commands in a shell", _add_completion),
}
"""All commands in the order of the help: a description, and the function that adds the options."""
