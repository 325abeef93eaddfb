"""Kinds of judges from their entry points, and a reader of judge.yaml by kind."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from functools import cache, partial
from typing import Any, Union

import msgspec
from msgspec import Struct

from eval_anything import plugins
from eval_anything.content import Metric
from eval_anything.errors import UserError
from eval_anything.files.yaml_files import load_yaml
from eval_anything.judges.folder import JudgeFolder
from eval_anything.judges.kind import JudgeFile


class _Head(Struct):
    kind: str


def judge_kind(name: str) -> type[JudgeFile]:
    """The kind that is registered under a name. UserError for an unknown or unusable one."""
    kind: type[JudgeFile] = plugins.load(plugins.SCORERS, name)
    if not kind.__struct_config__.tag == kind.scorer_type.kind == name:
        raise UserError(
            f"the judge kind {name!r} ({kind.__module__}:{kind.__name__}) has another name than its "
            f"entry point: its tag must be {name!r}, and `kind` of its scorer_type too"
        )
    return kind


def _kinds() -> list[type[JudgeFile]]:
    """All kinds that are installed and usable."""
    kinds = plugins.load_all(plugins.SCORERS).values()
    return [kind for kind in kinds if not isinstance(kind, UserError)]


def judge_schema() -> dict[str, Any]:
    """JSON schema of judge.yaml for all installed kinds."""
    return msgspec.json.schema(Union[tuple(_kinds())])  # noqa: UP007


def read_judge_file(folder: JudgeFolder) -> JudgeFile:
    """Content of a judge's judge.yaml, after a check of the code and templates that it names.

    It runs no code and asks no model. FileProblemsError lists each mistake with its line.
    """
    path = folder.path / "judge.yaml"
    head, mistakes = load_yaml(path, _Head)
    try:
        kind = judge_kind(head.kind)
    except UserError as error:
        mistakes.add(str(error), "kind")
    mistakes.check()
    file, mistakes = load_yaml(path, kind, partial(_about_key, kind))
    file.check(folder.path, mistakes)
    mistakes.check()
    return file


def _about_key(kind: type[JudgeFile], key: str, is_missing: bool) -> str | None:
    """Message for a missing or unknown key; None if the problem is not specific to the kind."""
    common = JudgeFile.__struct_fields__
    name = kind.scorer_type.kind
    if is_missing:
        return None if key in common else f"a {name} judge needs `{key}:`"
    is_of_another = any(key in other.__struct_fields__ for other in _kinds())
    return f"a {name} judge has no {key}: remove it" if is_of_another else None


class JudgeMetrics(UserDict[str, Any]):
    """Metrics of judges by the judge's name. A judge.yaml is read at its first use."""

    def __init__(self, judges: Mapping[str, JudgeFolder]) -> None:
        super().__init__(judges)
        self._read = cache(read_judge_file)

    def __getitem__(self, name: str) -> Mapping[str, Metric]:
        return self._read(self.data[name]).metrics
