"""Headrace: the engine alone over the rows of the file, or the whole of it on a data folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.engine.engine import Engine
from headrace.sql import plan_view
from headrace.testing.nexmark import app, side_input
from side_by_side.cost import Cost, consume
from side_by_side.rows import STREAMS, read_steps


def in_memory(name: str, folder: Path) -> tuple[Cost, pa.Table]:
    """Run a query in steps; reading the rows and consuming each step's change are part of the cost."""
    declared = app(name)
    schemas = {stream: declared.streams[stream].schema for stream in STREAMS}
    engine = Engine()
    for stream in STREAMS:
        engine.add_relation(stream, schemas[stream], append_only=True)
    catalog = dict(schemas)
    if "side_input" in declared.tables:
        catalog["side_input"] = declared.tables["side_input"].schema
        engine.add_relation("side_input", catalog["side_input"])
    engine.add_view(plan_view(name, declared.view_decls[name].sql, catalog), _no_history)
    if "side_input" in catalog:
        engine.step(
            {"side_input": Change.inserts(_fitted(side_input(), catalog["side_input"].arrow))}, _now(), {}
        )
    events, started = 0, _clocks()
    for batches in read_steps(folder):
        events += sum(rows.num_rows for rows in batches.values())
        changes = {
            stream: Change.inserts(_arrived(rows) if name == "q12" and stream == "bid" else rows)
            for stream, rows in batches.items()
        }
        output = engine.step(changes, _now(), {})
        assert not output.errors, output.errors
        for change in output.changes.values():
            consume([*change.rows.columns, pa.array(change.weights)])
    cost = _cost(events, started)
    return cost, engine.snapshot(name)


def durable(name: str, folder: Path, data: Path) -> Cost:
    """Run a query on a data folder: every commit is fsynced before it is answered, each step is logged."""
    with app(name).open(data) as run:
        if name == "q13":
            run.upsert("side_input", side_input())
        version = run.advance()
        events, started = 0, _clocks()
        for batches in read_steps(folder):
            with run.transaction() as call:
                for stream, rows in batches.items():
                    call.append(stream, rows)
                    events += rows.num_rows
            before, version = version, run.advance()
            for change in run.changes(name, since=before):
                consume([chunk for column in change.columns for chunk in column.chunks])
        return _cost(events, started)


def _no_history(_: str) -> Iterator[Change]:
    return iter(())


def _now() -> datetime:
    return datetime.now(UTC)


def _clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _cost(events: int, started: tuple[float, float]) -> Cost:
    cpu, wall = _clocks()
    return Cost(events, cpu - started[0], wall - started[1], _peak_mb())


def _peak_mb() -> float:
    """Return the largest resident memory of this process itself, not of the one that it was forked from."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def _fitted(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(rows.columns, schema=schema)


def _arrived(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return bids with the time of the append, as the log keeps it."""
    now_us = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us").astype(np.int64)
    times = pa.array(np.full(rows.num_rows, now_us)).cast(pa.timestamp("us"))
    return rows.append_column("arrived_at", times)
