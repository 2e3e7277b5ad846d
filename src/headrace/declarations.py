"""What an app declares, as plain data: the runtime, the log and the pages read these, nobody changes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.contracts.schema import Schema

if TYPE_CHECKING:
    from pydantic import BaseModel

DEFAULT_IDLE_AFTER = timedelta(minutes=5)
DEFAULT_MAX_AHEAD = timedelta(hours=1)
DEFAULT_EVENT_ID_WINDOW = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class StreamDecl:
    """An append-only stream.

    Attributes:
        name: unique among streams, tables and views, without regard to case.
        schema: the columns.
        model: the pydantic model it was declared with, or None for a SQL column list.
        event_id: column whose repeated values count once within `event_id_window`.
        event_time: column of event time, or None.
        lateness: allowed disorder; None: a row is never late.
        idle_after: silence after which the watermark moves on at the clock's pace.
        max_ahead: how far beyond the append clock an event time may lie.
        event_id_window: how long event ids are remembered.
        append_time: column that is filled with the append clock and logged with the row, or None.
    """

    name: str
    schema: Schema
    model: type[BaseModel] | None = None
    event_id: str | None = None
    event_time: str | None = None
    lateness: timedelta | None = None
    idle_after: timedelta = DEFAULT_IDLE_AFTER
    max_ahead: timedelta = DEFAULT_MAX_AHEAD
    event_id_window: timedelta = DEFAULT_EVENT_ID_WINDOW
    append_time: str | None = None

    @property
    def late_name(self) -> str:
        """The side table of late rows: the stream's columns and `_watermark`, which they missed."""
        return f"{self.name}__late"

    @property
    def rejected_name(self) -> str:
        """The side table of rejected rows: `row` (JSON), `reason`, `field`, `value`, `rejected_at`."""
        return f"{self.name}__rejected"


@dataclass(frozen=True, slots=True)
class TableDecl:
    """A table that changes by key, or a bag of rows where `key` is None.

    Attributes:
        name: unique among streams, tables and views, without regard to case.
        schema: the columns.
        model: the pydantic model, or None.
        key: the key columns; None: a bag.
        effective: column from when a row is valid, or None (history: a later step).
        sequence: column that orders versions of one key; an older one never overwrites a newer one.
    """

    name: str
    schema: Schema
    model: type[BaseModel] | None = None
    key: tuple[str, ...] | None = None
    effective: str | None = None
    sequence: str | None = None

    @property
    def rejected_name(self) -> str:
        """The side table of rejected rows, as for streams."""
        return f"{self.name}__rejected"


@dataclass(frozen=True, slots=True)
class ViewDecl:
    """A view: its SQL, and the file it came from, if any (for error messages)."""

    name: str
    sql: str
    path: Path | None = None
