"""Conversion of a data set's rows to lines of samples.jsonl by the task's own Jinja2 template.

A template is rendered in a sandbox, once for each item: `row` is the row, or the first one of the
group, and `rows` is the list of them. It writes one JSON object, which is checked like a line of
samples.jsonl. Beside the filters of Jinja2 (`tojson` writes any value) it has those of `make_filters`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval_anything.errors import near
from eval_anything.files.mistakes import Mistakes, Problem, mistake
from eval_anything.files.places import is_bundled
from eval_anything.files.reading import read_text
from eval_anything.files.templates import Filters, Template, TemplateError, read_template
from eval_anything.scoring.votes import checked_votes, most_voted
from eval_anything.tasks.datasets.archives import folder_of, unpacked
from eval_anything.tasks.datasets.choices import choices, chosen
from eval_anything.tasks.datasets.declaration import DataSet
from eval_anything.tasks.datasets.find import Snapshot, data_home
from eval_anything.tasks.datasets.media import MediaFinder
from eval_anything.tasks.datasets.rows import DatasetRow, read_rows

_MOST_PROBLEMS = 5


class Lines(NamedTuple):
    """A data set as lines of JSON, each with its origin, and the folder of its media.

    The origin is a `Problem` whose message names the row; `extended` appends a mistake to it.
    """

    lines: list[tuple[Problem, bytes]]
    media: Path


def sample_lines(dataset: DataSet, template: Path, snapshot: Snapshot) -> Lines:
    """The lines of the samples that belong to the task. FileProblemsError names rows and fields."""
    items = _items(read_rows(snapshot.rows), dataset)
    if len(items) != dataset.items:
        unit = "rows" if dataset.group_by is None else f"groups of rows by {dataset.group_by!r}"
        raise mistake(
            snapshot.rows[0],
            f"{len(items)} {unit} were found, and {dataset.name} has {dataset.items}. Either the copy "
            "is not complete, or it is another version. To take fewer samples use --limit N; to "
            "evaluate on a changed set copy the task's folder under another name and set `items` there",
        )
    media = _media_folder(dataset, snapshot)
    filters = _filters(media, [folder_of(name) for name in dataset.archives])
    compiled = Template(read_text(template), is_bundled(template), filters)
    lines = []
    mistakes = Mistakes(snapshot.rows[0])
    for rows in _belonging(items, dataset, snapshot):
        where = Problem(rows[0].file, rows[0].line, f"row {rows[0].number}: ")
        try:
            text = compiled.render(row=rows[0].fields, rows=[row.fields for row in rows])
            lines.append((where, text.encode()))
        except TemplateError as error:
            mistakes.append(where.extended(_explained(error, rows[0].fields)))
            if len(mistakes) == _MOST_PROBLEMS:
                break
    mistakes.check()
    return Lines(lines, media)


def _items(rows: Sequence[DatasetRow], dataset: DataSet) -> list[list[DatasetRow]]:
    """The items, each a list: of a single row, or of the rows of a group, in the order of the file."""
    if dataset.group_by is None:
        return [[row] for row in rows]
    groups: dict[str, list[DatasetRow]] = {}
    for row in rows:
        groups.setdefault(_field(row, dataset.group_by), []).append(row)
    return list(groups.values())


def _belonging(
    items: list[list[DatasetRow]], dataset: DataSet, snapshot: Snapshot
) -> list[list[DatasetRow]]:
    where = dataset.where
    if where is None:
        return items
    labels = [_field(rows[0], where.field) for rows in items]
    for rows, label in zip(items, labels, strict=True):
        if label not in where.among:
            raise mistake(
                rows[0].file,
                f"row {rows[0].number}: {where.field} is {label!r}, which is none of "
                f"{', '.join(where.among)}.{near(label, where.among)}",
                rows[0].line,
            )
    belonging = [rows for rows, label in zip(items, labels, strict=True) if label == where.equals]
    if not belonging:
        raise mistake(snapshot.rows[0], f"no row has the {where.field} {where.equals!r}")
    return belonging


def _field(row: DatasetRow, name: str) -> str:
    if name not in row.fields:
        raise mistake(row.file, f"row {row.number}: {_missing(name, row.fields)}", row.line)
    return str(row.fields[name])


def _missing(name: str, fields: dict[str, Any]) -> str:
    return f"there is no field {name!r}; the row has {', '.join(fields)}.{near(name, fields)}"


def _explained(error: TemplateError, fields: dict[str, Any]) -> str:
    undefined = re.search(r"^'dict object' has no attribute '(.+)'$", str(error))
    return _missing(undefined[1], fields) if undefined else str(error)


def _media_folder(dataset: DataSet, snapshot: Snapshot) -> Path:
    """The folder of the media: the snapshot itself if it has no archives or they are unpacked there,
    else a cache into which they are unpacked."""
    archives = [snapshot.path / name for name in dataset.archives]
    packed = [path for path in archives if path.is_file()]
    missing = [path for path in archives if not path.is_file()]
    if packed and not missing:
        return unpacked(packed, dataset.name, data_home() / ".unpacked")
    missing = [path for path in missing if packed or not (path.parent / folder_of(path.name)).is_dir()]
    if missing:
        names = " and ".join(path.name for path in missing)
        raise mistake(
            snapshot.path,
            f"{names} {'is' if len(missing) == 1 else 'are'} missing (or, with all archives unpacked "
            f"there, {' and '.join(folder_of(p.name) + '/' for p in missing)}): the copy of "
            f"{dataset.name} is not complete",
        )
    return snapshot.path


def _filters(media: Path, archives: Sequence[str]) -> Filters:
    return Filters(f"{__name__}:{make_filters.__name__}", (str(media), tuple(archives)))


def make_filters(media: str, archives: Sequence[str]) -> dict[str, Any]:
    """The filters of templates for samples, which find media below a folder."""
    return {
        "tojson": lambda value: json.dumps(value, default=_not_json),
        "medium": MediaFinder(Path(media), archives).part,
        "votes": checked_votes,
        "most_voted": most_voted,
        "choices": choices,
        "chosen": chosen,
    }


def _not_json(value: Any) -> None:
    str(value)  # raises jinja2.UndefinedError, which names the field, if there is none
    raise TypeError(f"a value of type {type(value).__name__} cannot be written as JSON")


def check_template(path: Path, mistakes: Mistakes) -> None:
    """Notes the mistakes of a template that show without data."""
    read_template(path, mistakes, _filters(path.parent, []))
