"""Rows of numbers that others published: shown beside measured ones, never ranked with them."""

from __future__ import annotations

from msgspec import Struct

from eval_anything.bundled import content_folder
from eval_anything.yamlfile import read_yaml


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
