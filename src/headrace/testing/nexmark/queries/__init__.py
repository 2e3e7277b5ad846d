"""The queries, one SQL file each, and the app that they stand in."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from headrace.app import App

QUERIES = tuple(f"q{n}" for n in range(23))
SIDE_INPUT_ROWS = 10_000

PERSON = """id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR,
    date_time TIMESTAMP, extra VARCHAR"""
AUCTION = """id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT,
    date_time TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR"""
BID = """auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP,
    extra VARCHAR"""
ARRIVED = "arrived_at"
"""The column of `bid` that query 12 reads: the clock of the append, logged with the row."""


def query(name: str) -> str:
    """Return the SQL of a query, such as `q4`."""
    return files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def app(*names: str, lateness: str | None = "4s") -> App:
    """Return an app with the three streams and those queries as views of the same names.

    With `q12` bids have a column `arrived_at`, filled with the time of the append; with `q13` there is
    a table `side_input`, which `side_input()` fills.
    """
    import headrace as hr

    built = hr.App("nexmark")
    timed: dict[str, Any] = {"event_time": "date_time", "lateness": lateness}
    built.stream("person", PERSON, **timed)
    built.stream("auction", AUCTION, **timed)
    if "q12" in names:
        built.stream("bid", f"{BID}, {ARRIVED} TIMESTAMP", **timed, append_time=ARRIVED)
    else:
        built.stream("bid", BID, **timed)
    if "q13" in names:
        built.table("side_input", "key BIGINT, value VARCHAR", key="key")
    for name in names:
        built.view(name, query(name))
    return built


def side_input() -> pa.RecordBatch:
    """Return the rows of the table that query 13 looks up: a text for every key from 0 to 9,999."""
    keys = range(SIDE_INPUT_ROWS)
    return pa.record_batch({"key": list(keys), "value": [f"side {key * 7919 % 9973}" for key in keys]})
