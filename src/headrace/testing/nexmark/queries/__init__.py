"""The queries, one SQL file each, and the app that they stand in."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.app import App

QUERIES = tuple(f"q{n}" for n in range(23) if n not in (12, 13))
"""All but q12 (it needs the time of arrival) and q13 (a side input)."""

PERSON = """id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR,
    date_time TIMESTAMP, extra VARCHAR"""
AUCTION = """id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT,
    date_time TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR"""
BID = """auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP,
    extra VARCHAR"""


def query(name: str) -> str:
    """Return the SQL of a query, such as `q4`."""
    return files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def app(*names: str, lateness: str | None = "4s") -> App:
    """Return an app with the three streams and those queries as views of the same names."""
    import headrace as hr

    built = hr.App("nexmark")
    timed = {"event_time": "date_time", "lateness": lateness}
    built.stream("person", PERSON, **timed)
    built.stream("auction", AUCTION, **timed)
    built.stream("bid", BID, **timed)
    for name in names:
        built.view(name, query(name))
    return built
