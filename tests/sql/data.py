"""Small random relations for the tests of this room: few values, so that keys meet; ties and NULLs abound."""

from __future__ import annotations

import datetime as dt
import random
import re
from decimal import Decimal
from typing import Any

import duckdb
from tests.sql.naive import Rows, connect, create

from headrace.contracts.schema import Schema
from headrace.contracts.types import column

_RELATIONS = """
t: a INTEGER, b INTEGER, c BIGINT, s VARCHAR, d DECIMAL(10,2), f DOUBLE, ts TIMESTAMP, ok BOOLEAN
u: a BIGINT, k SMALLINT, s VARCHAR, w DECIMAL(12,3)
v: k INTEGER, name VARCHAR, tz TIMESTAMP WITH TIME ZONE, day DATE, tags VARCHAR[], obj STRUCT(x INTEGER, y VARCHAR)
e: a INTEGER, s VARCHAR
odd table: select INTEGER, a b INTEGER, q"q VARCHAR, ünï DOUBLE, Group INTEGER, MixedCase VARCHAR
wide: h HUGEINT, ub UBIGINT, tiny TINYINT, r FLOAT, bl BLOB, tm TIME, iv INTERVAL, id UUID, js JSON
person: id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR, date_time TIMESTAMP, extra VARCHAR
auction: id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR
bid: auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP, extra VARCHAR
side_input: key BIGINT, value VARCHAR
part: p_partkey INTEGER, p_name VARCHAR, p_mfgr VARCHAR, p_brand VARCHAR, p_type VARCHAR, p_size INTEGER, p_container VARCHAR, p_retailprice DECIMAL(15,2), p_comment VARCHAR
supplier: s_suppkey INTEGER, s_name VARCHAR, s_address VARCHAR, s_nationkey INTEGER, s_phone VARCHAR, s_acctbal DECIMAL(15,2), s_comment VARCHAR
partsupp: ps_partkey INTEGER, ps_suppkey INTEGER, ps_availqty INTEGER, ps_supplycost DECIMAL(15,2), ps_comment VARCHAR
customer: c_custkey INTEGER, c_name VARCHAR, c_address VARCHAR, c_nationkey INTEGER, c_phone VARCHAR, c_acctbal DECIMAL(15,2), c_mktsegment VARCHAR, c_comment VARCHAR
orders: o_orderkey INTEGER, o_custkey INTEGER, o_orderstatus VARCHAR, o_totalprice DECIMAL(15,2), o_orderdate DATE, o_orderpriority VARCHAR, o_clerk VARCHAR, o_shippriority INTEGER, o_comment VARCHAR
lineitem: l_orderkey INTEGER, l_partkey INTEGER, l_suppkey INTEGER, l_linenumber INTEGER, l_quantity DECIMAL(15,2), l_extendedprice DECIMAL(15,2), l_discount DECIMAL(15,2), l_tax DECIMAL(15,2), l_returnflag VARCHAR, l_linestatus VARCHAR, l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct VARCHAR, l_shipmode VARCHAR, l_comment VARCHAR
nation: n_nationkey INTEGER, n_name VARCHAR, n_regionkey INTEGER, n_comment VARCHAR
region: r_regionkey INTEGER, r_name VARCHAR, r_comment VARCHAR
"""  # noqa: E501

_WORDS = {
    "state": ["OR", "ID", "CA"],
    "channel": ["Google", "apple", "channel-1"],
    "url": ["https://a.b/x/y/z?channel_id=7&q=1", "https://a.b/p/q"],
    "r_name": ["EUROPE", "ASIA", "AMERICA"],
    "n_name": ["FRANCE", "GERMANY", "BRAZIL", "SAUDI ARABIA"],
    "c_mktsegment": ["BUILDING", "AUTOMOBILE"],
    "o_orderstatus": ["F", "O"],
    "l_returnflag": ["R", "A", "N"],
    "l_linestatus": ["O", "F"],
    "l_shipmode": ["MAIL", "SHIP", "AIR", "AIR REG"],
    "l_shipinstruct": ["DELIVER IN PERSON"],
    "p_brand": ["Brand#12", "Brand#23", "Brand#34"],
    "p_type": ["ECONOMY ANODIZED STEEL", "LARGE BRASS", "PROMO TIN"],
    "p_container": ["SM CASE", "MED BAG", "LG BOX"],
    "p_name": ["green forest", "red"],
    "c_phone": ["13-222", "31-111", "99-000"],
}
_TEXTS = ["", "a", "A", "ä", "b c", "it's", "日本"]


