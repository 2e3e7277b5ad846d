"""Declarations back from the facts that the log keeps of them (`App.fingerprint`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from headrace.contracts.keeping import retention_of
from headrace.contracts.schema import Schema
from headrace.contracts.types import column
from headrace.declarations import StreamDecl, TableDecl

Facts = Mapping[str, Any]


def stream_of(name: str, facts: Facts) -> StreamDecl:
    """Return the stream that was declared so; it has no model."""
    return StreamDecl(
        name,
        _schema(facts),
        None,
        facts["event_id"],
        facts["event_time"],
        _span(facts["lateness_ms"]),
        _span(facts["idle_after_ms"]) or timedelta(0),
        _span(facts["max_ahead_ms"]) or timedelta(0),
        _span(facts["event_id_window_ms"]) or timedelta(0),
        facts.get("append_time"),
        retention_of(facts.get("retention"), where=f"stream {name!r}"),
        facts.get("delivery", "exactly_once"),
        tuple(facts.get("renamed", {}).items()),
    )


def table_of(name: str, facts: Facts) -> TableDecl:
    """Return the table that was declared so; it has no model."""
    key = tuple(facts["key"]) if facts["key"] else None
    renamed = tuple(facts.get("renamed", {}).items())
    return TableDecl(name, _schema(facts), None, key, facts["effective"], facts["sequence"], renamed)


def _schema(facts: Facts) -> Schema:
    return Schema.of(
        column(name, sql_type, nullable=nullable, privacy=privacy)
        for name, sql_type, nullable, privacy in facts["columns"]
    )


def _span(milliseconds: float | None) -> timedelta | None:
    return None if milliseconds is None else timedelta(milliseconds=milliseconds)
