"""What sinks in SQL databases share: a table, the positions, one transaction for both."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.errors import StorageError
from headrace.sinks.registry import Target
from headrace.sinks.shipment import Position, Shipment, quoted

POSITIONS = "_headrace_positions"
OPTIONS = {"table": "the table's name; the view's, where it is not given"}


class TableSink(ABC):
    """A table that is kept at a view, with the position beside it.

    Both change in one transaction, so a crash at any moment leaves a whole version, and the position says
    which.
    """

    def __init__(self, target: Target) -> None:
        self.name = target.name
        self.table = quoted(str(target.options.get("table", target.view)))

    # --- what a database brings -------------------------------------------------------------------
    @abstractmethod
    def run(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""

    @abstractmethod
    def types(self, schema: Schema) -> list[str]:
        """Return the column types of the table."""

    @abstractmethod
    def insert(self, shipment: Shipment, change: Change) -> None:
        """Add rows, each as often as its weight says."""

    @abstractmethod
    def delete(self, shipment: Shipment, change: Change) -> int:
        """Take away rows, each as often as its weight says; return how many were there."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    # --- the protocol of sinks --------------------------------------------------------------------
    def position(self) -> Position | None:
        """Return the position that was stored with the rows."""
        self.run(
            f"CREATE TABLE IF NOT EXISTS {POSITIONS} "
            "(sink TEXT PRIMARY KEY, history TEXT NOT NULL, version BIGINT NOT NULL, columns TEXT NOT NULL)"
        )
        found = self.run(f"SELECT history, version FROM {POSITIONS} WHERE sink = ?", [self.name])
        return Position(found[0][0], int(found[0][1])) if found else None

    def write(self, shipment: Shipment) -> None:
        """Take a shipment in one transaction."""
        self.begin()
        try:
            self.place(shipment)
            self.note(shipment)
            self.commit()
        except BaseException:
            self.undo()
            raise

    def begin(self) -> None:
        """Open the transaction."""
        self.run("BEGIN")

    def commit(self) -> None:
        """Make rows and position durable at once."""
        self.run("COMMIT")

    def undo(self) -> None:
        """Give the transaction up; the failure that led here is what is told."""
        with contextlib.suppress(Exception):  # a broken connection has no transaction any more
            self.run("ROLLBACK")

    def place(self, shipment: Shipment) -> None:
        """Put the rows in place."""
        if shipment.is_whole:
            self.make(shipment)
            self.insert(shipment, shipment.net())
        else:
            self._apply(shipment)

    def note(self, shipment: Shipment) -> None:
        """Store the position."""
        at, columns = shipment.position, self.columns_of(shipment)
        self.run(f"DELETE FROM {POSITIONS} WHERE sink = ?", [self.name])
        self.run(f"INSERT INTO {POSITIONS} VALUES (?, ?, ?, ?)", [self.name, at.history, at.version, columns])

    def columns_of(self, shipment: Shipment) -> str:
        """Return the columns of a shipment as text."""
        return ", ".join(f"{quoted(column.name)} {column.sql_type}" for column in shipment.schema)

    def _apply(self, shipment: Shipment) -> None:
        change = shipment.net()
        gone = change.filter(change.weights < 0)
        found = self.delete(shipment, gone)
        if found != -int(gone.weights.sum()):
            self.undo()
            self.run(f"DELETE FROM {POSITIONS} WHERE sink = ?", [self.name])
            raise StorageError(
                "the table does not hold the rows that go", where=f"sink {self.name!r}",
                expected="a table that nobody else writes to", hint="it is filled anew at the next try",
            )  # fmt: skip
        self.insert(shipment, change.filter(change.weights > 0))

    def make(self, shipment: Shipment, more: str = "") -> None:
        """Make the table anew."""
        columns = zip(shipment.schema.names, self.types(shipment.schema), strict=True)
        self.run(f"DROP TABLE IF EXISTS {self.table}")
        self.run(f"CREATE TABLE {self.table} ({', '.join(f'{quoted(n)} {t}' for n, t in columns)}{more})")
