"""The shop whose views the tests of sinks deliver, and how each kind of sink is read back as rows.

`turnover` has a key and rows that change; `sold` is a bag in which equal rows stand several times.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

import headrace as hr
from headrace.testing import KeyFolder

TURNOVER = (
    "SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders GROUP BY shop HAVING sum(amount) > 0"
)
SOLD = "SELECT shop, amount FROM orders WHERE amount > 5"
URLS = {
    "duckdb": "duckdb:///out.duckdb",
    "changes": "duckdb:///changes.duckdb",
    "sqlite": "sqlite:///out.sqlite",
    "ndjson": "ndjson:///out.ndjson",
    "parquet": "parquet:///out",
    "keyvalue": "keyvalue:///keys",
}
BAGS = ("duckdb", "changes", "sqlite", "ndjson", "parquet")
KINDS = (*BAGS, "keyvalue")


def shop(folder: Path, kind: str | None, view: str = "turnover", turnover: str = TURNOVER) -> hr.App:
    """The app, with one sink."""
    app = hr.App("shop", folder=folder)
    app.stream("orders", "shop TEXT, amount DECIMAL(18,2)")
    app.view("turnover", turnover)
    app.view("sold", SOLD)
    if kind is not None:
        app.sink(view, URLS[kind], name="out", **options(kind))
    return app


def options(kind: str) -> dict[str, Any]:
    """The options of a kind."""
    return {"changes": True} if kind == "changes" else {}


def orders(number: int) -> list[dict[str, Any]]:
    """The rows of one version: some rows of a view change, some come, some go, some are equal."""
    return [
        {"shop": f"s{number % 4}", "amount": 10},
        {"shop": f"s{number % 4}", "amount": 10},
        {"shop": f"s{(number + 1) % 4}", "amount": -20 if number % 3 else 7},
        {"shop": None, "amount": number},
        {"shop": f"pop-up {number}", "amount": 5},
        {"shop": f"pop-up {number - 1}", "amount": -5},
    ]


def wanted(run: hr.Run, view: str) -> Counter[tuple[str, ...]]:
    """The rows of a view, as text."""
    return counted(run.query(f"SELECT * FROM {view}").to_pylist())


def counted(rows: list[dict[str, Any]]) -> Counter[tuple[str, ...]]:
    """Rows as text, so that every kind of store can be compared."""
    return Counter(tuple(str(value) for value in row.values()) for row in rows)


def content(folder: Path, kind: str, view: str = "turnover") -> Counter[tuple[str, ...]]:
    """What a sink holds, read as a stranger would who has only the documentation."""
    return _READERS[kind](folder, view)


def _duckdb(folder: Path, view: str) -> Counter[tuple[str, ...]]:
    with duckdb.connect(str(folder / "out.duckdb"), read_only=False) as con:
        return counted(con.sql(f"SELECT * FROM {view}").to_arrow_table().to_pylist())


def _changes(folder: Path, view: str) -> Counter[tuple[str, ...]]:
    with duckdb.connect(str(folder / "changes.duckdb"), read_only=False) as con:
        return _summed(con.sql(f"SELECT * FROM {view}").to_arrow_table().to_pylist())


def _sqlite(folder: Path, view: str) -> Counter[tuple[str, ...]]:
    import sqlite3

    con = sqlite3.connect(folder / "out.sqlite")
    try:
        return Counter(tuple(str(value) for value in row) for row in con.execute(f"SELECT * FROM {view}"))
    finally:
        con.close()


def _ndjson(folder: Path, _: str) -> Counter[tuple[str, ...]]:
    lines = dict.fromkeys((folder / "out.ndjson").read_text().splitlines())
    return _summed([json.loads(line) for line in lines])


def _parquet(folder: Path, _: str) -> Counter[tuple[str, ...]]:
    with duckdb.connect() as con:
        return _summed(con.sql(f"FROM '{folder}/out/*.parquet'").to_arrow_table().to_pylist())


def _keyvalue(folder: Path, _: str) -> Counter[tuple[str, ...]]:
    return counted(KeyFolder(folder / "keys").rows())


def _summed(rows: list[dict[str, Any]]) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        weight = row.pop("_weight")
        row.pop("_version")
        found[tuple(str(value) for value in row.values())] += weight
    assert min(found.values(), default=0) >= 0
    return +found


_READERS: dict[str, Callable[[Path, str], Counter[tuple[str, ...]]]] = {
    "duckdb": _duckdb,
    "changes": _changes,
    "sqlite": _sqlite,
    "ndjson": _ndjson,
    "parquet": _parquet,
    "keyvalue": _keyvalue,
}
