"""What one value or one row may look like: a SQL type with constraints, as validation reads it.

Models and SQL column lists both become a `RowShape`, so that there is one way to check rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from headrace.contracts.schema import Column, Schema
from headrace.contracts.types import SqlType, sql_type


class Custom(IntEnum):
    """How much of a model only pydantic can check, row by row."""

    NONE = 0
    AFTER = 1
    """Validators that see typed values; they run on rows that passed the columnar checks."""
    BEFORE = 2
    """Validators that see or change raw values; they run first."""


@dataclass(frozen=True, slots=True)
class Check:
    """One constraint on a value.

    Attributes:
        op: gt, ge, lt, le, min_length, max_length, pattern, one_of or finite.
        bound: what it is compared with; a tuple for `one_of`.
    """

    op: str
    bound: Any = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What one value may look like.

    Attributes:
        type: the SQL type.
        nullable: whether NULL may stand here.
        checks: constraints beyond the type.
        members: members of a struct; element of a list; key and value of a map.
        extra_ignored: for structs, whether unknown members are dropped instead of rejected.
    """

    type: SqlType
    nullable: bool = True
    checks: tuple[Check, ...] = ()
    members: tuple[Member, ...] = ()
    extra_ignored: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """A named part of a row or struct.

    Attributes:
        name: the column or member.
        shape: what its values may look like.
        aliases: other names under which a row may carry it.
        default: called for the value of a row that lacks it; None: NULL, or a rejection without it.
        privacy: the tag of `hr.pii(...)`, or None.
        is_raw: a validator of the user reads the raw value.
    """

    name: str
    shape: Shape
    aliases: tuple[str, ...] = ()
    default: Callable[[], Any] | None = None
    privacy: str | None = None
    is_raw: bool = False

    def column(self) -> Column:
        """Return the column that holds it."""
        kind = self.shape.type
        return Column(self.name, kind.sql, kind.arrow, self.shape.nullable, self.privacy)


@dataclass(frozen=True, slots=True)
class RowShape:
    """What one row may look like.

    Attributes:
        members: the columns.
        extra_ignored: whether unknown fields are dropped instead of rejected.
        custom: what only pydantic can check.
    """

    members: tuple[Member, ...]
    extra_ignored: bool = False
    custom: Custom = Custom.NONE

    def schema(self) -> Schema:
        """Return the columns."""
        return Schema.of(member.column() for member in self.members)


def shape_of_type(kind: SqlType, *, nullable: bool = True) -> Shape:
    """Return the shape of any value of a SQL type; all inner parts accept NULL, but map keys do not."""
    names = kind.names or {"map": ("key", "value")}.get(kind.kind, ("item",))
    members = tuple(
        Member(name, shape_of_type(child, nullable=not (kind.kind == "map" and name == "key")))
        for name, child in zip(names, kind.children, strict=False)
    )
    return Shape(kind, nullable, members=members)


def row_shape_of_schema(schema: Schema) -> RowShape:
    """Return the shape of rows that were declared without a model."""
    return RowShape(
        tuple(
            Member(
                column.name,
                shape_of_type(sql_type(column.sql_type), nullable=column.nullable),
                privacy=column.privacy,
            )
            for column in schema
        )
    )
