"""A program that delivers to a sink and ends itself in the middle of it: `killed.py FOLDER KIND POINT NTH`.

POINT is a method of a sink, as `Class.method`, with `before`, `after` or `half` in front; at its NTH call the
process gets SIGKILL, which no cleaning up survives.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.sinks.shop import orders, shop

from headrace.sinks import duck, ndjson, parquet, sqlfile, sqlite
from headrace.sinks.files import write_mark
from headrace.testing.keyvalue import KeyFolder

VERSIONS = 12
OWNERS: dict[str, Any] = {
    "TableSink": sqlfile.TableSink,
    "DuckTable": duck.DuckTable,
    "DuckChanges": duck.DuckChanges,
    "SqliteTable": sqlite.SqliteTable,
    "JsonLines": ndjson.JsonLines,
    "ParquetFiles": parquet.ParquetFiles,
    "KeyFolder": KeyFolder,
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(point: str, nth: int) -> None:
    """Make the NTH call of a point the last one."""
    when, _, name = point.partition(" ")
    owner, _, method = name.partition(".")
    calls = 0

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(*args: Any, **more: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth and when == "before":
                die()
            if calls == nth and when == "half":
                call(*args[:-1], args[-1][: len(args[-1]) // 2], **more)
                die()
            found = call(*args, **more)
            if calls == nth and when == "after":
                die()
            return found

        return calling

    if owner == "mark":
        for module in (ndjson, parquet):
            vars(module).update(write_mark=wrapped(write_mark))
        return
    setattr(OWNERS[owner], method, wrapped(getattr(OWNERS[owner], method)))


def main(folder: Path, kind: str, point: str, nth: int) -> None:
    deadly(point, nth)
    with shop(folder, kind).open(folder / "data") as run:
        for number in range(VERSIONS):
            run.append("orders", orders(number))
            run.advance()
            run.deliver()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
