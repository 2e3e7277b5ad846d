"""The types of columns and their values: small domains, so that keys meet, and the corners of each type.

Values are JSON, as case files hold them. Floats are sums of few powers of two, so that adding them is exact
in any order: what is left to differ is what must not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

VALUES: dict[str, list[Any]] = {
    "INTEGER": [0, 1, 2, 3, -1, 1000, 2**31 - 1, -(2**31)],
    "BIGINT": [0, 1, 2, 3, 7, -5, 2**40, str(2**63 - 1)],
    "VARCHAR": ["a", "b", "", "A", "ab", "Zürich", "日本", "o'clock", 'q"q', "%_", " a", "7", "e\u0301"],
    "DECIMAL(10,2)": ["0.00", "1.10", "-1.10", "99.99", "12345678.90", 3],
    "DOUBLE": [0.0, 0.5, 1.25, -3.0, "-0.0", 1e10, "NaN", "Infinity", "-Infinity"],
    "TIMESTAMP": [
        "2026-01-01T00:00:00Z", "2026-01-01T00:00:59.999999Z", "2026-01-01T00:01:00Z", "2026-01-01T00:10:00Z",
        "2025-12-31T23:59:50Z", "2025-12-31T00:00:00Z", "1969-12-31T23:59:59.5Z",
    ],
    "BOOLEAN": [True, False],
    "DATE": ["2026-01-01", "2026-01-02", "1969-12-31", "2024-02-29"],
    "TINYINT": [0, 1, 2, 127, -128],
    "SMALLINT": [0, 1, 2, 3, 32767, -32768],
    "UTINYINT": [0, 1, 2, 255],
    "UINTEGER": [0, 1, 2, 2**32 - 1],
    "UBIGINT": [0, 1, 2, str(2**64 - 1)],
    "HUGEINT": [0, 1, -1, str(2**100), str(-(2**100))],
    "FLOAT": [0.0, 0.5, 1.25, -3.0, "NaN", "Infinity"],
    "DECIMAL(4,1)": ["0.0", "1.5", "-1.5", "999.9"],
    "DECIMAL(30,6)": ["0", "1.000001", "-5.5", "100000000000000000000000.5"],
    "BLOB": ["", "AA==", "AP8=", "YQ=="],
    "TIMESTAMP WITH TIME ZONE": [
        "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-01T00:01:00Z", "2024-02-29T12:00:00Z",
    ],
    "TIME": ["00:00:00", "09:30:00", "23:59:59.999999"],
    "INTERVAL": ["PT0S", "PT1H", "P1D", "P30D", "P1M", "P1M1DT1S", "-PT1S".replace("-PT1", "PT-1")],
    "UUID": ["00000000-0000-0000-0000-000000000000", "6f9619ff-8b86-d011-b42d-00c04fc964ff"],
    "JSON": ['{"a": 1}', '{"a": "x", "b": [1, 2]}', "[1, null]", "null", '"s"', "{}"],
    "ENUM('x', 'y', 'z')": ["x", "y", "z"],
    "INTEGER[]": [[], [1], [1, 2, 2], [None], [3, None, 1]],
    "VARCHAR[]": [[], ["a"], ["a", "b"], [None, "a"]],
    "STRUCT(a INTEGER, b VARCHAR)": [{"a": 1, "b": "x"}, {"a": None, "b": "x"}, {"a": 1, "b": None}],
    "MAP(VARCHAR, INTEGER)": [{}, {"a": 1}, {"a": 1, "b": None}],
    "STRUCT(a INTEGER[], b DECIMAL(10,2))": [{"a": [1], "b": "1.10"}, {"a": [], "b": None}],
}  # fmt: skip

COMMON = tuple(VALUES)[:8]
"""Most columns have one of these."""
KEYS = ("INTEGER", "VARCHAR", "BIGINT")
ODD_KEYS = ("DATE", "DECIMAL(10,2)", "TIMESTAMP", "UUID", "HUGEINT", "BOOLEAN", "UTINYINT", "BLOB")
BAD: dict[str, list[Any]] = {
    "INTEGER": [True, "x", 1.5, 2**31, []],
    "VARCHAR": [1, True, {}],
    "DECIMAL(10,2)": ["1.101", "x", "NaN", True],
    "DOUBLE": ["x", True],
    "TIMESTAMP": ["x", 0, "2026-13-01T00:00:00Z"],
    "BOOLEAN": [1, "yes"],
    "DATE": ["x", 1],
    "UTINYINT": [-1, 256],
}


def some_type(rnd: Random) -> str:
    """Return a type, most often a common one."""
    return rnd.choice(COMMON) if rnd.random() < 0.7 else rnd.choice(tuple(VALUES))


def value(rnd: Random, kind: str, *, nulls: float = 0.12) -> Any:
    """Return a value of a type, or NULL."""
    return None if rnd.random() < nulls else rnd.choice(VALUES[kind])


def family(kind: str) -> str:
    """Return the family of a type as DuckDB spells it: what expressions can do with it."""
    if kind.endswith("]"):
        return "list"
    head = re.split(r"[( ]", kind)[0]
    if head in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"):
        return "int"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return "tz"
    names = {
        "HUGEINT": "huge", "UHUGEINT": "huge", "FLOAT": "float", "DOUBLE": "float", "DECIMAL": "decimal",
        "VARCHAR": "text", "BOOLEAN": "bool", "BLOB": "blob", "DATE": "date", "TIMESTAMP": "timestamp",
        "TIME": "time", "INTERVAL": "interval", "UUID": "uuid", "JSON": "json", "ENUM": "enum",
        "STRUCT": "struct", "MAP": "map",
    }  # fmt: skip
    return names.get(head, "other")


def literal(rnd: Random, kind: str) -> str | None:
    """Return a value of a type as SQL, or None where this generator knows none."""
    texts: dict[str, Callable[[], str]] = {
        "int": lambda: str(rnd.randint(0, 3)),
        "huge": lambda: str(rnd.randint(0, 3)),
        "decimal": lambda: rnd.choice(("1.10", "0", "-1.1")),
        "float": lambda: rnd.choice(("0.5::DOUBLE", "0::DOUBLE", "'NaN'::DOUBLE", "1.25::FLOAT")),
        "text": lambda: rnd.choice(("'a'", "'ab'", "''", "'日本'", "'o''clock'")),
        "bool": lambda: rnd.choice(("true", "false")),
        "date": lambda: rnd.choice(("DATE '2026-01-01'", "DATE '2024-02-29'")),
        "timestamp": lambda: rnd.choice(("TIMESTAMP '2026-01-01 00:01:00'", "TIMESTAMP '2025-12-31'")),
        "tz": lambda: "TIMESTAMPTZ '2026-01-01 00:00:00+00'",
        "time": lambda: "TIME '09:30:00'",
        "interval": lambda: rnd.choice(("INTERVAL 1 DAY", "INTERVAL 1 MONTH")),
        "uuid": lambda: f"'{VALUES['UUID'][1]}'::UUID",
        "enum": lambda: "'x'",
        "blob": lambda: "'a'::BLOB",
    }
    make = texts.get(family(kind))
    return make() if make else None
