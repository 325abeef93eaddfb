"""Published numbers of other groups: shown beside measured ones, never ranked with them."""

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
    """A published column; `key` is that of the measured one: `suite/aggregate`, `suite/task:metric`."""

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
    """The published table that comes with the package (reference.yaml)."""
    return read_yaml(content_folder("leaderboard") / "reference.yaml", Reference)


class PublishedCell(NamedTuple):
    """An aggregate of a published row: the printed value, and the exact one from the printed inputs.

    The keys of `inputs` are columns, or names of other aggregates (with their exact value, unrounded).
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
    """Cells of each row and each aggregate of the suite for which value and inputs are printed."""
    columns = {column.key: i for i, column in enumerate(reference.columns)}
    printed = {key.rpartition("/")[2]: key for key in columns if ":" not in key}
    cells = []
    for model, values in reference.rows.items():
        row = {key: Decimal(str(values[i])) for key, i in columns.items()}
        exact: dict[str, Decimal] = {}
        for name, aggregate in suite.aggregates.items():
            inputs = {
                key: name_and_number
                for key, input_name in aggregate.inputs.items()
                if (name_and_number := _input(input_name, suite, row, exact)) is not None
            }
            if name in printed and len(inputs) == len(aggregate.inputs):
                formula = plugins.load(plugins.AGGREGATES, aggregate.formula)
                exact[name] = formula({key: number for key, (_, number) in inputs.items()})
                rounded = row[printed[name]].quantize(Decimal("0.01"))
                cells.append(PublishedCell(model, name, dict(inputs.values()), rounded, exact[name]))
    return cells


def _input(
    name: str, suite: Suite, row: Mapping[str, Decimal], exact: Mapping[str, Decimal]
) -> tuple[str, Decimal] | None:
    """An input's name and value: an aggregate computed before, or a column; None if it is neither."""
    if name in exact:
        return name, exact[name]
    column = name if "/" in name else f"{suite.name}/{name}"
    return (column, row[column]) if column in row else None
