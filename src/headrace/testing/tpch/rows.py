"""The rows of the eight tables, a function of the scale and the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.contracts.schema import Schema
from headrace.contracts.types import column
from headrace.testing.tpch import words

I64 = npt.NDArray[np.int64]
MONEY = "DECIMAL(15,2)"
_LAYOUT: Mapping[str, str] = {
    "region": "r_regionkey INTEGER, r_name VARCHAR, r_comment VARCHAR",
    "nation": "n_nationkey INTEGER, n_name VARCHAR, n_regionkey INTEGER, n_comment VARCHAR",
    "supplier": "s_suppkey BIGINT, s_name VARCHAR, s_address VARCHAR, s_nationkey INTEGER, s_phone VARCHAR, "
    "s_acctbal MONEY, s_comment VARCHAR",
    "part": "p_partkey BIGINT, p_name VARCHAR, p_mfgr VARCHAR, p_brand VARCHAR, p_type VARCHAR, "
    "p_size INTEGER, p_container VARCHAR, p_retailprice MONEY, p_comment VARCHAR",
    "partsupp": "ps_partkey BIGINT, ps_suppkey BIGINT, ps_availqty INTEGER, ps_supplycost MONEY, "
    "ps_comment VARCHAR",
    "customer": "c_custkey BIGINT, c_name VARCHAR, c_address VARCHAR, c_nationkey INTEGER, c_phone VARCHAR, "
    "c_acctbal MONEY, c_mktsegment VARCHAR, c_comment VARCHAR",
    "orders": "o_orderkey BIGINT, o_custkey BIGINT, o_orderstatus VARCHAR, o_totalprice MONEY, "
    "o_orderdate DATE, o_orderpriority VARCHAR, o_clerk VARCHAR, o_shippriority INTEGER, o_comment VARCHAR",
    "lineitem": "l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT, l_linenumber INTEGER, "
    "l_quantity MONEY, l_extendedprice MONEY, l_discount MONEY, l_tax MONEY, l_returnflag VARCHAR, "
    "l_linestatus VARCHAR, l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct VARCHAR, "
    "l_shipmode VARCHAR, l_comment VARCHAR",
}


def _schema(text: str) -> Schema:
    pairs = (item.rsplit(" ", 1) for item in text.split(", "))
    return Schema.of(column(name, MONEY if kind == "MONEY" else kind) for name, kind in pairs)


TABLES: dict[str, Schema] = {name: _schema(text) for name, text in _LAYOUT.items()}
"""The tables and their columns, those that others refer to first."""

_FIRST_DAY = np.datetime64("1992-01-01", "D")
_LAST_ORDER_DAY = int((np.datetime64("1998-08-02", "D") - _FIRST_DAY).astype(np.int64))
_BUSY_DAYS = (366, 1642)
"""Most orders are of these days, 1993 to mid 1996, of which the queries ask."""
_NOW = np.datetime64("1995-06-17", "D")
_LARGE = 0.03
"""Part of the orders that have seven lines of many pieces each."""


def make_tables(orders: int, seed: int = 1) -> dict[str, pa.RecordBatch]:
    """Return all tables with about so many orders; four times as many lines, a sixth as many customers."""
    rows = Rows(orders, seed)
    made = {
        "region": rows.regions(), "nation": rows.nations(), "supplier": rows.suppliers(),
        "part": rows.parts(), "partsupp": rows.partsupps(), "customer": rows.customers(),
    }  # fmt: skip
    made["orders"], made["lineitem"] = rows.orders(1, orders)
    return {name: made[name] for name in TABLES}


class Rows:
    """Makes rows.

    Args:
        orders: how many orders the tables are made for.
        seed: of all that is random.
    """

    def __init__(self, orders: int, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.customer_count = max(30, orders // 6)
        self.part_count = max(64, orders // 8)
        self.supplier_count = max(40, orders // 150)

    def regions(self) -> pa.RecordBatch:
        """The five regions."""
        return _batch("region", range(5), words.REGIONS, [""] * 5)

    def nations(self) -> pa.RecordBatch:
        """The 25 nations."""
        names, regions = zip(*words.NATIONS, strict=True)
        return _batch("nation", range(25), names, regions, [""] * 25)

    def suppliers(self) -> pa.RecordBatch:
        """All suppliers."""
        keys = np.arange(1, self.supplier_count + 1)
        nations = self._nations(keys)
        comments = np.where(keys % 9 == 4, "Customer said Complaints", "steady pinto beans")
        return _batch(
            "supplier", keys, _numbered("Supplier#", keys), _numbered("Street ", keys), nations,
            self._phones(nations), money(self.random.integers(-99_999, 999_999, len(keys))), comments,
        )  # fmt: skip

    def parts(self) -> pa.RecordBatch:
        """All parts; every fourth is one that the queries ask for."""
        rows = [self._part(key) for key in range(1, self.part_count + 1)]
        names = [field.name for field in TABLES["part"].arrow]
        columns = {name: [row[name] for row in rows] for name in names}
        columns["p_retailprice"] = money(np.array(columns["p_retailprice"]))
        return _batch("part", *columns.values())

    def _part(self, key: int) -> dict[str, Any]:
        maker = 1 + key % 5
        row: dict[str, Any] = {
            "p_partkey": key,
            "p_name": f"{self._word(words.COLOURS)} {self._word(words.COLOURS)}",
            "p_mfgr": f"Manufacturer#{maker}",
            "p_brand": f"Brand#{maker}{self.random.integers(1, 6)}",
            "p_type": " ".join(self._word(part) for part in words.TYPES),
            "p_size": int(self.random.integers(1, 51)),
            "p_container": " ".join(self._word(part) for part in words.CONTAINERS),
            "p_retailprice": 90_000 + key % 20_000,
            "p_comment": "final ideas",
        }
        return row | (words.ASKED_PARTS[key // 4 % len(words.ASKED_PARTS)] if key % 4 == 0 else {})

    def _word(self, listed: Sequence[str]) -> str:
        return listed[int(self.random.integers(len(listed)))]

    def partsupps(self) -> pa.RecordBatch:
        """Four suppliers for each part."""
        parts = np.repeat(np.arange(1, self.part_count + 1), 4)
        suppliers = self._supplier_of(parts, np.tile(np.arange(4), self.part_count))
        count = len(parts)
        return _batch(
            "partsupp", parts, suppliers, self.random.integers(1, 10_000, count),
            money(self.random.integers(100, 100_001, count)), ["slow packages"] * count,
        )  # fmt: skip

    def _supplier_of(self, parts: I64, number: I64) -> I64:
        return (parts * 7 + number * (self.supplier_count // 4 + 1)) % self.supplier_count + 1

    def customers(self) -> pa.RecordBatch:
        """All customers; every third never orders."""
        keys = np.arange(1, self.customer_count + 1)
        nations = self._nations(keys * 3)
        return _batch(
            "customer", keys, _numbered("Customer#", keys), _numbered("Road ", keys), nations,
            self._phones(nations), money(self.random.integers(-99_999, 999_999, len(keys))),
            self._choice(words.SEGMENTS, len(keys)), self._choice(words.COMMENTS, len(keys)),
        )  # fmt: skip

    def orders(self, first: int, count: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Return orders with the keys `first`, `first + 1`, … and their lines."""
        keys = np.arange(first, first + count)
        days = np.where(
            self.random.random(count) < 0.7,
            self.random.integers(*_BUSY_DAYS, count),
            self.random.integers(0, _LAST_ORDER_DAY, count),
        )
        buyers = self.random.integers(0, self.customer_count, count) + 1
        buyers = np.where(buyers % 3 == 0, np.maximum(buyers - 1, 1), buyers)
        lines, totals, states = self._lines(keys, days)
        orders = _batch(
            "orders", keys, buyers, states, money(totals), _FIRST_DAY + days,
            self._choice(words.PRIORITIES, count), _numbered("Clerk#", keys % 100), keys * 0,
            self._choice(words.COMMENTS, count),
        )  # fmt: skip
        return orders, lines

    def _lines(self, orders: I64, days: I64) -> tuple[pa.RecordBatch, I64, npt.NDArray[Any]]:
        large = self.random.random(len(orders)) < _LARGE
        counts = np.where(large, 7, self.random.integers(1, 8, len(orders)))
        at = np.repeat(np.arange(len(orders)), counts)
        count = len(at)
        numbers = np.arange(count) - np.repeat(np.cumsum(counts) - counts, counts) + 1
        asked = self.random.random(count) < 0.5
        parts = self.random.integers(1, self.part_count + 1, count)
        parts = np.where(asked, np.maximum(parts // 4, 1) * 4, parts)
        suppliers = self._supplier_of(parts, self.random.integers(0, 4, count))
        pieces = np.where(large[at], self.random.integers(44, 51, count), self.random.integers(1, 51, count))
        prices = pieces * (90_000 + parts % 20_000)
        discounts, taxes = self.random.integers(0, 11, count), self.random.integers(0, 9, count)
        shipped = _FIRST_DAY + days[at] + self.random.integers(1, 122, count)
        promised = _FIRST_DAY + days[at] + self.random.integers(30, 91, count)
        received = shipped + self.random.integers(1, 31, count)
        returned = np.where(received > _NOW, "N", np.where(self.random.random(count) < 0.5, "R", "A"))
        open_lines = shipped > _NOW
        lines = _batch(
            "lineitem", orders[at], parts, suppliers, numbers, money(pieces * 100), money(prices),
            money(discounts), money(taxes), returned, np.where(open_lines, "O", "F"), shipped, promised,
            received, self._choice(words.INSTRUCTIONS, count), self._choice(words.MODES, count),
            ["regular theodolites"] * count,
        )  # fmt: skip
        totals = np.zeros(len(orders), dtype=np.int64)
        np.add.at(totals, at, prices * (100 + taxes) * (100 - discounts) // 10_000)
        opened = np.zeros(len(orders), dtype=np.int64)
        np.add.at(opened, at, open_lines)
        return lines, totals, np.where(opened == 0, "F", np.where(opened == counts, "O", "P"))

    def _nations(self, keys: I64) -> I64:
        asked = np.array(words.ASKED_NATIONS)
        return np.where(keys % 2 == 0, asked[keys // 2 % len(asked)], keys % 25)

    def _phones(self, nations: I64) -> list[str]:
        rest = self.random.integers(100, 1000, (len(nations), 2))
        return [f"{nation + 10}-{a}-{b}-0000" for nation, (a, b) in zip(nations, rest, strict=True)]

    def _choice(self, listed: Sequence[str], count: int) -> npt.NDArray[Any]:
        return np.array(listed, dtype=object)[self.random.integers(0, len(listed), count)]


def _numbered(word: str, keys: I64) -> list[str]:
    return [f"{word}{key:09}" for key in keys]


def money(cents: npt.NDArray[Any]) -> pa.Array:
    """Return hundredths as DECIMAL(15,2)."""
    low = np.asarray(cents, dtype=np.int64)
    both = np.stack([low, low >> 63], axis=1)
    return pa.Array.from_buffers(pa.decimal128(15, 2), len(low), [None, pa.py_buffer(both.tobytes())])


def _batch(table: str, *columns: Any) -> pa.RecordBatch:
    arrow = TABLES[table].arrow
    arrays = [_array(values, field.type) for values, field in zip(columns, arrow, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, np.ndarray):
        return pa.array(values).cast(kind)
    return pa.array(list(values), kind)
