"""Some Nexmark queries in Bytewax, as its guide writes them; runs in an environment of its own.

    python bytewax_flow.py QUERY ROWS

Reads the bids of the Arrow file and prints CPU seconds, seconds and peak kilobytes. Keyed queries give out
the new value of a key at each bid.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import timedelta  # noqa: F401 - Bytewax's operators resolve it
from decimal import Decimal
from pathlib import Path
from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found]
import pyarrow as pa
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]
from bytewax.inputs import DynamicSource, StatelessSourcePartition  # type: ignore[import-not-found]
from bytewax.outputs import DynamicSink, StatelessSinkPartition  # type: ignore[import-not-found]
from bytewax.testing import run_main  # type: ignore[import-not-found]

EURO = Decimal("0.908")


class Rows(StatelessSourcePartition):  # type: ignore[misc]
    """The bids, a thousand at a time, as tuples."""

    def __init__(self, path: Path) -> None:
        self._file = pa.ipc.open_file(pa.memory_map(str(path)))
        self._bids = self._all()

    def _all(self) -> Any:
        for number in range(self._file.num_record_batches):
            batch = self._file.get_batch(number)
            for first in range(0, batch.num_rows, 1_000):
                part = batch.slice(first, 1_000)
                yield list(zip(*(column.to_pylist() for column in part.columns), strict=True))

    def next_batch(self) -> Any:
        """Return the next bids."""
        return next(self._bids)


class Source(DynamicSource):  # type: ignore[misc]
    """The bids of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def build(self, *_: Any) -> Rows:
        """Return the only partition."""
        return Rows(self._path)


class Nowhere(DynamicSink, StatelessSinkPartition):  # type: ignore[misc]
    """Counts what comes out."""

    count = 0

    def build(self, *_: Any) -> Nowhere:
        """Return itself."""
        return self

    def write_batch(self, items: list[Any]) -> None:
        """Take items."""
        self.count += len(items)


def prices(state: Any, bid: Any) -> Any:
    """Return the new count, bands, least, greatest, average and sum of an auction's prices."""
    price = bid[2]
    count, low, mid, high, least, most, total = state or (0, 0, 0, 0, price, price, 0)
    state = (
        count + 1, low + (price < 10_000), mid + (10_000 <= price < 1_000_000), high + (price >= 1_000_000),
        min(least, price), max(most, price), total + price,
    )  # fmt: skip
    return state, (*state, state[6] / state[0])


def last(state: Any, bid: Any) -> Any:
    """Return the later of two bids."""
    state = bid if state is None or bid[5] >= state[5] else state
    return state, state


def flow(name: str, path: Path, sink: Nowhere) -> Any:
    """Return the dataflow of a query."""
    built = Dataflow(name)
    bids = op.input("bids", built, Source(path))
    match name:
        case "q1":
            out = op.map("euro", bids, lambda bid: (*bid[:2], EURO * bid[2], *bid[5:]))
        case "q2":
            out = op.filter("some", bids, lambda bid: bid[0] % 123 == 0)
        case "q17":
            keyed = op.key_on("auction", bids, lambda bid: f"{bid[0]} {bid[5]:%Y-%m-%d}")
            out = op.stateful_map("prices", keyed, prices)
        case "q18":
            keyed = op.key_on("pair", bids, lambda bid: f"{bid[1]} {bid[0]}")
            out = op.stateful_map("last", keyed, last)
        case "q22":
            out = op.map("folders", bids, lambda bid: (*bid[:4], *bid[4].split("/")[3:6]))
        case _:
            out = bids
    op.output("out", out, sink)
    return built


def main() -> None:
    """Run one query."""
    sink = Nowhere()
    built = flow(sys.argv[1], Path(sys.argv[2]) / "bid.arrow", sink)
    cpu, wall = time.process_time(), time.perf_counter()
    run_main(built)
    cost = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall, "rows": sink.count}
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**cost, "peak_kb": peak_kb}))


if __name__ == "__main__":
    main()
