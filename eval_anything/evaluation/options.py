"""Options of an evaluation: one list for the command line, configuration files, Python and trainings.

A new option is a field here. Its description, limits and `extra` define it on the command line:

    flag     the name of the flag, if it is not the field's name with dashes
    metavar  the placeholder of the value in the help
    optional True if the flag may stand alone, which means True
    path     True for a path; in a configuration file it is relative to that file
    run      True for an option of `run` that `score`, which asks no model, does not have
    group    the part of the help that it is in, if that is not the first
    json     True for pairs whose values are JSON, or else text
    text_or_path  True for a text that may be in a file
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, Struct, inspect

from eval_anything.content import FAILURE_KINDS
from eval_anything.errors import UserError, near
from eval_anything.sampling import GenerationSettings

Words = Sequence[str]
Pairs = Mapping[str, str]
Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]


ARGUMENTS = frozenset(["model_args", "judge_args"])
"""Options whose values may be of any JSON type where they are not on a command line."""


FileArguments = Mapping[str, str | int | float | bool | dict[str, Any] | list[str]]
"""Type of such options in files."""


JUDGE_VARIABLE = "EVAL_ANYTHING_JUDGE"
"""Environment variable with a SPEC for all judges that need a chat model and have none of their own."""


EVERY_JUDGE = "*"
"""Key in `judges` for all judges that need a chat model and are not named in it themselves."""


def _option(metavar: str, description: str, **extra: Any) -> Meta:
    return Meta(description=description, extra={"metavar": metavar, **extra})


class EvaluationOptions(GenerationSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of an evaluation that do not depend on the model and the run's directory."""

    tasks: Annotated[Words, _option("A,B", "tasks or suites; default: the whole suite")] = ()
    suite: Annotated[str | None, _option("S", "suite of bare names; default: the model's own")] = None
    include: Annotated[
        Words, _option("DIR", "a folder with your own tasks or judges (may be repeated)", path=True)
    ] = ()
    data: Annotated[
        Words,
        _option("DIR", "a downloaded data set, or a folder of several (may be repeated)", path=True),
    ] = ()
    allow_code: Annotated[bool, _option("", "run the scoring code of included folders")] = False
    judges: Annotated[
        Pairs,
        _option(
            "[NAME=]SPEC", "model behind a judge, or behind all that ask a chat model", flag="--judge"
        ),
    ] = {}
    judge_args: Annotated[
        Pairs,
        _option(
            "[NAME:]K=V",
            "an option of a judge, or of all that ask a chat model",
            flag="--judge-arg",
        ),
    ] = {}
    limit: Annotated[
        Count | None, _option("N", "N samples of each task, drawn evenly from its groups")
    ] = None
    first: Annotated[Count | None, _option("N", "the first N samples of each task")] = None
    where: Annotated[
        Pairs,
        _option("KEY=VALUE", "samples with this metadata, `inputs` or `outputs` (may be repeated)"),
    ] = {}
    skip_unreadable: Annotated[
        bool, _option("", "leave out samples with media that the model cannot read", run=True)
    ] = False
    repeats: Annotated[Count, _option("K", "answers per sample (1)")] = 1
    seed: Annotated[int, _option("N", "seed for sampling (0)")] = 0
    max_failed: Annotated[
        Share, _option("SHARE", "share of failed samples above which to exit with 1 (0.1)")
    ] = 0.1
    source_options: Annotated[
        Pairs, _option("SOURCE.K=V", "an option of an external source of tasks", flag="--source-option")
    ] = {}
    against: Annotated[
        str | None, _option("RUN", "a run that pairwise judges compare with", path=True)
    ] = None
    budget: Annotated[
        NotNegative | None, _option("MONEY", "stop when so much money is spent on servers")
    ] = None
    fresh_verdicts: Annotated[
        bool, _option("", "ask judges anew, also for what they have given a verdict on before")
    ] = False
    retry_failed: Annotated[
        bool | str,
        _option("KIND", "ask failed samples again; only those that failed with KIND", optional=True),
    ] = False
    skip_failing: Annotated[
        bool, _option("", "give up samples that a server fails while it answers others")
    ] = False
    preset: Annotated[
        str | None,
        _option(
            "NAME|FILE",
            "settings of generation by name, or a YAML file of them (`presets list`)",
            run=True,
            group="generation",
            text_or_path=True,
        ),
    ] = None
    sampling: Annotated[
        Literal["checkpoint"] | None,
        _option(
            "checkpoint",
            "settings of the checkpoint's generation_config.json",
            run=True,
            group="generation",
        ),
    ] = None
    model_args: Annotated[
        Pairs, _option("K=V", "an option of the model", flag="--model-arg", run=True)
    ] = {}
    concurrency: Annotated[
        Count | None, _option("N", "samples that the model gets at the same time", run=True)
    ] = None
    replicas: Annotated[Count, _option("N", "copies of the model, each with its GPUs (1)", run=True)] = 1
    engine: Annotated[
        Literal["processes", "ray"],
        _option("E", "where copies run: processes of this machine (default), ray", run=True),
    ] = "processes"
    gpus_per_replica: Annotated[
        NotNegative | None,
        _option("N", "GPUs of a copy, or a part of one (1, where Ray has any)", run=True),
    ] = None
    address: Annotated[
        str | None,
        _option("HOST:PORT", "a cluster of Ray that runs, or auto; default: one of its own", run=True),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gpus_per_replica", "address"):
            if getattr(self, name) is not None and self.engine != "ray":
                raise ValueError(f"{name}: only `engine: ray` takes it (--engine ray)")
        gpus = self.gpus_per_replica
        if gpus is not None and (not math.isfinite(gpus) or (gpus > 1 and not gpus.is_integer())):
            raise ValueError("gpus_per_replica: more than one GPU must be a whole number of them")
        if isinstance(self.retry_failed, str) and self.retry_failed not in FAILURE_KINDS:
            raise ValueError(
                f"retry_failed: there is no kind of failure {self.retry_failed!r}."
                f"{near(self.retry_failed, FAILURE_KINDS)} Kinds: {', '.join(FAILURE_KINDS)}"
            )


class Options(EvaluationOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One evaluation: `eval-anything run`, or `ea.evaluate`. `command` is recorded in run.json."""

    model: Annotated[
        str, _option("SPEC", "a path, hf/ID, replay/FILE.jsonl or a name from `models list`", run=True)
    ]
    name: Annotated[
        str | None, _option("NAME", "name of the model in tables, sites and the run's directory")
    ] = None
    out: Annotated[str | None, _option("DIR", "the run's directory (runs/<model>)", path=True)] = None
    shard: Annotated[
        str | None, _option("I/N", "part I of N of the run; auto: that of a job array's task")
    ] = None
    command: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None and (not self.name.strip() or not self.name.isprintable()):
            raise ValueError(f"name: {self.name!r} is not a name on one line")


class Option(NamedTuple):
    """One option: its type without None (of msgspec.inspect), its default, and its `extra`."""

    name: str
    type: inspect.Type
    default: Any
    description: str
    extra: Mapping[str, Any]

    @property
    def flag(self) -> str:
        """Name of the option on the command line, with its dashes."""
        return str(self.extra.get("flag", "--" + self.name.replace("_", "-")))


@cache
def options_of(type_: type[Struct]) -> tuple[Option, ...]:
    """Options of a type in their order: all fields that have a description."""
    struct = inspect.type_info(type_)
    assert isinstance(struct, inspect.StructType)
    return tuple(
        Option(
            field.name,
            _without_none(field.type.type),
            None if field.default is NODEFAULT else field.default,
            (field.type.extra_json_schema or {})["description"],
            field.type.extra or {},
        )
        for field in struct.fields
        if isinstance(field.type, inspect.Metadata)
    )


def _without_none(type_: inspect.Type) -> inspect.Type:
    parts = type_.types if isinstance(type_, inspect.UnionType) else (type_,)
    return next(part for part in parts if not isinstance(part, inspect.NoneType))


def make_options(values: Mapping[str, Any]) -> Options:
    """Checked options from values by name. UserError for an unknown option or a wrong value.

    Example:
        >>> make_options({"model": "hf/org/name", "limit": 20}).repeats
        1
    """
    names = Options.__struct_fields__
    for name in values:
        if name not in names:
            raise UserError(f"there is no option {name!r}.{near(name, names)}")
    try:
        return msgspec.convert(values, Options)
    except msgspec.ValidationError as error:
        raise UserError(f"options of the evaluation: {error}") from None


def read_options(path: Path) -> dict[str, Any]:
    """Options in a YAML file by name. FileProblemsError lists each mistake with its line.

    The keys are the fields of `Options`. Paths are relative to the file; so is `model` if it is an
    existing path.
    """
    from eval_anything.models.spec import place_spec  # not for `--help`, which reads the options

    fields = [
        (
            field.name,
            (FileArguments if field.name in ARGUMENTS else field.type) | msgspec.UnsetType,
            UNSET,
        )
        for field in msgspec.structs.fields(Options)
        if field.name in {option.name for option in options_of(Options)}
    ]
    from eval_anything.files.yaml_files import read_yaml

    partial = msgspec.defstruct("OptionsFile", fields, forbid_unknown_fields=True, kw_only=True)
    values: dict[str, Any] = msgspec.to_builtins(read_yaml(path, partial))
    for name in ARGUMENTS & values.keys():
        values[name] = {key: argument_text(value) for key, value in values[name].items()}
    place_paths(values, path.parent)
    if "model" in values:
        values["model"] = place_spec(values["model"], path.parent)
    return values


def place_paths(values: dict[str, Any], folder: Path) -> None:
    """Replaces paths that are relative to a folder by ones relative to the current directory."""

    def placed(path: str) -> str:
        return str(folder / Path(path).expanduser())

    for option in options_of(Options):
        paths = values.get(option.name)
        if option.extra.get("text_or_path") and paths and is_file(placed(paths)):
            values[option.name] = placed(paths)
        if option.extra.get("path") and paths is not None:
            values[option.name] = placed(paths) if isinstance(paths, str) else list(map(placed, paths))


def is_file(text: str) -> bool:
    """Whether a text is the path of a file, which a text of any length and characters may be asked."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def argument_text(value: Any) -> str:
    """The text of an argument, as it stands on the command line, for a value of any JSON type.

    Example:
        >>> argument_text(512), argument_text({"effort": "low"}), argument_text(["seed", "stop"])
        ('512', '{"effort":"low"}', 'seed,stop')
    """
    if isinstance(value, Mapping):
        return msgspec.json.encode(value).decode()
    if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def split_judge_arguments(pairs: Pairs) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The values of `judge_args` for all judges that ask a chat model, and those of single judges.

    Example:
        >>> split_judge_arguments({"body.drop": "seed", "mine:body.drop": "temperature"})
        ({'body.drop': 'seed'}, {'mine': {'body.drop': 'temperature'}})
    """
    shared: dict[str, str] = {}
    by_judge: dict[str, dict[str, str]] = {}
    for key, text in pairs.items():
        name, colon, argument = key.rpartition(":")
        if not argument or (colon and not name):
            raise UserError(f"--judge-arg {key}={text}: must be KEY=VALUE or NAME:KEY=VALUE")
        (by_judge.setdefault(name, {}) if name else shared)[argument] = text
    return shared, by_judge


def words_of(options: EvaluationOptions) -> list[str]:
    """Command-line arguments that are equivalent to the options; defaults are left out.

    Example:
        >>> words_of(Options(model="hf/org/name", tasks=["selection", "cycle"], limit=20))
        ['--tasks', 'selection,cycle', '--limit', '20', '--model', 'hf/org/name']
    """
    return [word for option in options_of(type(options)) for word in _words(option, options)]


def _words(option: Option, options: EvaluationOptions) -> list[str]:
    setting = getattr(options, option.name)
    if setting is None or setting == option.default:
        return []
    if isinstance(setting, bool):
        return [option.flag]
    if option.name == "tasks":
        settings = [",".join(setting)]
    elif isinstance(setting, Mapping):
        text_of = json_word if option.extra.get("json") else str
        settings = [f"{name}={text_of(entry)}" for name, entry in setting.items()]
    else:
        settings = list(setting) if isinstance(setting, list | tuple) else [setting]
    return [word for entry in map(str, settings) for word in _flagged(option.flag, entry)]


def _flagged(flag: str, word: str) -> list[str]:
    """A flag and its word; one word if it would be taken for a flag."""
    return [f"{flag}={word}"] if word.startswith("-") else [flag, word]


def json_word(value: Any) -> str:
    """A value as one word: a text as it is, unless it would be read as JSON.

    Example:
        >>> json_word("low"), json_word("7"), json_word(False), parsed_word(json_word("7"))
        ('low', '"7"', 'false', '7')
    """
    if isinstance(value, str) and parsed_word(value) == value:
        return value
    return msgspec.json.encode(value).decode()


def parsed_word(word: str) -> Any:
    """The value of a word: what it is as JSON, or else the text itself.

    Example:
        >>> parsed_word("false"), parsed_word("low")
        (False, 'low')
    """
    try:
        return msgspec.json.decode(word)
    except (msgspec.DecodeError, RecursionError):
        return word
