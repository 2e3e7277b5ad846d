"""The one place that ties log, engine, state and outlets together: a running app."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.results import AppendResult, Freshness, Version

if TYPE_CHECKING:
    from headrace.app import App

Rows = Any
"""Dicts, models, or anything with `__arrow_c_stream__` (pyarrow, pandas, polars, duckdb)."""


class Outlet(Protocol):
    """Where views meet the outside: called after each version, in order, on the step thread; must return at once."""

    def publish(self, version: Version, changes: Mapping[str, Change]) -> None:
        """Take the consolidated changes of every view that changed in this version."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of one version.

    Attributes:
        table: the rows; its SQL types are in `schema`.
        version: what it was read at.
        freshness: how old it is.
    """

    table: pa.Table
    schema: Schema
    version: Version
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class RelationInfo:
    """One readable name: kind is `stream`, `table`, `view` or `side` (late and rejected rows)."""

    name: str
    kind: str
    schema: Schema
    sql: str | None = None
    key: tuple[str, ...] | None = None
    error: str | None = None
    rows: int | None = None


class Transaction:
    """Several changes, one commit; nothing is seen or durable before the block ends without an exception."""

    def append(self, stream: str, rows: Rows) -> None: ...
    def upsert(self, table: str, rows: Rows) -> None: ...
    def delete(self, table: str, rows: Rows) -> None: ...

    result: Mapping[str, AppendResult]
    """Per relation, after the block."""


class Run:
    """An open app. Thread-safe. Use as a context manager, or call `close`."""

    app: App

    # --- ways in -----------------------------------------------------------------------------------------------
    def append(self, stream: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None) -> AppendResult: ...
    def upsert(self, table: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None) -> AppendResult: ...
    def delete(self, table: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None) -> AppendResult: ...
    def transaction(self, source: str | None = None, position: Any = None, *, idempotency_key: str | None = None) -> AbstractContextManager[Transaction]: ...
    def position(self, source: str) -> Any: ...

    # --- versions ----------------------------------------------------------------------------------------------
    def advance(self) -> Version: ...
    def wait_for(self, commit: int, timeout_s: float = 10.0) -> Version: ...
    @property
    def version(self) -> Version: ...
    @property
    def freshness(self) -> Freshness: ...

    # --- reading -----------------------------------------------------------------------------------------------
    def query(self, sql: str, params: Sequence[Any] = ()) -> pa.Table: ...
    def answer(self, sql: str, params: Sequence[Any] = (), *, limits: Any = None) -> Answer: ...
    def read(self, view: str) -> Answer: ...
    def changes(self, view: str, since: int | Version | None = None, *, follow: bool = False) -> Iterator[pa.Table]: ...
    def snapshot(self, view: str) -> tuple[Version, pa.Table]: ...
    def explain(self, view: str) -> Any: ...

    # --- definitions -------------------------------------------------------------------------------------------
    def create_view(self, name: str, sql: str) -> None: ...
    def replace_view(self, name: str, sql: str) -> None: ...
    def drop_view(self, name: str) -> None: ...
    def relations(self) -> list[RelationInfo]: ...
    def relation(self, name: str) -> RelationInfo: ...

    # --- outlets and life --------------------------------------------------------------------------------------
    def attach(self, outlet: Outlet) -> Callable[[], None]: ...
    def stats(self) -> dict[str, Any]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Run: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def open_run(app: App, path: Path | None, *, auto: bool = False) -> Run: ...
