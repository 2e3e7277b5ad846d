"""DuckDB as the reference of the promotion views: the same SQL, with TUMBLE spelt out by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

import headrace.solutions.promotions as promotions

VIEWS = Path(promotions.__file__).parent / "views"
WINDOW = re.compile(r"TUMBLE\((\w+), (\w+), (INTERVAL \d+ \w+)\)")
COLUMNS = {
    "searches": "event_id BIGINT, session_id BIGINT, buyer_id BIGINT, query TEXT, results BIGINT, "
    "searched_at TIMESTAMP",
    "product_views": "event_id BIGINT, session_id BIGINT, buyer_id BIGINT, product_id BIGINT, "
    "viewed_at TIMESTAMP",
    "orders": "event_id BIGINT, order_id BIGINT, line_no BIGINT, kind TEXT, buyer_id BIGINT, "
    "buyer_name TEXT, product_id BIGINT, product TEXT, quantity BIGINT, "
    "unit_price DECIMAL(10,2), occurred_at TIMESTAMP",
    "requests": "event_id BIGINT, visitor_id BIGINT, ip TEXT, kind TEXT, path TEXT, status BIGINT, "
    "duration_ms DOUBLE, requested_at TIMESTAMP",
    "machine_metrics": "event_id BIGINT, host TEXT, cpu_pct DOUBLE, memory_pct DOUBLE, io_pct DOUBLE, "
    "measured_at TIMESTAMP",
    "logs": "event_id BIGINT, host TEXT, service TEXT, level TEXT, message TEXT, logged_at TIMESTAMP",
}


def view_sql() -> dict[str, str]:
    """Return the SQL of each view, TUMBLE replaced."""

    def spelt_out(match: re.Match[str]) -> str:
        relation, time, size = match.groups()
        start = f"time_bucket({size}, {time}, TIMESTAMP '1970-01-01')"
        columns = f"*, {start} AS window_start, {start} + {size} AS window_end"
        return f"(SELECT {columns} FROM {relation}) AS windowed"

    return {path.stem: WINDOW.sub(spelt_out, path.read_text()) for path in sorted(VIEWS.glob("*.sql"))}


class Reference:
    """An in-memory DuckDB with the streams as tables and the views as views."""

    def __init__(self) -> None:
        self.con = duckdb.connect()
        self.con.execute("SET threads = 1")
        for stream, columns in COLUMNS.items():
            self.con.execute(f"CREATE TABLE {stream} ({columns})")
            self.con.execute(f"CREATE TABLE {stream}__late ({columns})")
            self.con.execute(f"CREATE TABLE {stream}__rejected (reason TEXT)")
        waiting = view_sql()
        while waiting:
            for name in sorted(waiting):
                others = waiting.keys() - {name}
                if not any(re.search(rf"FROM {other}\b", waiting[name]) for other in others):
                    self.con.execute(f"CREATE VIEW {name} AS {waiting.pop(name)}")

    def insert(self, relation: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; values are cast to the column types."""
        if rows:
            table = pa.Table.from_pylist([dict(row) for row in rows])
            self.con.register("incoming", table)
            self.con.execute(f"INSERT INTO {relation} BY NAME SELECT * FROM incoming")
            self.con.unregister("incoming")

    def read(self, view: str) -> list[dict[str, Any]]:
        """Return the rows of a view."""
        answer: list[dict[str, Any]] = self.con.sql(f"SELECT * FROM {view}").to_arrow_table().to_pylist()
        return answer