def _schema(text: str) -> Schema:
    """Read `name TYPE, name TYPE`; names may hold blanks, types may hold commas in parentheses."""
    pieces = re.split(r", (?![^(]*\))", text)
    found = (
        re.fullmatch(r"(.+?) ([A-Z]+(?: WITH TIME ZONE)?(?:\(.*\))?(?:\[\])?)", piece) for piece in pieces
    )
    return Schema.of(column(match[1], match[2]) for match in found if match)


CATALOG: dict[str, Schema] = {
    line.split(": ", 1)[0]: _schema(line.split(": ", 1)[1]) for line in _RELATIONS.strip().splitlines()
}
"""Every relation that a fixture may name."""


def value(rng: random.Random, name: str, sql_type: str) -> Any:
    """Return a random value of a SQL type, now and then NULL."""
    if rng.random() < 0.12:
        return None
    if name in _WORDS:
        return rng.choice(_WORDS[name])
    makers: dict[str, Any] = {
        "VARCHAR": lambda: rng.choice(_TEXTS),
        "DOUBLE": lambda: rng.choice([0.5, -1.25, 3.0, 1e18, float("nan"), float("inf")]),
        "FLOAT": lambda: rng.choice([0.5, -1.25, 3.0]),
        "BOOLEAN": lambda: rng.random() < 0.5,
        "TIMESTAMP": lambda: _time(rng),
        "TIMESTAMP WITH TIME ZONE": lambda: _time(rng).replace(tzinfo=dt.UTC),
        "DATE": lambda: dt.date(1994, 1, 1) + dt.timedelta(days=rng.choice([0, 1, 31, 400, 1000, 1400])),
        "TIME": lambda: dt.time(rng.randrange(3), 30),
        "INTERVAL": lambda: dt.timedelta(seconds=rng.choice([0, 60, 86400])),
        "BLOB": lambda: rng.choice([b"", b"\x00\xff", b"a"]),
        "UUID": lambda: f"00000000-0000-0000-0000-00000000000{rng.randrange(4)}",
        "JSON": lambda: rng.choice(['{"a": 1}', "[1, 2]", '"x"']),
        "HUGEINT": lambda: rng.choice([0, -5, 2**100]),
        "UBIGINT": lambda: rng.choice([0, 2**63, 7]),
        "VARCHAR[]": lambda: [rng.choice(_TEXTS) for _ in range(rng.randrange(3))],
        "STRUCT(x INTEGER, y VARCHAR)": lambda: {"x": rng.randrange(3), "y": rng.choice(_TEXTS)},
    }
    if sql_type in makers:
        return makers[sql_type]()
    if sql_type.startswith("DECIMAL"):
        return Decimal(rng.randrange(-300, 900)) / 100
    return rng.randrange(-1, 5)


def _time(rng: random.Random) -> dt.datetime:
    start = dt.datetime(1969, 12, 31, 23, 59, 50)  # noqa: DTZ001  (TIMESTAMP has no zone)
    return start + dt.timedelta(
        seconds=rng.choice([0, 3, 10, 11, 20, 65, 130, 3600]), microseconds=rng.choice([0, 7])
    )


def filled(seed: int, rows_max: int = 14) -> duckdb.DuckDBPyConnection:
    """Return a connection with every relation of the catalog, filled at random."""
    rng = random.Random(seed)
    con = connect()
    for name, schema in CATALOG.items():
        count = 0 if name == "e" and seed % 2 else rng.randrange(4, rows_max + 1)
        rows: Rows = []
        for _ in range(count):
            repeat = rows and rng.random() < 0.15
            rows.append(rng.choice(rows) if repeat else tuple(value(rng, c.name, c.sql_type) for c in schema))
        create(con, name, schema, rows)
    return con
