"""What sinks in files share: a small file beside the rows that says how far they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from headrace.log.documents import place_file
from headrace.log.files import Files
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
    place_file(Files(), path, orjson.dumps(asdict(mark)))


def put_aside(path: Path) -> None:
    """Rename what has other columns than the view has now; nothing is deleted."""
    number = 1
    while path.with_name(f"{path.name}.before-{number}").exists():
        number += 1
    path.rename(path.with_name(f"{path.name}.before-{number}"))
