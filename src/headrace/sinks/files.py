"""What sinks in files share: a small file beside the rows that says how far they are."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from headrace.sinks.shipment import Position, Shipment


@dataclass(frozen=True, slots=True)
class Mark:
    """What stands beside the rows.

    Attributes:
        columns: of the view, names and types.
        history: see `Position`; None while nothing has been delivered.
        version: see `Position`.
        part: number of the last file, where a sink writes several.
    """

    columns: list[list[str]]
    history: str | None = None
    version: int = 0
    part: int = 0

    @property
    def position(self) -> Position | None:
        """The position, or None while nothing has been delivered."""
        return None if self.history is None else Position(self.history, self.version)


def columns_of(shipment: Shipment) -> list[list[str]]:
    """Return names and types of a view's columns."""
    return [[column.name, column.sql_type] for column in shipment.schema]


def read_mark(path: Path) -> Mark | None:
    """Return what stands in a mark; None: there is none, or it is not readable."""
    try:
        facts: Any = orjson.loads(path.read_bytes())
        return Mark(**facts)
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None


def write_mark(path: Path, mark: Mark) -> None:
    """Put a mark in place as a whole, durable when it returns."""
    draft = path.with_name(path.name + ".tmp")
    with draft.open("wb") as file:
        file.write(orjson.dumps(asdict(mark)))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_aside(path: Path) -> None:
    """Rename what has other columns than the view has now; nothing is deleted."""
    number = 1
    while path.with_name(f"{path.name}.before-{number}").exists():
        number += 1
    path.rename(path.with_name(f"{path.name}.before-{number}"))
