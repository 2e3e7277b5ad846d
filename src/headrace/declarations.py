"""What an app declares, as plain data: the runtime, the log and the pages read these, nobody changes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.contracts.durations import duration
from headrace.contracts.keeping import KEPT, Delivery, Retention
from headrace.contracts.schema import Schema
from headrace.errors import DeclarationError

if TYPE_CHECKING:
    from pydantic import BaseModel

DEFAULT_IDLE_AFTER = timedelta(minutes=5)
REACH_ROWS_MAX = 200_000
"""Rows that a change of a few rows of a table may reach in a step; what reaches more is computed aside."""
RECOMPUTE_ROWS_MAX = 1_000_000
"""Input rows up to which a part of a view without an incremental rule is recomputed at every step."""
REFRESH_MIN = timedelta(milliseconds=100)
DEFAULT_MAX_AHEAD = timedelta(hours=1)
DEFAULT_HISTORY = timedelta(days=7)
"""How long the past of views and tables is kept where nothing else is said."""
DEFAULT_EVENT_ID_WINDOW = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Checkpointing:
    """When an open app takes checkpoints by itself, and how many it keeps.

    Attributes:
        every_s: seconds after the last one, where much has come since.
        rows: rows since the last one, beyond which it does not wait: a start has so many to replay.
        log_bytes: the same in bytes of the log.
        kept: how many are kept; should the newest be damaged, the one before it serves.
    """

    every_s: float = 60.0
    rows: int = 2_000_000
    log_bytes: int = 512 * 1024 * 1024
    kept: int = 2

    def __post_init__(self) -> None:
        if min(self.every_s, self.rows, self.log_bytes, self.kept) <= 0:
            raise DeclarationError(f"{self} cannot be", expected="every_s, rows, log_bytes and kept above 0")


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
        retention: how long rows are kept; None: for ever.
        delivery: what an append promises.
        renamed: other names under which rows may carry a column, each with the column's name.
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
    retention: Retention | None = None
    delivery: Delivery = "exactly_once"
    renamed: tuple[tuple[str, str], ...] = ()

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
        effective: column from when a row is valid, or None; with it, the table keeps the history of its rows.
        sequence: column that orders versions of one key; an older one never overwrites a newer one.
        renamed: other names under which rows may carry a column, each with the column's name.
    """

    name: str
    schema: Schema
    model: type[BaseModel] | None = None
    key: tuple[str, ...] | None = None
    effective: str | None = None
    sequence: str | None = None
    renamed: tuple[tuple[str, str], ...] = ()

    @property
    def rejected_name(self) -> str:
        """The side table of rejected rows, as for streams."""
        return f"{self.name}__rejected"

    @property
    def versions_name(self) -> str:
        """What holds every accepted version, where `effective` is declared; see `intake.versions`."""
        return f"{self.name}__versions"

    @property
    def history_name(self) -> str:
        """The view of all versions with `valid_from` and `valid_to`, where `effective` is declared."""
        return f"{self.name}__history"


@dataclass(frozen=True, slots=True)
class ViewDecl:
    """A view: its SQL, and the file it came from, if any (for error messages)."""

    name: str
    sql: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class SinkDecl:
    """A sink: where a view's changes go.

    Attributes:
        name: unique among the sinks of an app; the position is kept under it.
        view: the view or table that is delivered.
        url: its scheme says which kind of sink it is.
        options: of that kind.
        every: pause between deliveries; None: as soon as there is something.
    """

    name: str
    view: str
    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    every: timedelta | None = None


_OPTION = re.compile(
    r"^[ \t]*--[ \t]*(emit|refresh|history|history_from)[ \t]*:[ \t]*(.*?)[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """What a view's text says of itself beside its SQL, in comments such as `-- emit: final`.

    They stand on lines of their own, and so travel with the text: in a `.sql` file, in a declaration, in the
    log.

    Attributes:
        emit: `final`: only rows that no later change can concern; None: every row as it is now.
        refresh: how often the view is computed anew, beside the steps; None: it moves with every step.
        history: how long the view's past is kept at least; zero: not at all; None: as long as any other's.
        history_from: `kept`: over the rows of streams that are kept; None: over all that there ever were.
    """

    emit: str | None = None
    refresh: timedelta | None = None
    history: timedelta | None = None
    history_from: str | None = None


def options_of(sql: str, *, where: str | None = None) -> ViewOptions:
    """Return the options that stand in a view's text.

    Raises:
        DeclarationError: one of them has a value that makes no sense, or stands there twice.
    """
    found: dict[str, str] = {}
    for name, value in _OPTION.findall(sql):
        if name.lower() in found:
            raise DeclarationError(f"the option {name.lower()} stands there twice", where=where)
        found[name.lower()] = value.lower()
    emit = found.get("emit")
    if emit not in (None, "final"):
        raise DeclarationError(f"emit is {emit!r}", where=where, expected="final, or no such option")
    refresh = duration(found["refresh"], where=f"{where or 'view'}, refresh") if "refresh" in found else None
    if refresh is not None and (emit is not None or refresh < REFRESH_MIN):
        raise DeclarationError(
            f"refresh is {found['refresh']!r}" + (" beside emit" if emit else ""),
            where=where,
            expected=f"at least {REFRESH_MIN.total_seconds():g}s, and no emit",
        )
    history_from = found.get("history_from")
    if history_from not in (None, KEPT):
        raise DeclarationError(
            f"history_from is {history_from!r}", where=where, expected=f"{KEPT}, or no such option"
        )
    return ViewOptions(emit, refresh, _history(found.get("history"), where), history_from)


def _history(text: str | None, where: str | None) -> timedelta | None:
    if text is None:
        return None
    return timedelta(0) if text in ("0", "none") else duration(text, where=f"{where or 'view'}, history")


def with_options(sql: str, **options: str | None) -> str:
    """Return a view's text with the options that are given added behind it."""
    lines = [f"\n-- {name}: {value}" for name, value in options.items() if value is not None]
    return sql + "".join(lines)
