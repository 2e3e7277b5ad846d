"""The rows that all engines read: one Arrow file per stream, one record batch per step, written once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from headrace.testing.nexmark import SIDE_INPUT_ROWS, make_events, side_input

STREAMS = ("person", "auction", "bid")


def write_rows(folder: Path, events: int, step: int) -> Path:
    """Write the first `events` events, unless they are there; return the folder.

    Times are cut to milliseconds, which is all that a Flink time attribute holds.
    """
    folder = folder / f"{events}-by-{step}"
    done = folder / "done.json"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[str, pa.ipc.RecordBatchFileWriter] = {}
    for first in range(0, events, step):
        made = make_events(first, min(step, events - first))
        for stream in STREAMS:
            rows = _milliseconds(getattr(made, stream))
            if stream not in writers:
                writers[stream] = pa.ipc.new_file(folder / f"{stream}.arrow", rows.schema)
            writers[stream].write_batch(rows)
    for writer in writers.values():
        writer.close()
    side = side_input().to_pylist()
    lines = [f"{row['key']},{row['value']}" for row in side]
    (folder / "side_input.csv").write_text("\n".join(lines), encoding="utf-8")
    done.write_text(json.dumps({"events": events, "step": step, "side": SIDE_INPUT_ROWS}), encoding="utf-8")
    return folder


def _milliseconds(rows: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        pc.floor_temporal(column, unit="millisecond") if pa.types.is_timestamp(column.type) else column
        for column in rows.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def read_steps(folder: Path) -> Iterator[dict[str, pa.RecordBatch]]:
    """Yield the rows of each step by stream, memory-mapped."""
    files = {stream: pa.ipc.open_file(pa.memory_map(str(folder / f"{stream}.arrow"))) for stream in STREAMS}
    for number in range(files["bid"].num_record_batches):
        batches = {stream: file.get_batch(number) for stream, file in files.items()}
        yield {stream: rows for stream, rows in batches.items() if rows.num_rows}


def read_tables(folder: Path) -> dict[str, pa.Table]:
    """Return all rows by stream."""
    return {
        stream: pa.ipc.open_file(pa.memory_map(str(folder / f"{stream}.arrow"))).read_all()
        for stream in STREAMS
    }
