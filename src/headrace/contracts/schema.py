"""Columns and their types: one SQL type (DuckDB's spelling) and the Arrow type that carries it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

LOSSY_IN_ARROW = ("HUGEINT", "UHUGEINT", "JSON", "UUID", "BIT", "ENUM", "TIME WITH TIME ZONE", "TIMETZ")
"""SQL types that Arrow carries as another type; DuckDB must be told the type when it reads them back."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: as declared; compared without regard to case, as DuckDB does.
        sql_type: DuckDB's canonical spelling, such as `DECIMAL(18,2)`.
        arrow: the Arrow type that DuckDB exchanges for it.
        nullable: whether NULL is accepted at the door (views: always True).
        privacy: the tag of `hr.pii(...)`, or None.
    """

    name: str
    sql_type: str
    arrow: pa.DataType
    nullable: bool = True
    privacy: str | None = None

    @property
    def is_lossy(self) -> bool:
        """Whether a plain Arrow scan in DuckDB would lose the SQL type."""
        return any(word in self.sql_type for word in LOSSY_IN_ARROW)

    @property
    def restored_sql(self) -> str:
        """DuckDB SQL that gives the column its SQL type back after a plain Arrow scan."""
        name = '"' + self.name.replace('"', '""') + '"'
        if not self.is_lossy:
            return name
        if self.sql_type == "BIT":  # bytes: how many bits of the next byte are padding, then the bits
            bits, padding = (
                f"CAST(CAST({name} AS BIT) AS VARCHAR)",
                f"CAST(substr(hex({name}), 2, 1) AS INTEGER)",
            )
            return f"CAST(substr({bits}, 9 + {padding}) AS BIT) AS {name}"
        return f"CAST({name} AS {self.sql_type}) AS {name}"


@dataclass(frozen=True, slots=True)
class Schema:
    """An ordered set of columns."""

    columns: tuple[Column, ...]

    @classmethod
    def of(cls, columns: Iterable[Column]) -> Schema:
        """Build a schema from any iterable of columns."""
        return cls(tuple(columns))

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema (every field nullable)."""
        return pa.schema([pa.field(column.name, column.arrow) for column in self.columns])

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, name: str) -> Column:
        """Return the column of that name; KeyError where there is none."""
        wanted = name.lower()
        for column in self.columns:
            if column.name.lower() == wanted:
                return column
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(column.name.lower() == name.lower() for column in self.columns)

    def select(self, names: Iterable[str]) -> Schema:
        """Return the schema of those columns, in that order."""
        return Schema(tuple(self[name] for name in names))
