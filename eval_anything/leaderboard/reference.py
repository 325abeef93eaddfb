"""Rows of numbers that others published: shown beside measured ones, never ranked with them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from msgspec import Struct

from eval_anything import plugins
from eval_anything.files.places import content_folder
from eval_anything.files.yaml_files import read_yaml
from eval_anything.tasks.registry import Suite


class ReferenceColumn(Struct, frozen=True, forbid_unknown_fields=True):
    """A column: its key is that of a measured one (`suite/aggregate`, or `suite/task:metric`)."""

    key: str
    label: str
    range: tuple[float, float]
    modalities: list[str]
    main: bool = False


class Reference(Struct, frozen=True, forbid_unknown_fields=True):
    """reference.yaml. `rows` maps a model to its values in the order of `columns`."""

    source: str
    url: str
    columns: list[ReferenceColumn]
    rows: dict[str, list[float]]

    def __post_init__(self) -> None:
        for name, values in self.rows.items():
            if len(values) != len(self.columns):
                raise ValueError(f"{name} has {len(values)} values for {len(self.columns)} columns")


def read_reference() -> Reference:
    """The paper's table."""
    return read_yaml(content_folder("leaderboard") / "reference.yaml", Reference)


class PublishedCell(NamedTuple):
    """An aggregate of a published row: what is printed, and the exact value from the printed inputs.

    `inputs` are by column, or the name of another aggregate (that one exact, not as it is printed).
    """

    model: str
    aggregate: str
    inputs: dict[str, Decimal]
    printed: Decimal
    exact: Decimal

    @property
    def same(self) -> bool:
        """Whether the exact value, rounded half up, is the printed one."""
        return self.exact.quantize(Decimal("0.01"), ROUND_HALF_UP) == self.printed


def published_cells(reference: Reference, suite: Suite) -> list[PublishedCell]:
    """A cell for each row and each aggregate of the suite that is printed and whose inputs are."""
    columns = {column.key: i for i, column in enumerate(reference.columns)}
    printed = {key.rpartition("/")[2]: key for key in columns if ":" not in key}
    cells = []
    for model, values in reference.rows.items():
        row = {key: Decimal(str(values[i])) for key, i in columns.items()}
        exact: dict[str, Decimal] = {}
        for name, aggregate in suite.aggregates.items():
            inputs = {key: _input(ref, suite, row, exact) for key, ref in aggregate.inputs.items()}
            if name in printed and all(found is not None for found in inputs.values()):
                known = {key: found for key, found in inputs.items() if found is not None}
                formula = plugins.load(plugins.AGGREGATES, aggregate.formula)
                exact[name] = formula({key: value for key, (_, value) in known.items()})
                shown = row[printed[name]].quantize(Decimal("0.01"))
                cells.append(PublishedCell(model, name, dict(known.values()), shown, exact[name]))
    return cells


def _input(
    reference: str, suite: Suite, row: Mapping[str, Decimal], exact: Mapping[str, Decimal]
) -> tuple[str, Decimal] | None:
    """An input's name and value: an aggregate computed before, or a column; None if it is neither."""
    if reference in exact:
        return reference, exact[reference]
    full = reference if "/" in reference else f"{suite.name}/{reference}"
    return (full, row[full]) if full in row else None
